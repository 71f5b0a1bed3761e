"""Shards -> batches. What a row of a batch sees is a function of (seed, stage, row), rows counted from the first step.

So there is nothing to save, a resumed run is exact, and how rows are dealt to batches and processes does not matter.
"""

from __future__ import annotations

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
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=16).digest()
    ticks = -(-columns // _WORDS)  # a row starts on a tick of its own
    philox = np.random.Philox(key=np.frombuffer(digest, np.uint64))
    philox.advance(first * ticks)
    raw = philox.random_raw(rows * ticks * _WORDS).reshape(rows, -1)[:, :columns]
    # 23 bits and a half: float32 holds them exactly, so neither 0 nor 1 ever comes up.
    return ((raw >> np.uint64(41)).astype(np.float32) + 0.5) * np.float32(2**-23)


def draw_clips(weights: np.ndarray, batch_size: int, seed: int, stage: str, batch: int) -> np.ndarray:
    """int64 [batch_size]: the clips of the given batch, of clips with the given weights, f64 [clips].

    Each epoch, as many rows as there are clips, has an order of its own and each clip as often as its weight against
    the mean says, rounded up or down at random: once, where all weigh the same.
    """
    first, count = batch * batch_size, len(weights)
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    ends = np.cumsum(weights * (count / weights.sum()))
    order = np.concatenate([_epoch(ends, generator(seed, stage, "order", epoch)) for epoch in epochs])
    start = first - epochs.start * count
    return order[start : start + batch_size]


def _epoch(ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clips of an epoch: even steps, from a random start, over a line on which clip `i` ends at `ends[i]`."""
    order = rng.permutation(len(ends))
    chosen = np.searchsorted(ends, rng.random() + np.arange(len(ends)), side="right")
    return np.minimum(chosen, len(ends) - 1)[order]


def draw_frames(lengths: np.ndarray, crop: int, chance: np.ndarray) -> np.ndarray:
    """int64 [B, crop]: the frames of a crop of each clip, at a place drawn by `chance` [B]; short clips end early."""
    room = np.maximum(lengths - crop, 0)
    starts = (chance * (room + 1)).astype(np.int64)
    return starts[:, None] + np.arange(crop)
