"""A real API server takes every manifest of every overlay, by server-side dry run: it judges and makes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from forecaster.actuators.kubernetes import connect
from tests.deployment.build import build, read_sources
from tests.deployment.kubernetes_world import FOLDER
from tests.kubernetes.cluster import ADMIN_TOKEN, FORECASTER_TOKEN
from tests.kubernetes.real_api import need_assets
from tidegauge.doctor.probes import ask_rights

pytestmark = pytest.mark.server

KUBECTL = shutil.which("kubectl")
SOURCES = read_sources(FOLDER)
OVERLAYS = sorted(path.parent for path in (FOLDER / "overlays").rglob("kustomization.yaml"))
OF_OTHERS = (
    "monitoring.coreos.com",
    "istio.io",
    "gateway.networking.k8s.io",
    "altinity.com",
)  # their kinds are not installed


@pytest.fixture(scope="module")
def kubeconfig(request):
    if KUBECTL is None:
        pytest.skip("needs the program kubectl")
    need_assets()
    path = request.getfixturevalue("real_cluster").kubeconfig(ADMIN_TOKEN, "admin")
    made = applied(path, [SOURCES[FOLDER / "base" / "namespace.yaml"][0]], dry=False)
    assert made.returncode == 0, made.stderr
    return path


def applied(kubeconfig, documents, *, dry: bool = True) -> subprocess.CompletedProcess[str]:
    """Apply documents to the cluster, or ask what it would say to them."""
    words = [KUBECTL, "--kubeconfig", str(kubeconfig), "-n", "tidegauge"]
    words += ["apply", "--server-side", "--force-conflicts"]
    words += ["--dry-run=server"] if dry else []
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    words += ["--validate=strict", "-f", "-"]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_a_real_api_server_would_take_an_overlay_and_finds_its_pods_restricted(kubeconfig, overlay):
    documents = [each for each in build(overlay, SOURCES) if not any(name in each["apiVersion"] for name in OF_OTHERS)]

    said = applied(kubeconfig, documents)

    assert said.returncode == 0, said.stderr
    assert "PodSecurity" not in said.stderr
    assert len(said.stdout.splitlines()) == len(documents) > 30


def test_it_refuses_a_field_that_it_does_not_know(kubeconfig):
    said = applied(kubeconfig, [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "daten": {}}])

    assert said.returncode != 0
    assert "daten" in said.stderr


def test_the_doctor_finds_what_the_forecaster_may_do_and_what_not(kubeconfig):
    rights = SOURCES[FOLDER / "base" / "forecaster-rbac.yaml"]
    assert applied(kubeconfig, rights, dry=False).returncode == 0
    wanted = [("patch", "autoscaling", "horizontalpodautoscalers", "tidegauge"), ("get", "", "secrets", "tidegauge")]

    with running_as(kubeconfig, FORECASTER_TOKEN) as api:
        found = ask_rights(api, wanted)

    assert [each.allowed for each in found] == [True, False]


@contextmanager
def running_as(kubeconfig, token: str):
    """The API as the holder of another token sees it."""
    other = kubeconfig.with_name("other.kubeconfig")
    other.write_text(kubeconfig.read_text().replace(ADMIN_TOKEN, token))
    api = connect(kubeconfig=other, context=None, in_cluster=False)
    yield api
    api.close()
