"""Is what was tested what production serves? CPU per request of the test beside that of live traffic, from the record.

D = CPU seconds per request is the most stable figure there is of a service. Where live requests cost more than 20 %
more or less than the test's, the mix is another one, and the capacity is rescaled by D_test / D_live (utilisation law:
X_max = cores / D). The judgement is pure; the record is read over HTTP.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from loadgen.runs.tokens import collector_headers

TOLERANCE = 0.2
FEWEST_REQUESTS = 100  # fewer live requests tell nothing of their cost
TIMEOUT_SECONDS = 10.0
Interval = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class LiveCost:
    """What live traffic cost: CPU seconds per request (None: nobody knows), of how many, and the running version."""

    cpu_seconds_per_request: float | None
    requests: int
    version: str | None


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The comparison. factor: what the capacity is to be multiplied by; 1 where nothing was to be said."""

    test_cpu_seconds_per_request: float | None
    live_cpu_seconds_per_request: float | None
    live_requests: int
    factor: float
    said: str

    @property
    def rescales(self) -> bool:
        """Return whether the capacity is another one in production."""
        return self.factor != 1.0

    def rescaled(self, interval: Interval) -> Interval:
        """Return the capacity of production."""
        low, high = interval
        return low * self.factor, None if high is None else high * self.factor

    def to_json(self) -> dict[str, Any]:
        """Return it for the record."""
        return asdict(self)


def cross_check(test: float | None, live: LiveCost | None) -> CrossCheck:
    """Return what comparing the test's CPU per request with live traffic's says."""
    cost, requests = (None, 0) if live is None else (live.cpu_seconds_per_request, live.requests)
    if test is None or not test > 0:
        return CrossCheck(test, cost, requests, 1.0, "not compared: the target's CPU was not seen")
    if cost is None or not cost > 0 or requests < FEWEST_REQUESTS:
        return CrossCheck(test, cost, requests, 1.0, "not compared: the record has no CPU of live requests")
    off = cost / test - 1
    if abs(off) <= TOLERANCE:
        return CrossCheck(test, cost, requests, 1.0, f"live requests cost {off:+.0%} CPU: the same mix")
    said = (
        f"warning: live requests cost {off:+.0%} CPU ({cost * 1000:.2f} ms against {test * 1000:.2f} ms in the test): "
        f"the mix differs, the capacity is rescaled by {test / cost:.2f}"
    )
    return CrossCheck(test, cost, requests, test / cost, said)


def read_live_cost(collector_url: str, service: str, *, since: datetime, until: datetime) -> LiveCost | None:
    """Return what live traffic cost, `GET /v1/cpu`; None from a collector that does not know that question.

    Raises ValueError with what came instead of an answer.
    """
    import httpx

    query = {"service": service, "from": since.isoformat(), "to": until.isoformat()}
    try:
        answer = httpx.get(
            f"{collector_url}/v1/cpu", params=query, headers=collector_headers("READ"), timeout=TIMEOUT_SECONDS
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        body = answer.json()
        cost = body["cpu_seconds_per_request"]
        return LiveCost(None if cost is None else float(cost), int(body["requests"]), body.get("version") or None)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected the CPU of {service!r} from {collector_url}, got {error!r}") from error
