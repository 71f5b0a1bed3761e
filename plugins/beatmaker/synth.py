"""The few signals everything is made of: 44.1 kHz, float32, [samples] or [channels, samples].

Nothing here is recursive in float32, and no threshold is set on samples: two machines that round differently stay
within one 16 bit step of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 44_100  # Hz
TOP_HZ = 16_000  # no partial above
HOP = 64  # samples of a frame: how often what moves slowly is told

Signal = NDArray[np.float32]
Floats = NDArray[np.float64]

_TABLE = 4096
_BLOCK = 256  # samples
_FEW = 64  # samples
_CACHED = 2**17  # samples that fit a processor's cache in all their forms


def num_samples(duration_s: float) -> int:
    """Whole samples nearest to a duration."""
    return round(duration_s * SAMPLE_RATE)


def times_s(n: int) -> Floats:
    """The time of each of `n` samples."""
    return np.arange(n) / SAMPLE_RATE


def midi_to_hz(midi: float) -> float:
    """Equal temperament, A4 = 440 Hz."""
    return float(440.0 * 2 ** ((midi - 69) / 12))


def hz_to_midi(freq_hz: float) -> float:
    """The other way around."""
    return float(69 + 12 * np.log2(freq_hz / 440))


def decay(n: int, tau_s: float) -> Signal:
    """exp(-t / tau_s)."""
    return np.exp(np.arange(n, dtype=np.float32) * np.float32(-1 / (tau_s * SAMPLE_RATE)))


def sine(phase: Floats) -> Signal:
    """A sine of a phase counted in turns; wrapped in double precision, so that long notes stay pure."""
    return np.sin(np.float32(2 * np.pi) * (phase - np.floor(phase)).astype(np.float32))


def falling_phase(n: int, freq_hz: float, *falls: tuple[float, float]) -> Floats:
    """Phase in turns of a pitch that falls to `freq_hz`: each fall is (how far above, as a share; time constant, s)."""
    t = times_s(n)
    phase = freq_hz * t
    for share, tau_s in falls:
        phase += freq_hz * share * tau_s * -np.expm1(t / -tau_s)
    return phase


def modes(freq_hz: ArrayLike, level: ArrayLike, tau_s: ArrayLike, n: int, *, phase: ArrayLike = 0.0) -> Signal:
    """A sum of decaying sines, all in one matrix product: float32 [n], or [C, n] where `level` is [C, K].

    `freq_hz`, `tau_s` and `phase` (in turns) are [K] or one for all. Sample b of block m is the real part of
    sum over k of level_k z_k^(256 m) * z_k^b.
    """
    level = np.asarray(level, float)
    freq_hz, tau_s = (np.broadcast_to(np.asarray(x, float), level.shape[-1:]) for x in (freq_hz, tau_s))
    step = np.exp((2j * np.pi * freq_hz - 1 / tau_s) / SAMPLE_RATE)
    within = np.cumprod(np.broadcast_to(step[:, None], (len(step), _BLOCK)), axis=1) / step[:, None]
    blocks = -(-n // _BLOCK)
    stride = step**_BLOCK
    starts = np.cumprod(np.broadcast_to(stride[:, None], (len(step), blocks)), axis=1) / stride[:, None]
    weights = level * -1j * np.exp(2j * np.pi * np.asarray(phase))  # a sine, not a cosine: it starts at 0
    left = (weights[..., None] * starts).swapaxes(-1, -2)  # [..., blocks, K]
    left = np.concatenate([left.real, -left.imag], axis=-1).astype(np.float32)
    right = np.concatenate([within.real, within.imag]).astype(np.float32)
    out: Signal = (left @ right).reshape(*level.shape[:-1], blocks * _BLOCK)[..., :n]
    return out


def wavetable(partials: ArrayLike) -> Signal:
    """One turn of a wave with the given amplitudes of its 1st, 2nd, ... partial, and its first sample once more."""
    partials = np.asarray(partials, float)
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex64)
    spectrum[1 : len(partials) + 1] = -0.5j * _TABLE * partials
    table = irfft(spectrum)
    return np.append(table, table[:1]).astype(np.float32)


def read_table(table: Signal, phase: Floats) -> Signal:
    """The wave at a phase counted in turns, read between the table's samples on a straight line."""
    at = phase * _TABLE
    whole = np.floor(at)
    index = whole.astype(np.int64) & (_TABLE - 1)
    value = table.take(index)
    return value + (at - whole).astype(np.float32) * (table.take(index + 1) - value)


def band_noise(n: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Signal:
    """Noise of unit variance between two frequencies, its edges as soft as a second-order filter's.

    A power of two of samples goes over into itself without a seam.
    """
    size = next_fast_len(max(n, 256), real=True)
    hz = np.maximum(np.arange(size // 2 + 1, dtype=np.float32), np.float32(0.5)) * np.float32(SAMPLE_RATE / size)
    shape = 1 / np.sqrt((1 + (np.float32(low_hz) / hz) ** 4) * (1 + (hz / np.float32(high_hz)) ** 4))
    values = _white()
    first = int(rng.integers(len(values) - len(hz)))
    sound = irfft(values[first : first + len(hz)] * shape, size)[:n]
    return sound * np.float32(size / (2 * np.sqrt(np.dot(shape, shape))))


@lru_cache(maxsize=1)
def _white() -> NDArray[np.complex64]:
    """A spectrum of white noise, of which whatever hisses takes a stretch: to draw anew takes longer than the rest."""
    stream = np.random.Generator(np.random.Philox(0))
    return stream.standard_normal(2**20, dtype=np.float32).view(np.complex64)


def band_response(low_hz: float, high_hz: float, *, order: int = 2) -> Signal:
    """The response of a Butterworth high-pass and low-pass in a row, as far as it is heard; 0 leaves one out."""
    out = np.eye(1, num_samples(2.5 / (low_hz or high_hz)) + 16)[0]
    for edge_hz, kind in ((low_hz, "highpass"), (high_hz, "lowpass")):
        if edge_hz:
            out = sosfilt(butter(order, edge_hz, kind, fs=SAMPLE_RATE, output="sos"), out)
    return out.astype(np.float32)


def frames(signal: Signal, hop: int = HOP) -> Signal:
    """[..., samples] -> [..., frames, hop], silence after the end."""
    n = signal.shape[-1]
    short = -n % hop
    if short:
        signal = np.concatenate([signal, np.zeros((*signal.shape[:-1], short), np.float32)], axis=-1)
    return signal.reshape(*signal.shape[:-1], -1, hop)


def spread_out(control: Floats, n: int) -> Signal:
    """One value a frame, in its middle -> [n], on straight lines."""
    points = np.pad(control, 1, mode="edge").astype(np.float32)
    ramp = np.arange(HOP, dtype=np.float32) / np.float32(HOP)
    lines = points[:-1, None] + (points[1:] - points[:-1])[:, None] * ramp
    return lines.ravel()[HOP // 2 : HOP // 2 + n]


def convolve(signal: Signal, response: Signal) -> Signal:
    """What is heard of `signal` through `response`, both [samples] or [C, samples]; as long as `signal`.

    Overlap-save: of each block's circular convolution what wraps around is left out. A few samples are multiplied out.
    """
    n, m = signal.shape[-1], response.shape[-1]
    if m <= _FEW and response.ndim == 1:
        return np.stack([np.convolve(row, response)[:n] for row in np.atleast_2d(signal)]).reshape(signal.shape)
    size = min(next_fast_len(n + m, real=True), max(8192, 1 << (4 * m).bit_length()))
    hop = size - m + 1
    blocks = -(-n // hop)
    padded = np.zeros((*signal.shape[:-1], (blocks - 1) * hop + size), np.float32)
    padded[..., m - 1 : m - 1 + n] = signal
    windows = np.lib.stride_tricks.sliding_window_view(np.atleast_2d(padded), size, axis=-1)[:, ::hop]
    answer = rfft(np.atleast_2d(response), size)[:, None]
    out = np.empty((max(len(windows), len(answer)), blocks, hop), np.float32)
    at_once = max(_CACHED // size, 1)
    for first in range(0, blocks, at_once):
        some = slice(first, first + at_once)
        out[:, some] = irfft(rfft(windows[:, some]) * answer, size)[..., m - 1 :]
    out = out.reshape(len(out), -1)[:, :n]
    return out if max(signal.ndim, response.ndim) == 2 else out[0]


def half_rate(signal: Signal) -> Signal:
    """[samples] -> every second sample, smoothed."""
    padded = np.append(signal, np.zeros(2 + len(signal) % 2, np.float32))
    return np.float32(0.25) * (padded[:-2:2] + padded[2::2]) + np.float32(0.5) * padded[1:-1:2]


def full_rate(half: Signal, n: int) -> Signal:
    """[C, half of n] -> [C, n] on straight lines."""
    out = np.empty((len(half), 2 * half.shape[1]), np.float32)
    out[:, ::2] = half
    out[:, 1:-1:2] = np.float32(0.5) * (half[:, :-1] + half[:, 1:])
    out[:, -1] = half[:, -1]
    return out[:, :n]


def drive(signal: Signal, amount: float) -> Signal:
    """Soft saturation: 0 leaves a signal of unit peak nearly as it is, 5 squares it."""
    out = signal * np.float32(1 + amount)
    np.tanh(out, out=out)
    out *= np.float32(1 / np.tanh(1 + amount))
    return out


def line(n: int, points_s: Sequence[float], levels: Sequence[float]) -> Signal:
    """Straight lines between (time, level) points."""
    points = np.maximum.accumulate(np.asarray(points_s, float)) * SAMPLE_RATE
    return np.interp(np.arange(n), points, levels).astype(np.float32)


def fade(shot: Signal, *, attack_s: float, release_s: float) -> Signal:
    """Fade a shot in and out in place, on a quarter of a sine's turn, and return it."""
    n = shot.shape[-1]
    rise, fall = (_ramp(min(num_samples(length_s), n)) for length_s in (attack_s, release_s))
    shot[..., : len(rise)] *= rise
    shot[..., n - len(fall) :] *= fall[::-1]
    return shot


@lru_cache(maxsize=256)
def _ramp(n: int) -> Signal:
    """From 0 to 1."""
    return np.sin(np.linspace(0, np.pi / 2, n, endpoint=False, dtype=np.float32)) ** 2


def pan(shot: Signal, position: float) -> Signal:
    """[n] -> [2, n] at -1 left .. 1 right, of even power."""
    angle = (position + 1) * np.pi / 4
    return np.stack([np.float32(np.sqrt(2) * np.cos(angle)) * shot, np.float32(np.sqrt(2) * np.sin(angle)) * shot])


def unit_peak(signal: Signal) -> Signal:
    """Scale to a peak of 1."""
    return signal / np.float32(max(float(np.abs(signal).max(initial=0)), 1e-6))


def add_up(signals: Iterable[Signal]) -> Signal:
    """The sum of signals that broadcast to the first one's shape."""
    first, *others = signals
    total = first.copy()
    for other in others:
        total += other
    return total


def place(track: Signal, start: int, shot: Signal, gain: float) -> None:
    """Add a shot to a track in place, both [..., samples]; what falls outside is cut."""
    first, last = max(start, 0), min(start + shot.shape[-1], track.shape[-1])
    if first < last:
        track[..., first:last] += np.float32(gain) * shot[..., first - start : last - start]
