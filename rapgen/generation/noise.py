"""Sampling noise as a function of (seed, item, stage, absolute frame, codebook): no order, batch or block matters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rapgen.tokens.batches import uniforms


def gumbel(
    *, seed: int, item: int, stage: str, start_frame: int, num_frames: int, num_codebooks: int, size: int
) -> Tensor:
    """Standard Gumbel noise f32 [num_frames, num_codebooks, size] from a counter-based generator."""
    uniform = uniforms(seed, item, stage, first=start_frame, rows=num_frames, columns=num_codebooks * size)
    return torch.from_numpy(-np.log(-np.log(uniform))).view(num_frames, num_codebooks, size)
