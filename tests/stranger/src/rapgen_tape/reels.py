"""The conditioner: frame-aligned, from absolute positions alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rapgen.interfaces import Clip, Conditioner, Prompt, TokenSpec

_PLACES = 12


class Reels(Conditioner):
    """One codebook: the twelfth of the turn that a frame begins in."""

    is_aligned = True
    spec = TokenSpec(codebook_size=_PLACES, num_codebooks=1)

    def __init__(self, turn_s: float) -> None:
        self._turn_s = turn_s

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> int64 [B, num_frames, 1] and bool [B, num_frames, 1]; the same for all."""
        if spec is None:
            raise ValueError("reels turn at the consumer's rate; pass its spec")
        time_s = torch.arange(start_frame, start_frame + num_frames, dtype=torch.float64) / spec.frame_rate
        places = (time_s / self._turn_s * _PLACES).long() % _PLACES
        codes = places[None, :, None].expand(len(items), -1, 1)
        return codes, torch.ones_like(codes, dtype=torch.bool)
