"""Who leads by a Lease of the cluster, on an API server in memory and on a real one; time is a clock by hand."""

import itertools
import os

import pytest

from forecaster.actuators.chosen import Every
from forecaster.actuators.contract import ActuatorUnavailable
from forecaster.loop.kube_lease import LEASE_SECONDS, NAME, KubernetesLease
from forecaster.loop.leadership import LedActuator
from tests.kubernetes.cluster import ADMIN_TOKEN, Cluster
from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]

_NUMBERS = itertools.count(1)


class Replicas:
    """Two forecasters and more, with one clock that a test turns."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.now, self.namespace = cluster, 1000.0, f"tidegauge-{os.getpid()}-{next(_NUMBERS)}"
        cluster.make_namespace(self.namespace)

    def start(self, holder: str) -> KubernetesLease:
        api = self.cluster.api(ADMIN_TOKEN)
        return KubernetesLease(api, namespace=self.namespace, holder=holder, monotonic=lambda: self.now)

    def lease(self) -> dict:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{NAME}"
        return self.cluster.ask("GET", path)["spec"]

    def after(self, seconds: float, *leases: KubernetesLease) -> list[bool]:
        """Let time pass in steps of a second, all asking at each, as the scheduler does; who leads then."""
        for _ in range(int(seconds)):
            self.now += 1
            for lease in leases:
                lease.leads()
            assert sum(lease.holds() for lease in leases) <= 1, "two lead at once"
        return [lease.leads() for lease in leases]


@pytest.fixture
def replicas(cluster: Cluster) -> Replicas:
    return Replicas(cluster)


def test_the_first_leads_and_the_second_stands_by_for_as_long_as_the_first_renews(replicas: Replicas) -> None:
    first, second = replicas.start("a"), replicas.start("b")
    assert [first.leads(), second.leads()] == [True, False]
    assert replicas.after(2 * LEASE_SECONDS, first, second) == [True, False]
    assert replicas.lease()["holderIdentity"] == "a"
    assert replicas.lease()["leaseTransitions"] == 0


def test_a_leader_that_is_killed_is_followed_when_its_lease_has_run_out_and_not_before(replicas: Replicas) -> None:
    killed, second = replicas.start("a"), replicas.start("b")
    assert [killed.leads(), second.leads()] == [True, False]
    assert replicas.after(LEASE_SECONDS - 1, second) == [False]
    assert not killed.holds()  # its own lease ended before another could take over
    assert replicas.after(2, second) == [True]
    assert replicas.lease()["leaseTransitions"] == 1


def test_a_leader_that_hung_does_not_act_when_it_wakes(replicas: Replicas) -> None:
    hung, second = replicas.start("a"), replicas.start("b")
    hung.leads()
    replicas.after(LEASE_SECONDS + 2, second)
    assert second.holds()
    assert not hung.holds()
    assert not hung.leads()
    assert replicas.after(5, hung, second) == [False, True]


def test_a_leader_that_stops_lets_the_next_one_lead_within_two_seconds(replicas: Replicas) -> None:
    first, second = replicas.start("a"), replicas.start("b")
    first.leads()
    second.leads()
    first.release()
    assert not first.holds()
    assert replicas.after(2, second) == [True]


def test_a_forecaster_started_again_under_its_name_leads_at_once(replicas: Replicas) -> None:
    replicas.start("a").leads()
    assert replicas.start("a").leads()


def test_of_two_who_claim_a_free_lease_at_once_one_wins(replicas: Replicas) -> None:
    first, second = replicas.start("a"), replicas.start("b")
    api = second._api
    really = api.create

    def late(*args) -> dict:
        first.leads()  # between the other's look and its claim
        return really(*args)

    api.create = late
    assert not second.leads()
    assert [first.holds(), second.holds()] == [True, False]


def test_without_an_answer_a_leader_leads_until_its_lease_runs_out(replicas: Replicas) -> None:
    first = replicas.start("a")
    first.leads()

    def silence(*_) -> dict:
        raise ActuatorUnavailable("no answer")

    first._api.get = silence
    assert replicas.after(11, first) == [True]  # 20 s less the margin of 8
    assert replicas.after(2, first) == [False]


def test_a_floor_is_written_by_the_leader_alone(shop: Shop, replicas: Replicas) -> None:
    shop.hand_over()
    first, second = Every([replicas.start("a")]), Every([replicas.start("b")])
    assert [first.leads(), second.leads()] == [True, False]
    with pytest.raises(ActuatorUnavailable, match="another forecaster leads"):
        LedActuator(shop.actuator(), second).write_floor(shop.name, 9)
    with pytest.raises(ActuatorUnavailable, match="another forecaster leads"):
        LedActuator(shop.actuator(), second).release(shop.name)
    assert LedActuator(shop.actuator(), first).write_floor(shop.name, 9).floor == 9
    first.release()
    assert not first.holds()
