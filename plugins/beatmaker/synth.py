"""The few signals everything is made of: 24 kHz, mono, float32 [samples]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 24_000  # Hz

Signal = NDArray[np.float32]

_TABLE = 8192  # long enough that reading without interpolation stays below -70 dB


def num_samples(duration_s: float) -> int:
    """Whole samples nearest to a duration."""
    return round(duration_s * SAMPLE_RATE)


def times_s(n: int) -> NDArray[np.float64]:
    """The time of each of `n` samples."""
    return np.arange(n) / SAMPLE_RATE


def midi_to_hz(midi: float) -> float:
    """Equal temperament, A4 = 440 Hz."""
    return 440.0 * 2 ** ((midi - 69) / 12)


def decay(n: int, tau_s: float) -> Signal:
    """exp(-t / tau_s)."""
    return np.exp(times_s(n) / -tau_s).astype(np.float32)


def sine(phase: NDArray[np.float64]) -> Signal:
    """A sine of a phase counted in turns; wrapped in double precision, so that long notes stay pure."""
    return np.sin(np.float32(2 * np.pi) * (phase - np.floor(phase)).astype(np.float32))


def glide(freq_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phase in turns of an oscillator that follows a frequency curve, starting at 0."""
    phase = np.cumsum(freq_hz) / SAMPLE_RATE
    return phase - phase[0]


def wave(phase: NDArray[np.float64], partials: NDArray[np.float64]) -> Signal:
    """A periodic wave with the given amplitudes of its 1st, 2nd, ... partial."""
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    spectrum[1 : len(partials) + 1] = -0.5j * _TABLE * partials
    table = np.fft.irfft(spectrum).astype(np.float32)
    return table[(phase * _TABLE).astype(np.int64) & (_TABLE - 1)]


def noise(n: int, rng: np.random.Generator) -> Signal:
    """White noise of unit variance."""
    return rng.standard_normal(n, dtype=np.float32)


def lowpass(signal: Signal, cutoff_hz: float, *, order: int = 2) -> Signal:
    """Butterworth low-pass."""
    return _filter(signal, cutoff_hz, "lowpass", order)


def highpass(signal: Signal, cutoff_hz: float, *, order: int = 2) -> Signal:
    """Butterworth high-pass."""
    return _filter(signal, cutoff_hz, "highpass", order)


def _filter(signal: Signal, cutoff_hz: float, kind: str, order: int) -> Signal:
    sos = butter(order, min(cutoff_hz, 0.49 * SAMPLE_RATE), kind, fs=SAMPLE_RATE, output="sos")
    return sosfilt(sos.astype(np.float32), signal)


def drive(signal: Signal, amount: float) -> Signal:
    """Soft saturation: 0 leaves a signal of unit peak nearly as it is, 5 squares it."""
    return np.tanh(signal * np.float32(1 + amount)) / np.float32(np.tanh(1 + amount))


def gate(n: int, *, attack_s: float, hold_s: float, release_s: float) -> Signal:
    """Rise over `attack_s`, stay at 1 until `hold_s`, fall over `release_s`; straight lines."""
    points = np.maximum.accumulate([0.0, attack_s, hold_s, hold_s + release_s])
    return np.interp(times_s(n), points, [0.0, 1.0, 1.0, 0.0]).astype(np.float32)


def unit_peak(signal: Signal) -> Signal:
    """Scale to a peak of 1."""
    return signal / np.float32(max(np.abs(signal).max(), 1e-6))


def place(track: Signal, start: int, shot: Signal, gain: float) -> None:
    """Add a shot to a track in place; what falls outside is cut."""
    first, last = max(start, 0), min(start + len(shot), len(track))
    if first < last:
        track[first:last] += np.float32(gain) * shot[first - start : last - start]
