"""A real Kubernetes for tests: etcd, the API server and the controller manager with its autoscaler, on loopback.

KUBEBUILDER_ASSETS names a folder with their binaries (`make kube` builds it); without it, or with one of them missing,
the tests skip. There is no kubelet and no scheduler: pods are what the test says of them.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from kubernetes import config
from kubernetes.client import Configuration

from tests.integration.store_fixtures import free_port
from tests.kubernetes.cluster import ADMIN_TOKEN, FORECASTER, FORECASTER_TOKEN, OPERATOR_TOKEN, Cluster

READY_WITHIN_SECONDS = 240  # a few on a machine that is free
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager")
CONTROLLERS = ("deployment", "replicaset", "horizontal-pod-autoscaler", "resourcequota")


def need_assets() -> Path:
    """The folder with the binaries; skips without it."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if not named:
        pytest.skip(f"neither KUBEBUILDER_ASSETS ({', '.join(PARTS)}: make kube) nor KUBECONFIG")
    folder = Path(named)
    missing = [name for name in PARTS if not (folder / name).exists()]
    if missing:
        pytest.skip(f"KUBEBUILDER_ASSETS={folder} lacks {', '.join(missing)}: make kube")
    return folder


def is_existing_named() -> bool:
    """Say whether KUBECONFIG names a running cluster and TIDEGAUGE_TEST_CONTEXT, its context, consents to its use.

    A kubeconfig alone may well be that of a cluster in use.
    """
    return bool(os.environ.get("KUBECONFIG") and os.environ.get("TIDEGAUGE_TEST_CONTEXT"))


@contextmanager
def existing_kubernetes(folder: Path) -> Iterator[Cluster]:
    """Use the cluster that KUBECONFIG names. What the tests made there is deleted in the end."""
    found = Configuration()
    config.load_kube_config(os.environ["KUBECONFIG"], os.environ["TIDEGAUGE_TEST_CONTEXT"], found)
    certificate = (found.cert_file, found.key_file) if found.cert_file else None
    cluster = Cluster(found.host, Path(found.ssl_ca_cert), folder, certificate=certificate)
    token = found.api_key.get("BearerToken") or found.api_key.get("authorization") or ""
    cluster.tokens[ADMIN_TOKEN] = token.removeprefix("Bearer ")
    try:
        yield cluster
    finally:
        for namespace in cluster.made:
            cluster.respond("DELETE", f"/api/v1/namespaces/{namespace}")
        cluster.close()


@contextmanager
def running_kubernetes(folder: Path, assets: Path, *, hpa_flags: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """Run a control plane with its state in `folder`; gives a cluster whose administrator may do everything."""
    folder.mkdir(parents=True, exist_ok=True)
    etcd, secure, managed = free_port(), free_port(), free_port()
    with ExitStack() as running:
        running.enter_context(_process(folder, [str(assets / "etcd"), *_etcd_flags(folder, etcd)]))
        _write_credentials(folder)
        flags = _api_flags(folder, secure, etcd)
        api = running.enter_context(_process(folder, [str(assets / "kube-apiserver"), *flags]))
        url, authority = f"https://127.0.0.1:{secure}", folder / "certificates" / "apiserver.crt"
        _wait_until_ready(url, authority, api, folder)
        cluster = Cluster(url, authority, folder)
        running.callback(cluster.close)
        kubeconfig = cluster.kubeconfig(ADMIN_TOKEN, "admin")
        flags = [
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={managed}",
            f"--cert-dir={folder / 'manager'}",
            "--horizontal-pod-autoscaler-initial-readiness-delay=0s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=0s",
            *hpa_flags,
        ]
        running.enter_context(_process(folder, [str(assets / "kube-controller-manager"), *flags]))
        yield cluster


def _etcd_flags(folder: Path, port: int) -> list[str]:
    peer = free_port()
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]


def _api_flags(folder: Path, port: int, etcd: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'account.key'}",
        f"--service-account-signing-key-file={folder / 'account.key'}",
        "--watch-cache=false",
    ]


def _write_credentials(folder: Path) -> None:
    key = ["openssl", "genrsa", "-out", str(folder / "account.key"), "2048"]
    subprocess.run(key, check=True, capture_output=True, timeout=30)
    (folder / "tokens.csv").write_text(
        f'{ADMIN_TOKEN},admin,admin,"system:masters"\n'
        f'{OPERATOR_TOKEN},operator,operator,"system:masters"\n'
        f'{FORECASTER_TOKEN},{FORECASTER},forecaster,"system:serviceaccounts"\n'
    )


@contextmanager
def _process(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _wait_until_ready(url: str, authority: Path, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    while time.monotonic() < deadline and process.poll() is None:
        if authority.exists():
            try:
                ready = httpx.get(f"{url}/readyz", headers=headers, verify=False, timeout=5)
                if ready.status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
        time.sleep(0.1)  # polling with a deadline
    log = (folder / "kube-apiserver.log").read_text()[-3000:]
    raise AssertionError(f"the API server is not ready; exit code {process.poll()}; log:\n{log}")
