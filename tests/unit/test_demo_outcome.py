"""How the demo is judged: every expected number is worked out beside it."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tidegauge.demo.outcome import FloorChange, Provisioning, judge_changes, least_lead, peak, provisioning

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return T0 + minutes * MINUTE


def demand(*rates: float) -> pd.DataFrame:
    return pd.DataFrame({"ds": [at(index) for index in range(len(rates))], "rps": rates})


def transitions(*rows: tuple[float, int, int]) -> pd.DataFrame:
    return pd.DataFrame([{"at": at(minute), "ready": ready, "current": current} for minute, ready, current in rows])


def raised(minute: float, before: int, after: int) -> FloorChange:
    return FloorChange(at(minute), before, after, "because")


def test_under_provisioned_time_is_demand_above_ready_replicas_times_capacity():
    # One ready replica carries 10. Minutes 0-3: 5, 15, 25, 5; a second replica is ready from 1:30 (starting from 1:00).
    met = provisioning(
        demand(5, 15, 25, 5), transitions((0, 1, 1), (1, 1, 2), (1.5, 2, 2)), capacity_rps=10, window=(at(0), at(4))
    )

    # Short: 1:00-1:30 (15 > 10) and 2:00-3:00 (25 > 20) = 90 s. Paid: 60 s x 1 + 180 s x 2 = 420.
    assert met == Provisioning(under_provisioned_seconds=90, replica_seconds=420)


def test_demand_exactly_at_capacity_is_served():
    met = provisioning(demand(10), transitions((0, 1, 1)), capacity_rps=10, window=(at(0), at(1)))

    assert met.under_provisioned_seconds == 0


def test_lead_is_from_ready_to_the_minute_demand_passes_what_the_floor_before_carried():
    judged = judge_changes(
        [raised(0, 2, 4)],
        demand(15, 15, 15, 15, 15, 25),
        transitions((0, 2, 2), (0.5, 2, 4), (2, 4, 4)),
        capacity_rps=10,
    )

    # 25 > 2 x 10 from minute 5; four are ready from minute 2.
    assert least_lead(judged) == 3 * MINUTE


def test_a_raise_that_came_too_late_has_a_negative_lead():
    judged = judge_changes([raised(2, 1, 2)], demand(5, 15, 15, 15), transitions((0, 1, 1), (3, 2, 2)), capacity_rps=10)

    # Needed since minute 1, before the decision of minute 2; ready at minute 3.
    assert least_lead(judged) == -2 * MINUTE


def test_a_raise_that_demand_never_needed_has_no_lead():
    judged = judge_changes([raised(0, 2, 4)], demand(5, 5, 5), transitions((0, 2, 2), (1, 4, 4)), capacity_rps=10)

    assert judged[0].needed_at is None
    assert least_lead(judged) is None


def test_a_raise_answers_only_for_the_time_until_the_floor_goes_down_again():
    changes = [raised(0, 1, 3), FloorChange(at(2), 3, 2, "past the peak"), raised(4, 2, 4)]

    judged = judge_changes(changes, demand(5, 5, 5, 15, 25, 25), transitions((0, 4, 4)), capacity_rps=10)

    # 15 > 1 x 10 comes at minute 3, after the lowering: not the first raise's matter. The second: 25 > 2 x 10 at 4.
    assert [change.needed_at for change in judged] == [None, None, at(4)]


def test_replicas_that_the_reactive_loop_already_had_count_from_when_they_were_ready():
    judged = judge_changes(
        [raised(2, 2, 4)], demand(5, 5, 5, 5, 25), transitions((0, 2, 2), (1, 5, 5)), capacity_rps=10
    )

    # Five were ready from minute 1 on; 25 > 2 x 10 comes at minute 4.
    assert judged[0].ready_at == at(1)
    assert least_lead(judged) == 3 * MINUTE


def test_replicas_that_were_ready_once_but_not_any_more_do_not_count():
    judged = judge_changes(
        [raised(2, 2, 4)],
        demand(5, 5, 5, 5, 25),
        transitions((0, 5, 5), (1, 2, 2), (3, 4, 4)),
        capacity_rps=10,
    )

    assert judged[0].ready_at == at(3)


def test_the_peak_is_the_highest_mean_over_the_width():
    # Means of two minutes: 10, 40, 25.
    assert peak(demand(5, 15, 50, 30, 20, 30), width=2 * MINUTE) == (at(2), pytest.approx(40))
