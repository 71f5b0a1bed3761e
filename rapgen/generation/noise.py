"""Sampling noise as a function of (seed, item, stage, absolute frame, codebook): no order, batch or block matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rapgen.tokens.batches import uniforms


def gumbel(
    *, seed: int, item: int, stage: str, start_frame: int, num_frames: int, books: Sequence[int], size: int
) -> Tensor:
    """Standard Gumbel noise f32 [num_frames, len(books), size] from a counter-based generator."""
    tables = [uniforms(seed, item, stage, book, first=start_frame, rows=num_frames, columns=size) for book in books]
    return torch.from_numpy(-np.log(-np.log(np.stack(tables, 1))))
