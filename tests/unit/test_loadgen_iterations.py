"""Journeys: drawn and taken values, checks, and numbers that name the same iteration everywhere."""

from __future__ import annotations

import json
from datetime import date
from random import Random

from loadgen.scenario.file import parse_scenario
from loadgen.sending.iterations import MISSING, Iterations, iterations_from_plan, look_up

TODAY = date(2026, 11, 22)
TEXT = """version: 1
name: t
draws: {size: {integers: [1, 4]}}
journeys:
  - name: book
    weight: 3
    steps:
      - name: search
        get: /search?size={size}
        take: {flight: flights.1.id}
        check: {found: {status: 200, json: flights}, not sold out: {body_contains: seats}}
        think: [1s, 2s]
      - {name: book, post: /book, json: {flight: "{flight}", size: "{size}"}}
  - {name: look, steps: [{name: home, get: /}]}
scenarios: {a: {executor: constant-vus, vus: 1, duration: 1s}}
"""


def iterations(seed: int = 1) -> Iterations:
    plan = parse_scenario(TEXT, name="t").journeys
    return iterations_from_plan(plan, [[0, 1]], seed=seed, run_id="r")


def a_booking(made: Iterations) -> int:
    return next(number for number in range(100) if made.first_route(0, number) == 0)


def test_a_value_taken_from_an_answer_is_sent_with_its_own_type() -> None:
    made = iterations()
    iteration = made.iteration(0, a_booking(made), TODAY)
    search, book = iteration.journey.steps
    body = json.dumps({"flights": [{"id": 7}, {"id": 8}], "seats": 1}).encode()
    checked, whole = iteration.learn(search, 200, body)
    assert (checked, whole) == ([("found", True), ("not sold out", True)], True)
    sent = json.loads(iteration.request(book).partition(b"\r\n\r\n")[2])
    assert sent["flight"] == 8
    assert 1 <= sent["size"] <= 4
    assert iteration.request(search).startswith(f"GET /search?size={sent['size']} HTTP/1.1\r\n".encode())
    assert 1 <= iteration.pause_seconds(search) <= 2


def test_an_answer_without_the_value_ends_the_journey_and_fails_a_check() -> None:
    made = iterations()
    iteration = made.iteration(0, a_booking(made), TODAY)
    checked, whole = iteration.learn(iteration.journey.steps[0], 503, b"down")
    assert not whole
    assert checked == [("found", False), ("not sold out", False), ("taken", False)]


def test_parent_and_child_come_to_the_same_route_and_weights_hold() -> None:
    made, again = iterations(), iterations()
    routes = [made.first_route(0, number) for number in range(2000)]
    assert routes == [again.iteration(0, number, TODAY).journey.steps[0].route for number in range(2000)]
    # Three of four are bookings: 1500 expected, and 5 standard deviations are 5 * sqrt(2000 * 3/16) = 97.
    assert abs(routes.count(0) - 1500) < 97


def test_paths_go_through_lists_and_maps_and_miss_what_is_not_there() -> None:
    value = {"a": [{"b": 1}, {"b": 2}]}
    assert look_up(value, "a.1.b", Random(0)) == 2
    assert look_up(value, "a.*.b", Random(0)) in (1, 2)
    assert look_up(value, "a.2.b", Random(0)) is MISSING
    assert look_up(MISSING, "a", Random(0)) is MISSING
