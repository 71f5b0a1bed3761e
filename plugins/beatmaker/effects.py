"""What colours sound: a sampler's grain, tape, vinyl, rooms and echoes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rapgen_plugins.beatmaker.synth import (
    HOP,
    SAMPLE_RATE,
    Signal,
    band_noise,
    band_response,
    convolve,
    decay,
    full_rate,
    half_rate,
    num_samples,
    place,
    spread_out,
)

Tape = tuple[NDArray[np.int64], Signal]  # for each sample, the earlier one of two to read, and how late to read it

_LEVELS = 2048  # of a 12 bit sampler, to either side of 0
_SURFACE = 2**17  # samples of vinyl, which go over into themselves


def sampler(signal: Signal, rate_hz: float) -> Signal:
    """An old sampler's grain: each sample held until the next one at `rate_hz`, in 12 bits; 0 leaves it out.

    The stairs are rounded off (x less a sine of x, as the series of a sawtooth begins), since a step from one level to
    the next would turn on the last bit of a float.
    """
    if rate_hz == 0:
        return signal
    n, ratio = signal.shape[-1], SAMPLE_RATE / rate_hz
    taken = np.ceil(np.arange(0, n / ratio) * ratio).astype(np.int64)
    taken = taken[taken < n]
    out = np.repeat(signal.take(taken, axis=-1), np.diff(taken, append=n), axis=-1)
    turn = np.float32(2 * np.pi * _LEVELS)
    stairs = out * turn
    np.sin(stairs, out=stairs)
    stairs /= turn
    out -= stairs
    return out


def tape(n: int, depth_ms: float, rng: np.random.Generator, *, period_s: float | None = None) -> Tape:
    """A worn tape's run: a delay [samples] that sways by `depth_ms` and flutters a little.

    With `period_s` the sway repeats after it, so that a loop closes.
    """
    frame_s = (np.arange(n // HOP + 1) + 0.5) * HOP / SAMPLE_RATE
    sway = np.zeros(len(frame_s))
    for low_hz, high_hz, share in ((0.3, 0.8, 1.0), (5.0, 9.0, 0.04)):
        rate_hz, turn = rng.uniform(low_hz, high_hz), rng.random()
        if period_s is not None:
            rate_hz = max(round(rate_hz * period_s), 1) / period_s
        sway += share * np.sin(2 * np.pi * (rate_hz * frame_s + turn))
    delay = spread_out(depth_ms * 1e-3 * SAMPLE_RATE * (0.52 + 0.5 * sway), n)
    whole = np.floor(delay)
    return np.maximum(np.arange(n) - whole.astype(np.int64) - 1, 0), delay - whole


def run_tape(signal: Signal, tape: Tape) -> Signal:
    """[C, samples] as a tape plays it."""
    before, late = tape
    out = np.empty_like(signal)
    for channel, played in zip(signal, out, strict=True):
        later = np.append(channel[1:], channel[-1:]).take(before)
        np.subtract(channel.take(before), later, out=played)
        played *= late
        played += later
    return out


def echo(signal: Signal, delay: int, *, feedback: float) -> Signal:
    """Three dull echoes alone, [2, samples]: from side to side, each softer; made at half the rate."""
    halves = np.stack([half_rate(channel) for channel in signal])
    halves[:, 1:-1] = 0.25 * (halves[:, :-2] + halves[:, 2:]) + 0.5 * halves[:, 1:-1]
    out = np.zeros_like(halves)
    for count in (1, 2, 3):
        late = count * delay // 2
        if late < halves.shape[-1]:
            sides = halves[::-1] if count % 2 else halves
            out[:, late:] += np.float32(feedback**count) * sides[:, : halves.shape[-1] - late]
    return full_rate(out, signal.shape[-1])


def reverb(send: Signal, response: Signal) -> Signal:
    """A hall or a room around [samples]: [2, samples]. Its response, [2, m], is at half the rate, since it is dull."""
    return full_rate(convolve(half_rate(send)[None], response), len(send))


def hall_response(length_s: float, cutoff_hz: float, rng: np.random.Generator, *, ahead_s: float = 0.012) -> Signal:
    """The response of a room that dies by 60 dB in `length_s`, at half the rate: [2, m], of unit energy."""
    n = num_samples(length_s / 2)
    tail = np.stack([band_noise(n, 400, 2 * cutoff_hz, rng) for _ in range(2)])  # at half the rate twice as low
    tail *= decay(n, length_s / 2 / 6.9)
    tail /= np.float32(np.sqrt(np.vdot(tail, tail) / 2))
    return np.pad(tail, ((0, 0), (num_samples(ahead_s / 2), 0)))


def crackle(n: int, rng: np.random.Generator) -> Signal:
    """A vinyl surface, [2, n]: sparse ticks over faint hiss, whose loudness is 1; the ticks reach 24 dB above."""
    count = int(rng.poisson(rng.uniform(4, 16) * n / SAMPLE_RATE))
    at, height = rng.integers(0, n, count), rng.exponential(1.0, count) * rng.choice([-1, 1], count)
    hiss = band_noise(_SURFACE, 700, 6500, rng) + np.float32(2) * band_noise(_SURFACE, 25, 60, rng)
    out = np.stack([np.resize(hiss, n)] * 2)
    tick = band_response(0, rng.uniform(3000, 9000))
    height *= 16 / (height.max(initial=1e-6) * tick.max())
    for start, level, side in zip(at, height, rng.uniform(0.4, 1.0, (count, 2)), strict=True):
        place(out, int(start), side[:, None].astype(np.float32) * tick, level)
    return out
