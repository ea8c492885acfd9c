"""Orders in their file: what is in force after which order, across lives of the process, with a broken file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecaster.orders import ALL, FILE, Order, Orders, OrdersUnreadableError, mode_in_force

NOW = datetime(2026, 5, 4, 7, 50, tzinfo=UTC)


class Watch:
    """A clock that goes on by a second at each look, unless it is set."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def orders_in(folder: Path, watch: Watch | None = None) -> Orders:
    return Orders(folder, now=watch or Watch())


def test_a_pause_is_in_force_at_once_and_in_the_next_life_of_the_process(tmp_path: Path) -> None:
    orders_in(tmp_path).give("pause", scope="shop", actor="ann", reason="incident 42")
    standing = orders_in(tmp_path).standing()  # another process, or this one after a kill
    assert standing.paused("shop") == "shop paused by ann at 2026-05-04 07:50 UTC: incident 42"
    assert standing.paused("other") is None


def test_a_pause_of_all_and_of_one_are_ended_each_by_its_own(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    orders.give("pause", scope=ALL, actor="ann", reason="freeze")
    orders.give("pause", scope="shop", actor="bob", reason="test")
    orders.give("resume", scope="shop", actor="bob", reason="done")
    assert "all services paused by ann" in (orders.standing().paused("shop") or "")
    orders.give("resume", scope=ALL, actor="ann", reason="thawed")
    assert orders.standing().paused("shop") is None


def test_a_released_service_stays_released_until_it_is_resumed(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    orders.give("release", scope="shop", actor="ann", reason="moving")
    assert "released by ann" in (orders.standing().paused("shop") or "")
    orders.give("resume", scope="shop", actor="ann", reason="moved")
    assert orders.standing().paused("shop") is None


def test_an_ordered_mode_counts_until_the_configured_one_is_ordered_back(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    assert mode_in_force(orders.standing(), "shop", "observe") == "observe"
    orders.give("mode", scope="shop", actor="ann", reason="", value="act", forced=True)
    assert mode_in_force(orders.standing(), "shop", "observe") == "act"
    assert orders.standing().mode("shop").forced  # type: ignore[union-attr]
    orders.give("mode", scope="shop", actor="ann", reason="", value="configured")
    assert mode_in_force(orders.standing(), "shop", "observe") == "observe"


def test_the_order_given_last_counts_although_the_machines_clock_was_set_back(tmp_path: Path) -> None:
    watch = Watch()
    orders = orders_in(tmp_path, watch)
    orders.give("pause", scope="shop", actor="ann", reason="test")
    watch.at = NOW - timedelta(days=1)
    orders.give("resume", scope="shop", actor="ann", reason="done")
    assert orders.standing().paused("shop") is None


def test_what_a_kill_left_half_written_beside_the_file_changes_nothing(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    orders.give("pause", scope="shop", actor="ann", reason="test")
    (tmp_path / FILE).with_suffix(".new").write_text('{"version": 1, "newe')
    assert orders.standing().paused("shop") is not None
    orders.give("resume", scope="shop", actor="ann", reason="done")
    assert orders.standing().paused("shop") is None


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1, "newest": [{"id": "x"}], "unsaved": []}', "\udcff"])
def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OrdersUnreadableError, match=r"orders\.json"):
        orders_in(tmp_path).standing()


def test_a_newer_order_given_elsewhere_is_taken_over_and_an_older_one_is_not(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    ours = orders.give("pause", scope="shop", actor="ann", reason="test")
    older = Order("a", "shop", "resume", ours.at - timedelta(seconds=5), "bob", "before")
    orders.take_over([older])
    assert orders.standing().paused("shop") is not None
    orders.take_over([Order("b", "shop", "resume", ours.at + timedelta(seconds=5), "bob", "after")])
    assert orders.standing().paused("shop") is None
    assert [order.id for order in orders.standing().unsaved] == [ours.id]  # what came from the store is not told again


def test_an_order_waits_for_the_store_until_it_was_told(tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    first = orders.give("pause", scope="shop", actor="ann", reason="test")
    second = orders.give("resume", scope="shop", actor="ann", reason="done")
    assert orders.standing().unsaved == (first, second)  # the history has both, although one stands
    orders.saved([first.id])
    assert orders.standing().unsaved == (second,)
