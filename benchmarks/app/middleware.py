"""What watching a request costs: CPU per request of one FastAPI route, bare and with each way of instrumenting it.

    python -m benchmarks.app.middleware [--requests 4000] [--rounds 5] [--json FILE]

Beside ours: prometheus-fastapi-instrumentator, and OpenTelemetry's FastAPI instrumentation exporting its spans in
batches over OTLP. Both exporters send to a sink in another process, whose CPU is not counted. Each variant is a server
process of its own, all of them up at once, asked in turn; the figure is the process's CPU, its threads' included. What
a variant adds is its median over the rounds less the bare route's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvicorn
from fastapi import FastAPI

from benchmarks.circumstances import circumstances
from benchmarks.closed_loop import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIANTS = ("bare", "tidegauge", "prometheus", "opentelemetry")
PACKAGES = ("fastapi", "uvicorn", "prometheus-fastapi-instrumentator", "opentelemetry-instrumentation-fastapi")
REQUEST = (
    b"GET /flights/42 HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\naccept: application/json\r\n\r\n"
)
CONNECTIONS = 8
WARM_REQUESTS = 500


def app_of(variant: str, sink_port: int) -> Any:
    """Return the ASGI application of a variant; exporters send to the sink on that port."""
    app = FastAPI()

    @app.get("/flights/{flight_id}")
    async def flight(flight_id: int) -> dict[str, int]:
        return {"flight_id": flight_id}

    if variant == "tidegauge":
        from collector.instrument import EventClient, RecordRequests

        client = EventClient(f"http://127.0.0.1:{sink_port}", service="bench", instance="bench-1")
        return RecordRequests(app, client=client, service="bench", instance="bench-1", version="1")
    if variant == "prometheus":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app).expose(app)
    if variant == "opentelemetry":
        _with_opentelemetry(app, sink_port)
    return app


def _with_opentelemetry(app: FastAPI, sink_port: int) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{sink_port}/v1/traces")))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)


def serve(variant: str, sink_port: int) -> None:
    """Serve a variant on a free port of loopback, and print the port."""
    # With the protocol named: asyncio sets TCP_NODELAY on no other socket, and every answer would wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app_of(variant, sink_port), log_level="warning", access_log=False, loop="asyncio")
    uvicorn.Server(config).run([listener])


class _Sink(BaseHTTPRequestHandler):
    """Takes what exporters send, and acknowledges it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = b'{"acknowledged": 1, "duplicate": false}' if self.path == "/v1/events" else b""
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def serve_sink() -> None:
    """Serve the sink on a free port of loopback, and print the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    print(server.server_address[1], flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


@contextmanager
def started(*arguments: str) -> Iterator[tuple[int, psutil.Process]]:
    """Yield the port and the process of this module run with arguments; end it afterwards."""
    command = [sys.executable, "-m", "benchmarks.app.middleware", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def cpu_microseconds_per_request(port: int, process: psutil.Process, *, requests: int) -> float:
    """Ask so many times, and return the CPU that one request took of the process, in microseconds."""
    before = process.cpu_times()
    counts = asyncio.run(ask(port, [REQUEST], connections=CONNECTIONS, total=requests))
    if set(counts) != {200}:
        raise SystemExit(f"expected {requests} answers of status 200, got {dict(counts)}")
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / requests * 1e6


def measure(*, requests: int, rounds: int) -> dict[str, list[float]]:
    """Return each variant's CPU per request, a figure for each round, in microseconds."""
    figures: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with ExitStack() as stack:
        sink_port, _ = stack.enter_context(started("--serve-sink"))
        servers = {one: stack.enter_context(started("--serve", one, "--sink", str(sink_port))) for one in VARIANTS}
        for port, process in servers.values():
            cpu_microseconds_per_request(port, process, requests=WARM_REQUESTS)
        for _ in range(rounds):
            for variant, (port, process) in servers.items():
                figures[variant].append(cpu_microseconds_per_request(port, process, requests=requests))
    return figures


def report(figures: dict[str, list[float]]) -> list[dict[str, object]]:
    """Return a row for each variant: median CPU, what it adds to the bare route, and that as a ratio to ours."""
    medians = {variant: statistics.median(values) for variant, values in figures.items()}
    ours = medians["tidegauge"] - medians["bare"]
    rows: list[dict[str, object]] = []
    for variant, median in medians.items():
        added = median - medians["bare"]
        rows.append(
            {
                "variant": variant,
                "cpu_us_per_request": round(median, 1),
                "spread_us": [round(min(figures[variant]), 1), round(max(figures[variant]), 1)],
                "added_us": round(added, 1),
                "added_relative_to_ours": round(added / ours, 2) if ours > 0 else None,
            }
        )
    return rows


def lines(rows: list[dict[str, object]]) -> list[str]:
    """Return the table."""
    table = [f"{'variant':<15}{'CPU us/request':>16}{'spread':>20}{'added us':>10}{'x ours':>8}"]
    for row in rows:
        cpu, spread, added, ratio = ("-" if row[name] is None else str(row[name]) for name in list(row)[1:])
        table.append(f"{row['variant']:<15}{cpu:>16}{spread:>20}{added:>10}{ratio:>8}")
    return table


def main() -> int:
    """Measure, print the table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000, help="of each variant in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve-sink", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_sink:
        serve_sink()
        return 0
    if arguments.serve:
        serve(arguments.serve, arguments.sink)
        return 0
    rows = report(measure(requests=arguments.requests, rounds=arguments.rounds))
    print("\n".join(lines(rows)))
    if arguments.json:
        about = circumstances(seed=0, packages=PACKAGES)
        arguments.json.write_text(json.dumps({"about": about, "middleware": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
