"""The supervisor with real processes: small scripts that start, die, hang and leave children."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tidegauge.part import Backoff, Part, PartEvent, Port, StackError, accepts_tcp
from tidegauge.remains import STACK_MARK, birth_of, find_marked
from tidegauge.supervisor import Supervisor

pytestmark = pytest.mark.server

QUICK = Backoff(first_seconds=0.01, limit_seconds=0.05)
SLEEPER = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
code = {SLEEPER!r}
same = subprocess.Popen([sys.executable, "-c", code])
own_session = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
open(sys.argv[1], "w").write(f"{{same.pid}} {{own_session.pid}}\\n")
time.sleep(600)
"""


def script(name: str, code: str, *arguments: str, **more) -> Part:
    return Part(name, [sys.executable, "-c", textwrap.dedent(code), *arguments], **more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(check: Callable[[], object | Awaitable[object]], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if await value if isinstance(value, Awaitable) else value:
            return
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


def pid_of(supervisor: Supervisor, name: str) -> int:
    return next(part["pid"] for part in supervisor.directory.read_state()["parts"] if part["name"] == name)


def is_file_of(path: Path) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return path.exists() and path.read_text().endswith("\n")

    return probe


def remains_of(data: Path) -> set:
    return find_marked({STACK_MARK: str(data.resolve())})


async def test_a_part_starts_when_what_it_needs_is_ready_and_stops_before_it(tmp_path):
    seen: list[tuple[str, str]] = []

    def hear(event: PartEvent) -> None:
        if event.state in ("ready", "stopped", "done"):
            seen.append((event.part.name, event.state))

    parts = [
        script("app", SLEEPER, depends_on=("prepare", "store")),
        script("prepare", "print('tables made')", depends_on=("store",), restart="once"),
        script("store", SLEEPER),
    ]
    async with Supervisor(tmp_path, on_event=hear, backoff=QUICK) as supervisor:
        await supervisor.start(parts)
    assert seen == [
        ("store", "ready"), ("prepare", "done"), ("app", "ready"), ("app", "stopped"), ("store", "stopped"),
    ]  # fmt: skip


async def test_a_killed_part_comes_back_and_its_port_answers_again(tmp_path):
    port = free_port()
    code = f"""
        import socket
        s = socket.create_server(("127.0.0.1", {port}))
        while True: s.accept()[0].close()
    """
    part = script("server", code, ready=accepts_tcp(port), ports=(Port(port, "X_PORT"),))
    async with Supervisor(tmp_path, backoff=QUICK) as supervisor:
        await supervisor.start([part])
        first = pid_of(supervisor, "server")
        os.kill(first, signal.SIGKILL)
        await until(lambda: pid_of(supervisor, "server") not in (first, None))
        await until(accepts_tcp(port))
        state = json.loads((tmp_path / "stack.json").read_text())["parts"][0]
        assert (state["restarts"], state["last_exit"]) == (1, -signal.SIGKILL)
    assert not await accepts_tcp(port)()


async def test_waits_before_restarts_double_up_to_the_limit(tmp_path):
    waits: list[str] = []

    def hear(event: PartEvent) -> None:
        if event.state == "restarting":
            waits.append(event.detail)

    # first 0.1 s, limit 0.4 s: 0.1, 0.2, 0.4, 0.4; it counts as ready for an instant each time, never as healthy
    backoff = Backoff(first_seconds=0.1, limit_seconds=0.4)
    async with Supervisor(tmp_path, on_event=hear, backoff=backoff) as supervisor:
        await supervisor.start([script("dies", "import sys, time; time.sleep(0.3); sys.exit(3)")])
        await until(lambda: len(waits) >= 4)
    assert waits[:4] == [f"ended with exit code 3; again in {seconds} s" for seconds in ("0.1", "0.2", "0.4", "0.4")]


async def test_a_part_that_never_becomes_ready_fails_the_start_with_its_last_words(tmp_path):
    bad = script("bad", "print('no such table: flights'); raise SystemExit(1)", ready=accepts_tcp(free_port()))
    with pytest.raises(StackError, match=r"bad ended with exit code 1, 3 times in a row(.|\n)*no such table: flights"):
        async with Supervisor(tmp_path, backoff=QUICK) as supervisor:
            await supervisor.start([bad, script("other", SLEEPER), script("after", SLEEPER, depends_on=("bad",))])
    assert remains_of(tmp_path) == set()


async def test_a_part_that_runs_but_does_not_answer_is_given_up_after_its_deadline(tmp_path):
    mute = script("mute", SLEEPER, ready=accepts_tcp(free_port()), ready_seconds=0.1)
    with pytest.raises(StackError, match=r"mute was not ready in 0\.1 s, 3 times in a row"):
        async with Supervisor(tmp_path, backoff=QUICK) as supervisor:
            await supervisor.start([mute])


async def test_children_of_a_killed_part_go_with_it_even_in_a_session_of_their_own(tmp_path):
    note = tmp_path / "children"
    async with Supervisor(tmp_path / "data", backoff=Backoff(first_seconds=60)) as supervisor:
        await supervisor.start([script("parent", PARENT, str(note), ready=is_file_of(note))])
        children = [int(word) for word in note.read_text().split()]
        assert all(birth_of(pid) for pid in children)
        os.kill(pid_of(supervisor, "parent"), signal.SIGKILL)
        await until(lambda: not any(birth_of(pid) for pid in children))


async def test_a_stop_leaves_nothing_of_a_deaf_part_nor_of_its_children(tmp_path):
    note = tmp_path / "children"
    parts = [
        script("parent", PARENT, str(note), ready=is_file_of(note)),
        script("deaf", DEAF, stop_seconds=0.1, ready=is_file_of(tmp_path / "data" / "logs" / "deaf.log")),
    ]
    async with Supervisor(tmp_path / "data", backoff=QUICK) as supervisor:
        await supervisor.start(parts)
        pids = [pid_of(supervisor, "parent"), pid_of(supervisor, "deaf"), *map(int, note.read_text().split())]
    assert [pid for pid in pids if birth_of(pid)] == []
    assert remains_of(tmp_path / "data") == set()
    assert not (tmp_path / "data" / "lock").exists()


async def test_parts_are_restarted_changed_stopped_and_added_while_others_run(tmp_path):
    async with Supervisor(tmp_path, backoff=QUICK) as supervisor:
        await supervisor.start([script("store", SLEEPER), script("collector", SLEEPER)])
        store = pid_of(supervisor, "store")
        changed = script("collector", "import os, time; print(os.environ['CLOCK'], flush=True); time.sleep(600)",
                         environment={"CLOCK": "sixty times faster"})  # fmt: skip
        await supervisor.restart("collector", changed)
        await until(lambda: "sixty times faster" in supervisor.directory.last_lines("collector"))
        await supervisor.start([script("loadgen", SLEEPER, depends_on=("collector",))])
        await supervisor.stop("loadgen")
        names = [part["name"] for part in supervisor.directory.read_state()["parts"]]
        assert names == ["store", "collector"]
        assert pid_of(supervisor, "store") == store
        with pytest.raises(StackError, match="no part is called loadgen"):
            await supervisor.stop("loadgen")


async def test_a_second_stack_in_the_same_directory_is_told_who_holds_it(tmp_path):
    async with Supervisor(tmp_path):
        with pytest.raises(StackError, match=rf"another Tidegauge stack \(pid {os.getpid()}\)"):
            async with Supervisor(tmp_path):
                pass
    async with Supervisor(tmp_path):
        pass


async def test_a_need_that_does_not_exist_and_a_circle_are_refused_before_anything_starts(tmp_path):
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(StackError, match="app depends on store, which is no part"):
            await supervisor.start([script("app", SLEEPER, depends_on=("store",))])
        with pytest.raises(StackError, match="in a circle"):
            await supervisor.start([script("a", SLEEPER, depends_on=("b",)), script("b", SLEEPER, depends_on=("a",))])


SUPERVISING = """
import asyncio, sys
from pathlib import Path
from tidegauge.part import Part
from tidegauge.supervisor import Supervisor

async def run():
    async with Supervisor(Path(sys.argv[1])) as supervisor:
        supervisor.listen_to_signals()
        sleeper = Part("sleeper", [sys.executable, "-c", sys.argv[2]])
        parent = Part("parent", [sys.executable, "-c", sys.argv[3], sys.argv[4]])
        await supervisor.unless_stopped(supervisor.start([sleeper, parent]))
        print("up", flush=True)
        await supervisor.stop_asked.wait()

asyncio.run(run())
"""


async def started_supervisor(data: Path) -> asyncio.subprocess.Process:
    note = data.with_name("children")
    arguments = [str(data), SLEEPER, PARENT, str(note)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISING, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"up\n"
    await until(is_file_of(note))
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_stack_and_leaves_no_process_and_no_lock(tmp_path, number):
    process = await started_supervisor(tmp_path / "data")
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert remains_of(tmp_path / "data") == set()
    assert not (tmp_path / "data" / "lock").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent was killed")
async def test_parts_die_with_a_killed_supervisor_and_the_next_one_clears_their_children(tmp_path):
    process = await started_supervisor(tmp_path / "data")
    parts = json.loads((tmp_path / "data" / "stack.json").read_text())["parts"]
    process.kill()
    await process.wait()
    await until(lambda: not any(birth_of(part["pid"]) for part in parts))
    assert len(remains_of(tmp_path / "data")) == 2  # the part's own children: the kernel tells direct ones only
    async with Supervisor(tmp_path / "data"):
        assert remains_of(tmp_path / "data") == set()


async def test_a_recorded_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path):
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEPER)
    birth = birth_of(stranger.pid)
    assert birth
    earlier = {"name": "app", "pid": stranger.pid, "born": birth.born - 1}
    (tmp_path / "stack.json").write_text(json.dumps({"parts": [earlier]}))
    async with Supervisor(tmp_path):
        assert birth_of(stranger.pid) == birth
    stranger.kill()
    await stranger.wait()
