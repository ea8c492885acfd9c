"""The `scaling` of a service: what follows from its keys, and where and why others are refused."""

from __future__ import annotations

import pytest

from collector.catalog import BoundsWindow, CatalogError, Service, parse_catalog

SHOP = """\
version: 1
services:
  shop:
    source: events
    timezone: Europe/Berlin
    scaling:
      target: {kind: local, name: shop}
      mode: observe
      min_replicas: 2
      max_replicas: 20
      capacity_rps: [12, 14.5]
      quantile: 0.95
      lead: 15m
      largest_step: 4
      cool_down: 5m
      reactive: {target_rps_per_replica: 11}
    cost: {replica_hour: 0.10, currency: EUR}
  search: {source: events}
"""
QUANTILE, TARGET = "quantile: 0.95", "target: {kind: local, name: shop}"
SEARCH = "search: {source: events}"


def shop(old: str = "", new: str = "") -> Service:
    assert old in SHOP
    return parse_catalog(SHOP.replace(old, new) if old else SHOP, name="t.yaml").service("shop")


def test_the_risk_follows_from_what_a_replica_and_its_absence_cost() -> None:
    scaling = shop(QUANTILE, "risk: {violation_cost: 2.50}").scaling
    assert scaling is not None
    assert scaling.quantile == pytest.approx(0.96)  # 1 - 0.10 / 2.50
    assert scaling.risk is not None
    assert scaling.risk.budget_pacing
    unpaced = shop(QUANTILE, "risk: {violation_cost: 2.50, budget_pacing: false}").scaling
    assert unpaced is not None
    assert unpaced.risk is not None
    assert not unpaced.risk.budget_pacing


def test_windows_of_bounds_are_local_times_of_the_service_unless_they_name_a_zone() -> None:
    two = """bounds:
        - {cron: "0 8 * * 1-5", length: 10h, min_replicas: 4}
        - {cron: "0 0 * * *", length: 6h, timezone: UTC, max_replicas: 5, name: night}"""
    scaling = shop("cool_down: 5m", f"cool_down: 5m\n      {two}").scaling
    assert scaling is not None
    day, night = scaling.bounds
    assert (day.timezone, day.min_replicas, day.max_replicas) == ("Europe/Berlin", 4, None)
    assert night == BoundsWindow("0 0 * * *", night.length, "UTC", None, 5, "night")


def test_without_the_new_keys_a_file_means_what_it_meant() -> None:
    scaling = shop().scaling
    assert scaling is not None
    assert (scaling.risk, scaling.bounds, scaling.change_budget, scaling.namespace) == (None, (), 100, None)
    assert not scaling.paced
    paced = shop(QUANTILE, "quantile: 0.9\n      paced: true").scaling
    assert paced is not None
    assert paced.paced


def test_a_kubernetes_target_names_its_namespace_and_perhaps_a_context() -> None:
    scaling = shop(TARGET, "target: {kind: keda, name: shop, namespace: prod, context: east}").scaling
    assert scaling is not None
    assert (scaling.kind, scaling.namespace, scaling.context) == ("keda", "prod", "east")


def test_a_service_is_told_who_calls_it_and_how_often() -> None:
    text = SHOP.replace(SEARCH, f"{SEARCH[:-1]}, depends_on: [{{service: shop, calls_per_request: 2.5}}]}}")
    catalog = parse_catalog(text, name="t.yaml")
    assert catalog.callers_of("shop") == (("search", 2.5),)
    assert catalog.callers_of("search") == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (TARGET, "target: {kind: kubernetes, name: shop}", "t.yaml:7: services.shop.scaling.target: expected a namesp"),
        (TARGET, "target: {kind: local, name: shop, namespace: x}", "none for local, got local"),
        (TARGET, "target: {kind: nomad, name: shop}", "expected local or kubernetes or keda, got 'nomad'"),
        (QUANTILE, "", "services.shop.scaling: expected either a quantile or a risk, got neither"),
        (QUANTILE, "quantile: 0.9\n      risk: {violation_cost: 2}", "either a quantile or a risk, got both"),
        (QUANTILE, "risk: {violation_cost: 0.1}", "risk.violation_cost: expected more than cost.replica_hour (0.1)"),
        (QUANTILE, "risk: {violation_cost: 1, budget_pacing: 2}", "budget_pacing: expected true or false, got '2'"),
        (QUANTILE, 'quantile: 0.9\n      bounds: [{cron: "0 8 * *", length: 1h, min_replicas: 3}]', "cron expression"),
        (QUANTILE, 'quantile: 0.9\n      bounds: [{cron: "0 8 * * *", length: 1h}]', "or both, got neither"),
        (
            QUANTILE,
            'quantile: 0.9\n      bounds: [{cron: "0 8 * * *", length: 1h, min_replicas: 30}]',
            "t.yaml:13: services.shop.scaling.bounds[0]: expected bounds within the service's own: "
            "2 <= min_replicas <= max_replicas <= 20, got min_replicas 30, max_replicas absent",
        ),
        (QUANTILE, "quantile: 0.9\n      change_budget: 0", "change_budget: expected a whole number of at least 1"),
        (SEARCH, "search: {source: events, depends_on: [{service: shpo, calls_per_request: 1}]}",
         "services.search.depends_on[0].service: expected another service of this file (shop), got 'shpo'"),
        (SEARCH, "search: {source: events, depends_on: [{service: shop, calls_per_request: 0}]}",
         "calls_per_request: expected a number above 0, got '0'"),
    ],
)  # fmt: skip
def test_what_is_not_as_expected_is_refused_with_its_place(old: str, new: str, expected: str) -> None:
    with pytest.raises(CatalogError) as refused:
        shop(old, new)
    assert expected in str(refused.value)


def test_costs_without_a_price_for_a_replica_give_no_risk() -> None:
    text = SHOP.replace(QUANTILE, "risk: {violation_cost: 2}").replace(
        "    cost: {replica_hour: 0.10, currency: EUR}\n", ""
    )
    with pytest.raises(CatalogError, match=r"scaling.risk: expected a cost block beside it"):
        parse_catalog(text, name="t.yaml")
