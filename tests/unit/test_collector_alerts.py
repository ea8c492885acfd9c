from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.alerts.decide import ServiceView, StoreView, decide
from collector.alerts.evaluate import newest_minute
from collector.alerts.jobs import Pulse, is_alive
from collector.alerts.local_state import LocalState, from_text, to_text
from collector.alerts.rules import (
    burn_conditions,
    lag_condition,
    missing_condition,
    missing_slo_condition,
    pair_verdict,
    silence_condition,
    spool_condition,
    wilson_lower,
)
from collector.alerts.settings import AlertPolicy, parse_policy
from collector.alerts.state import Alert, Condition, Silence, Verdict, advance
from collector.catalog import CatalogError, Service, Slo, parse_catalog
from collector.slo.objectives import BURN_PAIRS, BURN_WINDOWS, Counts
from tidegauge.clock import Clock

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
POLICY = AlertPolicy()
SLO = Slo("availability", "availability", 0.99, timedelta(days=30))
SHOP = Service("shop", "", "events", "UTC", (SLO,), None, None, None, None)


def counts(valid: int, bad: int) -> dict[timedelta, Counts]:
    return {window: Counts(valid, valid - bad) for window in (*BURN_WINDOWS, SLO.window)}


def condition(verdict: Verdict, *, hold: timedelta = timedelta()) -> Condition:
    return Condition("burn/shop/a/page", "burn", "shop", "a", "page", verdict, verdict, hold=hold)


def test_the_wilson_bound_is_the_one_of_the_formula() -> None:
    # p = 0.1, n = 100, z = 2: (0.1 + 4/200 - 2*sqrt(0.09/100 + 4/40000)) / (1 + 4/100)
    # = (0.12 - 2*sqrt(0.001)) / 1.04 = (0.12 - 0.0632456) / 1.04 = 0.0545716
    assert wilson_lower(10, 100, z=2) == pytest.approx(0.0545716, abs=1e-6)
    assert wilson_lower(0, 0) == 0.0


def test_a_pair_fires_when_both_windows_burn_and_enough_requests_prove_it() -> None:
    # target 0.99: 14.4 times the budget of 1 % is 14.4 % bad; 30 % of 1000 are more, and certainly so
    assert pair_verdict(BURN_PAIRS[0], counts(1000, 300), 0.99, POLICY) == "breached"
    assert pair_verdict(BURN_PAIRS[0], counts(1000, 140), 0.99, POLICY) == "clear"


def test_one_failure_on_a_quiet_night_proves_nothing() -> None:
    assert pair_verdict(BURN_PAIRS[0], counts(4, 1), 0.99, POLICY) == "unproven"  # 25 % bad, of four requests


def test_a_long_window_that_burns_while_the_short_one_does_not_is_over() -> None:
    pair = BURN_PAIRS[0]
    assert pair_verdict(pair, {pair.long: Counts(1000, 500), pair.short: Counts(100, 100)}, 0.99, POLICY) == "clear"


def test_no_requests_in_a_window_are_unknown_never_clear() -> None:
    pair = BURN_PAIRS[0]
    assert pair_verdict(pair, {pair.long: Counts(1000, 500), pair.short: Counts(0, 0)}, 0.99, POLICY) == "unknown"


def test_stale_data_makes_every_burn_condition_unknown() -> None:
    verdicts = {each.verdict for each in burn_conditions("shop", SLO, counts(1000, 900), POLICY, stale=True)}
    assert verdicts == {"unknown"}


def test_missing_data_is_a_condition_of_its_own() -> None:
    for age, verdict in ((MINUTE, "clear"), (11 * MINUTE, "breached")):
        assert missing_condition("shop", NOW - age, now=NOW, policy=POLICY).verdict == verdict
    assert missing_condition("shop", None, now=NOW, policy=POLICY).verdict == "unknown"


def test_an_slo_whose_requests_stop_while_others_go_on_is_missing() -> None:
    gone = {**counts(1000, 0), timedelta(minutes=30): Counts(0, 0)}
    assert missing_slo_condition("shop", SLO, gone, POLICY, stale=False).verdict == "breached"
    assert missing_slo_condition("shop", SLO, gone, POLICY, stale=True).verdict == "unknown"
    assert missing_slo_condition("shop", SLO, counts(0, 0), POLICY, stale=False).verdict == "unknown"


def test_the_collector_judges_its_spool_and_its_own_silence() -> None:
    assert spool_condition(None, POLICY).verdict == "clear"
    assert spool_condition(timedelta(minutes=6), POLICY).verdict == "breached"
    assert silence_condition(None, now=NOW, policy=POLICY).verdict == "clear"
    assert silence_condition(NOW - HOUR, now=NOW, policy=POLICY).verdict == "breached"


def test_an_alert_is_pending_until_its_hold_has_passed() -> None:
    held = condition("breached", hold=2 * MINUTE)
    pending = advance(None, held, now=NOW)
    assert pending is not None
    assert pending.phase == "pending"
    assert phase(advance(pending, held, now=NOW + MINUTE)) == "pending"
    assert phase(advance(pending, held, now=NOW + 2 * MINUTE)) == "firing"
    assert phase(advance(pending, replace(held, verdict="clear"), now=NOW + MINUTE)) == "resolved"


def phase(alert: Alert | None) -> str | None:
    return alert.phase if alert else None


def test_missing_data_freezes_a_firing_alert() -> None:
    firing = advance(None, condition("breached"), now=NOW)
    frozen = advance(firing, condition("unknown"), now=NOW + HOUR)
    assert frozen is not None
    assert (frozen.phase, frozen.frozen) == ("firing", True)
    assert advance(None, condition("unknown"), now=NOW) is None


def test_what_is_unproven_begins_nothing_and_ends_nothing() -> None:
    assert advance(None, condition("unproven"), now=NOW) is None
    firing = advance(None, condition("breached"), now=NOW)
    assert phase(advance(firing, condition("unproven"), now=NOW + MINUTE)) == "firing"


def told(verdicts: list[Verdict], *, repeat: timedelta = 4 * HOUR, silences: tuple[Silence, ...] = ()) -> list[str]:
    """The reasons of the notices when these verdicts come an hour apart."""
    known: dict[str, Alert] = {}
    reasons = []
    for hours, verdict in enumerate(verdicts):
        view = StoreView([], [condition(verdict)], silences, [])
        decision = decide(known, [], view, AlertPolicy(repeat=repeat), now=NOW + hours * HOUR)
        known = decision.alerts
        reasons += [f"{hours} {notice.reason}" for notice in decision.notices]
    return reasons


def test_a_firing_alert_is_told_once_repeated_after_the_interval_and_resolved_once() -> None:
    assert told(["breached"] * 6 + ["clear"] * 3) == ["0 firing", "4 repeat", "6 resolved"]


def test_a_second_episode_is_told_again() -> None:
    assert told(["breached", "clear", "breached"]) == ["0 firing", "1 resolved", "2 firing"]


def test_a_silenced_alert_is_told_when_the_silence_ends_and_it_still_fires() -> None:
    silence = Silence("s", "shop", "*", NOW, NOW + 2 * HOUR, "ada", "deploy")
    assert told(["breached"] * 4, silences=(silence,)) == ["2 firing"]
    assert told(["breached", "clear"], silences=(silence,)) == []


def test_an_acknowledged_episode_is_not_repeated_but_its_end_is_told() -> None:
    first = decide({}, [], StoreView([], [condition("breached")], [], []), POLICY, now=NOW)
    episode = first.alerts["burn/shop/a/page"].episode
    later = StoreView([], [condition("breached")], [], {episode})
    second = decide(first.alerts, [], later, POLICY, now=NOW + 5 * HOUR)
    assert second.notices == []
    end = decide(second.alerts, [], StoreView([], [condition("clear")], [], {episode}), POLICY, now=NOW + 6 * HOUR)
    assert [notice.reason for notice in end.notices] == ["resolved"]


def test_a_condition_that_is_no_longer_reported_ends_its_alert_unless_the_store_is_away() -> None:
    firing = decide({}, [], StoreView([], [condition("breached")], [], []), POLICY, now=NOW).alerts
    assert decide(firing, [], None, POLICY, now=NOW + HOUR).alerts["burn/shop/a/page"].phase == "firing"
    gone = decide(firing, [], StoreView([], [], [], []), POLICY, now=NOW + HOUR)
    assert gone.alerts["burn/shop/a/page"].phase == "resolved"


def test_errors_in_the_record_fire_both_severities_and_nothing_changes_afterwards() -> None:
    view = StoreView([ServiceView(SHOP, NOW, [counts(1000, 500)])], [], [], [])
    first = decide({}, [], view, POLICY, now=NOW)
    assert sorted(first.alerts) == ["burn/shop/availability/page", "burn/shop/availability/ticket"]
    again = decide(first.alerts, [], view, POLICY, now=NOW + MINUTE)
    assert (again.changed, again.notices) == ([], [])


def test_the_newest_minute_is_one_whose_events_had_time_to_arrive() -> None:
    settle = timedelta(seconds=3)
    assert newest_minute(NOW + timedelta(seconds=2), settle=settle) == NOW - MINUTE
    assert newest_minute(NOW + timedelta(seconds=3), settle=settle) == NOW


def test_the_policy_comes_from_tidegauge_yaml_and_a_wrong_one_is_refused_with_its_line() -> None:
    catalog = parse_catalog("version: 1\nservices: {}\nalerts: {repeat: 1h, least_bad: 5}\n", name="t.yaml")
    assert catalog.alerts.policy == AlertPolicy(repeat=HOUR, least_bad=5)
    with pytest.raises(CatalogError, match=r"t\.yaml:3: alerts\.least_bad: expected a whole number of at least 1"):
        parse_catalog("version: 1\nservices: {}\nalerts: {least_bad: 0}\n", name="t.yaml")


def test_a_replica_that_lags_or_does_not_replicate_is_breached_and_an_old_sample_says_nothing() -> None:
    def verdict(lag: timedelta | None, *, fresh: bool = True) -> str:
        return lag_condition("shop", "replica-1", lag, AlertPolicy(), fresh=fresh).verdict

    assert verdict(timedelta(seconds=30)) == "clear"  # the limit itself is allowed
    assert verdict(timedelta(seconds=31)) == "breached"
    assert verdict(None) == "breached"
    assert verdict(timedelta(seconds=31), fresh=False) == "unknown"


def test_pairs_of_ones_own_decide_in_place_of_the_usual_ones() -> None:
    text = "least_bad: 1\nburn_pairs: [{severity: info, long: 10m, short: 2m, factor: 2}]\n"
    policy = parse_policy(text, name="policy.yaml")
    # 10 % of the long window and 5 % of the short one: burn rates of 10 and 5 where 2 is allowed
    counts = {timedelta(minutes=10): Counts(100, 90), timedelta(minutes=2): Counts(20, 19)}
    (condition,) = burn_conditions("shop", SLO, counts, policy, stale=False)
    assert (condition.severity, condition.verdict) == ("info", "breached")
    assert policy.windows == tuple(timedelta(minutes=minutes) for minutes in (2, 10, 30, 360))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("burn_pairs: []\n", "policy.yaml:1: burn_pairs: expected at least one pair"),
        ("burn_pairs: [{severity: page, long: 5m, short: 5m, factor: 2}]\n", "[0].long: expected a window longer"),
        ("burn_pairs: [{severity: page, long: 90s, short: 1m, factor: 2}]\n", "expected a window of whole minutes"),
        ("burn_pairs: [{severity: page, long: 5m, short: 1m, factor: 0}]\n", "burn_pairs[0].factor: expected a number"),
        ("receivers: []\n", "the unknown key 'receivers'"),
    ],
)  # fmt: skip
def test_a_policy_that_is_not_as_expected_is_refused_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(CatalogError) as refused:
        parse_policy(text, name="policy.yaml")
    assert expected in str(refused.value)


def test_a_state_is_read_as_it_was_kept_and_another_text_is_refused() -> None:
    silence = Silence("s", "shop", "*", NOW, NOW + timedelta(hours=1), "ada", "")
    alert = Alert("a", "burn", "shop", "x", "page", "firing", NOW, NOW, None, False, None, 0, "burns", {"rate": 2.5})
    state = LocalState(NOW, {"a": alert}, {"a"}, [silence], {alert.episode})
    assert from_text(to_text(state)) == state
    assert from_text(to_text(LocalState())) == LocalState(None, {}, set(), [], set())
    for text in ("{}", "nonsense", '{"alerts": 1}'):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, the state is refused
            from_text(text)


def test_the_heartbeat_stops_when_nothing_was_evaluated_for_two_minutes() -> None:
    real = [1000.0]
    clock = Clock(read_real=lambda: real[0])
    assert not is_alive(Pulse(), clock)
    pulse = Pulse(real=1000.0, minute=NOW)
    real[0] = 1000.0 + 120 + 15
    assert is_alive(pulse, clock)
    real[0] += 1
    assert not is_alive(pulse, clock)
