"""When something begins to sound, and when the notes change: what rhythm is heard by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.fft import rfft, rfftfreq
from scipy.ndimage import uniform_filter1d

from rapgen.audio.io import resample

FPS = 100.0
_RATE, _HOP, _N_FFT = 22_000, 220, 1024
_EDGES_HZ = (30.0, 150.0, 2000.0, 6000.0, 10_900.0)  # kick and bass; notes and snare; snare and hats; hats
_BANDS = 10  # in each of these ranges
_GAIN = 30.0  # over the track's mean magnitude: what is far below it counts in proportion, what is above by its log
_TONE_N_FFT, _TONE_EVERY = 2048, 5
_TONE_BINS = slice(10, 160)  # 107 to 1709 Hz
_CHUNK = 1024  # frames transformed at a time


@dataclass(frozen=True)
class Onsets:
    """`rise` f32 [4, T]: how much louder each range gets, in its own standard deviations, `FPS` times a second.

    `tones` f32 [bins, ceil(T / every)]: the spectrum of the notes, at every `every`-th of these times.
    """

    rise: np.ndarray
    tones: np.ndarray
    every: int = _TONE_EVERY


def find_onsets(audio: np.ndarray, rate: int) -> Onsets:
    """The onsets and notes of f32 [C, S] at `rate` Hz, whatever its gain."""
    mono = resample(audio.mean(0, keepdims=True), rate, _RATE)[0]
    mono = mono - mono.mean() if mono.size else mono
    bands = _spectrum(mono, _N_FFT, _HOP, lambda magnitudes: magnitudes @ _filters())
    tones = _spectrum(mono, _TONE_N_FFT, _HOP * _TONE_EVERY, lambda magnitudes: np.sqrt(magnitudes[:, _TONE_BINS]))
    loud = np.log1p(bands * (_GAIN / (bands.mean() + 1e-9)))
    rise = np.maximum(np.diff(loud, axis=1, prepend=loud[:, :1]), 0).reshape(4, _BANDS, -1).sum(1)
    rise = np.maximum(rise - uniform_filter1d(rise, round(FPS), axis=1), 0)
    return Onsets(rise / (rise.std(1, keepdims=True) + 1e-2), tones)


def _spectrum(mono: np.ndarray, n_fft: int, hop: int, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[N, T]: what `reduce` makes of each frame's magnitudes; frame t is centred on sample t * hop."""
    padded = np.pad(mono, (n_fft // 2, n_fft // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = np.hanning(n_fft).astype(np.float32)
    parts = [frames[at : at + _CHUNK] * window for at in range(0, len(frames), _CHUNK)]
    return np.concatenate([reduce(np.abs(rfft(part, axis=1))) for part in parts]).T


@lru_cache
def _filters() -> np.ndarray:
    """f32 [bins, 4 * bands]: the mean over each band; bands of a range are evenly spaced in octaves."""
    ranges = [np.geomspace(low, high, _BANDS, endpoint=False) for low, high in pairwise(_EDGES_HZ)]
    hz = rfftfreq(_N_FFT, 1 / _RATE)
    filters = np.zeros((len(hz), 4 * _BANDS), np.float32)
    for band, (low, high) in enumerate(pairwise((*np.concatenate(ranges), _EDGES_HZ[-1]))):
        inside = (hz >= low) & (hz < high)
        inside[np.argmin(np.abs(hz - (low + high) / 2))] = True
        filters[inside, band] = 1 / inside.sum()
    return filters
