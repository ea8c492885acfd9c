from datetime import UTC, datetime, timedelta

from collector.alerts.backtest import Minutes, backtest, backtest_document, backtest_lines, incidents, replay
from collector.alerts.settings import AlertPolicy
from collector.catalog import Service, Slo

START = datetime(2026, 5, 4, tzinfo=UTC)
FIRST = int(START.timestamp())
SLO = Slo("availability", "availability", 0.99, timedelta(days=30))
SHOP = Service("shop", "", "events", "UTC", (SLO,), None, None, None, None)
MINUTE = timedelta(minutes=1)
POLICY = AlertPolicy()


def day(bad_from: int, bad_until: int, *, bad: int = 50, missing: tuple[int, int] = (0, 0)) -> Minutes:
    """A day of 100 requests a minute; `bad` of each are bad in the minutes [bad_from, bad_until)."""
    kept = [minute for minute in range(1440) if not missing[0] <= minute < missing[1]]
    good = [100 - bad if bad_from <= minute < bad_until else 100 for minute in kept]
    return Minutes([FIRST + 60 * minute for minute in kept], [100] * len(kept), good)


def fired(minutes: Minutes) -> list[tuple[str, int, int | None]]:
    """Severity, minute of firing, minute of resolution."""
    alerts = replay(SHOP, SLO, minutes, POLICY, since=START, until=START + timedelta(days=1))
    return [
        (each.severity, (each.fired_at - START) // MINUTE, (each.ended_at - START) // MINUTE if each.ended_at else None)
        for each in alerts
    ]


def test_half_of_all_requests_failing_pages_when_both_windows_exceed_and_resolves_with_the_short_ones() -> None:
    # Bad from minute 600 on, 50 of 100. 1 h: 50 k / 6000 > 14.4 % when k > 17.3, so k = 18, the end of minute 617: 618;
    # 6 h: 50 k / 36000 > 6 % when k > 43.2. The Wilson bound asks for more than the plain ratio: at k = 18, of 6000
    # requests 900 are bad (15 %); lower bound 15 % - 1.645 * sqrt(.15 * .85 / 6000) = 14.26 %: not yet. At k = 19:
    # 950 bad, 15.83 % - 1.645 * sqrt(.1583 * .8417 / 6000) = 15.06 %: the page fires at 619.
    # It ends when 6 h / 30 m is over: bad until 660, 30 m with 50 k of 3000 > 6 % needs k >= 4, so until k = 3: the
    # window [t - 30, t) holds 3 bad minutes at t = 687. The 1 h pair is over before (5 m).
    pages = [(minute, until) for severity, minute, until in fired(day(600, 660)) if severity == "page"]
    assert pages == [(619, 687)]


def test_a_good_day_fires_nothing_and_one_bad_request_at_night_neither() -> None:
    assert fired(day(0, 0)) == []
    assert fired(Minutes([FIRST + 7200], [4], [3])) == []


def test_missing_minutes_freeze_a_page() -> None:
    # As above, but from 660 on nothing is recorded until 800: it resolves only when good minutes came again.
    pages = [
        (minute, until) for severity, minute, until in fired(day(600, 660, missing=(660, 800))) if severity == "page"
    ]
    assert pages[0][0] == 619
    assert pages[0][1] is not None
    assert pages[0][1] > 800


def test_an_incident_is_what_spends_a_share_of_the_budget() -> None:
    # 1 % of 100 a minute over 30 days: 43,200 bad are allowed; 60 minutes of 50 are 3000: 6.94 %
    whole = START + timedelta(days=1)
    (incident,) = incidents(SLO, day(600, 660), since=START, until=whole, significant=0.02)
    assert (incident.starts_at, incident.ends_at) == (START + 600 * MINUTE, START + 660 * MINUTE)
    assert (incident.bad, round(incident.budget_share, 4)) == (3000, 0.0694)
    assert incidents(SLO, day(600, 660), since=START, until=whole, significant=0.07) == []


def test_the_judgement_says_how_soon_and_how_rightly() -> None:
    result = backtest(SHOP, SLO, day(600, 660), POLICY, since=START, until=START + timedelta(days=1))
    page = result.judgements[0]
    assert (page.alerts, page.precision, page.recall) == (1, 1.0, 1.0)
    assert (page.detection, page.reset) == (19 * MINUTE, 27 * MINUTE)  # 619 - 600, 687 - 660
    assert backtest_document(result)["slo"] == "availability"
    assert "page: 1 alerts, precision 100%, recall 100%, detected after 0:19:00" in "\n".join(backtest_lines(result))


def test_without_incidents_there_is_no_recall_and_without_alerts_no_precision() -> None:
    result = backtest(SHOP, SLO, day(0, 0), POLICY, since=START, until=START + timedelta(days=1))
    assert [(each.precision, each.recall, each.detection) for each in result.judgements] == [(None, None, None)] * 2
