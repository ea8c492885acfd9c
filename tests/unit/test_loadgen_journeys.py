"""The mix of requests: its shares, its values, its determinism, and a file that is refused in words."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from loadgen.journeys import Mix, Request, mix_from_plan
from loadgen.journeys_file import JourneysError, read_journeys, single_path

TODAY = date(2026, 11, 22)
MINUTE = 29_922_000 << 24  # the number of a minute's first arrival


def a_mix(run_id: str = "run", seed: int = 1) -> Mix:
    return mix_from_plan(read_journeys(), seed=seed, run_id=run_id)


def requests_of(mix: Mix, name: str, number_of_arrivals: int) -> list[Request]:
    requests = [mix.request(MINUTE + index, TODAY) for index in range(number_of_arrivals)]
    return [request for request in requests if mix.routes[request.route].name == name]


def test_routes_are_drawn_by_their_weights() -> None:
    mix, drawn = a_mix(), 20_000
    counts = Counter(mix.routes[mix.route_of(MINUTE + index)].name for index in range(drawn))
    for name, share in {"search": 0.8, "airport": 0.1, "flight": 0.05, "me": 0.03, "booking": 0.02}.items():
        assert abs(counts[name] - share * drawn) < 5 * math.sqrt(share * (1 - share) * drawn)


def test_an_arrival_asks_for_the_same_whoever_draws_it_and_another_seed_for_something_else() -> None:
    first, again, other = a_mix(), a_mix(), a_mix(seed=2)
    numbers = range(MINUTE, MINUTE + 50)
    assert [first.request(n, TODAY) for n in numbers] == [again.request(n, TODAY) for n in numbers]
    assert [first.request(n, TODAY).path for n in numbers] != [other.request(n, TODAY).path for n in numbers]
    assert all(first.request(n, TODAY).route == first.route_of(n) for n in numbers)


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
    assert {dict(request.headers)["x-region"] for request in searches} == {"us-east", "us-west", "eu-west"}


def test_a_booking_is_authorized_typed_and_idempotent_within_its_run_alone() -> None:
    booking, *_ = bookings = requests_of(a_mix(), "booking", 2000)
    headers, body = dict(booking.headers), json.loads(booking.body)
    assert booking.method == "POST"
    # The app's rule: demo-<n>-<first 32 hex digits of sha256("tidegauge-demo:<n>")>.
    assert headers["authorization"].startswith("Bearer demo-")
    assert isinstance(body["flight_id"], int)
    assert isinstance(body["passengers"], int)
    keys = [dict(request.headers)["idempotency-key"] for request in bookings]
    assert len(set(keys)) == len(keys)
    other_run = requests_of(a_mix("another run"), "booking", 2000)
    assert set(keys).isdisjoint(dict(request.headers)["idempotency-key"] for request in other_run)


def test_sold_out_is_no_failure_and_a_server_error_or_an_unexpected_client_error_is() -> None:
    (booking,) = [route for route in a_mix().routes if route.name == "booking"]
    assert [booking.accepts(status) for status in (201, 409, 400, 401, 500, 503)] == [True, True] + [False] * 4


def test_a_single_path_is_a_mix_of_one() -> None:
    mix = mix_from_plan(single_path("/ping?x=1"), seed=0, run_id="r")
    assert mix.request(5, TODAY) == Request(0, "GET", "/ping?x=1", (), b"")


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
