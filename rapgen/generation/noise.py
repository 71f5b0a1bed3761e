"""Sampling noise as a function of (seed, item, stage, absolute frame, codebook): no order, batch or block matters."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

_WORDS = 4  # 64 bit words a tick of Philox's counter


def gumbel(
    *, seed: int, item: int, stage: str, start_frame: int, num_frames: int, num_codebooks: int, size: int
) -> Tensor:
    """Standard Gumbel noise f32 [num_frames, num_codebooks, size] from a counter-based generator."""
    digest = hashlib.blake2b(f"{seed}/{item}/{stage}".encode(), digest_size=16).digest()
    ticks = -(-num_codebooks * size // _WORDS)  # a frame starts on a tick of its own
    philox = np.random.Philox(key=np.frombuffer(digest, np.uint64))
    philox.advance(start_frame * ticks)
    raw = philox.random_raw(num_frames * ticks * _WORDS).reshape(num_frames, -1)[:, : num_codebooks * size]
    # 23 bits and a half: float32 holds them exactly, so neither 0 nor 1 ever comes up.
    uniform = ((raw >> np.uint64(41)).astype(np.float32) + 0.5) * np.float32(2**-23)
    return torch.from_numpy(-np.log(-np.log(uniform))).view(num_frames, num_codebooks, size)
