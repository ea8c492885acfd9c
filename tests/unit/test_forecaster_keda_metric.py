"""What KEDA reads: the planned floor times its target, and never a zero for want of a decision."""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from collector.catalog import Catalog
from forecaster.actuators.memory import MemoryCluster
from forecaster.api.keda_metric import keda_metric, published
from tests.unit.forecaster_fakes import HPA, NOW, SERVICE, FakeStore, a_decision, a_world

FRESH = timedelta(minutes=20)


@pytest.mark.parametrize("mode", ["recommend", "act"])
def test_the_value_is_the_planned_floor_times_the_target(mode: str) -> None:
    found = published(a_decision(6, mode=mode), now=NOW, fresh=FRESH, target=100.0)
    assert (found["value"], found["floor"], found["target"]) == (600.0, 6, 100.0)


def test_in_mode_observe_it_is_the_floor_in_force() -> None:
    found = published(a_decision(6, mode="observe"), now=NOW, fresh=FRESH, target=100.0)
    assert found["value"] == 200.0  # the floor before, 2


def test_a_decision_that_is_too_old_or_none_at_all_is_an_error_and_no_value() -> None:
    old = a_decision(6)
    assert "too old" in published(old, now=NOW + timedelta(minutes=21), fresh=FRESH, target=1.0)["error"]
    assert published(old, now=NOW + timedelta(minutes=20), fresh=FRESH, target=1.0)["value"] == 6.0
    assert published(None, now=NOW, fresh=FRESH, target=1.0) == {"error": "nothing has been decided yet"}


async def test_over_http_nothing_decided_is_503_and_a_target_of_zero_is_refused() -> None:
    world = a_world(FakeStore(), MemoryCluster({"app": HPA}))
    app = FastAPI()
    app.include_router(keda_metric(Catalog({"shop": replace(SERVICE)}), lambda: world))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://forecaster") as http:
        undecided = await http.get("/v1/keda/shop?target=100")
        assert (undecided.status_code, undecided.json()) == (503, {"error": "nothing has been decided yet"})
        assert (await http.get("/v1/keda/shop?target=0")).status_code == 422
