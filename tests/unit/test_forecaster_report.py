"""The capacity report: every figure by hand, the same in every format, and nothing unknown drawn as zero."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pypdfium2
import pytest

from collector.record.store import Marker
from forecaster.calendar.types import Event
from forecaster.report.capacity_report import capacity_report
from forecaster.report.digest import canonical, sha256_of
from forecaster.report.document import Document, KeyFigures, Missing, Table
from forecaster.report.formats import FORMATS, MEDIA_TYPES, Rendered, parse_format, render
from forecaster.savings import Day
from forecaster.scores.score import Summary
from forecaster.store import StoredBacktest
from tests.unit.forecaster_fakes import a_decision, a_stored
from tests.unit.report_fakes import DAY, HOUR, NOW, flat_demand, inputs, nothing, replica_states


class Page(HTMLParser):
    """What a browser would show: the cells of every table by caption, all words, and every address it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.words, self.loads, self.tags = "", [], []
        self._inside: str | None = None
        self._caption = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value for name, value in attrs if name in ("src", "href") and value and not value.startswith("#")
        ]
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in ("td", "th"):
            self.tables[self._caption][-1].append("")
        if tag == "caption":
            self._caption = ""
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._inside == "caption":
            self._caption += data
        if self._inside in ("td", "th"):
            self.tables[self._caption][-1][-1] += data


def figures_of(document: Document) -> dict[str, str]:
    (found,) = [block for block in document.sections[0].blocks if isinstance(block, KeyFigures)]
    return {one.label: one.cell.text for one in found.figures}


def table_of(document: Document, name: str) -> Table:
    (found,) = [
        block for section in document.sections[1:] for block in section.blocks
        if isinstance(block, Table) and block.name == name
    ]  # fmt: skip
    return found


def missing_of(document: Document) -> dict[str, str]:
    return {
        block.what: block.why
        for section in document.sections[1:]
        for block in section.blocks
        if isinstance(block, Missing)
    }


@pytest.fixture(scope="module")
def flat() -> Document:
    return capacity_report(inputs())


@pytest.fixture(scope="module")
def rendered(flat: Document) -> dict[str, Rendered]:
    return {form: render(flat, form) for form in FORMATS}


def test_the_first_page_has_the_figures_a_planner_signs(flat: Document) -> None:
    # 60 requests/s all the time against 20 x 12 = 240: three quarters are left. Five replicas at EUR 0.10 for
    # 365.25 / 12 * 24 = 730.5 h a month: EUR 365.25. The autoscaler aims at 10 per replica: six for 60, EUR 438.30.
    assert figures_of(flat) == {
        "Busiest hour, 30 days": "60 requests/s",
        "Highest p90 ahead": "60 requests/s",
        "Carried by max": "240 requests/s",
        "Headroom at that peak": "75.0%",
        "max passed, p50": "not in 30 days",
        "max passed, p90": "not in 30 days",
        "Cost per month, now": "EUR 365",
        "Cost per month, then": "EUR 438",
        # November up to the 16th: 15 days x 24 x 5 x 0.1 = 180; then 6 x 24 x 0.1 = 14.40 a day: 400 is passed by
        # the sixteenth of these days (180 + 15 x 14.40 = 396 on the 30th), and begins anew in December.
        "Budget passed, p50": "not in 30 days",
        "SLOs kept": "1 of 1",
    }


def test_recommended_replicas_are_those_that_carry_the_demand(flat: Document) -> None:
    # 60 at 12 each: five, at every hour of the week.
    rows = {row[0].text: [cell.value for cell in row[1:3]] for row in table_of(flat, "Recommended min and max").rows}
    assert rows == {"min": [2, 5], "max": [20, 5]}
    floors = table_of(flat, "Recommended floor by hour of the week")
    assert {cell.value for row in floors.rows for cell in row[1:]} == {5}
    assert (len(floors.rows), len(floors.columns)) == (7, 25)


def test_slo_compliance_states_counts_budget_and_coverage(flat: Document) -> None:
    (row,) = table_of(flat, "SLO compliance").rows
    # 995 of 1000 with a target of 0.99: half of the budget of 10 is spent; 21,600 of 43,200 minutes are recorded.
    assert [cell.value for cell in row[1:]] == [0.99, 0.995, "yes", pytest.approx(0.5), 995, 1000, "30 days", 0.5]


def test_a_budget_that_is_passed_is_dated() -> None:
    tight = inputs()
    cost = replace(tight.service.cost, monthly_budget=300.0)  # type: ignore[type-var]
    document = capacity_report(replace(tight, service=replace(tight.service, cost=cost)))
    # 180 are spent; 14.40 a day: 180 + 9 x 14.40 = 309.60 on the ninth day from 16 November, the 24th.
    assert figures_of(document)["Budget passed, p50"] == "Tue 24 Nov 2026"


def test_demand_above_max_is_dated_and_said_first() -> None:
    service = replace(inputs().service, scaling=replace(inputs().service.scaling, max_replicas=4))  # type: ignore[type-var]
    from zoneinfo import ZoneInfo

    from forecaster.outlook.outlook import outlook_of

    outlook = outlook_of(
        flat_demand(),
        zone=ZoneInfo("UTC"),
        origin=NOW,
        horizon=30 * DAY,
        quantiles=(0.5, 0.9, 0.95, 0.99),
        capacity=48.0,
    )
    document = capacity_report(inputs(service=service, outlook=outlook))
    assert (
        "is not enough for the next 30 days"
        in json.loads(render(document, "json").content)["sections"][0]["blocks"][0]["text"]
    )
    assert figures_of(document)["max passed, p50"] == "Mon 16 Nov 2026"  # 60 is above 48 from the first day on
    assert figures_of(document)["Headroom at that peak"] == "-25.0%"  # 1 - 60 / 48


def test_what_is_not_known_is_said_and_never_zero() -> None:
    document = capacity_report(nothing())
    figures = figures_of(document)
    assert figures["Busiest hour, 30 days"] == figures["Cost per month, now"] == figures["SLOs kept"] == "not known"
    missing = missing_of(document)
    assert missing["Demand so far"] == "no demand has been recorded or imported"
    assert missing["Cost now"] == "nobody has looked at the replicas of the last 30 days"
    assert set(missing) >= {"Peaks ahead", "Recommended replicas", "Forecast quality of the last month", "Gaps"}
    assert missing["Decisions of the last 30 days"].startswith("none is stored")
    for row in csv.DictReader(io.StringIO(render(document, "csv").content.decode())):
        if row["text"].startswith(("not known", "no valid")):
            assert row["value"] == ""


def test_events_ahead_are_named_with_what_is_declared_of_them() -> None:
    match = Event("match", NOW + 4 * DAY + 20 * HOUR, NOW + 4 * DAY + 22 * HOUR, factor=1.8, name="Final")
    document = capacity_report(inputs(events=(match,)))
    (row,) = [row for row in table_of(document, "Peaks ahead").rows if row[5].text]
    assert [cell.text for cell in row] == ["Fri 20 Nov 2026", "60", "60", "108", "0%", "Final"]
    # max: 108 at 12 each.
    assert [row[2].value for row in table_of(document, "Recommended min and max").rows] == [5, 9]


def test_what_scaling_did_and_saved_is_counted() -> None:
    raised = a_stored(a_decision(4), applied=True)
    lowered = a_stored(a_decision(4, floor_before=5, outcome="lower"), applied=True)
    failed = a_stored(a_decision(4), error="refused")
    report = {
        "reason": "better",
        "predictive": {"under_provisioned_seconds": 120.0, "replica_seconds": 7200.0},
        "reactive_only": {"under_provisioned_seconds": 5460.0, "replica_seconds": 3600.0},
    }
    backtest = StoredBacktest("shop", NOW, True, NOW - 7 * DAY, NOW, report)
    states = replica_states(4)
    states.loc[:11, "current"] = 8  # for the first hour
    document = capacity_report(inputs(decisions=(raised, raised, lowered, failed), backtest=backtest, states=states))
    assert [row[1].value for row in table_of(document, "Decisions of the last 30 days").rows] == [2, 1, 1, 0]
    saved = table_of(document, "Saved against the autoscaler alone")
    assert [[cell.value for cell in row[1:]] for row in saved.rows] == [[120.0, 2.0], [5460.0, 1.0]]
    # Eight all the time were 8 x 720 = 5760 replica-hours; 4 x 720 + 4 ran: 2876 were saved, EUR 288.
    text = render(document, "md").content.decode()
    assert "Against 8 replicas all the time, the most that ran at once, 2,876 replica-hours were saved, EUR 288" in text


def test_days_with_us_and_without_us_stand_before_the_backtest() -> None:
    one = Day((NOW - 2 * DAY).date(), 12.0, 3 * HOUR, 60.0, 600.0, 36_000.0, 72_000.0)
    document = capacity_report(inputs(days=(one, replace(one, day=(NOW - DAY).date()))))
    saved = table_of(document, "Saved against the autoscaler alone")
    # Two days: 120 s against 1,200 s; 72,000 s are 20 replica-hours at EUR 0.10, against 40.
    assert [[cell.value for cell in row[1:]] for row in saved.rows] == [[120.0, 20.0, 2.0], [1200.0, 40.0, 4.0]]
    assert "2 of the last 30 days" in saved.note
    assert "1,080 s fewer under-provisioned, +20.0 replica-hours saved" in saved.note


def test_forecast_quality_is_the_stored_scores() -> None:
    score = Summary("24h", 700, 8400, 0.1, 0.6, 0.7, {0.5: 0.51, 0.9: 0.88})
    document = capacity_report(inputs(scores=(score,)))
    (row,) = table_of(document, "Forecast quality of the last month").rows
    assert [cell.value for cell in row] == ["to 24h", 700, pytest.approx(0.4), 0.7, 0.51, 0.88]
    assert "A day ahead, last month's forecasts were 40% better than the naive one." in str(document.sections[0])


def test_gaps_and_markers_are_listed() -> None:
    demand = flat_demand()
    demand.frame.loc[len(demand.frame) - 50 : len(demand.frame) - 47, "y"] = float("nan")
    mark = Marker("shop", "maintenance", NOW - DAY, NOW - DAY + HOUR, "upgrade", False, True)
    document = capacity_report(inputs(demand=demand, markers=(mark,)))
    (gap,) = table_of(document, "Gaps in demand").rows
    assert [cell.text for cell in gap] == ["2026-11-13 22:00 UTC", "2026-11-14 02:00 UTC", "4 h"]
    assert [cell.text for cell in table_of(document, "Markers").rows[0]][3:] == ["upgrade", "from SLOs"]
    assert any("known to 99.4%" in str(block) for block in document.sections[0].blocks)  # 716 of 720 hours


def test_the_same_inputs_give_the_same_bytes_and_any_other_input_another_hash(rendered: dict[str, Rendered]) -> None:
    first, again = capacity_report(inputs()), capacity_report(inputs())
    for form in FORMATS:
        assert render(again, form).content == rendered[form].content
    changed = flat_demand()
    changed.frame.loc[7, "y"] = 60.0000001
    others = [
        inputs(demand=changed),
        inputs(statuses=()),
        inputs(as_of=NOW + timedelta(seconds=1)),
        inputs(states=replica_states(6)),
        inputs(service=replace(inputs().service, cost=None)),
    ]
    digests = {first.digest, *(capacity_report(other).digest for other in others)}
    assert len(digests) == 1 + len(others)


def test_an_event_declared_in_local_time_is_an_input_like_any_other() -> None:
    local = datetime(2026, 11, 27, 9)  # noqa: DTZ001 (as tidegauge.yaml says it: of the service's time zone)
    assert canonical((local, local.replace(tzinfo=UTC))) == ["2026-11-27T09:00:00", "2026-11-27T09:00:00Z"]
    assert sha256_of(local) != sha256_of(local.replace(hour=10))


def test_a_page_needs_nothing_else_and_says_what_the_document_says(
    flat: Document, rendered: dict[str, Rendered]
) -> None:
    page = Page(rendered["html"].content.decode())
    assert [address for address in page.loads if not address.startswith("data:")] == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 3  # demand, hours of the day, days ahead
    assert page.tables["Recommended min and max"][1:] == [
        ["min", "2", "5", "the floor of the quietest hour, never under two"],
        ["max", "20", "5", "carries 60 requests/s: the highest p99 ahead, with declared factors"],
    ]
    assert flat.digest in page.words


def test_text_of_people_is_text_in_every_format() -> None:
    mark = Marker("shop", "launch", NOW - DAY, NOW - DAY + HOUR, "<script>alert(1)</script> | =1+1", False, False)
    document = capacity_report(inputs(markers=(mark,)))
    page = Page(render(document, "html").content.decode())
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.words
    assert "alert(1)</script> \\| =1+1" in render(document, "md").content.decode()
    spoof = replace(mark, text="=cmd()")
    rows = list(csv.DictReader(io.StringIO(render(capacity_report(inputs(markers=(spoof,))), "csv").content.decode())))
    (row,) = [row for row in rows if row["table"] == "Markers" and row["column"] == "Text"]
    assert row["value"] == "'=cmd()"  # no formula for a spreadsheet


def test_csv_and_json_hold_the_raw_values(flat: Document) -> None:
    rows = list(csv.DictReader(io.StringIO(render(flat, "csv").content.decode())))
    (low,) = [row for row in rows if row["table"] == "SLO compliance" and row["column"] == "SLI"]
    assert (low["row"], low["value"], low["text"]) == ("availability", "0.995", "99.500%")
    whole = json.loads(render(flat, "json").content)
    assert (whole["kind"], whole["service"], whole["as_of"]) == ("capacity", "shop", "2026-11-16T00:00:00Z")
    assert whole["inputs_sha256"] == flat.digest
    assert whole["sections"][0]["title"] == "Summary"
    assert {one["name"] for one in whole["inputs"]} >= {"demand", "SLO counts", "replica states", "configuration"}


def test_a_pdf_has_the_summary_on_one_page_and_the_same_figures(flat: Document, rendered: dict[str, Rendered]) -> None:
    pdf = pypdfium2.PdfDocument(rendered["pdf"].content)
    pages = [page.get_textpage().get_text_bounded() for page in pdf]
    assert "Prepared by" in pages[0]
    assert "Demand so far" in pages[1]
    assert all(figure in pages[0] for figure in ("75.0%", "EUR 365", "240 requests/s", "not in 30 days"))
    assert flat.digest[:16] in pages[0]
    assert flat.digest in "".join("".join(pages).split())
    width, height = pdf[0].get_size()
    assert (round(width), round(height)) == (595, 842)  # A4 in points
    pdf.close()


def test_every_format_has_a_type_and_a_name(rendered: dict[str, Rendered]) -> None:
    for form in FORMATS:
        made = rendered[form]
        assert (made.name, made.media_type) == (f"shop-capacity-2026-11-16.{form}", MEDIA_TYPES[form])
    with pytest.raises(ValueError, match="expected html, pdf, md, csv, json, got 'doc'"):
        parse_format("doc")
