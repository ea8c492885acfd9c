"""A contest on several cores: the lanes are dealt out, and every process plays its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from forecaster.scaling.backtest.contest import OURS, SETTINGS, Contest, hold
from forecaster.scaling.backtest.field import Field
from forecaster.scaling.backtest.net import nets_of
from forecaster.scaling.backtest.rolling import RollingForecasts


def hold_shared(
    ground: Field,
    forecasts: RollingForecasts,
    *,
    policies: Sequence[str] = tuple(SETTINGS),
    settings: Mapping[str, Sequence[float]] = SETTINGS,
    processes: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Contest:
    """Do what `hold` does on several cores: the lanes are dealt out, and every process plays its own."""
    began = time.perf_counter()
    net, own_net = nets_of(ground)
    ground = replace(ground, net=net, own_net=own_net)  # learnt once, for all hands
    hands = [hand for hand in dealt(policies, settings, processes) if hand]
    if len(hands) < 2:
        found = [hold(ground, forecasts, policies=policies, settings=settings, progress=progress)]
    else:
        with ProcessPoolExecutor(len(hands), mp_context=get_context("spawn")) as pool:
            others = [pool.submit(_play_hand, ground, forecasts, hand) for hand in hands[1:]]
            mine = hold(ground, forecasts, policies=tuple(hands[0]), settings=hands[0], progress=progress)
            found = [mine, *(other.result() for other in others)]
    order = {(name, setting): index for index, (name, setting) in enumerate(
        (name, setting) for name in policies for setting in settings[name]
    )}  # fmt: skip
    entries = sorted((entry for one in found for entry in one.entries), key=lambda one: order[one.name, one.setting])
    return replace(found[0], entries=tuple(entries), play_seconds=time.perf_counter() - began)


def dealt(
    policies: Sequence[str], settings: Mapping[str, Sequence[float]], hands: int
) -> list[dict[str, tuple[float, ...]]]:
    """Deal out the lanes: ours, which decides step by step, one by one, and each other policy whole."""
    found: list[dict[str, tuple[float, ...]]] = [{} for _ in range(max(1, hands))]
    others = [name for name in policies if name != OURS]
    for index, hand in enumerate(found):
        mine = tuple(settings[OURS][index :: len(found)]) if OURS in policies else ()
        hand.update({OURS: mine} if mine else {})
        hand.update({name: tuple(settings[name]) for name in others[index :: len(found)]})
    return found


def _play_hand(ground: Field, forecasts: RollingForecasts, hand: Mapping[str, Sequence[float]]) -> Contest:
    return hold(ground, forecasts, policies=tuple(hand), settings=hand)
