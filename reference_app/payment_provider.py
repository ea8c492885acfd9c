"""The payment provider: a simulated outside system that takes and returns money, and may decline, fail or not answer.

As real ones do, it knows a charge by the caller's key: the same charge again is the same charge, however often and from
whichever process it is sent, and giving it back twice gives it back once. What becomes of a charge is drawn from its
key and the seed, so all replicas meet the same provider; some method tokens ask for one outcome. When a charge is sent,
and what is done about its outcome, is the purchases' business.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

GAMMA_SHAPE = 4.0
# What a caller may pay with. The ordinary card meets the provider's shares of failure; the others ask for one outcome.
CARD, DECLINED_CARD, SLOW_CARD, BROKEN_CARD = "card", "card-declined", "card-timeout", "card-error"
Outcome = Literal["approved", "declined", "failed", "timed_out"]
OUTCOME_OF: dict[str, Outcome] = {DECLINED_CARD: "declined", SLOW_CARD: "timed_out", BROKEN_CARD: "failed"}


class ChargeDeclined(Exception):  # noqa: N818 - an answer, not a fault
    """The provider will not take this money; nothing was charged."""


class ProviderFailed(Exception):  # noqa: N818 - a state, not a fault
    """The provider refused the call with a fault of its own; nothing was charged."""


class ProviderSilent(Exception):  # noqa: N818 - a state, not a fault
    """The provider did not answer in time: nobody knows whether the money was taken."""


@dataclass(frozen=True, slots=True)
class ProviderTerms:
    """Mean latency, how long we wait (real seconds), and the shares of charges that go wrong."""

    mean_latency_seconds: float = 0.02
    timeout_seconds: float = 1.0
    declined_share: float = 0.0
    failed_share: float = 0.0
    timeout_share: float = 0.0


class PaymentProvider:
    """Charges and gives back, by key."""

    def __init__(
        self,
        terms: ProviderTerms,
        *,
        seed: int,
        instance: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._terms, self._seed, self._sleep = terms, seed, sleep
        self._random = random.Random(f"{seed}:{instance}:payments")  # noqa: S311 - a simulation, not a secret
        self.outcomes_total: Counter[str] = Counter(approved=0, declined=0, failed=0, timed_out=0, refunded=0)

    async def charge(self, key: str, *, cents: int, method: str, again: bool = False) -> str:
        """Take `cents` and return the provider's reference. `again`: the outcome of this key's first call is not known.

        Raises ChargeDeclined, ProviderFailed or ProviderSilent.
        """
        outcome = self._outcome(key, method)
        if again and outcome == "timed_out":
            outcome = "approved"  # the charge had arrived, its answer was lost
        if outcome == "timed_out":
            await self._sleep(self._terms.timeout_seconds)
        else:
            await self._answer_time()
        self.outcomes_total[outcome] += 1
        if outcome == "declined":
            raise ChargeDeclined("the card was declined")
        if outcome == "failed":
            raise ProviderFailed("the payment provider failed")
        if outcome == "timed_out":
            raise ProviderSilent(f"no answer within {self._terms.timeout_seconds:g} s")
        return self._reference(key, cents)

    async def give_back(self, key: str) -> str:
        """Return what was charged under this key, if anything was, and refuse later charges; safe to repeat.

        The answer is the provider's reference of the refund, the same for each repetition.
        """
        await self._answer_time()
        self.outcomes_total["refunded"] += 1
        return f"re_{self._digest('refund', key).hex()}"

    async def _answer_time(self) -> None:
        mean = self._terms.mean_latency_seconds
        await self._sleep(self._random.gammavariate(GAMMA_SHAPE, mean / GAMMA_SHAPE) if mean > 0 else 0.0)

    def _outcome(self, key: str, method: str) -> Outcome:
        if (asked_for := OUTCOME_OF.get(method)) is not None:
            return asked_for
        terms = self._terms
        drawn = int.from_bytes(self._digest("outcome", key)[:4]) / 2**32
        if drawn < terms.declined_share:
            return "declined"
        if drawn < terms.declined_share + terms.failed_share:
            return "failed"
        return "timed_out" if drawn < terms.declined_share + terms.failed_share + terms.timeout_share else "approved"

    def _reference(self, key: str, cents: int) -> str:
        return f"ch_{self._digest(f'reference {cents}', key).hex()}"

    def _digest(self, purpose: str, key: str) -> bytes:
        return hashlib.blake2b(f"{self._seed}:{purpose}:{key}".encode(), digest_size=12).digest()
