"""What the forecaster is told by the environment, read once at the edge into frozen values.

The composition roots (`__main__.py` and the commands) build one `Settings` and hand it down. The addresses and password
of the record are read by `collector.clickhouse.settings_from_environment`; what to scale stands in tidegauge.yaml.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

_Parsed = TypeVar("_Parsed")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class SettingsError(ValueError):
    """A setting is not as expected: says which, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All spans are of the clock in use, but for `settle`, which is real: it is the delay of our own pipeline."""

    config: Path = Path("tidegauge.yaml")
    host: str = "127.0.0.1"
    port: int = 9401
    cluster_url: str = "http://127.0.0.1:8010"
    collector_url: str = "http://127.0.0.1:9400"
    forecaster_url: str = "http://127.0.0.1:9401"  # where commands find the running forecaster
    data: Path = Path(".tidegauge")
    step: timedelta = timedelta(minutes=5)
    horizon: timedelta = timedelta(hours=24)
    history: timedelta = timedelta(weeks=6)
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9, 0.95, 0.99)
    refresh: timedelta = timedelta(minutes=5)
    decide: timedelta = timedelta(minutes=1)
    observe: timedelta = timedelta(seconds=30)
    heartbeat: timedelta = timedelta(minutes=5)
    score: timedelta = timedelta(minutes=15)
    settle: timedelta = timedelta(seconds=1.5)
    adapt: bool = True  # quantiles that have not held are answered by others


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Return the settings that the environment names, defaults elsewhere. Raises SettingsError."""
    plain = Settings()
    read = _Reader(environ)
    return Settings(
        config=Path(environ.get("TIDEGAUGE_CONFIG") or plain.config),
        host=environ.get("TIDEGAUGE_BIND_ADDRESS") or plain.host,
        port=read.port("TIDEGAUGE_FORECASTER_PORT", plain.port),
        cluster_url=environ.get("TIDEGAUGE_CLUSTER_URL") or read.own_url("TIDEGAUGE_CLUSTER_PORT", plain.cluster_url),
        collector_url=(
            environ.get("TIDEGAUGE_COLLECTOR_URL") or read.own_url("TIDEGAUGE_COLLECTOR_PORT", plain.collector_url)
        ).rstrip("/"),
        forecaster_url=(
            environ.get("TIDEGAUGE_FORECASTER_URL") or read.own_url("TIDEGAUGE_FORECASTER_PORT", plain.forecaster_url)
        ).rstrip("/"),
        data=Path(environ.get("TIDEGAUGE_DATA") or plain.data),
        step=read.span("TIDEGAUGE_FORECAST_STEP", plain.step),
        horizon=read.span("TIDEGAUGE_FORECAST_HORIZON", plain.horizon),
        history=read.span("TIDEGAUGE_FORECAST_HISTORY", plain.history),
        quantiles=read.quantiles("TIDEGAUGE_FORECAST_QUANTILES", plain.quantiles),
        refresh=read.span("TIDEGAUGE_FORECAST_REFRESH", plain.refresh),
        decide=read.span("TIDEGAUGE_FORECAST_DECIDE", plain.decide),
        observe=read.span("TIDEGAUGE_FORECAST_OBSERVE", plain.observe),
        heartbeat=read.span("TIDEGAUGE_FORECAST_HEARTBEAT", plain.heartbeat),
        score=read.span("TIDEGAUGE_FORECAST_SCORE", plain.score),
        settle=read.span("TIDEGAUGE_FORECAST_SETTLE", plain.settle),
        adapt=read.switch("TIDEGAUGE_FORECAST_ADAPT", plain.adapt),
    )


def parse_span(text: str) -> timedelta:
    """Return the span that `90s`, `15m`, `24h`, `7d` or `6w` names. Raises SettingsError; a span is never zero."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= 10 * 365 * 86400:
        raise SettingsError(f"expected a span such as 90s, 15m, 24h, 7d or 6w, got {text!r}")
    return timedelta(seconds=seconds)


def parse_quantiles(text: str) -> tuple[float, ...]:
    """Return quantile levels such as `0.1,0.5,0.95`: each in (0, 1), ascending, none twice. Raises SettingsError."""
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    rising = all(low < high for low, high in itertools.pairwise(levels))
    if not levels or not rising or not all(0 < level < 1 for level in levels):
        expected = "expected quantile levels between 0 and 1 in ascending order, such as 0.1,0.5,0.95"
        raise SettingsError(f"{expected}; got {text!r}")
    return levels


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one variable each, and puts its name in front of every complaint."""

    environ: Mapping[str, str]

    def span(self, name: str, default: timedelta) -> timedelta:
        return self._parsed(name, parse_span) if self.environ.get(name) else default

    def quantiles(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        return self._parsed(name, parse_quantiles) if self.environ.get(name) else default

    def switch(self, name: str, default: bool) -> bool:
        text = self.environ.get(name) or ("on" if default else "off")
        if text not in ("on", "off"):
            raise SettingsError(f"{name}: expected on or off, got {text!r}")
        return text == "on"

    def port(self, name: str, default: int) -> int:
        text = self.environ.get(name) or str(default)
        if not text.isdecimal() or not 0 <= int(text) <= 65535:
            raise SettingsError(f"{name}: expected a port from 0 to 65535, got {text!r}")
        return int(text)

    def own_url(self, port_name: str, default: str) -> str:
        """Return the URL of a part of the embedded stack, on another port if that is set."""
        return f"http://127.0.0.1:{self.port(port_name, 0)}" if self.environ.get(port_name) else default

    def _parsed(self, name: str, parse: Callable[[str], _Parsed]) -> _Parsed:
        try:
            return parse(self.environ[name])
        except SettingsError as error:
            raise SettingsError(f"{name}: {error}") from None
