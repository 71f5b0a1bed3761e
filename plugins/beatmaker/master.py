"""The master: one gain over time, for every stem alike, that makes a mix evenly loud and never lets it clip.

All is decided on frames of 64 samples, by smooth functions of what is measured in them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import minimum_filter1d
from scipy.signal import freqz_sos, oaconvolve

from rapgen_plugins.beatmaker.synth import HOP, SAMPLE_RATE, Floats, Signal, frames, spread_out

LOUDNESS_LUFS = -14.0
_CEILING = 0.96
_LOOK = 2  # frames that the limiter moves ahead of a peak
_RELEASE_S = 0.06
_LOUD_FRAME = 4410  # samples, 100 ms
_OFFSET_DB = -0.691  # of ITU-R BS.1770: a sine of 997 Hz at full scale in one channel is -3.01 LUFS
_SHELF = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
_HIGHPASS = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]


def master_gain(mix: Signal, *, ratio: float, wraps: bool) -> Signal:
    """The gain [samples] that brings a mix [2, samples] to LOUDNESS_LUFS with its peaks under the ceiling.

    With `wraps` the end goes over into the start.
    """
    rows = frames(mix)
    peak = np.maximum(rows.max(axis=-1), -rows.min(axis=-1)).max(axis=0).astype(float)
    power = np.einsum("cfh,cfh->f", rows, rows).astype(float) / HOP
    glue = _compress(power, ratio, wraps)
    loud = _weighted_power(mix)
    level, gain = 1.0, glue
    for _ in range(4):
        gain = glue * level
        gain = gain * _limit(gain * peak, wraps)
        level *= 10 ** ((LOUDNESS_LUFS - _integrated(loud, gain)) / 20)
    return spread_out(gain, mix.shape[-1])


def loudness_lufs(signal: Signal) -> float:
    """Loudness by ITU-R BS.1770, with soft gates."""
    return _integrated(_weighted_power(signal), np.ones(-(-signal.shape[-1] // HOP)))


def _integrated(power: Floats, gain: Floats) -> float:
    """Loudness of 100 ms frames whose weighted power is given, once each is played at the mean of its gain."""
    at = np.minimum((np.arange(len(gain)) + 0.5) * HOP / _LOUD_FRAME, len(power) - 1).astype(np.int64)
    power = power * (np.bincount(at, gain**2, len(power)) / np.maximum(np.bincount(at, minlength=len(power)), 1))
    blocks = np.convolve(power, np.full(4, 0.25), "valid") if len(power) >= 4 else power[:1] * 0 + power.mean()
    level_db = 10 * np.log10(blocks + 1e-12) + _OFFSET_DB
    heard = _soft_step(level_db + 70)
    bound_db = 10 * np.log10((heard * blocks).sum() / heard.sum() + 1e-12) + _OFFSET_DB - 10
    heard = heard * _soft_step(level_db - bound_db)
    return float(10 * np.log10((heard * blocks).sum() / heard.sum() + 1e-12) + _OFFSET_DB)


def _soft_step(above_db: Floats) -> Floats:
    """0 well below, 1 well above; a gate that falls open would turn on the last bit of a float."""
    return np.asarray(1 / (1 + np.exp(-np.clip(above_db, -40, 40) / 0.3)))


def _weighted_power(signal: Signal) -> Floats:
    """K-weighted power of each 100 ms, summed over channels."""
    spectrum = rfft(frames(signal, _LOUD_FRAME), axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray((power.sum(axis=0) @ _k_weights()) * (2 / _LOUD_FRAME**2), float)


@lru_cache(maxsize=1)
def _k_weights() -> NDArray[np.float32]:
    """Squared magnitude of BS.1770's two filters (given there for 48 kHz) at the frames' frequencies."""
    hz = np.arange(_LOUD_FRAME // 2 + 1) * (SAMPLE_RATE / _LOUD_FRAME)
    _, response = freqz_sos(np.array([_SHELF, _HIGHPASS]), hz, fs=48_000)
    return (np.abs(response) ** 2).astype(np.float32)


def _compress(power: Floats, ratio: float, wraps: bool) -> Floats:
    """Gain of a slow compressor that takes hold above a mix's own mean level."""
    smooth = _smooth(power, 0.01, 0.15, wraps)
    over_db = 10 * np.log10((smooth + 1e-9) / (smooth.mean() + 1e-9))
    knee_db = 3.0
    over_db = knee_db * np.logaddexp(0, over_db / knee_db)
    return np.asarray(10 ** (-over_db * (1 - 1 / ratio) / 20))


def _smooth(control: Floats, attack_s: float, release_s: float, wraps: bool) -> Floats:
    """Follow a control over time: rises in about `attack_s`, falls in about `release_s`."""
    reach = int(5 * release_s * SAMPLE_RATE / HOP)
    t = np.arange(reach) * HOP / SAMPLE_RATE
    kernel = np.exp(-t / release_s) - np.exp(-t / attack_s)
    padded = np.pad(control, (reach - 1, 0), mode="wrap" if wraps else "edge")
    return np.maximum(oaconvolve(padded, kernel / kernel.sum(), "valid"), 0)


def _limit(peak: Floats, wraps: bool) -> Floats:
    """Gain that keeps `peak` under the ceiling: it moves ahead of a peak, and comes back in _RELEASE_S."""
    reach = int(6 * _RELEASE_S * SAMPLE_RATE / HOP)
    wanted = np.minimum(1.0, _CEILING / np.maximum(np.pad(peak, reach, mode="wrap" if wraps else "edge"), 1e-9))
    wanted = minimum_filter1d(wanted, 2 * (_LOOK + 1) + 1)
    fall = np.arange(len(wanted)) * (HOP / SAMPLE_RATE / _RELEASE_S)
    cut = np.exp(np.maximum.accumulate(np.log(1 - wanted + 1e-12) + fall) - fall)
    window = np.hanning(2 * _LOOK + 3)[1:-1]
    smooth = np.convolve(1 - cut, window / window.sum(), "same")
    return smooth[reach : reach + len(peak)]
