"""Tells the collector when a forecast has drifted: a condition at `POST /v1/alerts`, which ends if not renewed."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from forecaster.scores.drift import Drift

NAME = "forecast-drift"
_EXPIRES_SECONDS = 7200  # of the clock in use: several times the interval at which it is posted again


class AlertsUnavailableError(Exception):
    """The collector did not take the condition; the next scoring posts it again."""


class DriftAlert:
    """Posts while a service's forecast drifts, and once when it no longer does."""

    def __init__(self, collector_url: str, http: httpx.Client, *, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._http, self._headers = f"{collector_url}/v1/alerts", http, dict(headers or {})
        self._posted: set[str] = set()

    def __call__(self, service: str, drift: Drift) -> None:
        """Post what there is to say of a service. Raises AlertsUnavailableError."""
        if not drift.reasons and not (drift.compared and service in self._posted):
            return
        body = {
            "service": service,
            "name": NAME,
            "severity": "ticket",
            "breached": bool(drift.reasons),
            "summary": ("; ".join(drift.reasons) or "the forecast is again what it was")[:1000],
            "expires_in_seconds": _EXPIRES_SECONDS,
        }
        try:
            self._http.post(self._url, json=body, headers=self._headers).raise_for_status()
        except httpx.HTTPError as error:
            raise AlertsUnavailableError(f"{self._url}: {error}") from error
        (self._posted.add if drift.reasons else self._posted.discard)(service)
