"""One request, followed from the front of the app to the replicas that it made ready.

The stack runs as `tidegauge up` runs it, with nobody but us sending. Its clock shows ten to eight; the imported
history is quiet before eight and busy after, every day, and ends at half past seven. The policy has been put to the
proof and the forecaster may act, and yet it must not: what it knows is old (a metric that is not there is no zero). One
request changes that; then the floor goes up.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from collector.clickhouse import Client, connect, settings_from_environment
from collector.record.store import read_demand, read_red
from forecaster.store import read_forecasts
from tests.e2e.stack_fixtures import SHIPPED_CONFIG, Stack, running
from tests.e2e.stack_fixtures import folder as folder

pytestmark = [pytest.mark.e2e, pytest.mark.server]

SERVICE = "reference-app"
SPEED = 4  # slow: a metric of three minutes ago is stale, and a lot is done before that
MINUTE = timedelta(minutes=1)
HISTORY = timedelta(days=7)
# Requests in a minute. A replica carries 12 in a real second: 3 in a second of this clock, 180 in a minute.
QUIET, BUSY = 1, 600
BUSY_HOURS = range(8, 20)
ROUTE = "/api/flights/search"


@pytest.fixture
def rise_at() -> datetime:
    """Eight in the morning of the day before yesterday, by the clock of the test."""
    return datetime.now(UTC).replace(hour=8, minute=0, second=0, microsecond=0) - timedelta(days=2)


@pytest.fixture
def stack(folder: Path, rise_at: datetime) -> Iterator[Stack]:
    document = yaml.safe_load(SHIPPED_CONFIG.read_text())
    document["services"][SERVICE]["scaling"]["mode"] = "act"
    config = folder / "tidegauge.yaml"
    config.write_text(yaml.safe_dump(document))
    starts_at = rise_at - timedelta(minutes=10)
    environment = {
        "TIDEGAUGE_CONFIG": str(config),
        "TIDEGAUGE_CLOCK": f"{starts_at.timestamp()}:{time.time()}:{SPEED}",
        "TIDEGAUGE_FORECAST_STEP": "1m",
        "TIDEGAUGE_FORECAST_REFRESH": "30s",
    }
    with running(folder, "up", "--no-dashboard", "--no-load", environment=environment) as made:
        made.wait_until_said("Up.")
        yield made


@pytest.fixture
def record(stack: Stack) -> Iterator[Client]:
    client = connect(settings_from_environment(stack.environ()))
    yield client
    client.close()


@pytest.mark.timeout(300)
def test_one_request_is_followed_through_to_the_replicas_that_it_made_ready(
    stack: Stack, record: Client, rise_at: datetime
) -> None:
    import_history(stack, rise_at)
    prove_policy(stack)  # before the request: one minute of demand is stale long before a slow machine is done with it
    held = newest_decision(stack, "demand is stale: the newest is of 07:30")
    assert (held["outcome"], held["floor_before"], held["floor_after"]) == ("no_plan", 2, 2)

    trace_id = secrets.token_hex(14) + "0001"  # under 0x028f: of the 1 % whose traces are kept
    send_request(stack, trace_id, day=rise_at + timedelta(days=1))

    # Its row, the only one there is, of a replica that lives.
    columns = "ts, service, route, method, status, instance, version"
    row = stack.until(lambda: record.query_rows(f"SELECT {columns} FROM request_events"), what="its row")[0]
    traced = record.query_rows("SELECT ts FROM request_events WHERE trace_id = {id:String}", {"id": trace_id})
    assert traced == [(row[0],)]
    assert row[1:5] == (SERVICE, ROUTE, "GET", 200)
    assert row[5] in [replica["instance"] for replica in stack.get("CLUSTER", "/replicas")]

    # Its minute in red_1m, and as demand: one request in 60 seconds.
    minute = row[0].replace(second=0, microsecond=0)
    red = read_red(record, SERVICE, since=minute, until=minute + MINUTE, step=MINUTE, by="route")
    assert red[["ds", "route", "requests", "errors"]].values.tolist() == [[minute, ROUTE, 1, 0]]
    demand = read_demand(record, SERVICE, since=minute, until=minute + MINUTE, step=MINUTE)
    assert demand.to_numpy().tolist() == [[minute, pytest.approx(1 / 60)]]

    # The forecast whose last step seen is that minute. It knows of the rise: no 2 replicas carry it.
    origin = minute + MINUTE
    stack.until(lambda: len(forecast_from(record, origin)), what=f"a forecast from {origin}")
    seen = forecast_from(record, origin)
    busy = seen[(seen["ds"] >= rise_at) & (seen["ds"] < rise_at + timedelta(minutes=15))]
    assert busy["q0.95"].max() > 2 * 180 / 60

    # The floor goes up.
    decision = stack.until(lambda: applied_decision(stack), what="a raise that is applied")
    assert decision["floor_after"] > decision["floor_before"] == 2
    assert (
        minute <= datetime.fromisoformat(decision["forecast_origin"]) <= origin
    )  # its minute was still under way, or over
    assert decision["mode"] == "act"

    # The cluster has the floor, from us, and as many replicas are ready.
    stack.until(lambda: hpa(stack)["ready"] >= decision["floor_after"], what="the replicas of the new floor")
    now = hpa(stack)
    assert (now["min_replicas"], now["manager"], now["operator_floor"]) == (decision["floor_after"], "tidegauge", 2)
    ready = [replica for replica in stack.get("CLUSTER", "/replicas") if replica["state"] == "ready"]
    assert len(ready) >= decision["floor_after"]
    print(f"{row[0]:%H:%M:%S} the request; {decision['at']} floor {decision['floor_after']}: {decision['reasons']}")


def import_history(stack: Stack, rise_at: datetime) -> None:
    """Import the minutes of a week, up to half an hour before the rise."""
    end = rise_at - timedelta(minutes=30)
    minutes = [end - HISTORY + number * MINUTE for number in range(HISTORY // MINUTE)]
    rows = [f"{at:%Y-%m-%dT%H:%M:%SZ},{BUSY if at.hour in BUSY_HOURS else QUIET}" for at in minutes]
    file = stack.folder / "history.csv"
    file.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    done = stack.run("import", str(file), "--service", SERVICE)
    assert done.returncode == 0, done.stderr


def prove_policy(stack: Stack) -> None:
    """Let the policy be judged on the last day of the history, with a decision every five minutes as is usual."""
    asked = ("backtest", "policy", SERVICE, "--policy", "tidegauge,hpa", "--window", "24h")
    done = stack.run(*asked, seconds=120, TIDEGAUGE_FORECAST_REFRESH="5m")
    assert done.returncode == 0, done.stdout + done.stderr


def send_request(stack: Stack, trace_id: str, *, day: datetime) -> None:
    asked = {"origin": "ATL", "destination": "LHR", "date": f"{day:%Y-%m-%d}"}
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    answer = httpx.get(stack.url("APP", ROUTE), params=asked, headers=headers, timeout=10, trust_env=False)
    assert answer.status_code == 200, answer.text


def decisions(stack: Stack) -> list[dict[str, Any]]:
    """Return the stored decisions, newest first."""
    found: list[dict[str, Any]] = stack.get("FORECASTER", f"/v1/services/{SERVICE}/decisions")["decisions"]
    return found


def newest_decision(stack: Stack, reason: str) -> dict[str, Any]:
    """Wait until the newest decision gives this reason, and return it."""

    def found() -> dict[str, Any] | None:
        newest = next(iter(decisions(stack)), None)
        return newest if newest and any(reason in told for told in newest["reasons"]) else None

    answer: dict[str, Any] = stack.until(found, what=f"a decision because {reason}")
    return answer


def applied_decision(stack: Stack) -> dict[str, Any] | None:
    """Return the first decision that was applied."""
    return next((decision for decision in reversed(decisions(stack)) if decision["applied"]), None)


def forecast_from(record: Client, origin: datetime) -> pd.DataFrame:
    """Return the stored forecast of this origin; without rows while there is none."""
    return read_forecasts(record, SERVICE, since=origin, until=origin + MINUTE)


def hpa(stack: Stack) -> dict[str, Any]:
    answer: dict[str, Any] = stack.get("CLUSTER", f"/hpas/{SERVICE}")
    return answer
