"""Users of a Locust class of one's own, in the child: each iteration is one task, each request Locust tells of a row.

An arrival takes an idle user of the class (one is made when there is none), so a class keeps its state between tasks;
its `wait_time` is kept in the closed model only: arrivals have a schedule. Requests are counted as Locust's request
event tells of them, with the response of an arrival's first one counted from the intended start.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import getcurrent
from locust import User
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, StopUser
from locust.user.task import DefaultTaskSet

from loadgen.sending.player import Item, Player
from loadgen.sending.protocol import Outcome

ARRIVAL = "arrival"  # what an arrival is counted under until its first request has a name
NO_REQUEST = "no request"
OTHERS = "others"
MOST_ROUTES = 250
TIMEOUT_NAMES = ("Timeout", "timed out")


class ForbiddenHostError(ValueError):
    """The user class asked for a host that is not allowed: nothing was sent."""


@dataclass(slots=True)
class _Turn:
    """One iteration: its arrival until the first request took it, and the ticket of the whole."""

    item: Item | None
    ticket: int
    reached: bool = True


@dataclass(slots=True)
class UserClassUsers:
    """An `Actor`. user_class: as the file has it; allowed_hosts: besides the target's."""

    user_class: type[User]
    environment: Environment
    allowed_hosts: frozenset[str]
    player: Player | None = None
    _idle: list[tuple[User, DefaultTaskSet]] = field(default_factory=list)
    _turns: dict[Any, _Turn] = field(default_factory=dict)
    _routes: dict[str, int] = field(default_factory=lambda: {ARRIVAL: 0})
    _told: int = 0

    def first_route(self, part: int, number: int) -> int:  # noqa: ARG002 - an Actor's
        """Return the route of arrivals whose first request nobody knows."""
        return 0

    def new_routes(self) -> list[str] | None:
        """Return the names of requests seen so far, when there are new ones."""
        if len(self._routes) == self._told:
            return None
        self._told = len(self._routes)
        return list(self._routes)

    def rest(self) -> None:
        """Wait as the class wants it."""
        user, _ = self._idle[-1] if self._idle else (None, None)
        if user is not None and user.wait_time is not None:
            gevent.sleep(max(0.0, user.wait_time()))

    def play(self, part: int, number: int, today: date, item: Item | None) -> bool:  # noqa: ARG002 - an Actor's
        """Run one task of an idle user."""
        player, me = self._player(), getcurrent()
        user, tasks = self._idle.pop() if self._idle else self._make()
        began = perf_counter()
        turn = self._turns[me] = _Turn(item, player.begin(item, 0, began) if item else 0)
        try:
            tasks.execute_task(tasks.get_next_task())  # type: ignore[no-untyped-call]  # locust's
        except (InterruptTaskSet, RescheduleTask, StopUser):
            pass
        except Exception as error:  # noqa: BLE001 - the user's own code: what it raises is told, as Locust does
            print(f"{self.user_class.__name__}: {error!r}", file=sys.stderr)  # noqa: T201 - the child's only log
            turn.reached = turn.item is None
        finally:
            del self._turns[me]
            self._idle.append((user, tasks))
        if turn.item is not None:  # it asked for nothing, or failed before it did
            self._settle(player, turn, NO_REQUEST, Outcome.DONE if turn.reached else Outcome.CLIENT_ERROR, 0, began)
        return turn.reached

    def note(
        self, *, name: str, response_time: float, exception: Exception | None, response: Any = None, **_more: Any
    ) -> None:  # fmt: skip
        """Take what Locust tells of a request; response_time in milliseconds."""
        player, turn = self._player(), self._turns.get(getcurrent())
        status = int(getattr(response, "status_code", 0) or 0)
        outcome = _outcome(status, exception)
        began = perf_counter() - response_time / 1000
        if turn is None:  # asked in a greenlet that the class started itself
            turn = _Turn(None, 0)
        turn.reached = turn.reached and outcome is not Outcome.CONNECTION
        self._settle(player, turn, name, outcome, status, began)

    def _settle(self, player: Player, turn: _Turn, name: str, outcome: Outcome, status: int, began: float) -> None:
        if turn.item is not None:
            player.sending.pop(turn.ticket, None)
        ticket = player.begin(turn.item, self._route(name), began)
        turn.item = None
        now = perf_counter()
        player.end(ticket, outcome, status, now, now, [])

    def _route(self, name: str) -> int:
        if name not in self._routes and len(self._routes) >= MOST_ROUTES:
            name = OTHERS
        return self._routes.setdefault(name, len(self._routes))

    def _make(self) -> tuple[User, DefaultTaskSet]:
        user = self.user_class(self.environment)
        client: Any = getattr(user, "client", None)
        if hasattr(client, "request"):
            client.request = self._guarded(client.request)
        user.on_start()
        return user, DefaultTaskSet(user)

    def _guarded(self, request: Any) -> Any:
        """Return the client's request, which refuses other hosts: a scenario file is no way round the allow-list."""

        def checked(method: str, url: str, *arguments: Any, **more: Any) -> Any:
            host = urlsplit(url).hostname
            if host is not None and host not in self.allowed_hosts:
                raise ForbiddenHostError(f"expected a host of {sorted(self.allowed_hosts)}, got {host!r}")
            return request(method, url, *arguments, **more)

        return checked

    def _player(self) -> Player:
        if self.player is None:
            raise RuntimeError("expected a player before the first user")
        return self.player


def _outcome(status: int, exception: Exception | None) -> Outcome:
    if exception is None:
        return Outcome.DONE
    if status >= 500:
        return Outcome.SERVER_ERROR
    if status:
        return Outcome.CLIENT_ERROR  # or an answer that the class itself found wanting
    told = f"{type(exception).__name__} {exception}"
    return Outcome.TIMEOUT if any(name in told for name in TIMEOUT_NAMES) else Outcome.CONNECTION


def load_user_class(file: str, name: str) -> type[User]:
    """Return the class of a Python file. Raises ValueError when it has none of that name."""
    path = Path(file)
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, User) and found.tasks):
        raise ValueError(f"{file}: expected {name} to be a locust User class with tasks, got {found!r}")
    return found


def user_class_actor(plan: Mapping[str, Any], environment: Environment) -> UserClassUsers:
    """Return the actor of a plan with `users: {file, class}`; tells of its requests from now on."""
    spec = plan["users"]
    chosen = load_user_class(spec["file"], spec["class"])
    host = f"[{plan['host']}]" if ":" in plan["host"] else plan["host"]
    environment.host = chosen.host = f"{'https' if plan['tls'] else 'http'}://{host}:{plan['port']}"
    actor = UserClassUsers(chosen, environment, frozenset({plan["host"], *spec["allowed_hosts"]}))
    for name in ("network_timeout", "connection_timeout"):  # FastHttpUser's
        setattr(chosen, name, plan["timeout_seconds"])
    environment.events.request.add_listener(actor.note)  # type: ignore[no-untyped-call]  # locust's
    return actor
