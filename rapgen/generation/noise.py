"""Sampling noise as a function of (seed, item, stage, absolute frame, codebook): no order, batch or block matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rapgen.tokens.batches import random_words


def gumbel(
    *, seed: int, item: int, stage: str, start_frame: int, num_frames: int, books: Sequence[int], size: int
) -> Tensor:
    """Standard Gumbel noise f32 [num_frames, len(books), size] from a counter-based generator."""
    bits = np.empty((num_frames, len(books), size), np.uint32)
    for column, book in enumerate(books):  # two numbers a word
        words = random_words(seed, item, stage, book, first=start_frame, rows=num_frames, columns=-(-size // 2))
        bits[:, column] = np.ascontiguousarray(words).view(np.uint32)[:, :size]
    bits >>= np.uint32(9)  # 23 bits and a half: float32 holds them exactly, so neither 0 nor 1 ever comes up
    uniform = torch.from_numpy((bits.astype(np.float32) + np.float32(0.5)) * np.float32(2**-23))
    return uniform.log_().neg_().log_().neg_()
