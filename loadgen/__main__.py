"""`python -m loadgen`: follows a curve against one target until told to stop; `serve`: see `loadgen.server.serve`.

Reads the clock from TIDEGAUGE_CLOCK, the collector from TIDEGAUGE_COLLECTOR_URL (none: nothing is reported), limits
from TIDEGAUGE_LOAD_ALLOWED_HOSTS and TIDEGAUGE_LOAD_MAX_RPS. Exit 0: done or stopped; 1: failed; 2: misused.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from loadgen.generator import ChildFailedError
from loadgen.safety import check_target, limits_from_environment
from loadgen.server.serve import serve
from loadgen.supervised import Options, follow_curve
from tidegauge.clock import Clock, clock_from_environment

log = logging.getLogger("loadgen")


def instant(text: str) -> float:
    """Return the epoch seconds of an ISO 8601 instant with an offset, or of a number of epoch seconds."""
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"expected an instant with an offset or Z, got {text!r}") from None
        return moment.timestamp()
    if not math.isfinite(seconds):
        raise ValueError(f"expected epoch seconds, got {text!r}")
    return seconds


def rate(text: str) -> float:
    """Return a rate above zero."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"expected more than 0 requests per second, got {text!r}")
    return value


def parse_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options. Raises UnsafeLoadError for a target that is not allowed; argparse exits with 2 on misuse."""
    parser = argparse.ArgumentParser(prog="python -m loadgen", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", required=True, metavar="URL", help="http://HOST:PORT")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the run's files; a run goes on there")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--curve", type=Path, metavar="FILE.csv", help="timestamp,rps by the clock in use")
    source.add_argument("--peak-rps", type=rate, default=1.0, metavar="X", help="peak of the own shape, by the clock")
    parser.add_argument("--arrivals", choices=("poisson", "uniform"), default="poisson")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--service", default="reference-app")
    parser.add_argument("--run-id", default=None)
    parser.add_argument("--until", type=instant, metavar="CLOCKTIME", help="ISO 8601 or epoch seconds, by the clock")
    chosen = parser.parse_args(arguments)
    limits = limits_from_environment(environ)
    return Options(
        target=check_target(chosen.target, limits),
        out=chosen.out,
        limits=limits,
        service=chosen.service,
        curve_file=chosen.curve,
        peak_rps=chosen.peak_rps,
        kind=chosen.arrivals,
        seed=chosen.seed,
        run_id=chosen.run_id,
        until=chosen.until,
        collector_url=(environ.get("TIDEGAUGE_COLLECTOR_URL") or "").rstrip("/") or None,
    )


async def run(options: Options, clock: Clock) -> None:
    """Follow the curve; SIGTERM and Ctrl-C stop it in good order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await follow_curve(options, clock, stop)


def main() -> int:
    """Run the command line; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each report
    try:
        if sys.argv[1:2] == ["serve"]:
            return serve(os.environ)
        options = parse_options(sys.argv[1:], os.environ)
        asyncio.run(run(options, clock_from_environment(os.environ)))
    except ValueError as error:  # every edge's own error is one
        log.error("%s", error)  # noqa: TRY400 - the message says it all, a traceback would hide it
        return 2
    except (ChildFailedError, OSError) as error:
        log.error("%s", error)  # noqa: TRY400 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
