"""The commands on files: shapes, origins, and one clear line for whatever was asked amiss."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from forecaster.commands import mount

START = datetime(2026, 4, 20, tzinfo=UTC)
HOURS = 14 * 24


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    mount(app)
    return app


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two weeks of hourly requests: a daily wave between 1,000 and 5,000."""
    path = tmp_path / "shop.csv"
    lines = ["timestamp,value"]
    for hour in range(HOURS):
        value = 3000 - 2000 * math.cos(2 * math.pi * hour / 24)
        lines.append(f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ},{value:.1f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_is_forecast_from_its_end_in_its_own_step(app: typer.Typer, csv: Path) -> None:
    result = CliRunner().invoke(app, ["forecast", "--csv", str(csv), "--quantiles", "0.1,0.5,0.9", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["series"], answer["step_seconds"]) == ("shop", 3600)
    [forecast] = answer["forecasts"]
    assert forecast["origin"] == "2026-05-04T00:00:00Z"  # 14 days after 20 April
    assert [point["ds"] for point in forecast["points"]][:2] == ["2026-05-04T00:00:00Z", "2026-05-04T01:00:00Z"]
    assert len(forecast["points"]) == 24
    for point in forecast["points"]:
        assert list(point["q"]) == ["0.1", "0.5", "0.9"]
        assert point["q"]["0.1"] <= point["q"]["0.5"] <= point["q"]["0.9"]
    # The wave repeats itself: at noon 5,000, at midnight 1,000.
    assert forecast["points"][12]["q"]["0.5"] == pytest.approx(5000, rel=0.1)
    assert forecast["points"][0]["q"]["0.5"] == pytest.approx(1000, rel=0.1)


def test_each_as_of_gets_an_answer_floored_to_the_grid_in_the_order_asked(app: typer.Typer, csv: Path) -> None:
    asked = ["--as-of", "2026-05-03T06:30:00Z", "--as-of", "2026-05-01"]
    result = CliRunner().invoke(app, ["forecast", "--csv", str(csv), "--horizon", "2h", *asked, "--json"])
    forecasts = json.loads(result.stdout)["forecasts"]
    assert [forecast["origin"] for forecast in forecasts] == ["2026-05-03T06:00:00Z", "2026-05-01T00:00:00Z"]
    assert [len(forecast["points"]) for forecast in forecasts] == [2, 2]


def test_a_forecast_sees_nothing_from_its_origin_on(app: typer.Typer, csv: Path, tmp_path: Path) -> None:
    header, *rows = csv.read_text().splitlines()
    changed = [header, *(row.split(",")[0] + ",99999" if row >= "2026-05-01T" else row for row in rows)]
    other = tmp_path / "other" / "shop.csv"
    other.parent.mkdir()
    other.write_text("\n".join(changed))
    asked = ["--as-of", "2026-05-01T00:00:00Z", "--json"]
    answers = [CliRunner().invoke(app, ["forecast", "--csv", str(path), *asked]).stdout for path in (csv, other)]
    assert answers[0] == answers[1]


def test_people_get_a_table_and_a_chart(app: typer.Typer, csv: Path) -> None:
    result = CliRunner().invoke(app, ["forecast", "--csv", str(csv)])
    assert result.exit_code == 0
    assert "q0.95" in result.stdout
    assert "█" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "exactly one of SERVICE and --csv"),
        (["shop", "--csv", "CSV"], "exactly one of SERVICE and --csv"),
        (["--csv", "CSV", "--quantiles", "0.5,1.5"], "--quantiles: expected"),
        (["--csv", "CSV", "--horizon", "soon"], "--horizon: expected a span"),
        (["--csv", "CSV", "--as-of", "yesterday"], "--as-of: expected an instant"),
        (["--csv", "CSV", "--as-of", "2027-01-01"], "--as-of from 2026-04-20T01:00:00Z to 2026-05-04T00:00:00Z"),
        (["--csv", "CSV", "--as-of", "2026-04-20"], "--as-of from 2026-04-20T01:00:00Z"),
        (["--csv", "nowhere.csv"], "nowhere.csv: expected a readable file"),
    ],
)
def test_what_is_asked_amiss_gets_one_clear_line_and_exit_2(
    app: typer.Typer, csv: Path, arguments: list[str], words: str
) -> None:
    result = CliRunner().invoke(app, ["forecast", *(str(csv) if part == "CSV" else part for part in arguments)])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_malformed_line_is_refused_with_file_and_number(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("timestamp,value\n2026-05-01T00:00:00Z,1\n2026-05-01T01:00:00Z,many\n")
    result = CliRunner().invoke(app, ["forecast", "--csv", str(path)])
    assert result.exit_code == 2
    assert f"{path}: line 3: expected a number" in result.stderr


def test_an_unknown_service_is_named_with_the_known_ones(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "tidegauge.yaml"
    config.write_text("version: 1\nservices:\n  shop: {source: events}\n")
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(config))
    for command in (["forecast", "nobody"], ["plan", "nobody"], ["scale", "status", "nobody"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert "no service 'nobody'; known: shop" in result.stderr
    result = CliRunner().invoke(app, ["plan", "shop"])
    assert result.exit_code == 2
    assert "expected a `scaling` block" in result.stderr


def test_every_command_explains_itself_with_an_example(app: typer.Typer) -> None:
    for command in (["forecast"], ["plan"], ["backtest", "policy"], ["scale", "status"], ["scale", "history"]):
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert f"tidegauge {' '.join(command)}" in result.stdout


def test_forecasts_of_a_file_are_scored_beside_the_naive_ones(app: typer.Typer, csv: Path) -> None:
    arguments = ["backtest", "forecast", "--csv", str(csv), "--origins", "3", "--horizon", "12h"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["series"], report["step"], report["points"]) == ("shop", 3600.0, 36)  # 3 origins of 12 hours
    assert len(report["origins"]) == 3
    assert {model["model"] for model in report["models"]} >= {"ours", "naive_day", "naive_week", "holt_winters"}
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 0
    assert "naive_week" in table.stdout


def test_a_horizon_longer_than_the_last_third_is_refused_in_one_line(app: typer.Typer, csv: Path) -> None:
    result = CliRunner().invoke(app, ["backtest", "forecast", "--csv", str(csv), "--horizon", "30d"])
    assert result.exit_code == 2
    assert "expected a last third of 30 days" in result.stderr


def test_a_forecast_is_drawn_into_a_file_with_its_past_and_its_bands(
    app: typer.Typer, csv: Path, tmp_path: Path
) -> None:
    for name in ("shop.svg", "shop.html"):
        drawing = tmp_path / name
        result = CliRunner().invoke(app, ["forecast", "--csv", str(csv), "--chart", str(drawing), "--json"])
        assert result.exit_code == 0, result.output
        text = drawing.read_text()
        svg = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
        kinds = [element.get("class") for element in svg.iter() if element.get("class")]
        # Five quantiles: two bands around the median; one line of the past.
        assert (kinds.count("band"), kinds.count("median"), kinds.count("past")) == (2, 1, 1)
    refused = CliRunner().invoke(app, ["forecast", "--csv", str(csv), "--chart", "shop.png"])
    assert refused.exit_code == 2
    assert "expected a file ending in .svg or .html" in refused.stderr


def test_a_backtest_shows_the_models_named_and_draws_them(app: typer.Typer, csv: Path, tmp_path: Path) -> None:
    header, *rows = csv.read_text().splitlines()
    uneven = [
        f"{row.split(',')[0]},{float(row.split(',')[1]) + 7 * (hour * hour % 11)}" for hour, row in enumerate(rows)
    ]
    csv.write_text("\n".join([header, *uneven]))  # last week was not quite the same: the yardstick is not 0
    drawing = tmp_path / "skill.svg"
    arguments = ["backtest", "forecast", "--csv", str(csv), "--origins", "2", "--horizon", "6h", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--models", "naive_week,ours", "--chart", str(drawing)])
    assert result.exit_code == 0, result.output
    assert [model["model"] for model in json.loads(result.stdout)["models"]] == ["naive_week", "ours"]
    assert ElementTree.fromstring(drawing.read_text()) is not None
    refused = CliRunner().invoke(app, [*arguments, "--models", "oracle"])
    assert refused.exit_code == 2
    assert "--models: expected some of ours" in refused.stderr


def test_a_first_word_that_is_no_command_is_a_service(app: typer.Typer, csv: Path) -> None:
    plain = CliRunner().invoke(app, ["forecast", "--csv", str(csv), "--json"])
    shown = CliRunner().invoke(app, ["forecast", "show", "--csv", str(csv), "--json"])
    assert plain.stdout == shown.stdout != ""
    assert "tidegauge forecast scores" in CliRunner().invoke(app, ["forecast", "scores", "--help"]).stdout
