"""How good forecasts were: ours and the baselines from the same origins of the same past, scored by the truth.

Pure: `backtest_forecast` calls the live forecast function with the history before each origin only. Reading a history
and printing the table are left to the commands and the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from forecaster.forecast.baselines import BASELINES
from forecaster.forecast.interface import Model
from forecaster.forecast.members import MODELS
from forecaster.forecast.models import MODEL, LearntHours, forecast_demand
from forecaster.forecast.types import DemandSeries, Forecast
from forecaster.forecast.windows import DAY_SECONDS, WEEK_SECONDS, Array

OURS = "ours"
LEVELS = (0.1, 0.5, 0.9, 0.95, 0.99)
NEAR_SECONDS = 3600
RESAMPLES = 1000
YARDSTICK_WEEKS = (
    3  # weeks: with less, the weekly naive forecast has too little to be a yardstick and the daily one is it
)


class SkillError(ValueError):
    """The history leaves nothing to score: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class ModelSkill:
    """One model's scores over all origins. relative_*: divided by the yardstick's; lower is better; None: unknown.

    coverage: by level, the share of truths at or below it; coverage_interval: 95 % of resampled origins. near: to 1 h.
    """

    model: str
    mase: float
    wql: float
    mase_near: float
    relative_mase: float | None
    relative_wql: float | None
    relative_mase_near: float | None
    coverage: dict[str, float]
    coverage_interval: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class SkillReport:
    """yardstick: the naive model that relative scores are divided by. points: truths scored (gaps are not)."""

    series: str
    step: timedelta
    horizon: timedelta
    origins: tuple[datetime, ...]
    yardstick: str
    points: int
    models: tuple[ModelSkill, ...]


def backtest_forecast(
    series: DemandSeries,
    *,
    origins: int = 12,
    horizon: timedelta = timedelta(hours=24),
    quantiles: Sequence[float] = LEVELS,
    seed: int = 1,
    models: Mapping[str, Model] | None = None,
    progress: Callable[[float], None] | None = None,
) -> SkillReport:
    """Score ours, every baseline and `models` (by the name to show) from `origins` instants of the last third.

    The origins are spread evenly. quantiles: ascending, 0.5 among them. Raises SkillError when the last third is
    shorter than the horizon, or when it holds nothing but gaps.
    """
    if origins < 1 or horizon < series.step or 0.5 not in quantiles:
        raise SkillError(
            f"expected at least 1 origin, a horizon of a step and 0.5, got {origins}, {horizon}, {quantiles}"
        )
    values = series.frame["y"].to_numpy(dtype=np.float64)
    steps, step = horizon // series.step, int(series.step.total_seconds())
    first, last = 2 * len(values) // 3, len(values) - steps
    if first < 1 or last < first:
        raise SkillError(
            f"series {series.name!r}: expected a last third of {horizon} or more, got {len(values)} of {series.step}"
        )
    at = np.unique(np.linspace(first, last, origins).astype(int))
    truth = np.stack([values[index : index + steps] for index in at])
    if not np.isfinite(truth).any():
        raise SkillError(f"series {series.name!r}: expected demand in the last third, got gaps only")
    wanted = {OURS: MODEL, **{name: MODELS[name]() for name in BASELINES}, **(models or {})}
    answers = _answers(series, wanted, at, steps, quantiles, progress)
    weekly = first >= YARDSTICK_WEEKS * WEEK_SECONDS / step
    scale = np.array([_naive_error(values[:index], WEEK_SECONDS if weekly else DAY_SECONDS, step) for index in at])
    yardstick = "naive_week" if weekly else "naive_day"
    near = max(1, round(NEAR_SECONDS / step))
    plain = {name: _scores(answer, truth, scale, np.array(quantiles), near) for name, answer in answers.items()}
    skills = tuple(
        _skill(name, plain[name], plain[yardstick], _coverages(answers[name], truth, quantiles, seed))
        for name in answers
    )
    starts = tuple(series.frame["ds"].iloc[index].to_pydatetime() for index in at)
    return SkillReport(series.name, series.step, horizon, starts, yardstick, int(np.isfinite(truth).sum()), skills)


def _answers(
    series: DemandSeries,
    models: Mapping[str, Model],
    at: Array,
    steps: int,
    quantiles: Sequence[float],
    progress: Callable[[float], None] | None,
) -> dict[str, Array]:
    """Return (origins, steps, quantiles) by model; NaN where one gave a reason instead."""
    learnt = LearntHours()
    found: dict[str, list[Array]] = {name: [] for name in models}
    for done, index in enumerate(at):
        origin = series.frame["ds"].iloc[index].to_pydatetime()
        for name, model in models.items():
            answer = forecast_demand(
                series, origin=origin, horizon=steps * series.step, quantiles=quantiles, learnt=learnt, model=model
            )
            found[name].append(
                answer.frame.drop(columns="ds").to_numpy(dtype=np.float64)
                if isinstance(answer, Forecast)
                else np.full((steps, len(quantiles)), np.nan)
            )
        if progress is not None:
            progress((done + 1) / len(at))
    return {name: np.stack(answers) for name, answers in found.items()}


def _naive_error(seen: Array, season_seconds: int, step: int) -> float:
    season = max(1, round(season_seconds / step))
    errors = np.abs(seen[season:] - seen[:-season]) if len(seen) > season else np.zeros(0)
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) if len(errors) and errors.mean() > 0 else 1.0


def _scores(answer: Array, truth: Array, scale: Array, quantiles: Array, near: int) -> tuple[float, float, float]:
    """Return MASE, weighted quantile loss (mean over the levels of 2 x pinball / demand), MASE to an hour."""
    known = np.isfinite(truth) & np.isfinite(answer[..., 0])
    middle = int(np.argmin(np.abs(quantiles - 0.5)))
    error = np.where(known, np.abs(truth - answer[..., middle]), 0.0) / scale[:, None]
    over = truth[..., None] - answer
    pinball = np.where(known[..., None], np.maximum(quantiles * over, (quantiles - 1) * over), 0.0)
    demand = max(float(np.abs(truth[known]).sum()), 1e-12)
    closest = known[:, :near]
    return (
        float(error.sum() / max(known.sum(), 1)),
        float(2 * pinball.sum(axis=(0, 1)).mean() / demand),
        float(error[:, :near].sum() / max(closest.sum(), 1)),
    )


def _coverages(
    answer: Array, truth: Array, quantiles: Sequence[float], seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return by level the coverage and the 95 % interval of it when whole origins are drawn again."""
    known = np.isfinite(truth) & np.isfinite(answer[..., 0])
    counts = known.sum(axis=1)
    drawn = np.random.default_rng(seed).integers(0, len(truth), (RESAMPLES, len(truth)))
    total = np.maximum(counts[drawn].sum(axis=1), 1)
    found = {}
    for column, level in enumerate(quantiles):
        covered = ((truth <= answer[..., column]) & known).sum(axis=1)
        low, high = np.quantile(covered[drawn].sum(axis=1) / total, [0.025, 0.975])
        found[f"{level:g}"] = (float(covered.sum() / max(counts.sum(), 1)), float(low), float(high))
    return found


def _skill(
    name: str,
    own: tuple[float, float, float],
    yardstick: tuple[float, float, float],
    coverages: dict[str, tuple[float, float, float]],
) -> ModelSkill:
    mase, wql, near = (a / b if b > 0 else None for a, b in zip(own, yardstick, strict=True))
    return ModelSkill(
        model=name,
        mase=own[0],
        wql=own[1],
        mase_near=own[2],
        relative_mase=mase,
        relative_wql=wql,
        relative_mase_near=near,
        coverage={level: found[0] for level, found in coverages.items()},
        coverage_interval={level: found[1:] for level, found in coverages.items()},
    )
