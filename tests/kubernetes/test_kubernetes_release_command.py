"""`tidegauge scale release` without a forecaster: the operator's floor comes back, and the audit learns of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from collector.clickhouse import ClickHouseSettings, Client, connect, migrate
from forecaster import store
from forecaster.commands import mount
from forecaster.loop.journal import FOLDER, Journal
from forecaster.store.orders import read_orders
from forecaster.store.outcomes import read_patches
from tests.integration.store_fixtures import free_port, shared_store_url
from tests.integration.wave_fixtures import SERVICE
from tests.kubernetes.cluster import FORECASTER_TOKEN, Cluster
from tests.kubernetes.cluster_fixtures import Shop, deployed
from tests.kubernetes.forecaster_fixtures import CONFIG

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server

DATABASE = "t_release"


@pytest.fixture
def shop(memory_cluster: Cluster) -> Shop:
    """An app whose floor of 3 was raised to 9."""
    shop = deployed(memory_cluster)
    shop.hand_over()
    shop.actuator().write_floor(shop.name, 9)
    return shop


@pytest.fixture
def client(shared_store_url: str) -> Iterator[Client]:
    client = connect(ClickHouseSettings(url=shared_store_url, database=DATABASE))
    migrate(client, store.SCHEMA_FOLDER, owner=store.SCHEMA_OWNER)
    yield client
    client.close()


@pytest.fixture
def shell(shop: Shop, shared_store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a person at a shell; no forecaster listens."""
    (tmp_path / "tidegauge.yaml").write_text(CONFIG.format(service=SERVICE, namespace=shop.namespace))
    told = {
        "KUBECONFIG": str(shop.cluster.kubeconfig(FORECASTER_TOKEN, "person")),
        "TIDEGAUGE_CONFIG": str(tmp_path / "tidegauge.yaml"),
        "TIDEGAUGE_DATA": str(tmp_path),
        "TIDEGAUGE_CLICKHOUSE_URL": shared_store_url,
        "TIDEGAUGE_CLICKHOUSE_DATABASE": DATABASE,
        "TIDEGAUGE_FORECASTER_URL": f"http://127.0.0.1:{free_port()}",
    }
    for name in [name for name in os.environ if name.startswith("TIDEGAUGE_")]:
        monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def scale(*words: str) -> tuple[int, str, str]:
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, ["scale", *words])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.usefixtures("shell")
def test_a_release_is_in_the_audit_at_once_where_the_store_answers(shop: Shop, client: Client, tmp_path: Path) -> None:
    code, said, _ = scale("release", SERVICE, "--who", "ann", "--reason", "moving", "--json")

    assert (code, shop.floor(), shop.annotation()) == (0, 3, None)
    [row] = read_patches(client, SERVICE)
    told = json.loads(said)["patch"]
    assert (row.action, row.floor_before, row.floor_after, row.applied, row.error) == ("release", 9, 3, True, None)
    assert (row.actor, row.reason, row.resource_version) == (
        "ann", "moving", shop.hpa()["metadata"]["resourceVersion"]
    )  # fmt: skip
    assert told["id"] == row.id
    assert [(order.kind, order.actor) for order in read_orders(client, [SERVICE])] == [("release", "ann")]
    assert "by ann: 9 -> 3 (moving)" in scale("history", SERVICE)[1]
    assert [one["id"] for one in json.loads(scale("history", SERVICE, "--json")[1])["releases"]] == [row.id]
    assert Journal(tmp_path / FOLDER).left(SERVICE) == []


@pytest.mark.usefixtures("shell")
def test_without_the_store_the_row_waits_on_disk_beside_what_waits_there_and_is_written_later(
    shop: Shop, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(read_patches(client, SERVICE))
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}")
    for reason in ("first", "second"):
        code, _, complaints = scale("release", SERVICE, "--who", "bob", "--reason", reason)
        assert (code, shop.floor()) == (0, 3)
        assert f"the audit row waits in {tmp_path / FOLDER}" in complaints
    journal = Journal(tmp_path / FOLDER)
    assert [row.values["reason"] for row in journal.left(SERVICE)] == ["first", "second"]

    journal.settle(client, SERVICE)  # what a forecaster's next decision does
    journal.settle(client, SERVICE)

    assert journal.left(SERVICE) == []
    rows = read_patches(client, SERVICE)
    assert len(rows) == before + 2
    assert {(row.actor, row.applied) for row in rows[:2]} == {("bob", True)}


@pytest.mark.usefixtures("shell")
def test_a_release_that_the_cluster_refuses_is_in_the_audit_with_its_reason(shop: Shop, client: Client) -> None:
    shop.edit({"metadata": {"annotations": {"tidegauge.dev/operator-floor": None}}})
    code, _, complaints = scale("release", SERVICE, "--who", "eve")
    assert code == 1
    assert "is paused, but its floor is as it was" in complaints
    [row] = [row for row in read_patches(client, SERVICE) if row.actor == "eve"]
    assert (row.applied, row.floor_before, row.floor_after) == (False, 9, None)
    assert "the operator's own floor is not known" in (row.error or "")


@pytest.mark.usefixtures("shell")
def test_a_decision_by_hand_is_not_made_without_the_forecaster_that_leads(shop: Shop) -> None:
    code, _, complaints = scale("apply", SERVICE)
    assert (code, shop.floor()) == (1, 9)
    assert "no forecaster listens" in complaints
