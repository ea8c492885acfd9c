"""docker-compose.yml and the Dockerfile say nothing that the code does not know."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from collector.samplers.settings import read_sampler_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("tidegauge:")}
PACKAGES = ("collector", "forecaster", "dashboard", "reference_app", "loadgen", "tidegauge")
SOURCES = "\n".join(
    path.read_text()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)


def default_port(setting: str) -> int:
    """The default that the architecture's table gives a port setting; its own test holds it to the code."""
    row = re.search(rf"(\d+) \(`{setting}`", (ROOT / "ARCHITECTURE.md").read_text())
    assert row is not None, f"ARCHITECTURE.md has no port for {setting}"
    return int(row.group(1))


PORTS = {
    "collector": {"TIDEGAUGE_COLLECTOR_PORT"},
    "forecaster": {"TIDEGAUGE_FORECASTER_PORT"},
    "cluster": {"TIDEGAUGE_APP_PORT", "TIDEGAUGE_CLUSTER_PORT"},
    "dashboard": {"TIDEGAUGE_DASHBOARD_PORT"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_version(name: str):
    image = SERVICES[name]["image"]

    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)*(-[a-z0-9.]+)?", image), image


def test_the_image_of_ours_is_built_from_pinned_images():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases), bases


def test_our_image_carries_the_version_of_the_distribution():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert version is not None
    assert {service["image"] for service in OURS.values()} == {f"tidegauge:{version.group(1)}"}


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_exists(name: str):
    program, *arguments = OURS[name]["command"]

    if program == "streamlit":
        assert arguments[0] == "run"
        assert (ROOT / arguments[1]).is_file()
    else:
        assert [program, arguments[0]] == ["python", "-m"]
        assert importlib.util.find_spec(arguments[1]) is not None
        package = ROOT / arguments[1].replace(".", "/")
        assert (package / "__main__.py").is_file() or package.with_suffix(".py").is_file()


@pytest.mark.parametrize("name", OURS)
def test_every_option_of_our_commands_is_known_to_the_code(name: str):
    options = [word for word in OURS[name]["command"] if word.startswith("--") and not word.startswith("--server.")]

    assert all(f'"{option}"' in SOURCES for option in options), options


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "ports" in service])
def test_published_ports_of_ours_are_the_defaults_of_their_settings(name: str):
    inner = {int(mapping.rsplit(":", 1)[1]) for mapping in OURS[name]["ports"]}

    assert inner == {default_port(setting) for setting in PORTS[name]}


def test_every_port_is_published_on_loopback_only_and_once():
    published = [mapping for service in SERVICES.values() for mapping in service.get("ports", [])]

    assert all(mapping.startswith("127.0.0.1:") for mapping in published), published
    outer = [mapping.split(":")[1] for mapping in published]
    assert len(outer) == len(set(outer))


@pytest.mark.parametrize("name", OURS)
def test_every_environment_name_of_ours_is_read_by_the_code(name: str):
    unread = [key for key in OURS[name]["environment"] if key not in SOURCES]

    assert unread == []


def test_addresses_of_services_name_services_and_their_inner_ports():
    environment = COMPOSE["x-tidegauge"]["environment"]
    inner = {"clickhouse": 8123, "postgres-primary": 5432, "postgres-replica": 5432, "valkey": 6379}
    inner |= {
        "collector": default_port("TIDEGAUGE_COLLECTOR_PORT"),
        "forecaster": default_port("TIDEGAUGE_FORECASTER_PORT"),
        "cluster": default_port("TIDEGAUGE_CLUSTER_PORT"),
    }

    found = {key: re.search(r"([a-z-]+):(\d+)(?:/\w+)?$", str(value)) for key, value in environment.items()}
    addresses = {key: match.groups() for key, match in found.items() if match is not None}
    assert {key for key in environment if key.endswith("_URL")} == set(addresses)
    assert {key: inner[host] for key, (host, _) in addresses.items()} == {
        key: int(port) for key, (_, port) in addresses.items()
    }


def test_the_collector_samples_the_databases_the_cache_and_the_replicas_by_the_names_of_their_services():
    environment = {**COMPOSE["x-tidegauge"]["environment"], **OURS["collector"]["environment"]}
    given = {name: re.sub(r"\$\{[^}]*\}", "secret", value) for name, value in environment.items()}

    settings = read_sampler_settings(given)

    assert [urlsplit(url).hostname for url in settings.postgres] == ["postgres-primary", "postgres-replica"]
    assert [urlsplit(url).hostname for url in settings.redis] == ["valkey"]
    assert settings.cluster == given["TIDEGAUGE_CLUSTER_URL"]


def test_every_named_volume_is_declared_and_every_mounted_file_exists():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), (name, source)
            else:
                assert source in COMPOSE["volumes"], (name, source)
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= used


def test_our_state_lies_where_the_image_says():
    data = re.search(r"TIDEGAUGE_DATA=(\S+)", DOCKERFILE)

    assert data is not None
    targets = {volume.split(":")[1] for service in OURS.values() for volume in service.get("volumes", [])}
    assert targets == {data.group(1)}


def test_no_secret_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()

    uses = re.findall(r"\$\{([A-Z_]*PASSWORD)([^}]*)\}", text)
    assert uses
    assert all(rest.startswith("?") for _, rest in uses), uses


def test_dependencies_name_services_and_wait_for_health_only_where_it_is_checked():
    for service in SERVICES.values():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]


def test_folders_copied_into_the_image_exist():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)

    assert all((ROOT / source).exists() for line in copied for source in line.split()), copied
