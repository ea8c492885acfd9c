"""The `alerts` block of tidegauge.yaml: thresholds of the rules, and who is told. What they mean is decided there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from collector.alerts.receivers import ReceiverSettings, read_receivers
from collector.checked_yaml import Block


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Thresholds of the rules.

    repeat: a firing alert is told again after this. least_requests, least_bad: a burn alert begins with no fewer in its
    long window. missing_after, silence_after: time of the clock in use; spool_age: real time.
    """

    repeat: timedelta = timedelta(hours=4)
    least_requests: int = 20
    least_bad: int = 3
    missing_after: timedelta = timedelta(minutes=10)
    silence_after: timedelta = timedelta(minutes=10)
    spool_age: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The whole block."""

    policy: AlertPolicy = AlertPolicy()
    receivers: tuple[ReceiverSettings, ...] = ()


def read_alert_settings(block: Block) -> AlertSettings:
    """Check the `alerts` block. Raises CatalogError."""
    block.only("repeat", "least_requests", "least_bad", "missing_after", "silence_after", "spool_age", "receivers")
    known = AlertPolicy()
    return AlertSettings(
        AlertPolicy(
            repeat=block.optional("repeat", Block.duration) or known.repeat,
            least_requests=block.optional("least_requests", _count) or known.least_requests,
            least_bad=block.optional("least_bad", _count) or known.least_bad,
            missing_after=block.optional("missing_after", Block.duration) or known.missing_after,
            silence_after=block.optional("silence_after", Block.duration) or known.silence_after,
            spool_age=block.optional("spool_age", Block.duration) or known.spool_age,
        ),
        block.optional("receivers", read_receivers) or (),
    )


def _count(block: Block) -> int:
    return block.whole_number(1)
