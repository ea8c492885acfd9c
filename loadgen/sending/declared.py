"""Users that go through declared journeys with the lean client. The hot path of the generator: one call per request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from time import perf_counter

import gevent

from loadgen.sending.http_client import LeanClient, NoAnswerError, NoConnectionError
from loadgen.sending.iterations import NOTHING_LEARNT, Iteration, Iterations, Step
from loadgen.sending.player import Item, Player
from loadgen.sending.protocol import Outcome

# Plain integers: looking a member of an enum up costs a tenth of a microsecond, and there are five per request.
DONE, SERVER_ERROR, CLIENT_ERROR = int(Outcome.DONE), int(Outcome.SERVER_ERROR), int(Outcome.CLIENT_ERROR)
CONNECTION, TIMEOUT = int(Outcome.CONNECTION), int(Outcome.TIMEOUT)


@dataclass(slots=True)
class DeclaredUsers:
    """An `Actor`. player: told of each request; set once both exist."""

    iterations: Iterations
    client: LeanClient
    player: Player | None = None

    def first_route(self, part: int, number: int) -> int:
        """Return the route of the arrival's first request."""
        return self.iterations.first_route(part, number)

    def rest(self) -> None:
        """Go on at once: journeys name their pauses themselves."""

    def new_routes(self) -> None:
        """Tell of none: the parent knows them."""

    def play(self, part: int, number: int, today: date, item: Item | None) -> bool:
        """Go through a journey; return whether the server could be reached at all."""
        player = self.player
        if player is None:
            raise RuntimeError("expected a player before the first user")
        iteration = self.iterations.iteration(part, number, today)
        steps = iteration.journey.steps
        for step in steps:
            outcome, whole = self._send(player, iteration, step, item)
            item = None  # only the first request has an intended start; the others follow from it
            if not whole or outcome in (CONNECTION, TIMEOUT):
                return outcome != CONNECTION
            if player.stopping and step is not steps[-1]:
                return True
            if step.think_seconds[1] > 0:
                gevent.sleep(iteration.pause_seconds(step))
        return True

    def _send(self, player: Player, iteration: Iteration, step: Step, item: Item | None) -> tuple[int, bool]:
        request = step.fixed or iteration.request(step)
        sent = perf_counter()
        ticket = player.begin(item, step.route, sent)
        try:
            status, first_byte, done, body = self.client.exchange(request, sent, step.reads_body)
        except NoConnectionError:
            outcome, status, first_byte, done, body = CONNECTION, 0, sent, perf_counter(), b""
        except NoAnswerError:
            outcome, status, first_byte, done, body = TIMEOUT, 0, sent, perf_counter(), b""
        else:
            outcome = DONE if step.accepts(status) else SERVER_ERROR if status >= 500 else CLIENT_ERROR
        checked, whole = iteration.learn(step, status, body) if step.learns else NOTHING_LEARNT
        player.end(ticket, outcome, status, first_byte, done, checked)
        return outcome, whole
