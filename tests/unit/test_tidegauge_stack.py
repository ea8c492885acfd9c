"""The list of parts: all of the architecture's, in an order that works."""

from __future__ import annotations

import graphlib

from tidegauge.clock import Clock
from tidegauge.settings import Secrets, StackSettings
from tidegauge.stack import StackOf

SECRETS = Secrets("a-secret", "b-secret", "c-secret", "d-secret", "e-secret")


def stack_of(tmp_path, **settings) -> StackOf:
    return StackOf(StackSettings(data=tmp_path, **settings), SECRETS, Clock())


def test_the_whole_stack_starts_in_an_order_in_which_needs_come_first(tmp_path):
    parts = stack_of(tmp_path).everything()
    order = list(graphlib.TopologicalSorter({part.name: part.depends_on for part in parts}).static_order())
    assert set(order) == {part.name for part in parts} == {
        "postgres-primary", "postgres-replica", "postgres-analytics", "postgres-profiles", "postgres-standby", "valkey",
        "store", "collector", "prepare", "cluster", "jobs", "forecaster", "dashboard", "load", "load-desk", "edge",
    }  # fmt: skip
    assert order.index("prepare") < order.index("cluster") < order.index("load")


def test_fewer_replicas_and_no_standby_leave_their_parts_out_and_the_app_is_told(tmp_path):
    parts = {part.name: part for part in stack_of(tmp_path, postgres_replicas=1, postgres_standby=False).everything()}
    assert {name for name in parts if name.startswith("postgres")} == {"postgres-primary", "postgres-replica"}
    told = parts["cluster"].environment
    assert (
        told["REFERENCE_APP_REPLICAS"]
        == "search@us-east-1=postgresql://reference_app:c-secret@127.0.0.1:15433/reference_app"
    )
    assert told["REFERENCE_APP_DATABASE_URL"] == "postgresql://reference_app:c-secret@127.0.0.1:15432/reference_app"


def test_the_app_is_told_of_three_replicas_with_their_regions_and_writes_to_whichever_server_is_the_primary(tmp_path):
    told = next(part for part in stack_of(tmp_path).everything() if part.name == "cluster").environment
    replicas = [text.split("=")[0] for text in told["REFERENCE_APP_REPLICAS"].split()]
    assert replicas == ["search@us-east-1", "analytics@us-west-2", "profiles@eu-west-1"]
    _, hosts = told["REFERENCE_APP_DATABASE_URL"].split("@")
    assert hosts == "127.0.0.1:15432,127.0.0.1:15436/reference_app?target_session_attrs=read-write"


def test_dashboard_and_load_can_be_left_out(tmp_path):
    names = [part.name for part in stack_of(tmp_path).everything(with_dashboard=False, with_load=False)]
    assert not {"dashboard", "load"} & set(names)


def test_without_the_app_only_what_watches_is_left_and_nothing_of_the_app_is_sampled(tmp_path):
    parts = {part.name: part for part in stack_of(tmp_path).without_app()}
    assert set(parts) == {"store", "collector", "forecaster", "dashboard", "load-desk"}
    assert all(set(part.depends_on) <= set(parts) for part in parts.values())
    assert not [name for name in parts["collector"].environment if name.startswith("TIDEGAUGE_SAMPLE_")]


def test_the_edge_is_before_the_front_and_can_be_left_out(tmp_path):
    stack = stack_of(tmp_path, app_port=8123, edge_port=8124)
    edge = next(part for part in stack.everything() if part.name == "edge")
    assert edge.environment["REFERENCE_APP_EDGE_ORIGINS"] == "http://127.0.0.1:8123"
    assert edge.environment["REFERENCE_APP_EDGE_PORT"] == "8124"
    assert "edge" not in {part.name for part in stack.everything(with_edge=False)}


def test_another_clickhouse_takes_the_embedded_stores_place(tmp_path):
    parts = stack_of(tmp_path, clickhouse_url="http://127.0.0.1:9999").everything()
    collector = next(part for part in parts if part.name == "collector")
    assert "store" not in {part.name for part in parts} | set(collector.depends_on)
    assert collector.environment["TIDEGAUGE_CLICKHOUSE_URL"] == "http://127.0.0.1:9999"


def test_every_port_names_a_setting_that_changes_it(tmp_path):
    for part in stack_of(tmp_path).everything():
        for port in part.ports:
            name = port.setting.split(" ")[0].removeprefix("TIDEGAUGE_").lower()
            followers = ["postgres-replica", "postgres-analytics", "postgres-profiles", "postgres-standby"]
            offset = 1 + followers.index(part.name) if part.name in followers else 0
            assert getattr(stack_of(tmp_path).settings, name) + offset == port.number


def test_the_load_generator_is_aimed_at_the_front(tmp_path):
    argv = stack_of(tmp_path, app_port=8123).load_generator(["--seed", "7"]).argv
    assert list(argv[2:]) == [
        "loadgen", "--target", "http://127.0.0.1:8123", "--out", str(tmp_path / "load"), "--seed", "7",
    ]  # fmt: skip
