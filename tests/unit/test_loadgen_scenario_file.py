"""Scenario files: k6's executors as curves, and refusals that say file, line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.scenario.executors import Rate, Users
from loadgen.scenario.file import Scenario, find_scenario, json_schema, parse_scenario, read_scenario
from loadgen.scenario.yaml_lines import ScenarioError

HEAD = """version: 1
name: t
journeys:
  - name: look
    steps:
      - {name: search, get: /search, take: {flight: flights.0.id}}
      - {name: flight, get: "/flights/{flight}"}
scenarios:
"""


def parse(scenarios: str, tail: str = "", folder: Path = Path()) -> Scenario:
    return parse_scenario(HEAD + scenarios + tail, name="s.yaml", folder=folder)


def test_the_two_shipped_scenarios_are_what_their_names_promise() -> None:
    search, booking = (read_scenario(find_scenario(name)) for name in ("flight_search_load", "booking_stress_test"))
    users = search.parts[0].executor
    assert isinstance(users, Users)
    # From 10: 2 min to 100, 5 min at 100, 2 min to 200, 5 min at 200, 2 min to 0; half-way up the first ramp is 55.
    assert [users.at(minutes * 60) for minutes in (0, 1, 2, 7, 9, 14, 15, 16)] == [10, 55, 100, 100, 200, 200, 100, 0]
    assert search.duration_seconds == 16 * 60
    rate = booking.parts[0].executor
    assert isinstance(rate, Rate)
    assert (rate.points, rate.most_users) == (((0.0, 100.0), (600.0, 100.0)), 200)
    wanted = ["http_req_duration: p(95)<2000", "http_req_failed: rate<0.01", "http_reqs: rate>50"]
    assert [one.name for one in search.thresholds] == [*wanted, "dropped_iterations: count==0"]
    assert [one.name for one in booking.thresholds] == [*wanted, "dropped_iterations: count==0"]


def test_scenarios_stand_side_by_side_and_start_when_they_say() -> None:
    scenario = parse("""
  early: {executor: constant-vus, vus: 3, duration: 1m30s}
  late: {executor: ramping-arrival-rate, startTime: 1m, startRate: 60, timeUnit: 1m,
         stages: [{duration: 1m, target: 120}]}
""")
    assert scenario.duration_seconds == 120
    late = scenario.parts[1]
    assert late.start_seconds == 60
    assert isinstance(late.executor, Rate)
    # 60 a minute is one a second; on the way to two it passes 1.5, so 90 arrivals are expected in its minute.
    assert late.executor.points == ((0.0, 1.0), (60.0, 2.0))
    assert late.executor.curve(1000.0).expected(1000.0, 1060.0) == pytest.approx(90)


def test_a_replay_follows_a_recorded_series_faster_and_larger(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(
        "timestamp,rps\n2026-01-01T00:00:00Z,1\n2026-01-01T00:10:00Z,3\n", encoding="utf-8"
    )
    (part,) = parse("  r: {executor: replay, curve: day.csv, timeFactor: 60, rateFactor: 2}\n", folder=tmp_path).parts
    # Ten minutes sixty times as fast are ten seconds.
    assert isinstance(part.executor, Rate)
    assert part.executor.points == ((0.0, 2.0), (10.0, 6.0))


@pytest.mark.parametrize(
    ("scenarios", "tail", "message"),
    [
        ("  a: {executor: constant-vus, vus: 1}\n", "", "s.yaml:9: scenarios.a.duration: expected this key, got none"),
        ("  a:\n    executor: constant-vus\n    vus: -1\n    duration: 1s\n", "", "s.yaml:11: scenarios.a.vus: "),
        ("  a:\n    executor: warp\n", "", "s.yaml:9: scenarios.a"),
        ("  a: {executor: constant-vus, vus: 1, duration: 10}\n", "", "scenarios.a.duration: expected a duration such"),
        ("  a: {executor: constant-vus, vus: 1, duration: 1s, vuz: 2}\n", "", "a.vuz: expected a known key"),
        ("  a: {executor: constant-vus, vus: 1, duration: 1s, journeys: [x]}\n", "", "journeys of look; got x"),
        ("  a: {executor: constant-vus, vus: 1, duration: 1s}\n", "thresholds:\n  http_reqs: [p(95)<1]\n",
         "s.yaml:11: thresholds.http_reqs[0]: http_reqs: expected one of count, rate"),
        ("  a: {executor: constant-vus, vus: 1, duration: 1s}\n", "thresholds:\n  'http_reqs{route:x}': [count>1]\n",
         "expected a route of search, flight, got 'x'"),
        ("  a: {executor: replay}\n", "", "expected exactly one of curve, demand"),
        ("  a: {executor: replay, curve: none.csv}\n", "", "scenarios.a.curve: expected a curve file"),
        ("  a: {executor: constant-vus, vus: 1, duration: 1s}\n  a: {}\n", "", "s.yaml:10: scenarios.a: expected each"),
        ("  a: [\n", "", "expected YAML"),
    ],
)  # fmt: skip
def test_a_refusal_says_file_line_and_key(scenarios: str, tail: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        parse(scenarios, tail)
    assert message in str(refused.value)


def test_a_value_that_no_earlier_step_takes_is_refused() -> None:
    text = HEAD.replace("{flight: flights.0.id}", "{ticket: flights.0.id}")
    with pytest.raises(ScenarioError, match=r"s.yaml:7: journeys\[0\].steps\[1\]: expected values of .*'flight'"):
        parse_scenario(text + "  a: {executor: constant-vus, vus: 1, duration: 1s}\n", name="s.yaml")


def test_the_schema_names_every_executor() -> None:
    text = json.dumps(json_schema())
    for name in ("ramping-vus", "constant-vus", "constant-arrival-rate", "ramping-arrival-rate", "replay"):
        assert name in text
