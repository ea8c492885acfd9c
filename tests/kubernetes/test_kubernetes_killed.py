"""A kill at any point of a change leaves a floor that is never under the operator's own, and the next life knows it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kubernetes.cluster_fixtures import Shop, cluster, shop

__all__ = ["cluster", "shop"]


class Killed(BaseException):
    """The process was killed: nothing of it runs any more."""


class Mortal:
    """An API whose process is killed at its nth change, just before it is sent or just after it was carried out."""

    def __init__(self, api: Any, dies_at: int, *, after: bool) -> None:
        self._api, self._left, self._after = api, dies_at, after
        self.get, self.items, self.host = api.get, api.items, api.host

    def patch(self, *args: Any) -> Any:
        return self._mortally(lambda: self._api.patch(*args))

    def create(self, *args: Any) -> Any:
        return self._mortally(lambda: self._api.create(*args))

    def _mortally(self, change: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        answer = change()
        if self._left == 0:
            raise Killed
        return answer


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
@pytest.mark.parametrize("doing", ["raise", "lower", "release"])
def test_killed_at_any_point_the_floor_is_never_under_the_operators_own(
    shop: Shop, doing: str, dies_at: int, after: bool
) -> None:
    shop.hand_over()
    shop.actuator().write_floor(shop.name, 6)
    dying = shop.actuator(api=Mortal(shop.cluster.api(), dies_at, after=after))
    acts: dict[str, Callable[[], object]] = {
        "raise": lambda: dying.write_floor(shop.name, 9),
        "lower": lambda: dying.write_floor(shop.name, 4),
        "release": lambda: dying.release(shop.name),
    }
    try:
        acts[doing]()
    except Killed:
        pass
    else:
        assert dies_at == 4  # raise and lower: dry run, apply, event; release: and a farewell between
    assert shop.floor() >= 3
    if (dies_at, after) in ((1, False), (1, True), (2, False)):
        assert shop.floor() == 6  # the first request is the dry run: it changes nothing
    assert shop.annotation() == "3" or shop.floor() == 3
    risen = shop.actuator()  # the next life knows the operator's floor, and gives it back
    assert risen.read(shop.name).operator_floor == 3
    assert risen.release(shop.name).floor == 3
