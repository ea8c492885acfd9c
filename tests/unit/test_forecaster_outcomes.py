"""What became of decisions: leads from patches and states, outcomes from demand and states, each derived by hand."""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from forecaster.explain import Story, sentences_of
from forecaster.loop.outcomes import lead_of, outcome_of
from forecaster.scaling.types import Capacity
from forecaster.store.outcomes import Lead, Outcome, Patch
from tests.unit.forecaster_fakes import NOW, a_decision, a_stored

MINUTE, STEP = timedelta(minutes=1), timedelta(minutes=5)
RAISE = Patch("p", "shop", NOW, "apply", floor_before=2, floor_after=6, ready_before=2, applied=True)


def states(*seen: tuple[float, int]) -> pd.DataFrame:
    """Minutes after NOW, and how many were ready."""
    at = pd.to_datetime([NOW + MINUTE * minutes for minutes, _ in seen], utc=True)
    return pd.DataFrame({"ts": at, "ready": [ready for _, ready in seen]})


def demand(*rps: float) -> pd.DataFrame:
    """Steps of five minutes from NOW + 15 min on."""
    starts = [NOW + 15 * MINUTE + index * STEP for index in range(len(rps))]
    return pd.DataFrame({"ds": pd.to_datetime(starts, utc=True), "rps": list(rps)})


def lead(seen: pd.DataFrame, *, minutes_passed: int, next_change: datetime | None = None) -> Lead | None:
    return lead_of(RAISE, seen, next_change=next_change, now=NOW + minutes_passed * MINUTE)


def test_a_lead_ends_when_as_many_as_the_floor_are_ready() -> None:
    found = lead(states((-1, 2), (1, 4), (2.5, 6), (3, 7)), minutes_passed=4)
    assert found is not None
    assert found.span == timedelta(seconds=150)


def test_a_raise_under_way_has_no_lead_yet() -> None:
    assert lead(states((1, 4)), minutes_passed=4) is None


def test_a_raise_that_another_change_cut_short_says_nothing_about_the_lead() -> None:
    found = lead(states((1, 4), (9, 6)), minutes_passed=10, next_change=NOW + 5 * MINUTE)
    assert found is not None
    assert found.span is None


def test_replicas_that_never_come_are_not_waited_for_for_ever() -> None:
    found = lead(states((1, 4)), minutes_passed=61)
    assert found is not None
    assert found.ready_at is None


# A floor of 6 decided at NOW with a lead of 15 min and decisions every 5 min sees to NOW + 15 to NOW + 20.
DECIDED = a_stored(a_decision(6), applied=True, capacity=Capacity(12.0, 14.0, "declared"), lead=15 * MINUTE)


def outcome(rows: pd.DataFrame, seen: pd.DataFrame) -> Outcome:
    return outcome_of(DECIDED, rows, seen, refresh=STEP, step=STEP)


def test_an_outcome_is_about_the_time_from_the_lead_to_the_next_decisions() -> None:
    # 60 rps need 5 replicas at 12; the 120 rps of five minutes later are the next decision's.
    found = outcome(demand(60, 120), states((13, 6), (16, 7), (22, 1)))
    assert (found.due_at, found.until) == (NOW + 15 * MINUTE, NOW + 20 * MINUTE)
    assert (found.demand_rps, found.replicas_needed, found.ready) == (60.0, 5, 6)
    assert (found.enough, found.floor_enough) == (True, True)


def test_the_floor_may_fall_short_where_the_autoscaler_did_not() -> None:
    # 84 rps need 7: the floor was 6, the autoscaler had added one.
    found = outcome(demand(84), states((14, 7)))
    assert (found.enough, found.floor_enough) == (True, False)


def test_the_fewest_ready_count() -> None:
    found = outcome(demand(60), states((14, 6), (17, 4), (18, 6)))
    assert (found.ready, found.enough) == (4, False)


def test_what_nobody_recorded_stays_unknown() -> None:
    nothing = outcome(demand(), states((14, 6)))
    assert (nothing.demand_rps, nothing.replicas_needed, nothing.enough) == (None, None, None)
    unseen = outcome(demand(60), states((5, 6)))  # ten minutes before its time: nobody looked since
    assert (unseen.replicas_needed, unseen.ready, unseen.enough, unseen.floor_enough) == (5, None, None, True)


def test_the_story_tells_forecast_capacity_risk_guardrails_result_and_outcome() -> None:
    decision = replace(DECIDED.decision, floor_wanted=9, guardrails=("largest_step",), reasons=("why", "by 4 at most"))
    stored = replace(
        DECIDED, decision=decision, forecast_id="f-1", forecast_origin=NOW, model="ensemble", operator_floor=2,
        capacity=Capacity(12.0, 14.0, "measured 2026-05-01 (load-test)", "load-test/1@2026-05-01T00:00:00Z"),
        actor="ann@desk", forced=True, resource_version="812",
    )  # fmt: skip
    came = outcome(demand(84), states((14, 6)))
    text = "\n".join(sentences_of(Story(stored, RAISE, Lead("p", NOW, NOW + 2 * MINUTE), came)))
    for part in (
        "ann@desk decided about shop in mode act, by force",
        "forecast f-1, made by ensemble from what was known until 2026-05-04 07:50:00 UTC",
        "12 to 14 requests/s (measured 2026-05-01 (load-test) [load-test/1@2026-05-01T00:00:00Z])",
        "with probability 0.95, and replicas were reckoned to be ready 15 min after a patch",
        "wanted 9 and these guardrails changed that, in this order: largest step",
        "Because: by 4 at most.",
        "from 2 to 6 (the operator's own is 2, resourceVersion 812). Its replicas were ready 2 min later.",
        "84 requests/s, for which 7 replicas were needed and 6 were ready: that was not enough.",
    ):
        assert part in text


def test_the_story_of_a_decision_whose_time_has_not_come_says_so() -> None:
    text = "\n".join(sentences_of(Story(a_stored(a_decision(2)), None, None, None)))
    assert "There was no forecast to rest on." in text
    assert "How much a replica carries was not known." in text
    assert "The floor stayed at 2 (the operator's own is an unknown number)." in text
    assert "What came of it is not known yet" in text
