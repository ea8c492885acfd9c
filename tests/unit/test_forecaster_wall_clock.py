"""What people do by the wall clock is forecast by it, on both sides of a change of clocks."""

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from forecaster.forecast import predict
from forecaster.forecast.interface import Past
from forecaster.forecast.models import LearntHours, forecast_demand, forget_what_is_past, learn, train_ahead
from forecaster.forecast.types import DemandSeries, Forecast, NoForecast
from forecaster.forecast.wall_clock import on_the_wall, zone_for
from forecaster.forecast.windows import Array

LONDON = ZoneInfo("Europe/London")
HOUR = timedelta(hours=1)
# Clocks go forward on 29 March 2026 (01:00 UTC: 01:00 becomes 02:00) and back on 25 October (02:00 becomes 01:00).
FORWARD, BACK = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)


def mornings(start: datetime, end: datetime, *, step: timedelta = HOUR) -> DemandSeries:
    """100 requests/s from 08:00 to 09:00 in London, else 10, with a little noise."""
    ds = pd.date_range(start, end, freq=step, inclusive="left", unit="us")
    noise = np.random.default_rng(3).normal(1, 0.02, len(ds))
    y = np.where(ds.tz_convert(LONDON).hour == 8, 100.0, 10.0) * noise
    return DemandSeries("shop", step, pd.DataFrame({"ds": ds, "y": y}), LONDON)


def forecast_of(series: DemandSeries, origin: datetime, **options: object) -> Forecast:
    found = forecast_demand(series, origin=origin, horizon=timedelta(hours=30), quantiles=(0.1, 0.5, 0.9), **options)  # type: ignore[arg-type]
    assert isinstance(found, Forecast)
    return found


def peaks(forecast: Forecast) -> list[str]:
    """The local times at which the median is high."""
    high = forecast.frame[forecast.frame["q0.5"] > 50]["ds"]
    return [f"{at:%d %H:%M}" for at in high.dt.tz_convert(LONDON)]


@pytest.mark.parametrize(
    ("change", "before", "after"), [(FORWARD, "29 08:00", "30 08:00"), (BACK, "25 08:00", "26 08:00")]
)
def test_a_morning_peak_stays_at_eight_on_the_first_day_after_a_change_of_clocks(
    change: datetime, before: str, after: str
) -> None:
    series = mornings(change - timedelta(days=9), change + timedelta(days=2))
    learnt = LearntHours()
    # The evening before the change, and at noon after it, when no day has been seen by the new clock.
    assert peaks(forecast_of(series, change - 7 * HOUR, learnt=learnt)) == [before]
    assert peaks(forecast_of(series, change + 11 * HOUR, learnt=learnt)) == [after]
    # In UTC the peak would have been where it was before the change.
    in_utc = replace(series, zone=None)
    assert peaks(forecast_of(in_utc, change - 7 * HOUR)) != [before]


def test_every_step_ahead_is_answered_once_and_the_rest_is_told_in_utc() -> None:
    for change in (FORWARD, BACK):
        series = mornings(change - timedelta(days=2), change)
        series.frame.loc[len(series.frame) - 1, "y"] = np.nan
        forecast = forecast_of(series, change)
        assert forecast.frame["ds"].dt.to_pydatetime().tolist() == [change + index * HOUR for index in range(30)]
        assert np.isfinite(forecast.frame["q0.5"]).all()
        assert (forecast.origin, forecast.watermark) == (change, change - HOUR)
        assert forecast.history_from == change - timedelta(days=2)


def test_an_hour_that_comes_twice_is_seen_as_its_second_passing_and_a_lost_one_is_a_gap() -> None:
    quarter = timedelta(minutes=15)

    def values(change: datetime, origin: datetime) -> list[float]:
        ds = pd.date_range(change - HOUR, periods=16, freq=quarter, unit="us")
        series = DemandSeries("shop", quarter, pd.DataFrame({"ds": ds, "y": np.arange(16.0)}), LONDON)
        seen = on_the_wall(series, origin)
        assert len(seen.series.frame) == 0 or (seen.series.frame["ds"].diff().dropna() == quarter).all()
        return [float(value) for value in seen.series.frame["y"]]

    # Before 01:00 UTC: quarters 0 to 3. Then 01:00 to 02:00 in London did not exist.
    assert values(FORWARD, FORWARD + HOUR) == pytest.approx(
        [0, 1, 2, 3, np.nan, np.nan, np.nan, np.nan, 4, 5, 6, 7], nan_ok=True
    )
    # 00:00 UTC is 01:00 in London, and so is 01:00 UTC: quarters 4 to 7 take the place of 0 to 3.
    assert values(BACK, BACK + 2 * HOUR) == [4, 5, 6, 7, 8, 9, 10, 11]
    # In the middle of the second passing its own two quarters are there, and what follows them is not known yet.
    assert values(BACK, BACK + 2 * quarter)[:2] == [4, 5]


@pytest.mark.parametrize("origin", [BACK - HOUR / 2, BACK, BACK + HOUR / 2, BACK + HOUR, FORWARD, FORWARD - HOUR / 2])
def test_not_one_bit_changes_when_everything_from_the_origin_on_is_shuffled(origin: datetime) -> None:
    series = mornings(origin - timedelta(days=2), origin + timedelta(days=1), step=HOUR / 2)
    shuffled = series.frame.copy()
    future = shuffled["ds"] >= origin
    shuffled.loc[future, "y"] = shuffled.loc[future, "y"].to_numpy()[::-1] * 7
    plain, other = (forecast_of(one, origin) for one in (series, replace(series, frame=shuffled)))
    assert plain.frame.drop(columns="ds").to_numpy().tobytes() == other.frame.drop(columns="ds").to_numpy().tobytes()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A model whose answer tells all that it was trained on, fitted on and asked with."""

    name: str = "fingerprint"
    notes: tuple[str, ...] = ()
    seen: float = 0.0

    def train(self, past: Past) -> float:
        return float(zlib.crc32(past.values.tobytes()) + past.start)

    def fit(self, past: Past, trained: float | None) -> "Fingerprint":
        return replace(self, seen=self.train(past) + 3 * (trained or 0.0))

    def predict(self, past: Past, horizons: Array, quantiles: Array) -> Array:
        return np.full((len(horizons), len(quantiles)), self.seen + 7 * self.train(past))


@pytest.mark.parametrize("change", [FORWARD, BACK])
def test_what_was_learnt_ahead_over_a_change_of_clocks_changes_no_answer(change: datetime) -> None:
    series = mornings(change - timedelta(days=5), change + timedelta(days=1), step=HOUR / 2)
    kept, model = LearntHours(), Fingerprint()
    for index in range(-28, 28):
        origin = change + index * HOUR / 2
        train_ahead(series, origin=origin, learnt=kept, model=model)
        learn(series, origin=origin, learnt=kept, model=model)
        forget_what_is_past(kept)
        assert len(kept.fits) == 1
        assert len(kept.trained) <= 1 + (origin.astimezone(LONDON).hour % 12 == 0)  # two within the hour of a change
        live, anew = forecast_of(series, origin, learnt=kept, model=model), forecast_of(series, origin, model=model)
        assert live.frame.equals(anew.frame)


def test_without_a_row_there_is_a_reason_and_utc_is_its_own_wall_clock() -> None:
    series = mornings(BACK, BACK + HOUR)
    assert isinstance(forecast_demand(series, origin=BACK, horizon=HOUR, quantiles=(0.5,)), NoForecast)
    assert zone_for("UTC") is None
    assert zone_for("Europe/London") == LONDON


def test_predict_takes_a_time_zone() -> None:
    frame = mornings(FORWARD - timedelta(days=2), FORWARD).frame
    found = predict(frame, origin=FORWARD, horizon=timedelta(hours=10), quantiles=[0.5], timezone="Europe/London")
    assert found["ds"].iloc[int(found["q0.5"].to_numpy().argmax())] == FORWARD + 6 * HOUR  # 08:00 in summer
    with pytest.raises(ValueError, match="Europe/Berlin"):
        predict(frame, origin=FORWARD, horizon=HOUR, quantiles=[0.5], timezone="Mars")
