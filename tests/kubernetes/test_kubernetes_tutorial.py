"""The tutorial's third part, done as it says: a cluster of one's own, from observe to act, read out of the document.

On a real API server its kubectl lines are kubectl's; on the one in memory the same requests are made for them.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.e2e.stack_fixtures import folder, free_ports
from tests.e2e.test_tutorial import OWN_TERMINAL, environ, section, terminal, typed
from tests.kubernetes.cluster import ADMIN_TOKEN, APPLY, DEPLOYMENTS, HPAS, Cluster, path_of
from tests.kubernetes.cluster_fixtures import Shop, cluster_at_hand
from tests.kubernetes.forecaster_fixtures import starting_pods, until
from tests.kubernetes.real_api import is_existing_named

__all__ = ["cluster_at_hand", "folder"]
pytestmark = [pytest.mark.e2e, pytest.mark.server, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
TITLE = "Your own cluster, from observe to act"
STEP = timedelta(minutes=15)
DAYS = 8
QUIET_RPS, BUSY_RPS = 150.0, 900.0


def write_history(path: Path) -> None:
    """Eight days up to now that are busy for four hours each, from the next quarter of an hour on: a peak is close."""
    end = datetime.fromtimestamp(time.time() // STEP.total_seconds() * STEP.total_seconds(), UTC)
    rises, draw, lines = end + STEP, random.Random(1), ["timestamp,value"]
    for back in range(timedelta(days=DAYS) // STEP, 0, -1):
        at = end - back * STEP
        rps = BUSY_RPS if (at - rises) % timedelta(days=1) < timedelta(hours=4) else QUIET_RPS
        lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{rps * draw.gauss(1, 0.03) * STEP.total_seconds():.0f}")
    path.write_text("\n".join(lines) + "\n")


class OwnCluster(Shop):
    """The cluster that the reader has: a Deployment and an HPA `shop` that were applied with kubectl."""

    hpa_path = HPAS.format("shop") + "/shop"  # type: ignore[assignment]  # of another name than the reference app's
    deployment_path = DEPLOYMENTS.format("shop") + "/shop"  # type: ignore[assignment]  # as above


def own_cluster(cluster: Cluster) -> OwnCluster:
    if "shop" not in cluster.made:
        cluster.make_namespace("shop")
    labels = {"app": "shop"}
    pod = {"containers": [{"name": "app", "image": "shop:1"}]}
    documents = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "namespace": "shop"},
         "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}},
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
         "metadata": {"name": "shop", "namespace": "shop"},
         "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}, "minReplicas": 3,
                  "maxReplicas": 50, "metrics": [{"type": "Resource", "resource": {
                      "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}},
    ]  # fmt: skip
    for document in documents:
        cluster.respond("DELETE", path_of(document))  # where the test failed once and is run again, they are there
        cluster.ask("POST", path_of(document, collection=True), document, fieldManager="kubectl-client-side-apply")
    return OwnCluster(cluster, "shop")


def test_a_cluster_of_ones_own_goes_from_observe_to_act_by_the_tutorial_alone(
    cluster_at_hand: Cluster, folder: Path
) -> None:
    cluster = cluster_at_hand
    if is_existing_named():
        pytest.skip("the tutorial's namespace is called shop: not made in a cluster that may have one")
    if cluster.authority is not None and shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    part_one = dict(text.split("\n", 1) for language, text in section("Your own FastAPI service") if language == "yaml")
    (folder / "tidegauge.yaml").write_text(part_one["# tidegauge.yaml"])
    (folder / "tidegauge").symlink_to(ROOT)
    write_history(folder / "history.csv")
    shop = own_cluster(cluster)
    environment = environ(free_ports())
    environment["KUBECONFIG"] = str(cluster.kubeconfig(ADMIN_TOKEN, "reader"))
    environment["TIDEGAUGE_KUBERNETES_NODES"] = "elastic"  # there is none, and that shall limit no plan
    printed: dict[str, str] = {}
    floors: dict[str, int] = {}
    with starting_pods(shop), ExitStack() as terminals:
        for language, text in section(TITLE):
            if language == "yaml":
                with (folder / "tidegauge.yaml").open("a") as config:
                    config.write(text)
                continue
            if text.startswith(OWN_TERMINAL):
                terminals.enter_context(terminal(text.removeprefix(OWN_TERMINAL), folder, environment))
                continue
            for line in text.strip().splitlines():
                if "DECISION" in line:
                    line = line.replace("DECISION", first_decision(folder, environment))
                printed[line] = said(line, cluster, folder, environment)
                floors[line] = shop.floor()
                if line == "tidegauge scale apply shop":
                    until(lambda: shop.replicas() == shop.floor(), what="the Deployment follows")

    said_by_plan = printed["tidegauge plan shop"]
    assert "mode observe" in said_by_plan
    assert floors["tidegauge plan shop"] == 3
    assert "passed on" in printed[next(line for line in printed if line.startswith("tidegauge backtest policy"))]
    status = printed["tidegauge scale status shop"]
    assert "spec.minReplicas of HorizontalPodAutoscaler shop/shop is held by kubectl-client-side-apply" in status
    assert "\n  ignoreDifferences:\n    - group: autoscaling\n" in status
    # 900 requests/s need 9 to 12 replicas of 80 to 100; the largest step may be passed for what the lead asks for. How
    # wide eight days leave the forecast depends on the quarter of an hour that they end at: half as many again at most.
    assert "applied, floor 3 -> " in printed["tidegauge scale apply shop"]
    assert 9 <= floors["tidegauge scale apply shop"] <= 18
    assert floors["tidegauge scale mode shop act"] >= 9
    assert floors["tidegauge scale release shop"] == 3
    assert "tidegauge.dev/operator-floor" not in (shop.hpa()["metadata"].get("annotations") or {})


def first_decision(folder: Path, environment: dict[str, str]) -> str:
    """The id of the newest decision that rests on a forecast: the forecaster sees within a minute what was imported."""
    found: list[str] = []

    def is_there() -> bool:
        told = json.loads(typed("tidegauge scale history shop --json", folder, environment).split("\n", 1)[1])
        found.extend(one["id"] for one in told["decisions"] if one["forecast_origin"] is not None)
        return bool(found)

    until(is_there, what="a decision")
    return found[0][:8]


def said(line: str, cluster: Cluster, folder: Path, environment: dict[str, str]) -> str:
    """Type a line; in memory, where kubectl finds no cluster, ask what it would."""
    if cluster.authority is not None or "kubectl" not in line:
        return typed(line, folder, environment)
    if line.endswith("| sh"):
        command = typed(line.removesuffix("| sh"), folder, environment).split("\n", 1)[1]
        steps = json.loads(shlex.split(command)[-1])
        path = HPAS.format("shop") + "/shop"
        cluster.ask("PATCH", path, steps, how="application/json-patch+json", fieldManager="kubectl-patch")
        return command
    assert re.match(r"kubectl apply (-n \S+ )?-f ", line), line
    words = shlex.split(line)
    for document in yaml.safe_load_all((folder / words[words.index("-f") + 1]).read_text()):
        if "-n" in words and not document["kind"].startswith("Cluster"):
            document["metadata"].setdefault("namespace", words[words.index("-n") + 1])
        cluster.ask("PATCH", path_of(document), document, how=APPLY, fieldManager="kubectl", force="true")
    return ""
