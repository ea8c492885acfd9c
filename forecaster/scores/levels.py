"""Which levels a forecast is made at, and what stored scores ask for instead: the same for whoever makes one.

The loop that stores forecasts and the command that prints one ask here. What scores ask for is decided in `adapting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from collector.catalog import Scaling
from collector.clickhouse import Client
from forecaster.scaling.backtest.rolling import LEVELS
from forecaster.scores.adapting import Asked, asked_levels, known_by, looked_at_from
from forecaster.scores.score_store import read_scores
from forecaster.settings import Settings


def quantiles_for(settings: Settings, scaling: Scaling | None) -> tuple[float, ...]:
    """Return the levels to forecast: those asked for and, of a service that is scaled, those its backtest judges."""
    return tuple(sorted({*settings.quantiles, *((*LEVELS, scaling.quantile) if scaling else ())}))


def read_asked(client: Client, service: str, *, origin: datetime, levels: Sequence[float], settings: Settings) -> Asked:
    """Return what a forecast from `origin` is to answer levels by that have not held. Raises StoreError."""
    if not settings.adapt:
        return Asked()
    scores = read_scores(client, service, since=looked_at_from(origin), until=known_by(origin))
    return asked_levels(scores, origin=origin, levels=levels)
