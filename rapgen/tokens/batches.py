"""Shards -> batches. What a row of a batch sees is a function of (seed, stage, row), rows counted from the first step.

So there is nothing to save, a resumed run is exact, and how rows are dealt to batches and processes does not matter.
"""

from __future__ import annotations

import functools
import hashlib
import zlib

import numpy as np

_WORDS = 4  # 64 bit words a tick of Philox's counter


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """A generator keyed by a seed and any words or numbers."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in keys]
    return np.random.default_rng([seed, *words])


def uniforms(*keys: str | int, first: int, rows: int, columns: int) -> np.ndarray:
    """f32 [rows, columns] in (0, 1): rows `first` and on of an endless table that is keyed by words or numbers."""
    # 23 bits and a half: float32 holds them exactly, so neither 0 nor 1 ever comes up.
    raw = random_words(*keys, first=first, rows=rows, columns=columns) >> np.uint64(41)
    return (raw.astype(np.float32) + 0.5) * np.float32(2**-23)


def random_words(*keys: str | int, first: int, rows: int, columns: int) -> np.ndarray:
    """uint64 [rows, columns], all bits random: rows `first` and on of such a table."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=16).digest()
    ticks = -(-columns // _WORDS)  # a row starts on a tick of its own
    philox = np.random.Philox(key=np.frombuffer(digest, np.uint64))
    philox.advance(first * ticks)
    return philox.random_raw(rows * ticks * _WORDS).reshape(rows, -1)[:, :columns]


class ClipOrder:
    """Which clip each row of training sees, of clips with the given weights, f64 [clips].

    Each epoch, as many rows as there are clips, has an order of its own and each clip as often as its weight against
    the mean says, rounded up or down at random: once, where all weigh the same. The epochs of the last rows asked for
    are kept, so that a batch costs what its rows cost.
    """

    def __init__(self, weights: np.ndarray, seed: int, stage: str) -> None:
        self._ends = np.cumsum(weights * (len(weights) / weights.sum()))
        self._seed, self._stage = seed, stage
        self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)

    def clips(self, first: int, rows: int) -> np.ndarray:
        """int64 [rows]: the clips of rows `first` and on."""
        count = len(self._ends)
        epochs = range(first // count, (first + rows - 1) // count + 1)
        places = ((epoch, first - epoch * count) for epoch in epochs)
        return np.concatenate([self._epoch(epoch)[max(0, at) : at + rows] for epoch, at in places])

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        """The clips of an epoch: even steps, from a random start, over a line on which clip `i` ends at `ends[i]`."""
        rng, count = generator(self._seed, self._stage, "order", epoch), len(self._ends)
        order = rng.permutation(count)
        chosen = np.searchsorted(self._ends, rng.random() + np.arange(count), side="right")
        return np.minimum(chosen, count - 1)[order]


def draw_starts(lengths: np.ndarray, crop: int, chance: np.ndarray) -> np.ndarray:
    """int64 [B]: where a crop of each clip starts, drawn by `chance` [B]; short clips start at 0 and end early."""
    room = np.maximum(lengths - crop, 0)
    return (chance * (room + 1)).astype(np.int64)


def padding_share(lengths: np.ndarray, weights: np.ndarray, crop: int) -> float:
    """The share of crops that lies behind the ends of clips, of which there are as many as `weights` [clips] say."""
    return 1 - float(np.average(np.minimum(lengths, crop), weights=weights)) / crop
