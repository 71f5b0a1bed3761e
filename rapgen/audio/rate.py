"""Resampling of tensors, for parts that work at a rate of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from rapgen.audio.io import resample


def to_rate(audio: Tensor, rate: int, to: int | None) -> Tensor:
    """f32 [B, C, S] at `rate` Hz -> f32 [B, C, S'] at `to` Hz; unchanged where the rates agree."""
    if to is None or rate == to:
        return audio
    flat = audio.flatten(0, 1).cpu().numpy()
    return torch.from_numpy(resample(flat, rate, to)).view(*audio.shape[:2], -1).to(audio.device)
