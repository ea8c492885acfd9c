"""`tidegauge doctor`: each judgement on a whole world and on a broken one, and what becomes of all of them."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidegauge.cli import app
from tidegauge.doctor import checks
from tidegauge.doctor.examine import World, examine
from tidegauge.doctor.facts import Answer, Database, Disk, Follower, Right, Store, StoreReplica, Unreachable
from tidegauge.doctor.findings import Finding, is_broken, lines

NOW = 1_800_000_000.0
WHOLE_STORE = Store(
    "25.8.11.66", "UTC", NOW, {"readonly": "0", "insert_deduplicate": "1"}, nodes=2,
    macros=frozenset({"shard", "replica"}), replicas=(StoreReplica("red_1m_local", False, 0),),
)  # fmt: skip
WHOLE_DATABASE = Database(False, "UTC", (Follower("search", "streaming", 0.1),))
GIB = 2**30


def states(findings: list[Finding]) -> set[str]:
    return {each.state for each in findings}


@pytest.mark.parametrize(
    ("version", "state"), [((3, 11, 7), "well"), ((3, 14, 0), "well"), ((3, 10, 9), "broken"), ((4, 0), "well")]
)
def test_an_old_python_is_broken(version, state):
    assert checks.check_python(version).state == state


def test_settings_that_cannot_be_read_are_told_in_the_words_of_their_reader():
    found = checks.check_settings({"the collector": "TIDEGAUGE_COLLECTOR_PORT: expected a port"}, configuration="f")

    assert [(each.check, each.state, each.found) for each in found] == [
        ("settings of the collector", "broken", "TIDEGAUGE_COLLECTOR_PORT: expected a port")
    ]
    assert states(checks.check_settings({}, configuration="f")) == {"well"}


def test_a_taken_port_names_its_setting_and_ports_of_our_own_stack_are_well():
    (taken,) = checks.check_ports([(8123, "store", "TIDEGAUGE_CLICKHOUSE_PORT")], runs=False)

    assert (taken.state, "8123" in taken.found) == ("warning", True)
    assert "TIDEGAUGE_CLICKHOUSE_PORT" in taken.advice
    assert states(checks.check_ports([], runs=False)) == states(checks.check_ports([], runs=True)) == {"well"}


@pytest.mark.parametrize(
    ("disk", "state"),
    [
        (Disk("d", 50 * GIB, True), "well"), (Disk("d", 2 * GIB, True), "warning"),
        (Disk("d", GIB // 4, True), "broken"), (Disk("d", 50 * GIB, False), "broken"),
    ],
)  # fmt: skip
def test_a_full_disk_or_one_that_cannot_be_written_is_broken(disk, state):
    assert checks.check_disk(disk).state == state


@pytest.mark.parametrize(
    ("theirs", "state"),
    [(NOW + 0.5, "well"), (NOW - 5, "warning"), (NOW + 60, "broken"), (NOW - 60, "broken"), (None, "left out")],
)
def test_a_clock_that_is_not_ours_is_told(theirs, state):
    assert checks.check_clock("clickhouse", theirs, NOW).state == state


def test_a_whole_clickhouse_is_well_in_version_settings_time_zone_and_replication():
    assert states(checks.check_store(WHOLE_STORE, wanted=True, cluster="tidegauge")) == {"well"}


@pytest.mark.parametrize(
    ("change", "check", "state"),
    [
        ({"version": "23.3.1"}, "clickhouse version", "warning"),
        ({"timezone": "Europe/Berlin"}, "clickhouse time zone", "warning"),
        ({"settings": {"readonly": "2"}}, "clickhouse account", "broken"),
        ({"settings": {"insert_deduplicate": "0"}}, "clickhouse settings", "warning"),
        ({"nodes": 0}, "clickhouse replication", "broken"),
        ({"macros": frozenset({"shard"})}, "clickhouse replication", "broken"),
        ({"replicas": (StoreReplica("t", True, 0),)}, "clickhouse replication", "broken"),
        ({"replicas": (StoreReplica("t", False, 61),)}, "clickhouse replication", "broken"),
    ],
)
def test_what_is_wrong_with_a_clickhouse_is_told_with_what_to_do(change, check, state):
    found = checks.check_store(replace(WHOLE_STORE, **change), wanted=True, cluster="tidegauge")

    (wrong,) = [each for each in found if each.state != "well"]
    assert (wrong.check, wrong.state) == (check, state)
    assert wrong.advice


def test_a_store_that_is_not_there_is_broken_only_where_one_is_set():
    away = Unreachable("http://store:8123: connection refused")

    assert states(checks.check_store(away, wanted=True, cluster=None)) == {"broken"}
    assert states(checks.check_store(away, wanted=False, cluster=None)) == {"left out"}


@pytest.mark.parametrize(
    ("database", "state"),
    [
        (WHOLE_DATABASE, "well"), (None, "left out"), (Unreachable("refused"), "broken"),
        (replace(WHOLE_DATABASE, in_recovery=True), "broken"),
        (replace(WHOLE_DATABASE, followers=(Follower("search", "streaming", 9.0),)), "warning"),
        (replace(WHOLE_DATABASE, followers=(Follower("search", "catchup", None),)), "warning"),
    ],
)  # fmt: skip
def test_a_postgresql_that_cannot_be_written_to_is_broken_and_a_late_replica_is_told(database, state):
    assert states(checks.check_database(database)) == {state}


def test_a_token_that_the_collector_refuses_is_broken_and_names_its_setting():
    found = checks.check_tokens({"ingest": Answer(400), "read": Answer(403), "admin": None}, url="u", wanted=True)

    assert [(each.check, each.state) for each in found] == [
        ("token to ingest", "well"), ("token to read", "broken"), ("token to admin", "left out"),
    ]  # fmt: skip
    assert "TIDEGAUGE_READ_TOKEN" in found[1].advice


def test_a_collector_that_is_away_is_broken_only_where_one_is_set():
    away = {"health": Unreachable("refused")}

    assert states(checks.check_tokens(away, url="u", wanted=True)) == {"broken"}
    assert states(checks.check_tokens(away, url="u", wanted=False)) == {"left out"}


@pytest.mark.parametrize(
    ("answer", "state"),
    [(Answer(200, series=3), "well"), (Answer(200, series=0), "broken"), (Answer(404), "broken"),
     (Unreachable("refused"), "broken")],
)  # fmt: skip
def test_a_prometheus_without_the_counter_is_as_broken_as_one_that_is_away(answer, state):
    assert checks.check_prometheus("shop", "http://p", "requests_total", answer).state == state


def test_a_right_that_is_missing_is_named():
    rights = [
        Right("get", "horizontalpodautoscalers", "shop", True),
        Right("patch", "horizontalpodautoscalers", "shop", False),
    ]

    (refused,) = checks.check_rights(rights)

    assert (refused.state, refused.found) == ("broken", "may not patch horizontalpodautoscalers in shop")
    assert states(checks.check_rights(rights[:1])) == {"well"}
    assert states(checks.check_rights(None)) == {"left out"}
    assert states(checks.check_rights(Unreachable("refused"))) == {"broken"}


def test_a_service_left_in_utc_on_a_machine_that_is_not_is_told():
    assert states(checks.check_zones("CET", {"shop": "UTC"})) == {"warning"}
    assert states(checks.check_zones("CET", {"shop": "Europe/Berlin"})) == {"well"}
    assert states(checks.check_zones("UTC", {"shop": "UTC"})) == {"well"}


CONFIGURATION = """
version: 1
services:
  shop:
    source: prometheus
    timezone: UTC
    prometheus: {url: "http://prometheus:9090/", requests_metric: requests_total, match: {job: shop}}
    scaling:
      target: {kind: kubernetes, name: shop, namespace: shops}
      mode: act
      min_replicas: 2
      max_replicas: 9
      capacity_rps: [10, 12]
      quantile: 0.9
      lead: 5m
      largest_step: 2
      cool_down: 5m
      reactive: {target_rps_per_replica: 9, sync: 15s, tolerance: 0.1, scale_down_stabilization: 300s}
"""


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A whole environment: a configuration, a store, a database, a collector with its tokens."""
    (tmp_path / "tidegauge.yaml").write_text(CONFIGURATION)
    given = {
        "TIDEGAUGE_CONFIG": str(tmp_path / "tidegauge.yaml"), "TIDEGAUGE_DATA": str(tmp_path / "data"),
        "TIDEGAUGE_CLICKHOUSE_URL": "http://store:8123", "TIDEGAUGE_CLICKHOUSE_CLUSTER": "tidegauge",
        "TIDEGAUGE_COLLECTOR_URL": "http://collector:9400", "TIDEGAUGE_READ_TOKEN": "read-token-read-token",
        "REFERENCE_APP_DATABASE_URL": "postgresql://u:hidden@db/booking",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def world(**changed: object) -> World:
    plain = World(
        python=(3, 12, 0),
        now=lambda: NOW,
        disk=lambda path: Disk(str(path), 50 * GIB, True),
        taken=lambda _: False,
        zone=lambda: "UTC",
        store=lambda _: WHOLE_STORE,
        database=lambda _: WHOLE_DATABASE,
        http=lambda *_, query=None, **__: Answer(200, NOW, 4 if query else None),
        rights=lambda _context, _inside, wanted: [Right(*each[:1], each[2], each[3], True) for each in wanted],
        status=lambda _: {"supervisor": None, "parts": []},
    )
    return replace(plain, **changed)


def test_a_whole_world_has_nothing_broken_and_every_matter_is_looked_at(environ):
    found = examine(environ, world())

    assert [each for each in found if each.state not in ("well", "left out")] == []
    for matter in ("python", "settings", "disk", "ports", "clickhouse version", "clickhouse settings",
                   "clickhouse replication", "clickhouse time zone", "clock of clickhouse", "postgresql",
                   "token to read", "prometheus of shop", "kubernetes rights", "time zone"):  # fmt: skip
        assert matter in {each.check for each in found}


def test_prometheus_is_asked_for_the_series_that_the_configuration_names(environ):
    asked = []

    def http(method: str, url: str, *, headers: dict[str, str], query: str | None = None) -> Answer:
        asked.append((url, query))
        return Answer(200, NOW, 1)

    examine(environ, world(http=http))

    assert ("http://prometheus:9090", 'count(requests_total{job="shop"})') in asked


def test_who_acts_has_to_be_allowed_to_patch(environ):
    asked = []

    def rights(context: str | None, inside: bool, wanted: list[tuple[str, str, str, str]]) -> list[Right]:
        asked.extend(wanted)
        return [Right(verb, resource, namespace, verb == "get") for verb, _, resource, namespace in wanted]

    found = examine(environ, world(rights=rights))

    assert asked == [
        ("get", "autoscaling", "horizontalpodautoscalers", "shops"),
        ("patch", "autoscaling", "horizontalpodautoscalers", "shops"),
    ]
    assert is_broken(found)


def test_no_password_is_in_what_is_told(environ):
    found = examine(environ, world(database=lambda _: Unreachable("connection refused")))

    assert "hidden" not in json.dumps([each.found + each.advice for each in found])
    assert "read-token" not in "\n".join(lines(found))


def test_a_setting_that_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(environ):
    found = examine({**environ, "TIDEGAUGE_COLLECTOR_PORT": "many"}, world())

    assert "settings of the collector" in {each.check for each in found if each.state == "broken"}
    assert "clickhouse version" in {each.check for each in found}


def test_lines_say_what_is_so_and_beneath_it_what_to_do():
    told = lines([Finding("disk", "broken", "0.1 GiB free", "make room"), Finding("python", "well", "3.12.0")])

    assert told == [
        "broken    disk    0.1 GiB free", "                  -> make room", "well      python  3.12.0",
        "1 well, 0 warning, 1 broken, 0 left out",
    ]  # fmt: skip


def test_the_command_exits_with_1_and_says_what_to_do_when_the_collector_that_is_set_is_away(environ, monkeypatch):
    for name in environ:
        monkeypatch.delenv(name)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # not listened on: nobody answers
        monkeypatch.setenv("TIDEGAUGE_COLLECTOR_URL", f"http://127.0.0.1:{held.getsockname()[1]}")
        told = CliRunner().invoke(app, ["doctor"])
        for_scripts = CliRunner().invoke(app, ["doctor", "--json"])

    assert told.exit_code == for_scripts.exit_code == 1
    assert "TIDEGAUGE_COLLECTOR_URL" in told.stdout
    found = {each["check"]: each for each in json.loads(for_scripts.stdout)}
    assert found["collector"]["state"] == "broken"
    assert found["collector"]["advice"]
