"""Which actuator and which lease serve a configuration: chosen once, in the composition root, by `scaling.target.kind`.

The Kubernetes client is imported only where something of Kubernetes is named: that takes half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from collector.catalog import Catalog, Scaling
from collector.clickhouse import Client
from forecaster.actuators.contract import Actuator, ActuatorUnavailable
from forecaster.actuators.local import LocalCluster
from forecaster.loop.leadership import Leads, Lease
from forecaster.scaling.types import HpaState

if TYPE_CHECKING:
    from forecaster.actuators.kubernetes import KubernetesApi

_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LEASE_NAMESPACE = "tidegauge"


@dataclass(frozen=True, slots=True)
class Chosen:
    """actuator: of every scaling target, by its address. lease: who leads, given the store. close: ends connections."""

    actuator: Actuator
    lease: Callable[[Client], Leads]
    close: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Outside:
    """What the composition root hands in: the local cluster's address and client, the environment, and who we are."""

    cluster_url: str
    http: httpx.Client
    environ: Mapping[str, str]
    holder: str
    monotonic: Callable[[], float]


class ByAddress:
    """Passes each call on to the actuator that a target's address belongs to; any other goes to the local cluster."""

    def __init__(self, targets: Mapping[str, tuple[Actuator, str]], otherwise: Actuator) -> None:
        self._targets, self._otherwise = targets, otherwise

    def read(self, name: str) -> HpaState:
        """Return the state; see `Actuator`."""
        actuator, own = self._found(name)
        return actuator.read(own)

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Set the floor; see `Actuator`."""
        actuator, own = self._found(name)
        return actuator.write_floor(own, floor)

    def release(self, name: str) -> HpaState:
        """Give the operator's floor back; see `Actuator`."""
        actuator, own = self._found(name)
        return actuator.release(own)

    def _found(self, name: str) -> tuple[Actuator, str]:
        return self._targets.get(name, (self._otherwise, name))


class Unreachable:
    """Stands where no actuator could be made: says why, at the first use."""

    def __init__(self, why: str) -> None:
        self._why = why

    def read(self, name: str) -> HpaState:
        """Raise ActuatorUnavailable."""
        raise ActuatorUnavailable(f"{name}: {self._why}")

    def write_floor(self, name: str, floor: int) -> HpaState:
        """Raise ActuatorUnavailable."""
        raise ActuatorUnavailable(f"floor {floor} of {name}: {self._why}")

    def release(self, name: str) -> HpaState:
        """Raise ActuatorUnavailable."""
        raise ActuatorUnavailable(f"release of {name}: {self._why}")


class Every:
    """Leads only with all of these leases. They are asked in one order by everybody, so that nobody waits in a ring."""

    def __init__(self, leases: Sequence[Leads]) -> None:
        self._leases = leases

    def leads(self) -> bool:
        """Return whether all lead; asks the next one only when those before it do."""
        return all(lease.leads() for lease in self._leases)

    def holds(self) -> bool:
        """Return whether all still run, without asking anybody."""
        return all(lease.holds() for lease in self._leases)

    def release(self) -> None:
        """Let all go."""
        for lease in self._leases:
            lease.release()


def choose(catalog: Catalog, outside: Outside) -> Chosen:
    """Return the actuators and the lease for what a catalog scales.

    Where a floor of Kubernetes is named the lease is a Lease of that cluster, else one in the store. Raises ValueError
    when a setting is wrong or there is no way to connect; no cluster is asked anything yet.
    """
    local = LocalCluster(outside.cluster_url, outside.http)
    scalings = (service.scaling for service in catalog.services.values())
    remote = [scaling for scaling in scalings if scaling is not None and scaling.kind != "local"]
    if not remote:
        return Chosen(local, lambda client: _store_lease(client, outside), lambda: None)
    return _with_kubernetes(local, remote, outside)


def _with_kubernetes(local: LocalCluster, remote: Sequence[Scaling], outside: Outside) -> Chosen:
    from forecaster.actuators.autoscalers import KubernetesAutoscalers
    from forecaster.actuators.ownership import HPA, SCALED_OBJECT
    from forecaster.actuators.target import Surroundings
    from forecaster.loop.kube_lease import KubernetesLease

    count_nodes = _counts_nodes(outside.environ)
    contexts = sorted({scaling.context or "" for scaling in remote})
    apis = {context: _connected(context or None, outside.environ) for context in contexts}
    around = {
        context: Surroundings(api, monotonic=outside.monotonic, count_nodes=count_nodes)
        for context, api in apis.items()
    }
    actuators = {
        (context, kind): KubernetesAutoscalers(apis[context], model, namespace="default", surroundings=around[context])
        for context in contexts
        for kind, model in (("kubernetes", HPA), ("keda", SCALED_OBJECT))
    }
    targets: dict[str, tuple[Actuator, str]] = {
        scaling.address: (actuators[scaling.context or "", scaling.kind], f"{scaling.namespace}/{scaling.name}")
        for scaling in remote
    }
    namespace = _lease_namespace(outside.environ)
    leases = [
        KubernetesLease(apis[context], namespace=namespace, holder=outside.holder, monotonic=outside.monotonic)
        for context in contexts
    ]

    def close() -> None:
        for api in apis.values():
            api.close()

    return Chosen(ByAddress(targets, local), lambda _: Every(leases), close)


def _store_lease(client: Client, outside: Outside) -> Leads:
    return Lease(client, holder=outside.holder, monotonic=outside.monotonic)


def _connected(context: str | None, environ: Mapping[str, str]) -> KubernetesApi:
    from forecaster.actuators.kubernetes import connect

    said = environ.get("KUBECONFIG")
    in_cluster = not said and context is None and "KUBERNETES_SERVICE_HOST" in environ
    return connect(kubeconfig=Path(said) if said else None, context=context, in_cluster=in_cluster)


def _counts_nodes(environ: Mapping[str, str]) -> bool:
    said = environ.get("TIDEGAUGE_KUBERNETES_NODES") or "fixed"
    if said not in ("fixed", "elastic"):
        raise ValueError(f"TIDEGAUGE_KUBERNETES_NODES: expected fixed or elastic, got {said!r}")
    return said == "fixed"


def _lease_namespace(environ: Mapping[str, str]) -> str:
    said = environ.get("TIDEGAUGE_KUBERNETES_NAMESPACE")
    if said:
        return said
    try:
        return _ACCOUNT_NAMESPACE.read_text().strip() or _LEASE_NAMESPACE
    except OSError:
        return _LEASE_NAMESPACE
