"""The load generator's own measures, as ratios within one run: `make bench-loadgen`, some minutes.

    python -m benchmarks.loadgen [--seconds 4] [--rounds 3] [--only cost,keep,stall,users,capacity] [--out FILE.json]

cost: CPU per request, closed loop with 32 users, beside stock FastHttpUser, wrk and hey, against one nginx, in rounds
that take turns. keep: send lag at an open rate. stall: p95 and p99 while the server stalls 2 s at 300/s, beside an
independent open loop. users: memory of many users in one process. capacity: how often the interval that the search
reports holds the capacity that queueing theory knows of one server with a fixed service time (M/D/1, simulated: the
truth is exact, only arrivals are random). What is not installed is left out with its reason. A busy machine shows
in all of them: read ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.circumstances import circumstances
from loadgen.capacity.search import Found, Settings, Step, SubTrial, goal_of, search
from loadgen.safety import Target
from loadgen.scenario.file import parse_scenario
from loadgen.scenario.run import Progress, RunPlan, RunResult, play
from loadgen.scenario.thresholds import parse_slo
from loadgen.sending.child import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USERS = 32
BODY = b"x" * 1000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + BODY
STALL_AT_SECONDS, STALL_SECONDS, STALL_RPS = 2.0, 2.0, 300
LOCUSTFILE = """
from locust import FastHttpUser, task
class Plain(FastHttpUser):
    @task
    def get(self):
        self.client.get("/")
"""


class Answering(asyncio.Protocol):
    """Answers each request at once; the whole loop stalls when the first connection asks for /stall."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as came."""
        if b"GET /stall" in data:
            asyncio.get_running_loop().call_later(STALL_AT_SECONDS, time.sleep, STALL_SECONDS)
        self.transport.write(ANSWER * max(1, data.count(b"\r\n\r\n")))


async def serve() -> None:
    """Serve on a free port, and print it."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ return 200 "{body}"; }} }}
}}"""


@contextmanager
def nginx_server() -> Iterator[int]:
    """Yield the port of an nginx of one worker process that answers with a kilobyte."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = Path(folder) / "nginx.conf"
        file.write_text(NGINX.format(folder=folder, port=port, body=BODY.decode()))
        process = subprocess.Popen(["nginx", "-p", folder, "-c", str(file)])
        try:
            for _ in range(200):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextmanager
def a_server(*, nginx: bool = False) -> Iterator[int]:
    """Yield the port of a server in a process of its own: nginx if asked for and installed, else this file's."""
    if nginx and shutil.which("nginx"):
        with nginx_server() as port:
            yield port
        return
    command = [sys.executable, "-m", "benchmarks.loadgen", "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def scenario_text(executor: str, think: str = "0s") -> str:
    """Return a scenario of one GET under one executor."""
    steps = f"[{{name: one, get: /, think: {think}}}]" if think != "0s" else "[{name: one, get: /}]"
    return f"version: 1\nname: b\njourneys: [{{name: a, steps: {steps}}}]\nscenarios: {{a: {executor}}}\n"


async def played(
    port: int, executor: str, *, seed: int, think: str = "0s", start_child: Any = None,
    show: Callable[[Progress], None] = lambda _progress: None,
) -> RunResult:  # fmt: skip
    """Play an executor with one child."""
    scenario = parse_scenario(scenario_text(executor, think), name="benchmark")
    plan = RunPlan(scenario, Target("127.0.0.1", port), "benchmark", seed, size=1)
    more = {"start_child": start_child} if start_child else {}
    return await play(plan, asyncio.Event(), show=show, **more)


def measured_command(command: list[str]) -> tuple[str, float]:
    """Return a command's output and the CPU seconds it used, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout + done.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fast_http_user(port: int, seconds: float) -> dict[str, Any]:
    """Measure stock FastHttpUser, less what an idle locust of the same length uses."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plain.py"
        file.write_text(LOCUSTFILE)
        command = [
            sys.executable, "-m", "locust", "-f", str(file), "--headless", "-H", f"http://127.0.0.1:{port}",
            "-r", str(USERS), "-t", f"{seconds:.0f}s", "--json",
        ]  # fmt: skip
        _, idle = measured_command([*command, "-u", "0"])
        text, cpu = measured_command([*command, "-u", str(USERS)])
    stats, _ = json.JSONDecoder().raw_decode(text[text.index("[\n") :])
    requests = sum(one["num_requests"] for one in stats)
    return {"requests": requests, "rps": requests / seconds, "cpu_us": (cpu - idle) / requests * 1e6}


def c_tool(name: str, port: int, seconds: float) -> dict[str, Any]:
    """Measure wrk or hey."""
    url = f"http://127.0.0.1:{port}/"
    arguments = {
        "wrk": ["wrk", "-t1", f"-c{USERS}", f"-d{seconds:.0f}s", url],
        "hey": ["hey", "-z", f"{seconds:.0f}s", "-c", str(USERS), "-cpus", "1", url],
    }[name]  # fmt: skip
    text, cpu = measured_command(arguments)
    word = "Requests/sec:"
    rps = float(text.split(word)[1].split()[0])
    return {"requests": round(rps * seconds), "rps": rps, "cpu_us": cpu / (rps * seconds) * 1e6}


async def own_cost(port: int, seconds: float, seed: int) -> dict[str, Any]:
    """Measure the lean client."""
    executor = f"{{executor: constant-vus, vus: {USERS}, duration: {seconds:.0f}s}}"
    result = await played(port, executor, seed=seed)
    sent = result.overall.sent
    return {"requests": sent, "rps": sent / seconds, "cpu_us": result.cpu_seconds / sent * 1e6}


async def cost(seconds: float, seed: int, rounds: int) -> dict[str, Any]:
    """Return CPU per request of each generator against the same nginx: medians of rounds, and of ratios within one."""
    measured: dict[str, list[dict[str, Any]]] = {}
    with a_server(nginx=True) as port:
        for _ in range(rounds):
            measured.setdefault("tidegauge", []).append(await own_cost(port, seconds, seed))
            measured.setdefault("FastHttpUser", []).append(await asyncio.to_thread(fast_http_user, port, seconds))
            for name in ("wrk", "hey"):
                if shutil.which(name) is not None:
                    measured.setdefault(name, []).append(await asyncio.to_thread(c_tool, name, port, seconds))
    rows: dict[str, Any] = {
        name: {key: float(np.median([one[key] for one in found])) for key in found[0]}
        for name, found in measured.items()
    }
    rows |= {name: {"left_out": "not installed"} for name in ("wrk", "hey") if name not in measured}
    rows["ratios"] = {"FastHttpUser / tidegauge": _ratio(measured["FastHttpUser"], measured["tidegauge"])}
    rows["ratios"] |= {
        f"tidegauge / {name}": _ratio(measured["tidegauge"], measured[name])
        for name in ("wrk", "hey") if name in measured
    }  # fmt: skip
    return rows


def _ratio(above: list[dict[str, Any]], below: list[dict[str, Any]]) -> float:
    pairs = zip(above, below, strict=True)
    return float(np.median([one["cpu_us"] / other["cpu_us"] for one, other in pairs]))


async def keep(seconds: float, seed: int) -> list[dict[str, Any]]:
    """Return send lag and unsent arrivals at rising open rates."""
    rows = []
    with a_server(nginx=True) as port:
        for rate in (1000, 3000, 6000):
            executor = f"{{executor: constant-arrival-rate, rate: {rate}, duration: {seconds:.0f}s}}"
            result = await played(port, executor, seed=seed)
            lag = result.overall.lag.quantile_us(0.99)
            rows.append({
                "asked_rps": rate, "sent_rps": result.overall.sent / seconds, "unsent": result.overall.unsent,
                "send_lag_p99_ms": None if lag is None else lag / 1000, "cpu_share": result.cpu_share,
                "verdict": result.verdict.status,
            })  # fmt: skip
    return rows


async def truth(port: int, seconds: float) -> list[float]:
    """Return responses (ms) of an independent open loop: a connection per arrival, evenly spaced."""

    async def one(at: float) -> float:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readexactly(len(ANSWER))
        done = time.perf_counter()
        writer.close()
        return (done - at) * 1000

    start = time.perf_counter() + 0.1
    return list(await asyncio.gather(*(one(start + k / STALL_RPS) for k in range(int(STALL_RPS * seconds)))))


async def ask_to_stall(port: int) -> None:
    """Have the server stall a little later."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stall HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readexactly(len(ANSWER))
    writer.close()


async def stall(seed: int) -> dict[str, Any]:
    """Return p95 and p99 of both while the server stalls once."""
    seconds = 15.0
    with a_server() as port:
        await ask_to_stall(port)
        true = np.array(await truth(port, seconds))

        asked: list[asyncio.Task[None]] = []

        def show(progress: Progress) -> None:
            if progress.seconds > 0 and not asked:  # the run has begun, whatever its child took to start
                asked.append(asyncio.create_task(ask_to_stall(port)))

        executor = (
            f"{{executor: constant-arrival-rate, rate: {STALL_RPS}, duration: {seconds:.0f}s, arrivals: uniform}}"
        )
        result = await played(port, executor, seed=seed, show=show)
    rows: dict[str, Any] = {"unsent": result.overall.unsent}
    for name, quantile in (("p95", 0.95), ("p99", 0.99)):
        ours, theirs = (result.overall.response.quantile_us(quantile) or 0) / 1000, float(np.quantile(true, quantile))
        rows[name] = {"truth_ms": theirs, "tidegauge_ms": ours, "error": ours / theirs - 1}
    return rows


async def users(count: int, seed: int) -> dict[str, Any]:
    """Return the memory of a child with so many users that mostly think."""
    highest: list[int] = []

    async def watch(pid: int) -> None:
        while psutil.pid_exists(pid):
            try:
                highest.append(psutil.Process(pid).memory_info().rss)
            except psutil.Error:
                return
            await asyncio.sleep(0.2)

    watching: list[asyncio.Task[None]] = []

    async def start(plan: Any) -> Any:
        child = await ChildProcess.start(plan)
        watching.append(asyncio.create_task(watch(child.pid)))
        return child

    rss: dict[int, int] = {}
    with a_server() as port:
        for number in (10, count):
            highest.clear()
            executor = f"{{executor: ramping-vus, startVUs: 1, stages: [{{duration: 6s, target: {number}}}, {{duration: 3s, target: {number}}}]}}"  # noqa: E501 - one YAML value
            result = await played(port, executor, seed=seed, think="[20s, 30s]", start_child=start)
            rss[number] = max(highest)
    await asyncio.gather(*watching)
    return {
        "users": count, "requests": result.overall.sent, "failed": result.overall.failed,
        "rss_mb": rss[count] / 1e6, "kb_per_user": (rss[count] - rss[10]) / (count - 10) / 1000,
    }  # fmt: skip


POOL_SERVICE_SECONDS, POOL_LIMIT_SECONDS = 0.010, 0.040


def share_in_time(rps: float) -> float:
    """Return P(wait + service <= limit) of M/D/1 (Erlang 1909): P(W <= t) =
    (1 - rho) sum over k = 0..floor(t / D) of (rps (kD - t))^k / k! exp(-rps (kD - t)).
    """  # noqa: D205 - the formula is one sentence
    wait = POOL_LIMIT_SECONDS - POOL_SERVICE_SECONDS
    terms = [rps * (k * POOL_SERVICE_SECONDS - wait) for k in range(int(wait / POOL_SERVICE_SECONDS + 1e-9) + 1)]
    total = sum(x**k / math.factorial(k) * math.exp(-x) for k, x in enumerate(terms))
    return (1 - rps * POOL_SERVICE_SECONDS) * total


def serve_pool(step: Step) -> SubTrial:
    """Return what a pool of one server makes of Poisson arrivals; a second of warm-up is not counted."""
    random = np.random.default_rng(step.seed)
    at, free, late, scheduled = 0.0, 0.0, 0, 0
    while (at := at + random.exponential(1 / step.rps)) < step.seconds + 1:
        free = max(at, free) + POOL_SERVICE_SECONDS
        if at >= 1:
            scheduled, late = scheduled + 1, late + (free - at > POOL_LIMIT_SECONDS)
    return SubTrial(scheduled, (late,))


def capacity(seed: int, runs: int = 10) -> dict[str, Any]:
    """Return how many of the intervals hold the truth, and how wide they are."""
    low, high = 1.0, 99.9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_in_time(middle) >= 0.95 else (low, middle)
    goal, inside, widths = goal_of(parse_slo("http_req_duration: p(95)<40")), 0, []
    for run in range(runs):
        steps = search((goal,), Settings(start_rps=60, most_rps=200, budget_seconds=400, seed=seed * 1000 + run))
        step = next(steps)
        while True:
            try:
                step = steps.send(serve_pool(step))
            except StopIteration as stopped:
                found: Found = stopped.value
                break
        if found.low_rps and found.high_rps and found.confirmed:
            inside += found.low_rps <= low <= found.high_rps
            widths.append((found.high_rps - found.low_rps) / low)
    return {"truth_rps": low, "runs": runs, "inside": inside, "median_width": float(np.median(widths))}


def environment(seed: int) -> dict[str, Any]:
    """Return what has to stand beside every figure."""
    packages = ("locust", "gevent", "httptools", "geventhttpclient")
    tools = {name: tool_version(name) for name in ("nginx", "wrk", "hey")}
    return {**circumstances(seed=seed, packages=packages), "tools": tools}


def tool_version(name: str) -> str | None:
    """Return what a program says of its version; None where it is not installed, or does not say."""
    if shutil.which(name) is None:
        return None
    said = subprocess.run([name, "-v"], capture_output=True, text=True, check=False)
    first = (said.stdout + said.stderr).splitlines()
    return first[0] if first else None


def show(name: str, value: Any) -> None:
    """Print a part as lines of a table."""
    print(f"\n{name}")
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, row in rows:
        cells = row.items() if isinstance(row, dict) else [("", row)]
        print(f"  {key!s:<14}", "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in cells))


async def main() -> None:
    """Run the parts asked for, print them, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--only", default="cost,keep,stall,users,capacity")
    parser.add_argument("--out", type=Path, default=Path("loadgen-benchmark.json"))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        await serve()
    parts = {
        "cost": lambda: cost(options.seconds, options.seed, options.rounds),
        "keep": lambda: keep(options.seconds, options.seed),
        "stall": lambda: stall(options.seed), "users": lambda: users(options.users, options.seed),
        "capacity": lambda: asyncio.to_thread(capacity, options.seed),
    }  # fmt: skip
    report: dict[str, Any] = {"environment": environment(options.seed)}
    for name in options.only.split(","):
        report[name] = await parts[name]()
        show(name, report[name])
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    asyncio.run(main())
