"""Floats as whole numbers of a decimal place, where that is exact: neighbours then differ by few bits. Pure.

Most metrics are counts or were rounded to a few decimals. As floats their last bits look random; as `scaled` by
10^`digits` they cost half. A value is stored so only if scaled / 10^digits is the very same float, else as `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_DIGITS = 9
RAW = -1
_EXACT = 2.0**53  # whole numbers up to here are floats


@dataclass(frozen=True, slots=True)
class Decimals:
    """Columns of one length. digits: RAW where `raw` holds the value, else `scaled` / 10^digits is the value."""

    digits: list[int]
    scaled: list[int]
    raw: list[float]


def to_decimals(series: Sequence[int], values: Sequence[float], known: Mapping[int, int]) -> Decimals:
    """Return the columns for values of series. known: digits that a series had before, used again where exact.

    One scale for a whole series is what keeps its differences small: 50.1 beside 50.12 is 5010 beside 5012.
    """
    floats = np.asarray(values, dtype=np.float64)
    least = np.full(len(floats), RAW, dtype=np.int64)
    for digits in range(MOST_DIGITS, -1, -1):
        least[_is_exact(floats, np.full(len(floats), digits))] = digits
    most = {identity: known.get(identity, 0) for identity in set(series)}
    for identity, digits in zip(series, least.tolist(), strict=True):
        most[identity] = max(most[identity], digits)
    wanted = np.array([most[identity] for identity in series], dtype=np.int64)
    chosen = np.where(_is_exact(floats, wanted), wanted, least)
    scaled = np.where(chosen < 0, 0.0, np.rint(np.where(chosen < 0, 0.0, floats) * _power(chosen)))
    raw = np.where(chosen < 0, floats, 0.0)
    return Decimals(chosen.tolist(), scaled.astype(np.int64).tolist(), raw.tolist())


def _is_exact(floats: NDArray[np.float64], digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore", over="ignore"):
        whole = np.rint(floats * _power(digits))
        return np.asarray((np.abs(whole) <= _EXACT) & (whole / _power(digits) == floats))


def _power(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(_POWERS[np.maximum(digits, 0)])


_POWERS = np.array([float(10**digits) for digits in range(MOST_DIGITS + 1)])
