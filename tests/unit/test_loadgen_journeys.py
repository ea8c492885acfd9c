"""The mix of requests: its shares, its values, its determinism, and a file that is refused in words."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from loadgen.scenario.journeys_file import JourneysError, as_journeys, read_journeys, single_path
from loadgen.sending.iterations import Iterations, iterations_from_plan

TODAY = date(2026, 11, 22)
MINUTE = 29_922_000 << 24  # the number of a minute's first arrival


@dataclass(frozen=True)
class Sent:
    """A request as a server would read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def read(data: bytes) -> Sent:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    return Sent(method, path, dict(line.split(": ", 1) for line in lines), body)


def a_mix(run_id: str = "run", seed: int = 1) -> Iterations:
    journeys = as_journeys(read_journeys())
    return iterations_from_plan(journeys, [range(len(journeys["journeys"]))], seed=seed, run_id=run_id, authority="a:1")


def request(mix: Iterations, number: int) -> Sent:
    iteration = mix.iteration(0, number, TODAY)
    return read(iteration.request(iteration.journey.steps[0]))


def requests_of(mix: Iterations, name: str, number_of_arrivals: int) -> list[Sent]:
    numbers = range(MINUTE, MINUTE + number_of_arrivals)
    return [request(mix, number) for number in numbers if mix.routes[mix.first_route(0, number)] == name]


def test_routes_are_drawn_by_their_weights() -> None:
    mix, drawn = a_mix(), 20_000
    counts = Counter(mix.routes[mix.first_route(0, MINUTE + index)] for index in range(drawn))
    for name, share in {"search": 0.8, "airport": 0.1, "flight": 0.05, "me": 0.03, "booking": 0.02}.items():
        assert abs(counts[name] - share * drawn) < 5 * math.sqrt(share * (1 - share) * drawn)


def test_an_arrival_asks_for_the_same_whoever_draws_it_and_another_seed_for_something_else() -> None:
    first, again, other = a_mix(), a_mix(), a_mix(seed=2)
    numbers = range(MINUTE, MINUTE + 50)
    assert [request(first, n) for n in numbers] == [request(again, n) for n in numbers]
    assert [request(first, n).path for n in numbers] != [request(other, n).path for n in numbers]


def test_a_search_asks_for_a_pair_a_day_ahead_passengers_and_a_class() -> None:
    searches = requests_of(a_mix(), "search", 2000)
    queries = [{name: values[0] for name, values in parse_qs(urlsplit(r.path).query).items()} for r in searches]
    assert {query["class"] for query in queries} == {"economy", "business"}
    assert {int(query["passengers"]) for query in queries} == {1, 2, 3, 4}
    days = {date.fromisoformat(query["date"]) - TODAY for query in queries}
    assert min(days) == timedelta(days=1)
    assert max(days) == timedelta(days=30)
    pairs = Counter((query["origin"], query["destination"]) for query in queries)
    assert len(pairs) == 40
    assert pairs.most_common(1)[0][0] == ("ATL", "LHR")
    assert {sent.headers["x-region"] for sent in searches} == {"us-east", "us-west", "eu-west"}


def test_a_booking_is_authorized_typed_and_idempotent_within_its_run_alone() -> None:
    booking, *_ = bookings = requests_of(a_mix(), "booking", 2000)
    body = json.loads(booking.body)
    assert booking.method == "POST"
    assert booking.headers["content-length"] == str(len(booking.body))
    # The app's rule: demo-<n>-<first 32 hex digits of sha256("tidegauge-demo:<n>")>.
    assert booking.headers["authorization"].startswith("Bearer demo-")
    assert isinstance(body["flight_id"], int)
    assert isinstance(body["passengers"], int)
    keys = [sent.headers["idempotency-key"] for sent in bookings]
    assert len(set(keys)) == len(keys)
    other_run = requests_of(a_mix("another run"), "booking", 2000)
    assert set(keys).isdisjoint(sent.headers["idempotency-key"] for sent in other_run)


def test_sold_out_is_no_failure_and_a_server_error_or_an_unexpected_client_error_is() -> None:
    mix = a_mix()
    (booking,) = [j.steps[0] for j in mix.journeys if mix.routes[j.steps[0].route] == "booking"]
    assert [booking.accepts(status) for status in (201, 409, 400, 401, 500, 503)] == [True, True] + [False] * 4


def test_a_single_path_is_a_mix_of_one_request_that_is_encoded_once() -> None:
    journeys = as_journeys(single_path("/ping?x=1"))
    mix = iterations_from_plan(journeys, [[0]], seed=0, run_id="r", authority="shop:81")
    assert request(mix, 5) == Sent("GET", "/ping?x=1", {"host": "shop:81"}, b"")
    step = mix.journeys[0].steps[0]
    assert mix.iteration(0, 1, TODAY).request(step) is mix.iteration(0, 2, TODAY).request(step)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nroutes: []\n", "at least 1"),
        (
            "version: 1\nroutes: [{name: a, weight: 1, get: /x, post: /y}]\n",
            "one of get, post",
        ),
        ("version: 1\nroutes: [{name: a, weight: 1, get: '/x/{who}'}]\n", "routes.a: expected a value"),
        ("version: 1\nroutes: [{name: a, weight: 0, get: /x}]\n", "greater than 0"),
        ("version: 1\ndraws: {d: {integers: [2, 1]}}\nroutes: [{name: a, weight: 1, get: /x}]\n", "low <= high"),
        ("version: 1\ndraws: {d: {}}\nroutes: [{name: a, weight: 1, get: /x}]\n", "exactly one of choices"),
        ("version: 1\nextra: 1\nroutes: [{name: a, weight: 1, get: /x}]\n", "extra"),
        ("version: [\n", "expected"),
    ],
)
def test_a_malformed_journeys_file_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "journeys.yaml"
    file.write_text(text)
    with pytest.raises(JourneysError, match=message) as caught:
        read_journeys(file)
    assert str(file) in str(caught.value)
