"""Orders over HTTP: what is refused and why, what works while the store is down, and who may give them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.catalog import Catalog
from collector.clickhouse import StoreUnavailableError
from collector.security import Guarded, Security, SecuritySettingsError, read_security
from forecaster.__main__ import ROLES
from forecaster.actuators.memory import MemoryCluster
from forecaster.api.app import ApiParts, build_app
from forecaster.api.control import ControlParts
from forecaster.loop.journal import Journal
from forecaster.loop.look import read_orders_of
from forecaster.loop.tick import By, decide_once
from forecaster.loop.world import Memory, World
from forecaster.metrics import ForecasterMetrics
from forecaster.orders import FILE, Orders
from forecaster.settings import Settings
from forecaster.store import StoredBacktest
from tests.unit.forecaster_fakes import HPA, NOW, SCALING, SERVICE, FakeStore, a_decision, a_world
from tidegauge.clock import Clock

RAISED = replace(HPA, floor=8, desired=8, current=8, ready=8)
READ, ADMIN = "r" * 16, "a" * 16
WHO = {"who": "ann", "reason": "incident 42"}


@contextmanager
def _running() -> Iterator[None]:
    yield


class Desk:
    """A forecaster's API on a store in which nothing is recorded. `reached` False: the store never was."""

    def __init__(self, folder: Path, *, mode: str = "act", reached: bool = True, leads: bool = True) -> None:
        self.store, self.cluster, self.memory = FakeStore(), MemoryCluster({"app": RAISED}), Memory()
        memories = {"shop": self.memory, "plain": Memory()}
        service = replace(SERVICE, scaling=replace(SCALING, mode=mode))
        self.catalog = Catalog({"shop": service, "plain": replace(SERVICE, name="plain", scaling=None)})
        self.orders = Orders(folder, now=lambda: datetime.now(UTC))
        world = replace(a_world(self.store, self.cluster), orders=self.orders, catalog=self.catalog)
        self.world: World | None = world if reached else None
        self.journal = Journal(folder / "journal")
        control = ControlParts(self.orders, self.cluster, memories.__getitem__, lambda: leads, self.journal)
        parts = ApiParts(
            self.catalog, ForecasterMetrics(Clock(), Settings()), lambda: self.world, lambda: None, _running, control
        )
        self.app: Any = build_app(parts)

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://f") as http:
            return await http.post(path, json=body, headers=headers)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://f") as http:
            return await http.get(path, headers=headers)

    def passed(self, monkeypatch: pytest.MonkeyPatch, *, passed: bool = True) -> None:
        """Let the store hold a backtest's verdict."""
        backtest = StoredBacktest("shop", NOW, passed, NOW, NOW, {"reason": "too dear"})
        rows = self.store.query_rows

        def query_rows(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
            if "policy_backtests" in sql and not self.store.error:
                return [(backtest.run_at, backtest.passed, NOW, NOW, '{"reason": "too dear"}')]
            return rows(sql, parameters)

        monkeypatch.setattr(self.store, "query_rows", query_rows)


MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk(tmp_path: Path) -> MakeDesk:
    return lambda **settings: Desk(tmp_path, **settings)


@pytest.mark.parametrize("reached", [True, False])
async def test_a_pause_is_answered_and_on_disk_while_the_store_is_down(
    desk: MakeDesk, tmp_path: Path, reached: bool
) -> None:
    here = desk(reached=reached)
    here.store.error = StoreUnavailableError("connection refused")
    answer = await here.post("/v1/pause", {**WHO, "service": "shop"})
    assert answer.status_code == 200
    assert "incident 42" in (tmp_path / FILE).read_text()
    assert (await here.get("/v1/orders")).json()["paused"].keys() == {"shop"}
    assert (await here.post("/v1/resume", {**WHO, "service": "shop"})).status_code == 200
    assert (await here.get("/v1/orders")).json()["paused"] == {}


async def test_a_pause_of_all_reaches_every_service(desk: MakeDesk) -> None:
    here = desk()
    await here.post("/v1/pause", WHO)
    assert (await here.get("/v1/orders")).json()["paused"].keys() == {"shop", "plain"}
    assert "incident 42" in (await here.get("/v1/services/shop")).json()["paused"]


@pytest.mark.parametrize("reached", [True, False])
async def test_a_release_restores_the_operators_floor_with_the_store_down_and_the_service_stays_paused(
    desk: MakeDesk, reached: bool
) -> None:
    here = desk(reached=reached, leads=False)
    here.store.error = StoreUnavailableError("connection refused")
    answer = await here.post("/v1/services/shop/release", WHO)
    assert answer.status_code == 200
    assert (answer.json()["patch"]["floor_before"], answer.json()["patch"]["floor_after"]) == (8, 2)
    assert here.cluster.read("app").floor == 2
    assert here.orders.standing().paused("shop") is not None
    [kept] = here.journal.left("shop")  # its row is written by the first tick that reaches the store
    assert (kept.values["action"], kept.values["floor_after"], kept.values["applied"]) == ("release", 2, 1)


async def test_a_release_that_the_cluster_does_not_take_says_that_the_floor_is_as_it_was(desk: MakeDesk) -> None:
    here = desk()
    here.cluster.unavailable = "timed out"
    answer = await here.post("/v1/services/shop/release", WHO)
    assert answer.status_code == 502
    assert "paused, but the floor is as it was: timed out" in answer.json()["error"]


async def test_mode_act_is_refused_without_a_passed_backtest_and_force_is_recorded(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = desk(mode="observe")
    refused = await here.post("/v1/services/shop/mode", {**WHO, "mode": "act"})
    assert refused.status_code == 409
    assert "expected a passed `tidegauge backtest policy shop`, but none was run" in refused.json()["error"]
    here.passed(monkeypatch, passed=False)
    failed = await here.post("/v1/services/shop/mode", {**WHO, "mode": "act"})
    assert "did not (too dear)" in failed.json()["error"]
    assert here.orders.standing().mode("shop") is None
    forced = await here.post("/v1/services/shop/mode", {**WHO, "mode": "act", "force": True})
    assert (forced.json()["order"]["forced"], forced.json()["order"]["actor"]) == (True, "ann")
    overview = (await here.get("/v1/services/shop")).json()
    assert (overview["mode"], overview["mode_configured"]) == ("act", "observe")


async def test_going_back_to_a_configured_act_needs_the_backtest_too(desk: MakeDesk) -> None:
    here = desk(mode="act")
    assert (await here.post("/v1/services/shop/mode", {**WHO, "mode": "configured"})).status_code == 409
    assert (await here.post("/v1/services/shop/mode", {**WHO, "mode": "observe"})).status_code == 200
    assert (await here.post("/v1/services/shop/mode", {**WHO, "mode": "sleep"})).status_code == 409


async def test_applying_by_hand_is_refused_in_observe_without_a_backtest_paused_or_standing_by(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusal(here: Desk, **more: object) -> str:
        answer = await here.post("/v1/services/shop/apply", {**WHO, **more})
        assert answer.status_code == 409, answer.text
        return str(answer.json()["error"])

    assert "mode observe" in await refusal(desk(mode="observe"))
    assert "none was run" in await refusal(desk(mode="recommend"))
    assert "stands by" in await refusal(desk(leads=False))
    paused = desk()
    await paused.post("/v1/pause", {**WHO, "service": "shop"})
    assert "resume it first" in await refusal(paused, force=True)


async def test_applying_by_hand_in_recommend_decides_and_keeps_who_asked(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = desk(mode="recommend")
    here.passed(monkeypatch)
    answer = (await here.post("/v1/services/shop/apply", WHO)).json()
    assert (answer["actor"], answer["forced"], answer["mode"], answer["outcome"]) == ("ann", False, "act", "no_plan")
    forced = (await here.post("/v1/services/shop/apply", {**WHO, "force": True})).json()
    assert forced["forced"] is True


def test_a_recommendation_carried_out_by_hand_changes_the_floor_and_a_tick_does_not(tmp_path: Path) -> None:
    here = Desk(tmp_path, mode="recommend")
    world, shop = here.world, here.catalog.service("shop")
    assert world is not None

    def decision(situation: Any) -> Any:
        return a_decision(10, mode=situation.mode, floor_before=8, apply=situation.mode == "act")

    assert not decide_once(world, shop, Memory(), decide=decision).stored.applied
    assert decide_once(world, shop, Memory(), decide=decision, by=By("ann", by_hand=True)).stored.applied
    assert here.cluster.read("app").floor == 10


def test_an_unreadable_file_of_orders_is_a_pause(tmp_path: Path) -> None:
    here = Desk(tmp_path)
    (tmp_path / FILE).write_text("{")
    assert here.world is not None
    ordered, _ = read_orders_of(here.world, "shop")
    assert FILE in (ordered.paused or "")


@pytest.mark.parametrize(
    ("body", "status"), [({"reason": "x"}, 422), ({"who": "", "reason": "x"}, 422), ({**WHO, "who": "a\nb"}, 409)]
)
async def test_an_order_without_a_name_and_a_reason_is_refused(
    desk: MakeDesk, body: dict[str, Any], status: int
) -> None:
    assert (await desk().post("/v1/services/shop/release", body)).status_code == status


async def test_an_order_about_a_service_that_is_not_there_is_404(desk: MakeDesk) -> None:
    assert (await desk().post("/v1/pause", {**WHO, "service": "nobody"})).status_code == 404
    assert (await desk().post("/v1/services/plain/release", WHO)).status_code == 404


async def test_with_tokens_reading_needs_one_and_orders_the_administrators(desk: MakeDesk) -> None:
    here = desk()
    here.app = Guarded(here.app, Security({"read": (READ,), "admin": (ADMIN,)}))
    assert (await here.get("/healthz")).status_code == 200
    assert (await here.get("/v1/orders")).status_code == 401
    assert (await here.get("/v1/orders", authorization=f"Bearer {READ}")).status_code == 200
    assert (await here.post("/v1/pause", WHO, authorization=f"Bearer {READ}")).status_code == 403
    assert (await here.post("/v1/pause", WHO, authorization=f"Bearer {ADMIN}")).status_code == 200


def test_another_address_than_loopback_needs_both_tokens_and_not_the_collectors_third() -> None:
    with pytest.raises(SecuritySettingsError, match="TIDEGAUGE_READ_TOKEN, TIDEGAUGE_ADMIN_TOKEN"):
        read_security({"TIDEGAUGE_INGEST_TOKEN": "i" * 16}, host="0.0.0.0", roles=ROLES)
    tokens = {"TIDEGAUGE_READ_TOKEN": READ, "TIDEGAUGE_ADMIN_TOKEN": ADMIN}
    assert read_security(tokens, host="0.0.0.0", roles=ROLES).asks
    assert not read_security({}, host="127.0.0.1", roles=ROLES).asks
