"""The key a track is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import rfft, rfftfreq

from rapgen.audio.io import resample
from rapgen.groove import NOTES

_RATE, _N_FFT, _HOP = 8000, 8192, 2048
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 2000.0
_PROFILES = {  # Krumhansl and Kessler 1982: how well each degree fits a key, the tonic first
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True)
class KeyEstimate:
    """A key as rapgen names it, "F# minor", and how sure that is, 0 .. 1; 0 is a guess."""

    key: str
    confidence: float


def estimate_key(audio: np.ndarray, rate: int) -> KeyEstimate:
    """The one key that f32 [C, S] at `rate` Hz fits best."""
    return fit_key(_pitch_classes(audio, rate))


def fit_key(weights: np.ndarray) -> KeyEstimate:
    """The key whose profile the weights of the twelve pitch classes, C first, correlate with best; C major for none."""
    if np.ptp(weights) <= 1e-6 * weights.max():
        return KeyEstimate("C major", 0.0)
    fits = {
        f"{NOTES[tonic]} {mode}": float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1])
        for mode, profile in _PROFILES.items()
        for tonic in range(12)
    }
    best, second = sorted(fits, key=lambda key: -fits[key])[:2]
    return KeyEstimate(best, float(np.clip((fits[best] - fits[second]) * 5, 0, 1)))


def _pitch_classes(audio: np.ndarray, rate: int) -> np.ndarray:
    """f32 [C, S] -> f64 [12]: how much of each pitch class sounds, every moment counting alike."""
    mono = resample(audio.mean(0, keepdims=True), rate, _RATE)[0]
    mono = np.pad(mono, (0, max(0, _N_FFT - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _N_FFT)[::_HOP]
    spectrum = np.abs(rfft(frames * np.hanning(_N_FFT).astype(np.float32), axis=1))
    chroma = np.sqrt(spectrum) @ _classes()
    chroma /= chroma.sum(1, keepdims=True) + 1e-9
    return chroma.mean(0)


@lru_cache
def _classes() -> np.ndarray:
    """f32 [bins, 12]: how near each bin is to each pitch class."""
    hz = rfftfreq(_N_FFT, 1 / _RATE)
    in_range = (hz >= _LOWEST_HZ) & (hz <= _HIGHEST_HZ)
    pitch = 69 + 12 * np.log2(np.maximum(hz, 1) / 440)
    away = (pitch[:, None] - np.arange(12) + 6) % 12 - 6
    return (np.exp(-0.5 * (away / 0.2) ** 2) * in_range[:, None]).astype(np.float32)
