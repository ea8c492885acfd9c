"""The Grafana dashboards: every metric and label they ask for exists, and nothing is laid over anything else."""

import re
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from collector.catalog import Slo
from collector.exporters.exposition import record_exposition
from collector.exporters.measures import slo_gauges
from collector.metrics import CollectorMetrics, exposition
from collector.slo.objectives import BURN_WINDOWS, Counts, Measured, status_of
from collector.slo.windows import WindowSpan
from forecaster.metrics import ForecasterMetrics
from forecaster.settings import Settings
from tests.unit.grafana_dashboards import DASHBOARDS, FOLDER, queries
from tidegauge.clock import Clock

NOW = datetime(2026, 11, 16, tzinfo=UTC)


class Nothing:
    """A spool or a guard that holds nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: {} if name == "report" else self

    size_bytes = batches = dead_letters = 0
    oldest_received_us = None


def known_metrics() -> dict[str, set[str]]:
    """Names of samples as they are scraped, with the labels they can have."""
    known: dict[str, set[str]] = {}
    collector_metrics, forecaster_metrics = CollectorMetrics(), ForecasterMetrics(Clock(), Settings())
    for registry in (collector_metrics.registry, forecaster_metrics.registry):
        for source in registry._collector_to_names:
            labels = set(getattr(source, "_labelnames", ()))
            for name in registry._collector_to_names[source]:
                known[name] = labels | {"le"}
    spool: Any = Nothing()
    text = exposition(collector_metrics, spool, spool, spool, watermarks={"shop": NOW}, now=NOW).decode()
    slo, counts = Slo("a", "availability", 0.9, timedelta(days=1)), Counts(100, 95)
    span = WindowSpan(0, 86400, 86400)
    status = status_of(
        slo, {slo.window: counts, **dict.fromkeys(BURN_WINDOWS, counts)}, Measured(span, 1, 2, timedelta(0), None)
    )
    text += record_exposition((), slo_gauges("shop", [status]), counted_since=NOW).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    return known


KNOWN = known_metrics()


@pytest.mark.parametrize("query", [one for one in queries() if one.kind == "promql"], ids=lambda one: one.panel)
def test_every_metric_and_label_of_a_panel_exists(query) -> None:
    names = set(re.findall(r"tidegauge_\w+", query.text))
    assert names
    assert names <= set(KNOWN), names - set(KNOWN)
    labels = set().union(*(KNOWN[name] for name in names))
    asked = set(re.findall(r"(\w+)=\"", query.text)) | set(re.findall(r"{{(\w+)}}", query.legend))
    for group in re.findall(r"by \(([^)]*)\)", query.text):
        asked |= {name.strip() for name in group.split(",")}
    assert asked <= labels, asked - labels


def test_a_metric_that_is_not_there_would_be_found() -> None:
    assert "tidegauge_floor" in KNOWN
    assert "tidegauge_flor" not in KNOWN
    assert KNOWN["tidegauge_slo_error_budget_left"] >= {"service", "slo"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_titles_units_of_their_own_and_do_not_overlap(name: str) -> None:
    board = DASHBOARDS[name]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] for panel in panels)
    cells = {
        panel["id"]: {
            (x, y)
            for x, y in product(
                range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"]),
                range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"]),
            )
        }
        for panel in panels
    }
    assert not [pair for pair in combinations(cells, 2) if cells[pair[0]] & cells[pair[1]]]
    assert max(x for each in cells.values() for x, _ in each) < 24


def test_dashboards_name_their_sources_by_variable_and_their_times_in_utc() -> None:
    assert set(DASHBOARDS) == {"service", "scaling"}
    for board in DASHBOARDS.values():
        assert board["timezone"] == "utc"
        assert {one["name"] for one in board["templating"]["list"]} == {"clickhouse", "prometheus", "service"}
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                assert target["datasource"]["uid"] in ("${clickhouse}", "${prometheus}")


def test_provisioning_has_no_secret_and_names_kinds_that_the_dashboards_use() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "tidegauge.yaml").read_text())["datasources"]
    assert {one["type"] for one in sources} == {"grafana-clickhouse-datasource", "prometheus"}
    assert sources[0]["secureJsonData"]["password"].startswith("$")
    assert yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "tidegauge.yaml").read_text())["providers"]
