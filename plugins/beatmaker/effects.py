"""What colours sound: a sampler's grain, tape, vinyl, rooms and echoes."""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Signal,
    band_noise,
    convolve,
    decay,
    highpass,
    lowpass,
    noise,
    num_samples,
    sine,
    times_s,
)

_LEVELS = 2048  # of a 12 bit sampler, to either side of 0


def sampler(signal: Signal, rate_hz: float) -> Signal:
    """An old sampler's grain: each sample held until the next one at `rate_hz`, in 12 bits; 0 leaves it out.

    The stairs are rounded off (x less a sine of x, as the series of a sawtooth begins), since a step from one level to
    the next would turn on the last bit of a float.
    """
    if rate_hz == 0:
        return signal
    ratio = SAMPLE_RATE / rate_hz
    held = np.floor(np.floor(np.arange(signal.shape[-1]) / ratio) * ratio).astype(np.int64)
    signal = signal.take(held, axis=-1)
    turn = np.float32(2 * np.pi * _LEVELS)
    return signal - np.sin(signal * turn) / turn


def wow(signal: Signal, depth_ms: float, rng: np.random.Generator, *, period_s: float | None = None) -> Signal:
    """The pitch of a worn tape, [..., samples]: a delay that sways by `depth_ms`, and flutters a little.

    With `period_s` the sway repeats after it, so that a loop closes.
    """
    n = signal.shape[-1]
    sway = np.zeros(n, np.float32)
    for low_hz, high_hz, share in ((0.3, 0.8, 1.0), (5.0, 9.0, 0.04)):
        rate_hz, turn = rng.uniform(low_hz, high_hz), rng.random()
        if period_s is not None:
            rate_hz = max(round(rate_hz * period_s), 1) / period_s
        sway += np.float32(share) * sine(rate_hz * times_s(n) + turn)
    at = np.arange(n) - depth_ms * 1e-3 * SAMPLE_RATE * (0.52 + 0.5 * sway.astype(float))
    at = np.maximum(at, 0)
    before = at.astype(np.int64)
    part = (at - before).astype(np.float32)
    after = np.minimum(before + 1, n - 1)
    out = signal.take(before, axis=-1)
    return out + part * (signal.take(after, axis=-1) - out)


def echo(signal: Signal, delay: int, *, feedback: float, cutoff_hz: float) -> Signal:
    """Echoes alone, [2, samples]: from side to side, each duller and softer."""
    out, tap = np.zeros_like(signal), signal
    for _ in range(3) if delay else ():
        late = np.zeros_like(tap)
        late[:, delay:] = tap[::-1, :-delay]
        tap = np.float32(feedback) * lowpass(late, cutoff_hz, order=1)
        out += tap
    return out


def reverb(send: Signal, response: Signal) -> Signal:
    """A hall, at half the rate, since nothing above 8 kHz rings: [samples] through [2, m] -> [2, samples]."""
    half = convolve(lowpass(send, 8000, order=4)[::2], response)
    out = np.empty((2, len(send)), np.float32)
    out[:, ::2] = half
    out[:, 1:-1:2] = 0.5 * (half[:, : (len(send) - 1) // 2] + half[:, 1 : (len(send) + 1) // 2])
    if len(send) % 2 == 0:
        out[:, -1] = half[:, -1]
    return out


def hall_response(length_s: float, cutoff_hz: float, rng: np.random.Generator) -> Signal:
    """The response of a hall that dies by 60 dB in `length_s`, at half the rate: [2, m], of unit energy."""
    n = num_samples(length_s / 2)
    tail = np.stack([band_noise(n, 400, 2 * cutoff_hz, rng) for _ in range(2)])  # at half the rate twice as low
    tail *= decay(n, length_s / 2 / 6.9)
    ahead = num_samples(0.012 / 2)
    tail = np.pad(tail, ((0, 0), (ahead, 0)))
    return tail / np.float32(np.sqrt((tail**2).sum() / 2))


def room_response(length_s: float, rng: np.random.Generator) -> Signal:
    """A small room, [2, m]: early reflections that thin out, of unit energy."""
    n = num_samples(length_s)
    tail = np.stack([lowpass(noise(n, rng), 5500, order=1) for _ in range(2)]) * decay(n, length_s / 5)
    tail[:, : num_samples(0.004)] = 0
    return tail / np.float32(max(np.sqrt((tail**2).sum() / 2), 1e-6))


def crackle(n: int, rng: np.random.Generator) -> Signal:
    """A vinyl surface, [2, n]: sparse ticks over faint hiss, whose loudness is 1; the ticks reach 24 dB above."""
    ticks = np.zeros((2, n), np.float32)
    count = int(rng.poisson(rng.uniform(4, 16) * n / SAMPLE_RATE))
    at, height = rng.integers(0, n, count), rng.exponential(1.0, count) * rng.choice([-1, 1], count)
    side = rng.uniform(0.4, 1.0, (2, count))
    np.add.at(ticks, (slice(None), at), (height * side).astype(np.float32))
    ticks = lowpass(ticks, rng.uniform(3000, 9000))
    hiss = np.tile(band_noise(n, 700, 6500, rng), (2, 1))
    rumble = highpass(lowpass(noise(n, rng), 60), 25)
    return hiss + np.float32(16 / max(np.abs(ticks).max(), 1e-6)) * ticks + np.float32(2.0) * rumble
