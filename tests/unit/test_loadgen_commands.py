"""`tidegauge load`: its options, its refusals, and a shape that the generator reads back."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadgen.__main__ import instant, parse_options
from loadgen.commands import mount, span
from loadgen.curve import read_curve
from loadgen.results import Histogram, Tally
from loadgen.runs.summary import k6_lines


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    mount(app)
    return app


def test_a_duration_has_a_unit() -> None:
    assert [span(text) for text in ("500ms", "30s", "1.5m", "1h")] == [
        timedelta(milliseconds=500), timedelta(seconds=30), timedelta(seconds=90), timedelta(hours=1),
    ]  # fmt: skip
    with pytest.raises(typer.BadParameter, match="such as 30s"):
        span("30")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "http://shop.example", "--rps", "1", "--duration", "1s"], "TIDEGAUGE_LOAD_ALLOWED_HOSTS"),
        (["--target", "http://localhost:1", "--rps", "9999", "--duration", "1s"], "TIDEGAUGE_LOAD_MAX_RPS"),
        (["--target", "http://localhost:1", "--rps", "1", "--duration", "9h"], "at most 4:00:00"),
        (["--target", "http://localhost:1", "--rps", "1", "--duration", "soon"], "such as 30s"),
        (["--target", "http://localhost:1", "--rps", "1", "--duration", "1s", "--service", "a"], "COLLECTOR_URL"),
    ],
)
def test_a_run_beyond_its_limits_is_misuse(app: typer.Typer, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["load", "run", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_run_without_a_target_fails(app: typer.Typer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    arguments = ["--target", f"http://127.0.0.1:{port}", "--rps", "1", "--duration", "1s"]
    result = CliRunner().invoke(app, ["load", "run", *arguments])
    assert result.exit_code == 1
    assert "nobody listens" in result.stderr


def test_the_printed_shape_is_a_curve_that_the_generator_reads(app: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    arguments = ["--peak-rps", "10", "--days", "2", "--first-day", "2026-11-16", "--step", "5m", "--out", str(file)]
    assert CliRunner().invoke(app, ["load", "shape", *arguments]).exit_code == 0
    curve = read_curve(file)
    assert curve.at_seconds.size == 2 * 288
    assert 8 < curve.highest_rps() < 12


def test_the_summary_speaks_k6_and_says_no_data_where_there_is_none() -> None:
    # 2^(80/8) = 1024 us and 2^(160/8) = 1048576 us; the median of four is the second.
    tally = Tally(intended=5, done=3, failed=1, unsent=1, response=Histogram({80: 2, 160: 2}), reasons={"http_503": 1})
    text = "\n".join(k6_lines(tally, seconds=2.0))
    assert "http_req_duration ...... p50=1.02ms  p95=1048.58ms" in text
    assert "http_req_failed ........ 25.00%  1 of 4" in text
    assert "http_reqs .............. 4  2.00/s" in text
    assert "dropped_iterations ..... 1  (unsent, of 5 intended)" in text
    assert "no data" in "\n".join(k6_lines(Tally(), seconds=0.0))


def test_the_supervised_options_are_read_from_arguments_and_environment(tmp_path: Path) -> None:
    arguments = ["--target", "http://127.0.0.1:8000", "--out", str(tmp_path), "--until", "2026-11-22T00:00:00Z"]
    options = parse_options(arguments, {"TIDEGAUGE_COLLECTOR_URL": "http://127.0.0.1:9400/"})
    assert options.until == 1_795_305_600
    assert options.collector_url == "http://127.0.0.1:9400"
    assert (options.kind, options.seed, options.curve_file, options.run_id) == ("poisson", 0, None, None)
    with pytest.raises(ValueError, match="offset"):
        instant("2026-11-22T00:00:00")
