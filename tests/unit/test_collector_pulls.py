from datetime import UTC, datetime, timedelta
from pathlib import Path

from collector.catalog import parse_catalog
from collector.pulls import pull_services_once, settings_of
from collector.sources.cardinality import CardinalityGuard

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CATALOG = parse_catalog(
    "version: 1\nservices:\n  other: {source: events}\n  shop:\n    source: prometheus\n"
    "    prometheus: {url: 'http://127.0.0.1:9', requests_metric: requests_total, match: {job: shop}}\n",
    name="t.yaml",
)


def test_a_server_that_does_not_answer_costs_nothing_and_is_asked_again_from_the_same_watermark(
    tmp_path: Path,
) -> None:
    watermarks = {"shop": NOW - timedelta(hours=1)}
    guard = CardinalityGuard(tmp_path / "labels", day=lambda: 1)
    pulled = pull_services_once(None, CATALOG, guard, now=NOW, watermarks=watermarks)  # type: ignore[arg-type]  # not reached
    guard.close()
    assert pulled == 0
    assert watermarks == {"shop": NOW - timedelta(hours=1)}


def test_the_catalog_says_what_is_pulled() -> None:
    source = CATALOG.service("shop").prometheus
    assert source is not None
    settings = settings_of("shop", source)
    assert (settings.service, settings.requests_metric, settings.match) == (
        "shop",
        "requests_total",
        (("job", "shop"),),
    )
