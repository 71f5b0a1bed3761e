"""Chance that falls alike on every machine: whole numbers from a counter-based generator, no float arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

_BLOCK = 256  # numbers fetched at once


class Dice:
    """Draws from the raw 64 bit words of a Philox generator, which numpy keeps stable from version to version."""

    def __init__(self, seeds: np.random.SeedSequence) -> None:
        self._philox = np.random.Philox(seeds)
        self._words: list[int] = []

    def below(self, count: int) -> int:
        """A whole number from 0 to `count` - 1."""
        if not self._words:
            self._words = self._philox.random_raw(_BLOCK).tolist()
        return self._words.pop() * count >> 64

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of a hundred cases."""
        return self.below(100) < percent

    def one(self, items: Sequence[Item]) -> Item:
        """Any of the items."""
        return items[self.below(len(items))]

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` of the items, or all where there are fewer, in any order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]
