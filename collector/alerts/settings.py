"""The `alerts` block of tidegauge.yaml: thresholds of the rules, and who is told. What they mean is decided there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from collector.alerts.receivers import HeartbeatSettings, ReceiverSettings, read_heartbeat, read_receivers
from collector.alerts.state import Severity
from collector.checked_yaml import Block, read_root
from collector.slo.burn import BURN_PAIRS, BurnPair

_PAGE, _TICKET = BURN_PAIRS[:2], BURN_PAIRS[2:]
PairOf = tuple[Severity, BurnPair]
_PAIRS: tuple[PairOf, ...] = (*(("page", pair) for pair in _PAGE), *(("ticket", pair) for pair in _TICKET))
# Over these an SLO's requests are missed; see collector.alerts.rules.
MISSING_SHORT, MISSING_LONG = timedelta(minutes=30), timedelta(hours=6)
_POLICY_KEYS = (
    "repeat", "least_requests", "least_bad", "missing_after", "silence_after", "spool_age", "replica_lag", "burn_pairs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Thresholds of the rules.

    repeat: a firing alert is told again after this. least_requests, least_bad: a burn alert begins with no fewer in its
    long window. missing_after, silence_after: time of the clock in use; spool_age, replica_lag: real time.
    """

    repeat: timedelta = timedelta(hours=4)
    least_requests: int = 20
    least_bad: int = 3
    missing_after: timedelta = timedelta(minutes=10)
    silence_after: timedelta = timedelta(minutes=10)
    spool_age: timedelta = timedelta(minutes=5)
    replica_lag: timedelta = timedelta(seconds=30)
    pairs: tuple[PairOf, ...] = _PAIRS

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """Return the windows that the rules need counts of, ascending."""
        paired = {window for _, pair in self.pairs for window in (pair.long, pair.short)}
        return tuple(sorted(paired | {MISSING_SHORT, MISSING_LONG}))


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The whole block."""

    policy: AlertPolicy = AlertPolicy()
    receivers: tuple[ReceiverSettings, ...] = ()
    heartbeat: HeartbeatSettings | None = None


def read_alert_settings(block: Block) -> AlertSettings:
    """Check the `alerts` block. Raises CatalogError."""
    block.only(*_POLICY_KEYS, "receivers", "heartbeat")
    return AlertSettings(
        _policy(block), block.optional("receivers", read_receivers) or (), block.optional("heartbeat", read_heartbeat)
    )


def parse_policy(text: str, *, name: str) -> AlertPolicy:
    """Check a policy of its own: the keys of `alerts` but those that say who is told. Raises CatalogError."""
    root = read_root(text, name=name)
    root.only(*_POLICY_KEYS)
    return _policy(root)


def _policy(block: Block) -> AlertPolicy:
    known = AlertPolicy()
    return AlertPolicy(
        repeat=block.optional("repeat", Block.duration) or known.repeat,
        least_requests=block.optional("least_requests", _count) or known.least_requests,
        least_bad=block.optional("least_bad", _count) or known.least_bad,
        missing_after=block.optional("missing_after", Block.duration) or known.missing_after,
        silence_after=block.optional("silence_after", Block.duration) or known.silence_after,
        spool_age=block.optional("spool_age", Block.duration) or known.spool_age,
        replica_lag=block.optional("replica_lag", Block.duration) or known.replica_lag,
        pairs=block.optional("burn_pairs", _pairs) or known.pairs,
    )


def _pairs(block: Block) -> tuple[PairOf, ...]:
    pairs = tuple(_pair(each) for each in block.sequence())
    if not pairs:
        block.refuse("at least one pair of windows", "an empty list")
    return pairs


def _pair(block: Block) -> PairOf:
    block.only("severity", "long", "short", "factor")
    severity = cast("Severity", block.required("severity").one_of("page", "ticket", "info"))
    long, short = _minutes(block.required("long")), _minutes(block.required("short"))
    if long <= short:
        block.required("long").refuse("a window longer than `short`")
    factor = block.required("factor").number("a number above 0", lambda value: 0 < value < float("inf"))
    return severity, BurnPair(long, short, factor)


def _minutes(block: Block) -> timedelta:
    window = block.duration()
    if window % timedelta(minutes=1):
        block.refuse("a window of whole minutes")
    return window


def _count(block: Block) -> int:
    return block.whole_number(1)
