"""Which actuator and which lease a configuration gets: local, Kubernetes or KEDA, by `scaling.target.kind`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from collector.catalog import Catalog, Scaling
from forecaster.actuators.chosen import Chosen, Outside, Unreachable, choose
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.actuators.local import LocalCluster
from forecaster.loop.leadership import Lease
from tests.kubernetes.cluster import FORECASTER_TOKEN
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop
from tests.unit.forecaster_fakes import SCALING, SERVICE

__all__ = ["cluster", "shop"]


def catalog(**scalings: Scaling) -> Catalog:
    return Catalog({name: replace(SERVICE, name=name, scaling=scaling) for name, scaling in scalings.items()})


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def chosen_for(watched: Catalog, http: httpx.Client, **environ: str) -> Chosen:
    return choose(watched, Outside("http://127.0.0.1:1", http, environ, "me", lambda: 0.0))


def test_without_a_target_of_kubernetes_the_floor_is_the_local_clusters_and_the_store_says_who_leads(
    http: httpx.Client,
) -> None:
    chosen = chosen_for(catalog(shop=SCALING), http)
    assert isinstance(chosen.actuator, LocalCluster)
    assert isinstance(chosen.lease(None), Lease)  # type: ignore[arg-type]  # nothing is asked of it


def test_a_target_of_kubernetes_is_found_by_its_address_and_the_cluster_says_who_leads(
    shop: Shop, http: httpx.Client
) -> None:
    remote = replace(SCALING, kind="kubernetes", name="reference-app", namespace=shop.namespace)
    config = str(shop.cluster.kubeconfig(FORECASTER_TOKEN, "chosen"))
    elsewhere = replace(remote, namespace="elsewhere")  # of one name, in another namespace
    chosen = chosen_for(catalog(shop=remote, other=elsewhere, beside=SCALING), http, KUBECONFIG=config)
    lease = chosen.lease(None)  # type: ignore[arg-type]  # nothing is asked of it
    try:
        assert chosen.actuator.read(remote.address).floor == 3
        with pytest.raises(ActuatorUnavailable, match="no HorizontalPodAutoscaler elsewhere/reference-app"):
            chosen.actuator.read(elsewhere.address)
        with pytest.raises(ActuatorUnavailable, match=r"127\.0\.0\.1:1"):
            chosen.actuator.read("app")  # the local one, which is not there
        assert lease.leads()
        spec = shop.cluster.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/tidegauge/leases/tidegauge-forecaster")
        assert spec["spec"]["holderIdentity"] == "me"
    finally:
        lease.release()
        chosen.close()


def test_without_a_way_to_connect_it_says_where_it_looked(http: httpx.Client, tmp_path: Path) -> None:
    remote = catalog(shop=replace(SCALING, kind="kubernetes", namespace="a"))
    nowhere = str(tmp_path / "no.config")
    with pytest.raises(ValueError, match=r"cannot connect to Kubernetes by .*no\.config"):
        chosen_for(remote, http, KUBECONFIG=nowhere)
    with pytest.raises(ValueError, match="TIDEGAUGE_KUBERNETES_NODES: expected fixed or elastic, got 'some'"):
        chosen_for(remote, http, KUBECONFIG=nowhere, TIDEGAUGE_KUBERNETES_NODES="some")


def test_where_nothing_could_be_chosen_each_use_says_why() -> None:
    absent = Unreachable("no kubeconfig")
    for use in (lambda: absent.read("app"), lambda: absent.write_floor("app", 3), lambda: absent.release("app")):
        with pytest.raises(ActuatorUnavailable, match="app: no kubeconfig"):
            use()
