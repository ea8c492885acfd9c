"""docker-compose.yml, the Dockerfile and what they mount say what the code says; every change is noticed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from collector.samplers.settings import read_sampler_settings
from dashboard.access import read_access
from reference_app.database.settings import database_settings
from reference_app.edge.settings import edge_settings_from_environment
from tests.deployment.compose_check import compose_findings
from tests.deployment.files_check import (
    FOLDER,
    alert_findings,
    clickhouse_findings,
    dockerfile_findings,
    prometheus_findings,
    script_findings,
    stages,
)
from tests.deployment.known import DOCKERFILE, IMAGES, ROOT
from tests.deployment.mutate import Mutation, every_change, mutations
from tidegauge.settings import REPLICAS

WHOLE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
COMPOSE: dict[str, Any] = {key: value for key, value in WHOLE.items() if not key.startswith("x-")}
SERVICES = COMPOSE["services"]
SCRIPTS = sorted(FOLDER.glob("*.sh"))
XML = [FOLDER / "clickhouse" / name for name in ("cluster.xml", "reader.xml", "keeper.xml")]


def environment_of(service: str) -> dict[str, str]:
    """Return a service's variables, with every secret filled in."""
    return {
        name: re.sub(r"\$\{[^}]*\}", "a-secret-of-24-characters", str(value))
        for name, value in SERVICES[service]["environment"].items()
    }


def relative(path: Any) -> str:
    return f"./{path.relative_to(ROOT)}"


def test_compose_is_as_the_code_says():
    assert compose_findings(COMPOSE) == []


def test_compose_is_what_its_specification_allows():
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())

    jsonschema.validate(WHOLE, schema)


def test_every_change_of_an_image_a_port_a_command_a_variable_or_an_address_in_compose_is_noticed():
    tried = list(mutations(COMPOSE))

    missed = [str(each) for each in tried if not compose_findings(each.applied(COMPOSE))]

    assert missed == []
    assert len(tried) > 300


def is_a_matter_of_taste(change: Mutation) -> bool:
    """How often health is asked, how long an end may take, and the project's name: nothing else depends on them."""
    return change.place[-1] in ("interval", "retries", "stop_grace_period") or change.place == ("name",)


def is_noticed(change: Mutation) -> bool:
    try:
        return bool(compose_findings(change.applied(COMPOSE)))
    except (ValueError, KeyError):  # what cannot even be read fails the tests as well
        return True


def test_every_other_change_of_compose_is_noticed_too_but_for_times():
    tried = [each for each in every_change(COMPOSE) if not is_a_matter_of_taste(each)]

    assert [str(each) for each in tried if not is_noticed(each)] == []
    assert len(tried) > 500


def test_our_images_carry_the_version_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert IMAGES["ours"] == {"name": project["name"], "version": project["version"]}


@pytest.mark.parametrize("image", [table["image"] for table in IMAGES.values() if "image" in table])
def test_every_image_is_pinned_to_a_version(image: str):
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)*(-[a-z0-9.]+)*", image), image


def test_the_dockerfile_builds_each_component_from_pinned_images_as_the_code_starts_it():
    assert dockerfile_findings(DOCKERFILE) == []


def test_every_change_of_an_image_a_port_a_command_or_a_variable_in_the_dockerfile_is_noticed():
    words = [
        word
        for line in re.finditer(r"^CMD .*|CMD \[\"python\", \"/app.*", DOCKERFILE, re.MULTILINE)
        for word in re.compile(r'(?<=")[^",\s][^"]*(?=")').finditer(DOCKERFILE, line.start(), line.end())
    ]
    ports = re.finditer(r"(?<=^EXPOSE )\d+|(?<=:)\d{4}(?=/)", DOCKERFILE, re.MULTILINE)
    changes = [
        *((match, f"{match[0]}x") for match in re.finditer(r"(?<=^FROM )\S+", DOCKERFILE, re.MULTILINE)),
        *((match, str(int(match[0]) + 1)) for match in ports),
        *((match, f"{match[0]}x") for match in words),
        *((match, f"{match[0]}X") for match in re.finditer(r"TIDEGAUGE_[A-Z]+(?==)", DOCKERFILE)),
    ]

    missed = [
        (match[0], new)
        for match, new in changes
        if not dockerfile_findings(DOCKERFILE[: match.start()] + new + DOCKERFILE[match.end() :])
    ]

    assert missed == []
    assert len(changes) > 50


def test_the_app_gets_three_read_replicas_for_the_purposes_and_regions_of_the_embedded_stack():
    replicas = database_settings(environment_of("cluster")).replicas

    assert {(each.purpose, each.region) for each in replicas} == {
        (purpose, value[2]) for purpose, value in REPLICAS.items()
    }
    assert [re.search(r"@([a-z-]+):", each.url)[1] for each in replicas] == [
        f"postgres-{each.purpose}" for each in replicas
    ]


def test_the_collector_samples_both_databases_every_cache_and_the_replicas():
    settings = read_sampler_settings(environment_of("collector"))

    assert [re.search(r"@([a-z0-9-]+):", url)[1] for url in (*settings.postgres, *settings.redis)] == [
        "postgres-primary", "postgres-search", "valkey-1", "valkey-2", "valkey-3", "valkey-jobs",
    ]  # fmt: skip
    assert settings.cluster == "http://cluster:8010"


def test_the_edge_stands_before_the_cluster_and_the_dashboard_asks_as_somebody_who_may_only_read():
    assert dict(edge_settings_from_environment(environment_of("edge")).origins) == {"": "http://cluster:8000"}
    assert SERVICES["dashboard"]["environment"]["TIDEGAUGE_CLICKHOUSE_USER"] == "tidegauge_reader"


def test_the_dashboard_is_reached_through_its_door_alone_and_the_door_knows_its_secret():
    dashboard, door = SERVICES["dashboard"], SERVICES["door"]
    access = read_access(environment_of("dashboard"), host=environment_of("dashboard")["TIDEGAUGE_BIND_ADDRESS"])

    assert (access.way, access.operators) == ("proxy", ("operator",))
    assert "ports" not in dashboard
    assert door["environment"]["DASHBOARD_PROXY_SECRET"] == dashboard["environment"]["TIDEGAUGE_DASHBOARD_PROXY_SECRET"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_in_the_whole_and_what_the_core_waits_for_is_in_the_core(name: str):
    core = {each for each, service in SERVICES.items() if "core" in service["profiles"]}

    assert "full" in SERVICES[name]["profiles"]
    if name in core:
        assert set(SERVICES[name].get("depends_on", {})) <= core


def test_prometheus_asks_what_is_there_with_a_token_that_is_there():
    document = yaml.safe_load((FOLDER / "prometheus.yml").read_text())

    assert prometheus_findings(document, COMPOSE) == []
    tried = list(mutations(document))
    assert [str(each) for each in tried if not prometheus_findings(each.applied(document), COMPOSE)] == []
    assert len(tried) >= 6


def test_alerts_are_about_metrics_that_somebody_makes():
    document = yaml.safe_load((FOLDER / "alerts.yml").read_text())

    assert alert_findings(document) == []
    document["groups"][0]["rules"][1]["expr"] = "tidegauge_spool_oldest_secondsx > 1"
    assert alert_findings(document) == ["tidegauge_spool_oldest_secondsx: nobody makes it"]


@pytest.mark.parametrize("path", XML, ids=lambda path: path.name)
def test_clickhouse_is_told_of_servers_ports_and_variables_that_are_there(path):
    text = path.read_text()

    assert clickhouse_findings(text, relative(path), COMPOSE) == []
    changes = [
        *re.finditer(r"(?<=<host>)[^<]+|(?<=<hostname>)[^<]+|(?<=from_env=\")[A-GI-Z][A-Z_]+", text),
        *re.finditer(r"(?<=port>)\d+(?=<)", text),
    ]
    missed = [
        match[0]
        for match in changes
        if not clickhouse_findings(
            text[: match.start()] + match[0] + "1" + text[match.end() :], relative(path), COMPOSE
        )
    ]
    assert missed == []
    assert changes


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_use_the_variables_and_ports_that_their_services_have(path):
    text = path.read_text()

    assert script_findings(text, relative(path), COMPOSE) == []
    body = text.index("set -euo")
    names = list(re.compile(r"(?<=\$)[A-Z][A-Z_]+|(?<=\$\{)[A-Z][A-Z_]+").finditer(text, body))
    ports = list(re.compile(r"\b(?:5432|6379)\b").finditer(text, body))
    missed = [
        match[0]
        for match in [*names, *ports]
        if not script_findings(
            text[: match.start()] + match[0] + ("X" if match[0].isupper() else "1") + text[match.end() :],
            relative(path),
            COMPOSE,
        )
    ]
    assert missed == []
    assert names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_the_scripts(path):
    if shutil.which("bash") is None:
        pytest.skip("needs the program bash")
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize(("program", "command", "name"), [
    ("promtool", ["check", "rules"], "alerts.yml"), ("amtool", ["check-config"], "alertmanager.yml"),
])  # fmt: skip
def test_prometheus_own_tools_take_the_files(program: str, command: list[str], name: str):
    if shutil.which(program) is None:
        pytest.skip(f"needs the program {program}")
    subprocess.run([program, *command, str(FOLDER / name)], check=True, capture_output=True)


def test_no_stage_of_ours_is_root_and_each_has_a_health_check():
    ours = [stage for stage in stages(DOCKERFILE) if stage.name not in ("build", "runtime")]

    assert len(ours) == 8
    assert not [stage.name for stage in ours if "USER root" in stage.text or "HEALTHCHECK" not in stage.text]


def test_nginx_is_given_each_variable_of_its_template_and_fills_in_no_other():
    template = set(re.findall(r"\$\{([A-Z_]+)\}", (ROOT / "deploy" / "nginx" / "nginx.conf.template").read_text()))
    script = (FOLDER / "nginx-start.sh").read_text()
    filled_in = set(re.findall(r"\$([A-Z_]+)", re.search(r"envsubst '([^']+)'", script)[1]))

    assert set(SERVICES["nginx"]["environment"]) == template == filled_in


def test_the_document_lists_the_secrets_that_have_to_be_given_and_no_other():
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text()))
    section = (ROOT / "docs" / "configuration.md").read_text().partition("## docker-compose.yml")[2]

    assert set(re.findall(r"^([A-Z_]+)=\.\.\.$", section, re.MULTILINE)) == asked
