"""What samples say of database replicas."""

from datetime import UTC, datetime, timedelta

from collector.alerts.decide import ReplicaLag
from collector.alerts.replicas import ALIVE, SEEN_BY_PRIMARY, SEEN_BY_STANDBY, Newest, replica_lags
from collector.record.samples import SeriesInfo

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=20)


def newest(name: str, labels: dict[str, str], value: float, at: datetime = NOW) -> Newest:
    return Newest(SeriesInfo(1, name, "shop", "gauge", labels, "sampler"), at, value)


def lags(*samples: Newest) -> list[ReplicaLag]:
    return replica_lags(samples, missing_after=timedelta(minutes=10))


def test_a_lag_is_what_the_primary_or_the_standby_says_of_it() -> None:
    primary, standby = {"server": "db:5432", "standby": "r1"}, {"server": "db:5433"}
    assert lags(newest(SEEN_BY_PRIMARY, primary, 2.5), newest(SEEN_BY_STANDBY, standby, 3.0)) == [
        ReplicaLag("shop", "r1 of db:5432", timedelta(seconds=2.5), NOW),
        ReplicaLag("shop", "db:5433", timedelta(seconds=3), NOW),
    ]


def test_a_standby_that_an_answering_primary_no_longer_names_does_not_replicate() -> None:
    primary = {"server": "db:5432", "standby": "r1"}
    alive = newest(ALIVE, {"server": "db:5432"}, 1.0)
    assert lags(newest(SEEN_BY_PRIMARY, primary, 0.0, LONG_AGO), alive) == [
        ReplicaLag("shop", "r1 of db:5432", None, NOW)
    ]


def test_of_a_primary_that_does_not_answer_nothing_new_is_known() -> None:
    primary = {"server": "db:5432", "standby": "r1"}
    alive = newest(ALIVE, {"server": "db:5432"}, 1.0, LONG_AGO)
    assert lags(newest(SEEN_BY_PRIMARY, primary, 0.5, LONG_AGO), alive) == [
        ReplicaLag("shop", "r1 of db:5432", timedelta(seconds=0.5), LONG_AGO)
    ]
