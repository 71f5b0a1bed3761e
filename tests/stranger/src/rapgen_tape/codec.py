"""The codec: torch is imported here, and here alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from rapgen.interfaces import AudioCodec, Clip, TokenSpec

_HELD = 50  # samples
_HELDS = 3  # a frame and channel


class Tape(AudioCodec):
    """Codebook 3 * c + n is the n-th held level of channel c."""

    channels = 2
    context_frames = (0, 0)

    def __init__(self, levels: int) -> None:
        self.spec = TokenSpec(levels, self.channels * _HELDS, sample_rate=6000, hop_length=_HELD * _HELDS)
        self._top = (levels - 1) / 2
        self._peak = torch.ones(1)

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Find the loudest sample; `seed` changes nothing."""
        peak = max(float(abs(clip.audio).max()) for clip in clips)
        self._peak = torch.tensor([max(peak, 1e-3)])

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, 2, S] -> int64 [B, ceil(S / 150), 6]."""
        held = F.pad(audio, (0, -audio.shape[-1] % (_HELD * _HELDS))).unflatten(-1, (-1, _HELDS, _HELD)).mean(-1)
        levels = (held / self._peak).clamp(-1, 1) * self._top + self._top
        return levels.round().long().transpose(1, 2).flatten(2)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, 6] -> f32 [B, 2, F * 150]."""
        held = (codes.unflatten(2, (self.channels, _HELDS)).transpose(1, 2).float() - self._top) / self._top
        return (held * self._peak).flatten(2).repeat_interleave(_HELD, -1)

    def state(self) -> dict[str, Tensor]:
        """`peak` f32 [1]."""
        return {"peak": self._peak}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError where it is another's."""
        if state["peak"].shape != (1,):
            raise ValueError(f"peak has shape {tuple(state['peak'].shape)}")
        self._peak = state["peak"]

    def to(self, device: torch.device | str) -> None:
        """Move the peak."""
        self._peak = self._peak.to(device)
