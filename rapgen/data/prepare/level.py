"""Where a track begins and ends, and how loud it becomes."""

from __future__ import annotations

import numpy as np
import soxr

from rapgen.audio.loudness import loudness_lufs
from rapgen.data.prepare.records import Unfit

_FRAME_S = 0.01
_SILENT_PEAK = 1e-4
_SILENT_BELOW_PEAK = 10 ** (-50 / 20)
_CEILING = 10 ** (-1 / 20)  # of true peaks: what lossy codecs need not to clip
_OVERSAMPLING = 4  # ITU-R BS.1770-4, annex 2
_MOST_OVER = 10 ** (3 / 20)  # what music reaches between samples, at most, over the highest of them
_BLOCK = 1 << 16  # samples at a time


def sounding(audio: np.ndarray, rate: int) -> slice:
    """The samples of f32 [C, S] between the silences at both ends; Unfit where there are none."""
    frame = round(rate * _FRAME_S)
    peaks = np.maximum.reduceat(_peaks(audio), np.arange(0, audio.shape[1], frame))
    if peaks.max() < _SILENT_PEAK:
        raise Unfit("silent")
    heard = np.flatnonzero(peaks > peaks.max() * _SILENT_BELOW_PEAK)
    return slice(int(heard[0]) * frame, min((int(heard[-1]) + 1) * frame, audio.shape[1]))


def level_to(audio: np.ndarray, rate: int, target_lufs: float) -> tuple[float, float]:
    """Loudness of f32 [C, S] in LUFS, and the gain in dB that was put on it, in place, to reach the target.

    The gain is less where a true peak would come over -1 dB. Unfit where nothing is loud enough to be measured.
    """
    loudness = loudness_lufs(audio, rate)
    if not np.isfinite(loudness):
        raise Unfit("silent", "all of it lies below the gate of BS.1770")
    gain = 10 ** ((target_lufs - loudness) / 20)
    peak = float(_peaks(audio).max())
    if peak * gain * _MOST_OVER > _CEILING:
        gain = min(gain, _CEILING / true_peak(audio, rate))
    audio *= np.float32(gain)
    return loudness, 20 * float(np.log10(gain))


def true_peak(audio: np.ndarray, rate: int) -> float:
    """The highest level of f32 [C, S], between samples too."""
    stream = soxr.ResampleStream(rate, _OVERSAMPLING * rate, len(audio), dtype="float32", quality="MQ")
    highest = float(_peaks(audio).max())
    for start in range(0, audio.shape[1], _BLOCK):
        block = np.ascontiguousarray(audio[:, start : start + _BLOCK].T)
        between = stream.resample_chunk(block, last=start + _BLOCK >= audio.shape[1])
        highest = max(highest, float(np.abs(between).max(initial=0)))
    return highest


def _peaks(audio: np.ndarray) -> np.ndarray:
    """f32 [C, S] -> f32 [S]: the loudest channel."""
    peaks = np.abs(audio[0])
    for channel in audio[1:]:
        np.maximum(peaks, np.abs(channel), out=peaks)
    return peaks
