"""What docker-compose.yml starts, without Docker: the same commands with the same variables, as plain processes.

Only what a container changes is changed here: addresses and ports are loopback's, folders are temporary ones. A flag or
a value that a program does not take makes it end, and its health check stay silent.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.files_check import FOLDER, stages
from tests.deployment.known import DOCKERFILE, ROOT, components, target_of
from tests.integration.database_fixtures import wait_until
from tests.integration.store_fixtures import free_port
from tidegauge.valkey import find_program

pytestmark = [pytest.mark.server, pytest.mark.timeout(150)]

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = [name for name, service in SERVICES.items() if target_of(service["image"])]
ASKED = [name for name in OURS if not SERVICES[name].get("healthcheck", {}).get("disable")]
WAIT = [name for name in OURS if name not in ASKED and name != "prepare"]  # for others, without a health check
PORTS = {  # the settings of what has no *_PORT in compose, where every container has the default to itself
    "collector": "TIDEGAUGE_COLLECTOR_PORT", "forecaster": "TIDEGAUGE_FORECASTER_PORT",
    "dashboard": "TIDEGAUGE_DASHBOARD_PORT", "cluster": "TIDEGAUGE_CLUSTER_PORT", "jobs": "REFERENCE_APP_JOBS_PORT",
    "edge": "REFERENCE_APP_EDGE_PORT", "loadgen": "TIDEGAUGE_LOADGEN_PORT",
}  # fmt: skip


def environment_of(name: str, folder: Path) -> dict[str, str]:
    """Return a service's variables with every secret filled in, each with another one, and loopback to listen on."""
    given = {
        key: re.sub(r"\$\{([A-Z_]+):[^}]*\}", lambda use: f"{use[1].lower()}-of-24-characters", str(value))
        for key, value in SERVICES[name].get("environment", {}).items()
    }
    listens = {key: "127.0.0.1" for key in given if key.endswith("BIND_ADDRESS")}
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder), "TIDEGAUGE_DATA": str(folder / "data")}
    return {**plain, **given, **listens, "TIDEGAUGE_CONFIG": str(ROOT / "tidegauge.yaml")}


@contextmanager
def started(command: list[str], folder: Path, environment: Mapping[str, str], **more: Any) -> Iterator[Any]:
    """Run a program with its output in `log`; SIGTERM ends it."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, **more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def status_of(url: str) -> int | None:
    with suppress(OSError):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
    return None


def health_path(target: str) -> str:
    text = next(stage.text for stage in stages(DOCKERFILE) if stage.name == target)
    return re.search(r'HEALTHCHECK .*http://127\.0\.0\.1:\d+(/[^"]+)"', text)[1]  # type: ignore[index]  # or it fails


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Path, str]]]:
    """Every service of ours but the one that ends by itself, all at once: (process, folder, health check's URL)."""
    running = {}
    with ExitStack() as stack:
        for name in [*ASKED, *WAIT]:
            target, folder = target_of(SERVICES[name]["image"]), tmp_path_factory.mktemp(name)
            assert target is not None
            ports = {setting: str(free_port()) for setting in (*PORTS.values(), "TIDEGAUGE_APP_PORT")}
            words = SERVICES[name].get("command") or components()[target].argv
            inside = [re.sub(r"^/(data|var/cache/nginx)/", f"{folder}/", word) for word in words]
            command = [sys.executable if word == "python" else word for word in inside]
            process = stack.enter_context(
                started(command, folder, {**environment_of(name, folder), **ports}, cwd=ROOT, start_new_session=True)
            )
            running[name] = (process, folder, f"http://127.0.0.1:{ports[PORTS[target]]}{health_path(target)}")
        yield running
        for process, _, _ in running.values():  # all at once: to let go of servers that are not there takes its time
            process.send_signal(signal.SIGTERM)
        for process, _, _ in running.values():
            process.wait(60)


@pytest.mark.parametrize("name", ASKED)
def test_a_part_of_ours_starts_as_compose_starts_it_and_answers_its_health_check(name: str, ours: Any) -> None:
    process, folder, url = ours[name]
    without_others = {"cluster": 503}  # no replica of the app is ready without its databases

    def answer() -> int | None:
        assert process.poll() is None, (folder / "log").read_text()
        return status_of(url)

    assert wait_until(answer, what=f"{name} to answer {url}", seconds=90) == without_others.get(name, 200)


@pytest.mark.parametrize("name", WAIT)
def test_a_part_that_nobody_asks_waits_for_the_others(name: str, ours: Any) -> None:
    process, folder, _ = ours[name]
    others = [url for other, (_, _, url) in ours.items() if other in ASKED]  # as slow to start as it is to end

    wait_until(lambda: all(map(status_of, others)), what="the others to answer", seconds=90)
    assert process.poll() is None, (folder / "log").read_text()


def test_prepare_says_which_server_it_cannot_find(tmp_path: Path) -> None:
    command = [sys.executable if word == "python" else word for word in SERVICES["prepare"]["command"]]

    ended = subprocess.run(
        command, env=environment_of("prepare", tmp_path), cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert re.search("could not be prepared: .*postgres-(primary|standby)", ended.stderr)


@pytest.mark.parametrize(
    ("name", "program", "folders", "listen"),
    [
        ("prometheus", "prometheus", ("/etc/prometheus", "/prometheus", "/run/secrets"), ["--web.listen-address={}"]),
        ("alertmanager", "prometheus-alertmanager", ("/etc/alertmanager", "/alertmanager"),
         ["--web.listen-address={}", "--cluster.listen-address="]),
    ],
)  # fmt: skip
def test_prometheus_and_alertmanager_take_their_commands_and_files(
    name: str, program: str, folders: tuple[str, ...], listen: list[str], tmp_path: Path
) -> None:
    binary = shutil.which(program)
    if binary is None:
        pytest.skip(f"needs the program {program}")

    def moved(text: str) -> str:
        return re.sub(rf"(?<![\w.])(?=(?:{'|'.join(folders)})\b)", str(tmp_path), text)

    for volume in SERVICES[name]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("."):
            path = tmp_path / target.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(moved((ROOT / source).read_text()))
    at = f"127.0.0.1:{free_port()}"
    command = [binary, *map(moved, SERVICES[name]["command"]), *(option.format(at) for option in listen)]
    url = re.sub(r"127\.0\.0\.1:\d+", at, SERVICES[name]["healthcheck"]["test"][-1])
    with started(command, tmp_path, os.environ) as process:

        def is_ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return status_of(url) == 200

        wait_until(is_ready, what=f"{name} to answer {url}", seconds=30)


STANDS_FOR = """#!/bin/bash
# {name}: what a container changes (addresses, ports, folders), changed back to this machine's
set -euo pipefail
{body}
"""


@pytest.fixture
def valkey_world(tmp_path: Path) -> tuple[int, dict[str, str]]:
    """Programs in the place of those of Valkey's image; nodes called valkey-N are at 127.0.0.(N + 1), on one port."""
    port = next(each for each in iter(free_port, 0) if each < 55_000)  # the bus of the cluster is 10,000 above it
    server = find_program()
    programs = tmp_path / "bin"
    programs.mkdir()
    address = 'case "$1" in valkey-*) echo "127.0.0.$((${1#valkey-} + 1))" ;; *) echo "$1" ;; esac'
    bodies = {
        "address": address,
        "getent": 'echo "$(address "$2") $2"',
        "valkey-server": f'settings=$(sed "s#^dir .*#dir $PWD#")\nme=$(address "$ME")\nexec {server} - '
        f'<<<"$settings"$\'\\n\'"port {port}"$\'\\n\'"bind $me"$\'\\n\'"bind-source-addr $me"',
        "valkey-cli": 'words=()\nwhile [ $# -gt 0 ]; do\n  case "$1" in\n'
        f'    -h) words+=(-h "$(address "$2")" -p {port}); shift 2 ;;\n    *) words+=("$1"); shift ;;\n  esac\ndone\n'
        f'exec {server.parent / "valkey-cli"} "${{words[@]}}"',
    }
    for name, body in bodies.items():
        (programs / name).write_text(STANDS_FOR.format(name=name, body=body))
        (programs / name).chmod(0o755)
    return port, {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def script_of(name: str, port: int) -> list[str]:
    """Return a service's entrypoint with the script's own file, and another port than the image's."""
    shell, script, *words = SERVICES[name]["entrypoint"]
    return [shell, "-c", (FOLDER / script.removeprefix("/")).read_text().replace("6379", str(port)), script, *words]


def test_valkeys_scripts_make_a_cluster_of_three_and_a_queue_that_forgets_nothing(
    valkey_world: tuple[int, dict[str, str]], tmp_path: Path
) -> None:
    port, programs = valkey_world
    secret = {"VALKEY_PASSWORD": "p" * 24, "REDISCLI_AUTH": "p" * 24}

    def asked(node: str, *words: str) -> str:
        command = ["bash", "-c", 'exec valkey-cli -h "$0" "$@"', node, *words]
        return subprocess.run(command, env={**programs, **secret}, capture_output=True, text=True, check=True).stdout

    with ExitStack() as stack:
        for number, name in enumerate(("valkey-1", "valkey-2", "valkey-3", "valkey-jobs"), start=1):
            folder, me = tmp_path / name, f"valkey-{number}"
            folder.mkdir()
            own = {key: value for key, value in SERVICES[name]["environment"].items() if "$" not in value}
            stack.enter_context(
                started(script_of(name, port), folder, {**programs, **secret, **own, "ME": me}, cwd=folder)
            )
            wait_until(lambda me=me: "PONG" in quietly(asked, me, "ping"), what=f"{name} to answer")
        nodes = {"VALKEY_NODES": SERVICES["valkey-cluster"]["environment"]["VALKEY_NODES"]}
        for _ in ("once", "after a restart"):
            subprocess.run(
                script_of("valkey-cluster", port), env={**programs, **secret, **nodes}, check=True, timeout=60,
                capture_output=True,
            )  # fmt: skip
        cluster = asked("valkey-2", "cluster", "info")
        policies = [asked(node, "config", "get", "maxmemory-policy").split()[-1] for node in ("valkey-1", "valkey-4")]
        announced = [f",{name} " for name in SERVICES["valkey-cluster"]["environment"]["VALKEY_NODES"].split()]
        wait_until(
            lambda: all(name in asked("valkey-3", "cluster", "nodes") for name in announced),
            what="every node to be known under its service's name",
        )

    assert "cluster_state:ok" in cluster
    assert "cluster_known_nodes:3" in cluster
    assert policies == ["volatile-lru", "noeviction"]


def quietly(asked: Any, *words: str) -> str:
    try:
        return str(asked(*words))
    except subprocess.CalledProcessError:
        return ""
