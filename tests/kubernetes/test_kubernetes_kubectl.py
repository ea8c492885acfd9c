"""The shell commands that we print and document, run by a real kubectl on a real API server."""

import shutil
import subprocess

import pytest

from forecaster.actuators.contract import FloorConflict
from forecaster.actuators.gitops import to_release
from forecaster.actuators.ownership import HPA
from tests.kubernetes.cluster import ADMIN_TOKEN, BASE, Cluster
from tests.kubernetes.cluster_fixtures import Shop
from tests.kubernetes.cluster_fixtures import shop as shop
from tests.kubernetes.real_api import need_assets

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    need_assets()
    found: Cluster = request.getfixturevalue("real_cluster")
    return found


def shell(cluster: Cluster, command: str) -> str:
    """Run a line as a person would, with an administrator's kubeconfig."""
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(cluster.folder)}
    environment["KUBECONFIG"] = str(cluster.kubeconfig(ADMIN_TOKEN, "kubectl"))
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["apply", "apply --server-side"])
def test_the_printed_command_hands_over_a_floor_that_kubectl_applied_and_the_printed_line_restores_it(
    shop: Shop, how: str
) -> None:
    cluster = shop.cluster
    cluster.ask("DELETE", shop.hpa_path)
    manifest = BASE / "reference-app-hpa.yaml"
    shell(cluster, f"kubectl -n {shop.namespace} {how} -f {manifest}")
    actuator = shop.actuator()
    with pytest.raises(FloorConflict) as conflict:
        actuator.write_floor(shop.name, 8)
    printed = str(conflict.value)
    shell(cluster, next(line for line in printed.splitlines() if line.startswith("kubectl ")))
    assert actuator.write_floor(shop.name, 8).operator_floor == 3
    ours = [entry for entry in shop.hpa()["metadata"]["managedFields"] if entry["manager"] == "tidegauge"]
    assert [entry["fieldsV1"]["f:spec"] for entry in ours] == [{"f:minReplicas": {}}]
    if how == "apply":  # as docs/kubernetes.md has it: kubectl is told that the floor was never in its manifest
        without = cluster.folder / "hpa.yaml"
        without.write_text(manifest.read_text().replace("  minReplicas: 3\n", ""))
        shell(cluster, f"kubectl -n {shop.namespace} apply set-last-applied -f {without}")
        shell(cluster, f"kubectl -n {shop.namespace} apply -f {without}")
        assert (shop.floor(), actuator.read(shop.name).reverts) == (8, 0)
    shell(cluster, to_release(HPA, shop.namespace, "reference-app"))
    assert shop.floor() == 3
    state = actuator.read(shop.name)
    assert (state.operator_floor, state.reverts) == (3, 1)
    assert "kubectl-patch (Update)" in (state.blocked or "")
