"""What the benchmarks ask: searches whose popularity follows Zipf's law, drawn from a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from urllib.parse import urlencode

import numpy as np

from reference_app.seed.airports import airports_by_size

ZIPF_EXPONENT = 1.0
AIRPORTS = 12
DAYS = 30


def searches(count: int, *, seed: int, exponent: float = ZIPF_EXPONENT) -> list[str]:
    """Return paths of searches: the k-th most popular of 132 routes x 30 days is asked for in proportion to 1/k^s."""
    pairs = list(permutations([airport.code for airport in airports_by_size()[:AIRPORTS]], 2))
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    keys = [(*pair, tomorrow + timedelta(days=day)) for day in range(DAYS) for pair in pairs]
    draw = np.random.default_rng(seed)
    draw.shuffle(keys)
    weights = 1.0 / np.arange(1, len(keys) + 1) ** exponent
    chosen = draw.choice(len(keys), size=count, p=weights / weights.sum())
    return [_search_path(*keys[index]) for index in chosen]


def _search_path(origin: str, destination: str, day: object) -> str:
    asked = {"origin": origin, "destination": destination, "date": day, "passengers": 1, "class": "economy"}
    return f"/api/flights/search?{urlencode(asked)}"


def get(path: str) -> bytes:
    """Return a whole GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n\r\n".encode()
