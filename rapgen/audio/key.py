"""The key a track is in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rapgen.audio.io import resample
from rapgen.groove import NOTES

_RATE, _N_FFT, _HOP = 8000, 8192, 2048  # a second's window tells the semitones of a bass apart
_NOTES_HZ, _BASS_HZ = (55.0, 1500.0), (35.0, 160.0)
_FIFTH = 0.3  # of what the bass on the tonic speaks for a key, the bass on its fifth
_CHUNK = 256  # frames transformed at a time
_SURE = 0.2  # a lead over the second best key that leaves no doubt
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
    peaks = _peaks(audio, rate)
    return fit_key(peaks @ _classes(*_NOTES_HZ), peaks @ _classes(*_BASS_HZ))


def fit_key(weights: np.ndarray, bass: np.ndarray | None = None) -> KeyEstimate:
    """The key whose profile the weights of the twelve pitch classes, C first, fit best; C major where all are alike.

    `bass`, such weights of the bass alone, speaks for the keys on whose tonic or fifth it stays: chords of four and
    five notes hold a second key's triad, and only their root tells which is meant.
    """
    if np.ptp(weights) <= 1e-6 * weights.max():
        return KeyEstimate("C major", 0.0)
    share = np.zeros(12) if bass is None or not bass.any() else bass / bass.sum()
    rooted = share + _FIFTH * np.roll(share, -7)
    fits = {
        f"{NOTES[tonic]} {mode}": float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1] + rooted[tonic])
        for mode, profile in _PROFILES.items()
        for tonic in range(12)
    }
    best, second = sorted(fits, key=lambda key: fits[key], reverse=True)[:2]
    return KeyEstimate(best, min((fits[best] - fits[second]) / _SURE, 1.0))


def _peaks(audio: np.ndarray, rate: int) -> np.ndarray:
    """f32 [C, S] -> f64 [bins]: the spectrum's local maxima, which drums have few of, added up over the track."""
    from scipy.fft import rfft  # slow to import, and a prompt with a tune fits its key without it

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
    return peaks


@lru_cache
def _classes(lowest_hz: float, highest_hz: float) -> np.ndarray:
    """f64 [bins, 12]: how near each bin is to each pitch class."""
    hz = np.fft.rfftfreq(_N_FFT, 1 / _RATE)
    in_range = (hz >= lowest_hz) & (hz <= highest_hz)
    pitch = 69 + 12 * np.log2(np.maximum(hz, 1) / 440)
    away = (pitch[:, None] - np.arange(12) + 6) % 12 - 6
    return np.exp(-0.5 * (away / 0.2) ** 2) * in_range[:, None]
