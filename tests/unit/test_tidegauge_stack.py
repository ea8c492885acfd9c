"""The list of parts: all of the architecture's, in an order that works."""

from __future__ import annotations

import graphlib

from tidegauge.clock import Clock
from tidegauge.settings import Secrets, StackSettings
from tidegauge.stack import StackOf

SECRETS = Secrets("a-secret", "b-secret", "c-secret", "d-secret")


def stack_of(tmp_path, **settings) -> StackOf:
    return StackOf(StackSettings(data=tmp_path, **settings), SECRETS, Clock())


def test_the_whole_stack_starts_in_an_order_in_which_needs_come_first(tmp_path):
    parts = stack_of(tmp_path).everything()
    order = list(graphlib.TopologicalSorter({part.name: part.depends_on for part in parts}).static_order())
    assert set(order) == {part.name for part in parts} == {
        "postgres-primary", "postgres-replica", "valkey", "store", "collector", "prepare", "cluster", "forecaster",
        "dashboard", "load", "load-desk",
    }  # fmt: skip
    assert order.index("prepare") < order.index("cluster") < order.index("load")


def test_dashboard_and_load_can_be_left_out(tmp_path):
    names = [part.name for part in stack_of(tmp_path).everything(with_dashboard=False, with_load=False)]
    assert not {"dashboard", "load"} & set(names)


def test_another_clickhouse_takes_the_embedded_stores_place(tmp_path):
    parts = stack_of(tmp_path, clickhouse_url="http://127.0.0.1:9999").everything()
    collector = next(part for part in parts if part.name == "collector")
    assert "store" not in {part.name for part in parts} | set(collector.depends_on)
    assert collector.environment["TIDEGAUGE_CLICKHOUSE_URL"] == "http://127.0.0.1:9999"


def test_every_port_names_a_setting_that_changes_it(tmp_path):
    for part in stack_of(tmp_path).everything():
        for port in part.ports:
            name = port.setting.split(" ")[0].removeprefix("TIDEGAUGE_").lower()
            offset = 1 if part.name == "postgres-replica" else 0
            assert getattr(stack_of(tmp_path).settings, name) + offset == port.number


def test_the_load_generator_is_aimed_at_the_front(tmp_path):
    argv = stack_of(tmp_path, app_port=8123).load_generator(["--seed", "7"]).argv
    assert list(argv[2:]) == [
        "loadgen", "--target", "http://127.0.0.1:8123", "--out", str(tmp_path / "load"), "--seed", "7",
    ]  # fmt: skip
