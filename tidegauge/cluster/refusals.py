"""Requests that the front refused, told to the collector as events: demand that no replica saw is demand still."""

from __future__ import annotations

import logging

from tidegauge.cluster.front import Refusal

log = logging.getLogger(__name__)


class UntoldRefusals:
    """For a cluster without a collector: refused requests are counted by the front alone."""

    def record(self, refusal: Refusal) -> None:
        """Say it in the log."""
        log.debug("refused %s with %d", refusal.method, refusal.status)

    def close(self) -> None:
        """Nothing is open."""
