"""Shards -> batches. Which crops a step sees is a function of (seed, stage, step): nothing to save, exact to resume."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """A generator keyed by a seed and any words or numbers."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in keys]
    return np.random.default_rng([seed, *words])


def draw_clips(count: int, batch_size: int, seed: int, stage: str, batch: int) -> np.ndarray:
    """int64 [batch_size]: the clips of the given batch; each epoch goes through all clips in an order of its own."""
    first = batch * batch_size
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    order = np.concatenate([generator(seed, stage, "order", e).permutation(count) for e in epochs])
    start = first - epochs.start * count
    return order[start : start + batch_size]


def draw_frames(lengths: np.ndarray, crop: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [B, crop]: the frames of a crop of each clip, at a random place; short clips end early."""
    room = np.maximum(lengths - crop, 0)
    starts = (rng.random(len(lengths)) * (room + 1)).astype(np.int64)
    return starts[:, None] + np.arange(crop)
