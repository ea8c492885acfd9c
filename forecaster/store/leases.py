"""The table of leases: claims and renewals, stamped by the store's own clock in one statement each."""

from __future__ import annotations

from dataclasses import dataclass

from collector.clickhouse import Client


@dataclass(frozen=True, slots=True)
class Claim:
    """A holder that is still heard of, when it first claimed, and how long both are past, by the store's clock."""

    holder: str
    claimed_us: int
    claimed_seconds_ago: float
    renewed_seconds_ago: float


def write_claim(client: Client, name: str, holder: str, *, claimed_us: int | None, released: bool = False) -> None:
    """Add a sign of life; `claimed_us` None makes a new claim as of now, by the store's clock."""
    claimed = "now64(6)" if claimed_us is None else "fromUnixTimestamp64Micro({claimed:Int64})"
    client.command(
        "INSERT INTO leases (name, holder, claimed_at, renewed_at, released)"
        f" SELECT {{name:String}}, {{holder:String}}, {claimed}, now64(6), {{released:UInt8}}",
        {"name": name, "holder": holder, "claimed": claimed_us or 0, "released": int(released)},
    )


def read_claims(client: Client, name: str, *, alive_seconds: float) -> list[Claim]:
    """Return who was heard of in the last `alive_seconds` and has not let go, the oldest claim first."""
    rows = client.query_rows(
        "SELECT holder, toUnixTimestamp64Micro(argMax(claimed_at, renewed_at)) AS claimed,"
        " toUnixTimestamp64Micro(max(renewed_at)) AS renewed, argMax(released, renewed_at) AS gone,"
        " toUnixTimestamp64Micro(now64(6)) AS now FROM leases WHERE name = {name:String} GROUP BY holder"
        " HAVING gone = 0 AND now - renewed < {alive:Int64} ORDER BY claimed, holder",
        {"name": name, "alive": round(alive_seconds * 1_000_000)},
    )
    return [
        Claim(str(holder), int(claimed), (now - claimed) / 1e6, (now - renewed) / 1e6)
        for holder, claimed, renewed, _, now in rows
    ]
