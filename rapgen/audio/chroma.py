"""Which pitch classes sound in each frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_N_FFT = 4096
_LOWEST_HZ, _HIGHEST_HZ = 110.0, 2500.0  # below, bins are wider than semitones; above, hats drown the harmony


def chroma(audio: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """f32 [B, S] -> f32 [B, 12, ceil(S / hop)]: magnitudes by pitch class, C first, around the middle of each frame."""
    num_frames = -(-audio.shape[-1] // hop_length)
    padded = F.pad(audio, ((_N_FFT - hop_length) // 2, _N_FFT))
    window = torch.hann_window(_N_FFT, device=audio.device)
    window = window / (window.sum() / 2)
    spectrum = torch.stft(padded, _N_FFT, hop_length, window=window, center=False, return_complex=True)
    return _pitch_classes(sample_rate).to(audio.device) @ spectrum[..., :num_frames].abs()


def _pitch_classes(sample_rate: int) -> Tensor:
    """f32 [12, bins]: which bins are nearest to which pitch class."""
    hz = torch.fft.rfftfreq(_N_FFT, 1 / sample_rate)
    in_range = (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ)
    pitch = (69 + 12 * torch.log2(hz.clamp(min=_LOWEST_HZ) / 440)).round().long() % 12
    return (F.one_hot(pitch, 12) * in_range.unsqueeze(1)).float().T
