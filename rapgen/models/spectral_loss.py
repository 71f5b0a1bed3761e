"""How far one waveform is from another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rapgen.audio.mel import LogMel

_RESOLUTIONS = ((256, 24), (512, 48), (1024, 80), (2048, 128))  # n_fft, num_mels
_FLOOR_LOG = -7.0  # of the log-mel: what is quieter is silence
_QUIET = 1e-3  # mean absolute amplitude under which the waveform term fades out


class MelDistance(nn.Module):
    """Mean absolute difference of log-mel spectrograms at several resolutions, in nepers."""

    def __init__(self, *, sample_rate: int) -> None:
        super().__init__()
        self.mels = nn.ModuleList(
            LogMel(sample_rate=sample_rate, n_fft=n_fft, hop_length=n_fft // 2, num_mels=num_mels)
            for n_fft, num_mels in _RESOLUTIONS
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """f32 [B, C, S] twice -> f32 []."""
        levels = [(mel(estimate), mel(target)) for mel in self.mels]
        distances = [(a.clamp(min=_FLOOR_LOG) - b.clamp(min=_FLOOR_LOG)).abs().mean() for a, b in levels]
        return torch.stack(distances).mean()


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error relative to the target's mean absolute amplitude, the mean over items.

    f32 [B, C, S] twice -> f32 [].
    """
    error = (estimate - target).abs().mean((1, 2))
    return (error / (target.abs().mean((1, 2)) + _QUIET)).mean()


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    f32 [..., S] twice -> f32 [...].
    """
    energy = target.square().sum(-1, keepdim=True) + 1e-8
    projection = (estimate * target).sum(-1, keepdim=True) / energy * target
    noise = (estimate - projection).square().sum(-1) + 1e-8
    return 10 * torch.log10((projection.square().sum(-1) + 1e-8) / noise)
