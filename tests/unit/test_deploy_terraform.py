"""The three regions of deploy/terraform: the figures asked for, no loose names, and the overlays' own words."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.deployment.mutate import mutations
from tests.deployment.terraform_check import FOLDER, read_all, terraform_findings

MODULES = read_all()
TEXTS = {
    name: "".join(
        path.read_text() for path in sorted((FOLDER if name == "." else FOLDER / "modules" / name).glob("*.tf"))
    )
    for name in MODULES
}


def call_of(modules: Any, region: str) -> Any:
    """Return the call of the region module for one region."""
    calls = (call for block in modules["."]["module"] for call in block.values())
    return next(call for call in calls if call.get("region") == region)


def test_terraform_is_what_the_overlays_and_the_app_say():
    assert terraform_findings(MODULES, TEXTS) == []


def test_every_change_of_a_port_a_path_or_a_host_is_noticed():
    tried = list(mutations(MODULES))

    assert [str(each) for each in tried if not terraform_findings(each.applied(MODULES), TEXTS)] == []
    assert len(tried) > 10


@pytest.mark.parametrize(
    ("region", "key", "value"),
    [
        ("us-east-1", "instances", 5), ("eu-west-1", "instances", 6), ("us-east-1", "region", "us-east-2"),
        ("eu-west-1", "zones", ["eu-west-1a", "eu-west-1b"]), ("us-west-2", "instances", 0),
        ("us-east-1", "database", {"primary_class": "db.r6g.xlarge"}),
        ("us-east-1", "database", {"backup_region": "us-east-1"}),
        ("eu-west-1", "database", {"backup_region": None}),
        ("eu-west-1", "database", {"replica_class": "db.r6g.large"}),
        ("us-east-1", "providers", {"aws": "${aws.us_west_2}"}),
        ("eu-west-1", "providers", {"aws.backup": "${aws.us_west_2}"}),
        ("us-west-2", "nobody_asks", 1),
    ],
)  # fmt: skip
def test_every_figure_of_a_region_is_held(region: str, key: str, value: Any):
    modules = read_all()
    call = call_of(modules, region)
    call[key] = {**call[key], **value} if isinstance(value, dict) else value

    assert terraform_findings(modules, TEXTS)


@pytest.mark.parametrize(
    ("old", "new"),
    [("var.domain", "var.domainx"), ("local.purposes", "local.purposesx"),
     ("module.us_east_1.database_arn", "module.us.arn"), ("random_password.redis", "random_password.redisx")],
)  # fmt: skip
def test_a_name_that_nobody_declares_is_noticed(old: str, new: str):
    assert old in TEXTS["."]

    assert terraform_findings(MODULES, {**TEXTS, ".": TEXTS["."].replace(old, new)})


def test_every_change_of_a_secrets_name_is_noticed():
    names = list(
        re.finditer(
            r"(?:REFERENCE_APP|TIDEGAUGE)_[A-Z_]+(?= +=)|\"(?:reference-app|samplers)[a-z-]*(?=\" = {)", TEXTS["."]
        )
    )

    texts = [f"{TEXTS['.'][: each.end()]}X{TEXTS['.'][each.end() :]}" for each in names]

    assert [
        name[0]
        for name, text in zip(names, texts, strict=True)
        if not terraform_findings(MODULES, {**TEXTS, ".": text})
    ] == []
    assert len(names) == 10  # seven keys of three secrets


def test_a_load_balancer_of_another_name_than_the_overlays_is_noticed():
    modules = read_all()
    modules["."]["data"][0]["aws_lb"]["us_east_1"]["name"] = "tidegauge-us-east-2"

    assert any("load balancers" in each for each in terraform_findings(modules, TEXTS))


def test_terraform_itself_can_read_it():
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("needs the program terraform")

    subprocess.run([terraform, "fmt", "-check", "-recursive", str(FOLDER)], check=True, capture_output=True)
