"""Three hundred real airports, the largest first: the rank decides which routes are flown and how often.

`airports.csv` holds IATA codes and what belongs to them (from the airportsdata project, MIT); the order is ours.
"""

from __future__ import annotations

from importlib import resources

from reference_app.stores.flights import Airport

FEWEST = 40


def airports_by_size() -> list[Airport]:
    """Return the airports, largest first."""
    found = []
    text = (resources.files("reference_app") / "seed" / "airports.csv").read_text(encoding="utf-8")
    for line in text.splitlines()[1:]:
        code, name, city, country, region, latitude, longitude = line.split("|")
        found.append(Airport(code, name, city, country, region, float(latitude), float(longitude)))
    return found


def airports_at(scale: float) -> list[Airport]:
    """Return the airports of a scale: all at 1 and above, at least 40."""
    every = airports_by_size()
    return every[: max(FEWEST, min(len(every), round(len(every) * scale)))]
