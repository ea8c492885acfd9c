"""Reports and Grafana over a real store: what they show is what SQL says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pypdfium2
import pytest
import typer
from typer.testing import CliRunner

from collector.catalog import Catalog, Cost, Service, read_catalog
from collector.clickhouse import ClickHouseSettings, Client, connect
from collector.record import store as record
from collector.sources.files import parse_csv
from forecaster.actuators.memory import MemoryCluster
from forecaster.api.app import ApiParts, build_app
from forecaster.commands import mount
from forecaster.loop.world import World
from forecaster.metrics import ForecasterMetrics
from forecaster.report.formats import Rendered
from forecaster.report.requests import ReportRequest, report_of
from forecaster.scores.score import Score
from forecaster.scores.score_store import write_scores
from forecaster.settings import Settings
from loadgen.shape import daily_weekly_rps
from tests.integration.dashboard_fixtures import create_tables, fill, present
from tests.integration.prometheus_fixtures import running_prometheus, write_past
from tests.integration.store_fixtures import shared_store_url
from tests.unit.forecaster_fakes import HPA
from tests.unit.grafana_dashboards import Query, expanded, queries
from tests.unit.test_grafana import KNOWN
from tidegauge.clock import Clock

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
TRACE = ROOT.parent / "shared" / "traces" / "appserver_cluster_hourly.csv"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Filled:
    """A record of two weeks and nine hours, up to `now`, and the service it is of."""

    client: Client
    service: Service
    now: datetime


@pytest.fixture(scope="module")
def filled(shared_store_url: str) -> Iterator[Filled]:
    client = connect(ClickHouseSettings(url=shared_store_url, database="tidegauge"))
    create_tables(client)
    now = present()
    service = read_catalog(ROOT / "tidegauge.yaml").service("reference-app")
    fill(client, service, now=now)
    start = (now - 3 * HOUR).replace(second=0)
    mark = record.Marker(service.name, "maintenance", start, start + 20 * timedelta(minutes=1), "upgrade", False, True)
    record.write_marker(client, mark)
    levels = (0.5, 0.95)
    score = Score(
        service.name, "24h", now - 2 * DAY, "m", "naive_week", timedelta(minutes=5), 10, 100.0, 5.0, 10.0, levels,
        (3.0, 1.0), (6.0, 2.0), (5, 9),
    )  # fmt: skip
    write_scores(client, [score], scored_at=now - DAY)
    yield Filled(client, service, now)
    client.close()


def report(filled: Filled, **asked: Any) -> tuple[Rendered, dict[str, Any]]:
    clock = Clock(read_real=lambda: filled.now.timestamp())
    request = ReportRequest(**{"kind": "capacity", "format": "json", **asked})
    made = report_of(filled.client, filled.service, request, clock=clock, settings=Settings())
    return made, json.loads(made.content) if made.format == "json" else {}


def values_of(document: dict[str, Any], table: str) -> dict[str, list[Any]]:
    """The raw values of a table by the text of its rows' first cells; the last table of that name."""
    (*_, found) = [
        block for section in document["sections"] for block in section["blocks"] if block.get("name") == table
    ]
    return {row[0]["text"]: [cell["value"] for cell in row[1:]] for row in found["rows"]}


def pictures(made: Rendered) -> list[np.ndarray]:
    pdf = pypdfium2.PdfDocument(made.content)
    found = [page.render(scale=0.6, grayscale=True).to_numpy() for page in pdf]
    pdf.close()
    return found


EXCLUDED = (
    " AND NOT arrayExists((a, b) -> toStartOfMinute(ts) >= a AND toStartOfMinute(ts) < b,"
    " (SELECT groupArray(toStartOfMinute(starts_at)) FROM markers FINAL WHERE excludes_slo),"
    " (SELECT groupArray(toDateTime(ceil(toUnixTimestamp64Milli(ends_at) / 60000) * 60)) FROM markers FINAL"
    " WHERE excludes_slo))"
)


# The report reads hours, and an hour in which a load test ran is not the users'.
TESTED = (
    " AND NOT arrayExists((a, b) -> ts >= toStartOfHour(a) AND ts < toStartOfHour(b) + INTERVAL 1 HOUR,"
    " (SELECT groupArray(started_at) FROM load_runs FINAL WHERE service = {service:String}),"
    " (SELECT groupArray(ended_at) FROM load_runs FINAL WHERE service = {service:String}))"
)


def test_slo_figures_of_the_report_are_those_of_the_events(filled: Filled) -> None:
    _, document = report(filled)
    row = values_of(document, "SLO compliance")["availability"]
    ((valid, good),) = filled.client.query_rows(
        "SELECT count(), countIf(status < 500) FROM request_events WHERE service = {service:String}"
        " AND ts < fromUnixTimestamp({until:Int64})" + EXCLUDED,
        {"service": filled.service.name, "until": int(filled.now.timestamp()) + 60},
    )
    assert valid > 10_000
    assert (row[4], row[5], row[1]) == (good, valid, pytest.approx(good / valid))


def test_demand_of_the_report_is_that_of_the_tables(filled: Filled) -> None:
    _, document = report(filled)
    end = int(filled.now.timestamp() - 1.5) // 3600 * 3600
    rows = filled.client.query_rows(
        "SELECT formatDateTime(ts, '%b %Y') AS month, sum(value) FROM ("
        " SELECT ts, value FROM demand_imported FINAL WHERE service = {service:String}"
        " UNION ALL SELECT ts, value FROM demand_recorded FINAL WHERE service = {service:String})"
        " WHERE ts < fromUnixTimestamp({end:Int64})" + TESTED + " GROUP BY month",
        {"service": filled.service.name, "end": end},
    )
    shown = {month: cells[0] for month, cells in values_of(document, "Demand by month").items()}
    assert shown == {month: pytest.approx(total) for month, total in rows}


def test_decisions_and_replicas_of_the_report_are_those_of_the_tables(filled: Filled) -> None:
    _, document = report(filled)
    ((raised, lowered),) = filled.client.query_rows(
        "SELECT countIf(floor_after > floor_before), countIf(floor_after < floor_before) FROM decisions"
        " WHERE service = {service:String} AND applied",
        {"service": filled.service.name},
    )
    shown = values_of(document, "Decisions of the last 30 days")
    assert (shown["Floors raised"], shown["Floors lowered"]) == ([raised], [lowered])
    assert raised > 0
    ((mean,),) = filled.client.query_rows(
        "SELECT avg(last) FROM (SELECT argMax(current, ts) AS last FROM replica_states WHERE service = {service:String}"
        " AND ts < fromUnixTimestamp({until:Int64}) GROUP BY intDiv(toUnixTimestamp(ts), 300))",
        {"service": filled.service.name, "until": int(filled.now.timestamp())},
    )
    cost = values_of(document, "Cost per month")["Now"][0]
    assert cost == pytest.approx(mean * 730.5 * 0.10, rel=0.02)  # the last state holds until now only
    assert values_of(document, "Forecast quality of the last month")["to 24h"][:2] == [1, 0.5]  # 1 - 4 / 8


def test_an_sla_report_counts_each_route_as_sql_does(filled: Filled) -> None:
    month = (filled.now - timedelta(minutes=1)).date().replace(day=1)
    made, document = report(filled, kind="sla", month=month)
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    rows = filled.client.query_rows(
        "SELECT route, countIf(status < 500), count() FROM request_events WHERE service = {service:String}"
        " AND ts >= fromUnixTimestamp({since:Int64}) AND ts < fromUnixTimestamp({until:Int64})"
        + EXCLUDED
        + " GROUP BY route",
        {"service": filled.service.name, "since": int(first.timestamp()), "until": int(filled.now.timestamp())},
    )
    shown = {route: cells[4:6] for route, cells in values_of(document, "availability, by route").items()}
    assert shown == {route: [good, valid] for route, good, valid in rows}
    days = values_of(document, "SLI by day")
    assert sum(cells[0] is not None for cells in days.values()) in (1, 2)  # nine hours lie in one day or two
    assert values_of(document, "Excluded from SLOs")["maintenance"][2] == "upgrade"
    again, _ = report(filled, kind="sla", month=month)
    assert again.content == made.content


def test_a_month_without_valid_requests_is_said_and_nothing_is_drawn_of_it(filled: Filled) -> None:
    long_ago = (filled.now - 100 * DAY).date().replace(day=1)
    _, document = report(filled, kind="sla", month=long_ago)
    blocks = document["sections"][0]["blocks"]

    assert not [block for block in blocks if block["type"] == "chart"]
    said = {block["what"]: block["why"] for block in blocks if block["type"] == "missing"}
    assert said["Burn rate by day"] == "no valid requests in the month"
    assert blocks[0]["text"].endswith("No minute of the month is in the record.")
    (by_day,) = [section for section in document["sections"] if section["title"] == "By day"]
    assert [block["type"] for block in by_day["blocks"]] == ["missing"]


def test_a_report_as_of_an_instant_is_the_same_whenever_it_is_asked_for(filled: Filled) -> None:
    then = filled.now - HOUR
    first, _ = report(filled, as_of=then)
    late = replace(filled, now=filled.now + 10 * timedelta(minutes=1))
    again, _ = report(late, as_of=then)
    assert (again.digest, again.content) == (first.digest, first.content)
    newest, _ = report(filled)
    assert newest.digest != first.digest


def imported(filled: Filled, name: str, frame: pd.DataFrame, step: timedelta, **scaling: Any) -> Filled:
    record.write_imported_demand(
        filled.client,
        name,
        frame,
        step=step,
        source=f"{name}.csv",
        content_id=name.ljust(64, "0"),
        imported_at=filled.now,
    )
    assert filled.service.scaling is not None
    known = replace(
        filled.service, name=name, slos=(), cost=Cost(0.1, "EUR", 5000.0),
        scaling=replace(filled.service.scaling, name=name, **scaling),
    )  # fmt: skip
    return replace(filled, service=known)


def check_pages(made: Rendered) -> None:
    """A page must have ink, and none on its margins: nothing is cut off."""
    shown = pictures(made)
    assert len(shown) >= 4
    for page in shown:
        ink = page.reshape(page.shape[0], -1) < 200
        assert ink.any()
        edge = round(0.6 * 72 * 10 / 25.4)  # ten of the fifteen millimetres of margin
        assert not ink[:, :edge].any()
        assert not ink[:, -edge:].any()


def test_a_report_of_the_demos_own_series_is_whole(filled: Filled) -> None:
    end = filled.now.replace(minute=0)
    rates = daily_weekly_rps(end - 170 * DAY, end, step=HOUR, peak_rps=170, seed=3)
    frame = pd.DataFrame({"ds": rates["timestamp"], "value": rates["rps"] * 3600})
    shop = imported(filled, "synthetic", frame, HOUR)
    made, document = report(shop, horizon=30 * DAY)
    floors = values_of(document, "Recommended floor by hour of the week")
    # The shape's evening peak of a working day is near 19:30, its night at 0.12 of it.
    assert floors["Wed"][19] == max(floors["Wed"])
    assert floors["Wed"][3] < floors["Wed"][12] < floors["Wed"][19]
    assert floors["Sun"][19] < floors["Wed"][19]
    # 170 requests/s and the noise of the days, at 12 each: 14.2, and up to a fifth more.
    assert 15 <= floors["Wed"][19] <= 18
    growth = values_of(document, "Growth")["Per week"]
    assert growth[1] <= 0.005 and growth[2] >= -0.005  # noqa: PT018 - it does not grow: its interval holds about zero
    assert "carries the next 30 days" in document["sections"][0]["blocks"][0]["text"]
    pdf, _ = report(shop, horizon=30 * DAY, format="pdf")
    assert pdf.digest == made.digest
    check_pages(pdf)


def test_a_report_of_a_real_trace_is_whole(filled: Filled) -> None:
    if not TRACE.exists():
        pytest.skip(f"the trace {TRACE.name} is not in ../shared/traces")
    trace = parse_csv(TRACE).frame
    shift = pd.Timestamp(filled.now.replace(minute=0)) - trace["ds"].iloc[-1]
    whole_weeks = shift // pd.Timedelta(weeks=1) * pd.Timedelta(weeks=1)
    newest = trace[trace["ds"] > trace["ds"].iloc[-1] - pd.Timedelta(days=1000)]
    frame = pd.DataFrame({"ds": newest["ds"] + whole_weeks, "value": newest["value"]}).reset_index(drop=True)
    peak = float(frame["value"].tail(24 * 30).max()) / 3600
    shop = imported(filled, "trace", frame, HOUR, capacity_rps=(peak / 10, peak / 9), max_replicas=12)
    made, document = report(shop, horizon=90 * DAY)
    (busiest,) = [
        one["cell"]["value"]
        for one in document["sections"][0]["blocks"][1]["figures"]
        if one["label"] == "Busiest hour, 30 days"
    ]
    since = int((filled.now - 30 * DAY).timestamp())
    ((highest,),) = filled.client.query_rows(
        "SELECT max(value) / 3600 FROM demand_imported FINAL WHERE service = 'trace'"
        " AND ts >= fromUnixTimestamp({s:Int64})",
        {"s": since},
    )
    assert busiest == pytest.approx(highest)
    (day,) = [cells for level, cells in values_of(document, "The day on which max is passed").items() if level == "p50"]
    assert day[0] is None or filled.now.date().isoformat() <= day[0]
    assert all(math.isfinite(cells[1]) for cells in values_of(document, "Peaks ahead").values())
    pdf, _ = report(shop, horizon=90 * DAY, format="pdf")
    assert pdf.digest == made.digest
    check_pages(pdf)


async def test_the_api_answers_with_the_report_and_refuses_what_it_cannot_say(filled: Filled) -> None:
    clock = Clock(read_real=lambda: filled.now.timestamp())
    world = World(filled.client, clock, MemoryCluster({"reference-app": HPA}), Settings())
    catalog = Catalog({"reference-app": filled.service})
    from contextlib import nullcontext

    parts = ApiParts(catalog, ForecasterMetrics(clock, Settings()), lambda: world, lambda: None, nullcontext)
    made, _ = report(filled)
    transport = httpx.ASGITransport(build_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://forecaster") as http:
        answer = await http.get("/v1/reports/reference-app", params={"format": "json"})
        assert (answer.status_code, answer.content) == (200, made.content)
        assert answer.headers["x-tidegauge-inputs-sha256"] == made.digest
        page = await http.get("/v1/reports/reference-app", params={"horizon": "30d"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-disposition"].startswith("inline; ")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for query in ("format=doc", "kind=weather", "horizon=400d", "kind=sla&month=2200-01", "kind=sla&month=May"):
            refused = await http.get(f"/v1/reports/reference-app?{query}")
            assert refused.status_code == 422, query
            assert "expected" in refused.json()["error"]
        assert (await http.get("/v1/reports/nobody")).status_code == 404


def test_the_command_writes_files_and_says_what_it_rests_on(
    filled: Filled, shared_store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(ROOT / "tidegauge.yaml"))
    app, runner = typer.Typer(), CliRunner()
    mount(app)
    then = f"{filled.now - HOUR:%Y-%m-%dT%H:%M:%SZ}"
    out = tmp_path / "capacity.json"
    asked = ["report", "reference-app", "--format", "json", "--as-of", then]
    result = runner.invoke(app, [*asked, "--out", str(out)])
    assert result.exit_code == 0, result.output
    digest = json.loads(out.read_text())["inputs_sha256"]
    assert f"wrote {out} (inputs SHA-256 {digest})" in result.stderr
    assert runner.invoke(app, asked).stdout_bytes == out.read_bytes()
    month = f"{filled.now - timedelta(minutes=1):%Y-%m}"
    folder = runner.invoke(app, ["report", "sla", "--month", month, "--format", "csv", "--out", str(tmp_path)])
    assert folder.exit_code == 0, folder.output
    assert [path.suffix for path in tmp_path.iterdir() if "sla" in path.name] == [".csv"]
    for wrong, words in (
        (["reference-app", "--format", "doc"], "--format: expected html, pdf, md, csv, json, got 'doc'"),
        (["reference-app", "--horizon", "2y"], "--horizon: expected 1d to 366d"),
        (["reference-app", "--as-of", "2200-01-01"], "expected an instant up to now"),
        (["sla", "--month", "soon"], "--month: expected a month such as 2026-10"),
        (["nobody"], "no service 'nobody'"),
    ):
        refused = runner.invoke(app, ["report", *wrong])
        assert refused.exit_code == 2, wrong
        assert words in refused.stderr
        assert refused.stderr.count("\n") == 1


SQL = [query for query in queries() if query.kind == "sql"]
MAY_BE_EMPTY = {"Alerts"}  # the fixture raises none


@pytest.mark.parametrize("query", SQL, ids=lambda query: f"{query.dashboard}: {query.panel}")
def test_every_query_of_the_grafana_dashboards_runs_and_finds_what_is_there(filled: Filled, query: Query) -> None:
    text = expanded(
        query.text, service=filled.service.name, since=filled.now - 5 * DAY, until=filled.now, interval_seconds=300
    )
    found = filled.client.query_frame(text)
    if query.panel in MAY_BE_EMPTY:
        return
    assert len(found) > 0
    if query.series:
        assert found.columns[0] == "time"
        assert found["time"].is_monotonic_increasing
        known = found.drop(columns="time").select_dtypes("number")
        assert query.panel == "Markers" or known.notna().any().any()


PROMQL = [query for query in queries() if query.kind == "promql"]
SHOWN = {"service": "reference-app", "state": "ready", "bound": "low", "quantile": "0.95"}  # as the panels name them


def scraped(now: int) -> str:
    """Two hours of every metric that a panel names, each sample 60 more than that of a minute before."""
    begin, counted = now - 7200, []
    for name in sorted({name for query in PROMQL for name in re.findall(r"tidegauge_\w+", query.text)}):
        given = {label: SHOWN.get(label, "x") for label in KNOWN[name]} | (
            {} if "le" not in KNOWN[name] else {"le": ""}
        )
        outcomes = [{"result": each} for each in ("good", "valid")] if "result" in given else [{}]
        buckets = [{"le": each} for each in ("0.1", "+Inf")] if name.endswith("_bucket") else [{}]
        for outcome, bucket in product(outcomes, buckets):
            labels = {**given, **outcome, **bucket}
            told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
            counted += [f"{name}{{{told}}} {at - begin} {at}" for at in range(begin, now + 1, 60)]
    return "\n".join(counted) + "\n# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder, now = tmp_path_factory.mktemp("prometheus"), int(datetime.now(UTC).timestamp()) // 60 * 60
    write_past(folder / "data", scraped(now))
    with running_prometheus(folder) as url:
        yield url, now


@pytest.mark.parametrize("query", PROMQL, ids=lambda query: f"{query.dashboard}: {query.panel}: {query.text[:40]}")
def test_every_promql_query_of_the_grafana_dashboards_finds_its_series(
    prometheus: tuple[str, int], query: Query
) -> None:
    url, now = prometheus
    asked = query.text.replace("$service", SHOWN["service"])
    answer = httpx.get(f"{url}/api/v1/query", params={"query": asked, "time": now}).json()
    assert answer["status"] == "success", answer
    found = answer["data"]["result"]
    assert found
    assert all(label in each["metric"] for each in found for label in re.findall(r"{{(\w+)}}", query.legend))
    value = float(found[0]["value"][1])
    if "histogram_quantile" in asked:  # all buckets grow alike: all observations lie in the lowest one, to 0.1
        assert value == pytest.approx(0.095)
    elif " / " in asked or "rate(" in asked:
        assert value == pytest.approx(1.0)  # one a second; good and valid alike
    elif "increase(" in asked:
        assert value == pytest.approx(3600)
    else:
        assert value == 7200
