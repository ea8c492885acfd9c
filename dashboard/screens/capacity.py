"""What does one replica carry, how far does it scale, and will it do: intervals, laws, what-if, the days ahead."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import streamlit as st

from collector.catalog import Scaling, Slo
from dashboard.charts import capacity as charts_capacity
from dashboard.context import View, clock, zone
from dashboard.parts import draw_figure, draw_page, draw_table, heading
from dashboard.price import Price, price_of
from dashboard.queries import forecaster as forecast_queries
from dashboard.queries.forecaster import CapacityKnown
from dashboard.services import FORECASTER, PartRefused, PartUnavailable, download
from dashboard.tables.capacity import (
    cpu_of,
    cpu_sentence,
    cpu_text,
    interval_text,
    law_of_replicas,
    law_of_users,
    law_text,
    measured_table,
)
from dashboard.timerange import floored
from dashboard.whatif import (
    WhatIf,
    capacity_factor,
    carried,
    day_name,
    days_table,
    rest_seconds,
    whatif_table,
)
from dashboard.words import NONE, rps
from forecaster.outlook.outlook import NoOutlook, Outlook
from forecaster.report.formats import FORMATS

HORIZON_DAYS, DAYS_IN_TABLE = 90, 14
HOUR = timedelta(hours=1)
REPORTS = {
    "Capacity, 90 days ahead": "kind=capacity&horizon=90d",
    "Capacity, 30 days ahead": "kind=capacity&horizon=30d",
    "SLA, last month": "kind=sla",
}


def draw(view: View) -> None:
    """Draw what one replica carries, what says so, and how more of them scale."""
    known = forecast_queries.capacity(view.service, view.minute)
    _draw_numbers(view, known)
    if not known.measured:
        st.info(f"No capacity of {view.service.name} has been measured: `tidegauge load capacity` does it.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        heading("Measured")
        draw_figure(charts_capacity.measured_chart(known.measured), key="measured")
        st.caption("Requests per real second that one replica serves within its SLO, from surely to at most, by build.")
    with right:
        _draw_law(known)
    draw_table(measured_table(known.measured, zone()), key="capacities")


def _draw_numbers(view: View, known: CapacityKnown) -> None:
    cells = st.columns(4)
    in_use, speed = known.in_use, clock().speed_now()
    real = None if in_use is None else (in_use.low_rps * speed, in_use.high_rps * speed)
    cells[0].metric(
        "One replica carries, requests/s", NONE if real is None else interval_text(*real),
        help="Per real second, within the SLO; plans use the low end.",
    )  # fmt: skip
    cells[1].metric("Build that serves", known.running or NONE, help="Most of the last hour's requests were its.")
    newest = next((cpu for one in known.measured if (cpu := cpu_of(one.details)) is not None), None)
    cells[2].metric("CPU per request, test", cpu_text(newest))
    cells[3].metric(
        "CPU per request, production", cpu_text(known.cpu.cpu_seconds_per_request), help="Of the last hour."
    )
    said = "" if in_use is None else f"Capacity {in_use.source}. "
    if view.service.scaling is None:
        said = f"{view.service.name} is not scaled by Tidegauge, so no capacity is in use. "
    st.caption(said + cpu_sentence(newest, known.cpu))


def _draw_law(known: CapacityKnown) -> None:
    heading("Scalability")
    for one in known.measured:
        found, axis = law_of_replicas(one.details), "replicas"
        if found is None:
            found, axis = law_of_users(one.details), "users without a pause"
        if found is not None:
            draw_figure(charts_capacity.law_chart(found[0], found[1], axis=axis), key="law")
            build = f" of build {one.version}" if one.version else ""
            st.caption(f"Universal Scalability Law over {axis}{build}. {law_text(found[0])}")
            return
    st.info("No load test measured enough levels to fit the scalability law.")


def ahead(view: View) -> None:
    """Draw the what-if, the days ahead under it (replicas, costs, the date on which it is too much), the reports."""
    _draw_ahead(view)
    _draw_reports(view)


def _draw_reports(view: View) -> None:
    heading("Reports")
    cells = st.columns([2, 1, 1, 2], vertical_alignment="bottom")
    kind = cells[0].selectbox("Report", list(REPORTS), key="report-kind")
    form = cells[1].selectbox("Format", FORMATS, key="report-format")
    if cells[2].button("Make it", key="report-make"):
        path = f"/v1/reports/{quote(view.service.name, safe='')}?format={form}&{REPORTS[kind]}"
        try:
            with st.spinner("The forecaster makes the report: up to a minute"):
                made = download(FORECASTER, path)
        except (PartUnavailable, PartRefused) as error:
            st.warning(f"No report: {error}")
        else:
            cells[3].download_button(f"Save {made.name}", made.content, made.name, made.media_type, key="report-save")
    st.caption("The same as `tidegauge report`: reproducible, with its inputs and their hash.")


def _draw_ahead(view: View) -> None:
    scaling = view.service.scaling
    known = forecast_queries.capacity(view.service, view.minute)
    if scaling is None or known.in_use is None:
        return
    heading("What if")
    price, complaint = price_of(view.service)
    if complaint:
        st.warning(f"{complaint}. The price of tidegauge.yaml is used, where there is one.")
    what_if = _asked(view, known)
    limit = carried(scaling.max_replicas, known.in_use.low_rps, what_if)
    hour = floored(view.now, HOUR)
    if limit <= 0:
        st.error("With so many zones lost nothing is left to carry anything.")
        return
    found = forecast_queries.outlook(view.service, HORIZON_DAYS, limit, hour)
    if isinstance(found, NoOutlook):
        st.info(f"Nobody can look ahead yet: {found.reason}.")
        return
    _draw_cases(found, known.in_use.low_rps, what_if, scaling, price)
    _draw_days(found, known.in_use.low_rps, what_if, scaling)


def _asked(view: View, known: CapacityKnown) -> WhatIf:
    cells = st.columns(4)
    more = cells[0].slider("Traffic", -50, 300, 0, step=5, format="%+d %%", key="more")
    zones = int(cells[1].number_input("Zones", 1, 10, 3, key="zones"))
    lost = int(cells[2].number_input("Zones lost", 0, zones - 1, 0, key="zones-lost")) if zones > 1 else 0
    return WhatIf(1 + more / 100, zones, lost, _asked_slo(view, known, cells[3]))


def _asked_slo(view: View, known: CapacityKnown, cell: st.delta_generator.DeltaGenerator) -> float:
    slo = next((each for each in view.service.slos if _is_overall(each)), None)
    rest = next((mean for one in known.measured if (mean := rest_seconds(one.details)) is not None), None)
    if slo is None or slo.threshold is None or rest is None:
        why = "It takes a latency SLO, and a load test that saw the service at rest."
        cell.number_input("Answers within, ms", value=None, disabled=True, key="new-slo", help=why)
        return 1.0
    before = slo.threshold
    text = f"{slo.target:.0%} of the answers; the estimate is that of a single queue, from the response at rest."
    asked = cell.number_input(
        "Answers within, ms", 1, 60_000, int(before.total_seconds() * 1000), key="new-slo", help=text
    )  # fmt: skip
    factor = capacity_factor(rest, slo.target, before=before, after=timedelta(milliseconds=asked))
    if factor is None:
        st.warning(
            f"Not even at rest do {slo.target:.0%} of the answers come within {asked} ms: the SLO is left as it is."
        )
    return factor or 1.0


def _is_overall(slo: Slo) -> bool:
    return slo.kind == "latency" and slo.threshold is not None


def _draw_cases(found: Outlook, capacity: float, what_if: WhatIf, scaling: Scaling, price: Price | None) -> None:
    level = found.quantiles[-1]
    peak = float(found.peak[: min(7, len(found.peak)), -1].max())
    cases = {"as it is": WhatIf(zones=what_if.zones), "what if": what_if}
    table = whatif_table(peak, capacity, cases, ceiling=scaling.max_replicas, price=price)
    draw_table(table, key="what-if")
    told = "" if price is None else f" A replica-hour costs {price.replica_hour:.4g} {price.currency} ({price.source})."
    st.caption(f"For the busiest hour of the next seven days, at quantile {level:g}.{told}")


def _draw_days(found: Outlook, capacity: float, what_if: WhatIf, scaling: Scaling) -> None:
    heading("Will we survive the days ahead")
    passing = found.passing
    if passing is not None:
        cells = st.columns(3)
        for cell, (level, day) in zip(cells, passing.dates.items(), strict=False):
            cell.metric(
                f"Too much with probability {level:g}", day_name(day) if day else f"not in {len(found.peak)} days",
                help=f"The first day by which {scaling.max_replicas} replicas have not been enough.",
            )  # fmt: skip
    left, right = st.columns([3, 2], gap="large")
    with left:
        table = days_table(found, capacity, what_if, ceiling=scaling.max_replicas, days=DAYS_IN_TABLE)
        draw_table(table, key="days-ahead")
    with right:
        limits = {
            f"{scaling.max_replicas} replicas (the maximum)": carried(scaling.max_replicas, capacity, what_if),
            f"{scaling.min_replicas} replicas (the operator's floor)": carried(scaling.min_replicas, capacity, what_if),
        }
        draw_figure(charts_capacity.outlook_chart(found, limits=limits), key="outlook")
    notes = "; ".join(found.notes)
    asked = "" if what_if == WhatIf(zones=what_if.zones) else " The limits are those of the what-if."
    st.caption(f"The busiest hour of each local day: {notes}.{asked} One replica: {rps(capacity)} requests/s.")


draw_page("Capacity", draw, act=ahead)
