"""The key a track is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import rfft, rfftfreq

from rapgen.audio.io import resample
from rapgen.groove import NOTES

_RATE, _N_FFT, _HOP = 8000, 8192, 2048  # a second's window tells the semitones of a bass apart
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 1500.0
_CHUNK = 256  # frames transformed at a time
_SURE = 0.15  # a lead in correlation over the second best key that leaves no doubt
_PROFILES = {  # Shaath 2011, after Krumhansl and Kessler 1982: how well each degree fits a key, the tonic first
    "major": (6.6, 2.0, 3.5, 2.3, 4.6, 4.0, 2.5, 5.2, 2.4, 3.7, 2.3, 3.4),
    "minor": (6.5, 2.7, 3.5, 5.4, 2.6, 3.5, 2.5, 5.2, 4.0, 2.7, 4.3, 3.2),
}


@dataclass(frozen=True)
class KeyEstimate:
    """A key as rapgen names it, "F# minor". `confidence` is 0 .. 1: its lead over the second best."""

    key: str
    confidence: float


def estimate_key(audio: np.ndarray, rate: int) -> KeyEstimate:
    """The one key that the whole of f32 [C, S] at `rate` Hz fits best; of confidence 0 where it is silent."""
    return fit_key(_pitch_classes(audio, rate))


def fit_key(weights: np.ndarray) -> KeyEstimate:
    """The key whose profile the weights of the twelve pitch classes, C first, fit best; C major where all are alike."""
    if np.ptp(weights) <= 1e-6 * weights.max():
        return KeyEstimate("C major", 0.0)
    fits = {
        f"{NOTES[tonic]} {mode}": float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1])
        for mode, profile in _PROFILES.items()
        for tonic in range(12)
    }
    best, second = sorted(fits, key=lambda key: fits[key], reverse=True)[:2]
    return KeyEstimate(best, min((fits[best] - fits[second]) / _SURE, 1.0))


def _pitch_classes(audio: np.ndarray, rate: int) -> np.ndarray:
    """f32 [C, S] -> f64 [12]: magnitudes of the spectrum's peaks, which drums have few of, by pitch class."""
    mono = resample(audio.mean(0, keepdims=True), rate, _RATE)[0]
    padded = np.pad(mono, (0, max(0, _N_FFT - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    window = np.hanning(_N_FFT).astype(np.float32)
    peaks = np.zeros(_N_FFT // 2 + 1)
    for at in range(0, len(frames), _CHUNK):
        magnitudes = np.abs(rfft(frames[at : at + _CHUNK] * window, axis=1))
        inner = magnitudes[:, 1:-1]
        is_peak = (inner > magnitudes[:, :-2]) & (inner >= magnitudes[:, 2:])
        peaks[1:-1] += np.where(is_peak, inner, 0).sum(0)
    return peaks @ _classes()


@lru_cache
def _classes() -> np.ndarray:
    """f64 [bins, 12]: how near each bin is to each pitch class."""
    hz = rfftfreq(_N_FFT, 1 / _RATE)
    in_range = (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ)
    pitch = 69 + 12 * np.log2(np.maximum(hz, 1) / 440)
    away = (pitch[:, None] - np.arange(12) + 6) % 12 - 6
    return np.exp(-0.5 * (away / 0.2) ** 2) * in_range[:, None]
