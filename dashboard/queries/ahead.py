"""What each page will ask of the record for a view, known before it is drawn: to be asked at once, or ahead of time.

A list here is a matter of speed alone: a page asks again where it draws, and finds what is kept. What is not listed
costs the page its own time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from collector.record.store import RedDimension
from dashboard.charts.traffic import HEAT_COLUMNS
from dashboard.context import View, catalog
from dashboard.queries import forecaster, record
from dashboard.queries.standing import DEFAULT_LEAD, MINUTE, RECENT, TREND_POINTS
from dashboard.tables.slo import worst_first
from dashboard.timerange import step_for

Question = Callable[[], object]
MOST_SERVICES = 10
BUDGET_POINTS = 120  # each point is a window of its own


def of_all_pages(view: View) -> list[Question]:
    """Return what the pages that cost most ask as they are opened, the dearest first."""
    return [*overview(view), *slo(view), partial(_worst_slo, view), *traffic(view), *data_tier(view)]


def overview(view: View) -> list[Question]:
    """Return what the Overview asks of the chosen service, and how the SLOs of all of them stand."""
    name, service = view.service.name, view.service
    statuses = [
        partial(record.slo_statuses, each, view.minute) for each in list(catalog().services.values())[:MOST_SERVICES]
    ]
    trend = step_for(view.minute - view.since, TREND_POINTS)
    lead = DEFAULT_LEAD if service.scaling is None else service.scaling.lead
    scaled: list[Question] = []
    if service.scaling is not None:
        scaled = [
            partial(forecaster.replica_states, name, view.minute - RECENT, view.minute, RECENT),
            partial(forecaster.replica_states, name, view.since, view.now, view.step),
            partial(forecaster.decisions, name, view.since, view.now, limit=1),
        ]
    return [
        *statuses,
        partial(record.marks, view),
        partial(record.red, name, view.since, view.until, view.step, None, view.region),
        partial(record.red_totals, name, view.minute - RECENT, view.minute),
        partial(forecaster.latest_forecast, name, view.minute),
        partial(forecaster.forecast_as_known, name, view.since, view.until, lead),
        *scaled,
        partial(record.alerts, view.minute),
        partial(record.demand, name, view.minute - RECENT, view.minute, MINUTE),
        partial(record.demand, name, view.since, view.minute, trend),
        partial(record.demand, name, view.since, view.until, view.step),
    ]


def slo(view: View) -> list[Question]:
    """Return what the SLO page asks before it is known which SLO is the worst."""
    rule = view.service.classic_rule
    return [
        partial(record.slo_statuses, view.service, view.minute),
        partial(record.marks, view),
        *([] if rule is None else [partial(record.classic, view.service.name, rule, view.minute)]),
    ]


def _worst_slo(view: View) -> None:
    """Ask what the SLO page shows first: the worst one over time."""
    statuses = worst_first(record.slo_statuses(view.service, view.minute))
    if statuses:
        name, worst = view.service.name, statuses[0].slo
        record.sli_series(name, worst, view.since, view.until, view.step)
        step = step_for(view.until - view.since, BUDGET_POINTS)
        record.budget_history(name, worst, view.since, view.until, step)


def traffic(view: View, by: RedDimension = "route") -> list[Question]:
    """Return what the Traffic page asks."""
    name = view.service.name
    return [
        partial(record.traffic, name, view.since, view.until, view.step, heat_step(view), by, view.region),
        partial(record.marks, view),
    ]


def heat_step(view: View) -> timedelta:
    """Return how wide a column of the heat-map is."""
    return max(view.step, step_for(view.until - view.since, HEAT_COLUMNS))


def data_tier(view: View) -> list[Question]:
    """Return what the Data tier page asks of requests; what it asks of samplers costs little."""
    asked = (view.service.name, view.since, view.until)
    return [
        partial(record.red, *asked, view.step, "cache_level", view.region),
        partial(record.red_totals, *asked, "cache_level", view.region),
    ]
