"""Instruments: each draws a patch, then plays notes that ring on a little past `duration_s`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Signal,
    decay,
    gate,
    lowpass,
    noise,
    num_samples,
    sine,
    times_s,
    wave,
)

Play = Callable[[float, float], Signal]  # (frequency in Hz, duration in s) -> the note

_TOP_HZ = 10_500  # no partial above, so that nothing folds back


def rhodes(rng: np.random.Generator) -> Play:
    """Electric piano: two-operator FM and a tine, under a slow tremolo."""
    index, tau_s, tine = rng.uniform(0.5, 1.6), rng.uniform(0.9, 2.0), rng.uniform(0.02, 0.12)
    rate_hz, depth = rng.uniform(3, 6), rng.uniform(0.0, 0.25)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.15)
        turns = freq_hz * times_s(n)
        bend = index / (2 * np.pi) * decay(n, 0.35 * tau_s) * sine(turns)
        body = sine(turns + bend) * decay(n, tau_s)
        ping = sine(min(7, _TOP_HZ / freq_hz) * turns) * decay(n, 0.08)
        tremolo = 1 - depth * (0.5 + 0.5 * sine(rate_hz * times_s(n)))
        return (body + tine * ping) * tremolo * gate(n, attack_s=0.003, hold_s=duration_s, release_s=0.15)

    return play


def piano(rng: np.random.Generator) -> Play:
    """Stretched partials that die the sooner the higher they are, and the thump of a hammer."""
    slope, tau_s, stiffness = rng.uniform(0.9, 1.7), rng.uniform(0.8, 1.8), rng.uniform(1e-4, 6e-4)
    hammer = lowpass(noise(num_samples(0.05), rng), 1500) * decay(num_samples(0.05), 0.008)
    detune = 1 + rng.uniform(-3e-4, 3e-4, size=(14, 1))

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.2)
        k = np.arange(1, 15)[:, None]
        partial_hz = freq_hz * k * np.sqrt(1 + stiffness * k**2) * detune
        k, partial_hz = k[partial_hz[:, 0] < _TOP_HZ], partial_hz[partial_hz[:, 0] < _TOP_HZ]
        rate = (1 + 0.35 * (k - 1)) / tau_s * np.sqrt(freq_hz / 260)
        t = times_s(n)
        stack = sine(partial_hz * t) * np.exp((-rate * t).astype(np.float32))
        note = (k.T**-slope).astype(np.float32)[0] @ stack
        note[: len(hammer)] += 0.06 * hammer[:n]
        return note * gate(n, attack_s=0.002, hold_s=duration_s, release_s=0.2)

    return play


def bells(rng: np.random.Generator) -> Play:
    """Inharmonic partials, the high ones short."""
    ratios = np.array([1.0, 2.0, 2.76, 4.07, 5.4]) * (1 + rng.uniform(-0.01, 0.01, 5) * [0, 0, 1, 1, 1])
    weights = np.array([1, 0.4, 0.35, 0.2, 0.12]) * rng.uniform(0.3, 1.2, 5) * [1, 1, 1, 1, 1]
    tau_s = rng.uniform(0.35, 1.0)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(max(duration_s, 0.5) + 0.3)
        t = times_s(n)
        parts = [
            weight * sine(ratio * freq_hz * t) * decay(n, tau_s / ratio**0.7)
            for ratio, weight in zip(ratios, weights, strict=True)
            if ratio * freq_hz < _TOP_HZ
        ]
        ring = gate(n, attack_s=0.001, hold_s=max(duration_s, 0.5), release_s=0.3)
        return np.sum(parts, axis=0, dtype=np.float32) * ring

    return play


def vibes(rng: np.random.Generator) -> Play:
    """Vibraphone: a bar's 1st and 4th partial and the turning of its fans."""
    tau_s, rate_hz, depth = rng.uniform(0.7, 1.6), rng.uniform(3.5, 6.5), rng.uniform(0.1, 0.4)
    shine = rng.uniform(0.1, 0.35)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.3)
        turns = freq_hz * times_s(n)
        note = sine(turns) * decay(n, tau_s) + shine * sine(4 * turns) * decay(n, 0.2 * tau_s)
        fans = 1 - depth * (0.5 + 0.5 * sine(rate_hz * times_s(n)))
        return note * fans * gate(n, attack_s=0.002, hold_s=duration_s, release_s=0.3)

    return play


def pluck(rng: np.random.Generator) -> Play:
    """A synthesizer's pluck: a bright wave that closes fast."""
    return _struck(rng, odd=rng.uniform(0, 1), bright=rng.uniform(0.8, 1.2), tau_s=rng.uniform(0.15, 0.45))


def guitar(rng: np.random.Generator) -> Play:
    """A nylon string: plucked off its middle, so that some partials are missing."""
    return _struck(rng, odd=0.0, bright=rng.uniform(1.2, 1.6), tau_s=rng.uniform(0.5, 1.1))


def _struck(rng: np.random.Generator, *, odd: float, bright: float, tau_s: float) -> Play:
    place, close_s = rng.uniform(0.12, 0.4), 0.25 * tau_s

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.12)
        k = _harmonics(freq_hz)
        shape = np.abs(np.sin(np.pi * k * place)) * np.where(k % 2 == 0, 1 - odd, 1.0)
        turns = freq_hz * times_s(n)
        dull, sharp = wave(turns, shape * k**-2.5), wave(turns, shape * k**-bright)
        note = (dull + (sharp - dull) * decay(n, close_s)) * decay(n, tau_s)
        return note * gate(n, attack_s=0.002, hold_s=duration_s, release_s=0.12)

    return play


def strings(rng: np.random.Generator) -> Play:
    """A section of bowed strings."""
    return _ensemble(rng, slope=rng.uniform(1.1, 1.5), attack_s=rng.uniform(0.04, 0.12), vibrato=2.5e-3)


def pad(rng: np.random.Generator) -> Play:
    """A soft, slow synthesizer."""
    return _ensemble(rng, slope=rng.uniform(1.6, 2.3), attack_s=rng.uniform(0.08, 0.25), vibrato=0.0)


def _ensemble(rng: np.random.Generator, *, slope: float, attack_s: float, vibrato: float) -> Play:
    detune = np.array([0.0, 1.0, -1.0]) * rng.uniform(2e-3, 5e-3)
    offsets, rate_hz = rng.random(3), rng.uniform(4.5, 6)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.25)
        t = times_s(n)
        sway = vibrato * sine(rate_hz * t) / (2 * np.pi * rate_hz) * gate(n, attack_s=0.4, hold_s=n, release_s=0)
        partials = _harmonics(freq_hz) ** -slope
        voices = [
            wave(freq_hz * (1 + cents) * (t + sway) + turn, partials)
            for cents, turn in zip(detune, offsets, strict=True)
        ]
        return np.sum(voices, axis=0) * gate(n, attack_s=attack_s, hold_s=duration_s, release_s=0.25)

    return play


def organ(rng: np.random.Generator) -> Play:
    """Drawbars."""
    partials = np.zeros(8)
    partials[[0, 1, 2, 3, 5, 7]] = rng.uniform(0.2, 1, 6) * [1, 0.8, 0.6, 0.4, 0.2, 0.15]
    rate_hz = rng.uniform(5, 7)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.06)
        t = times_s(n)
        turns = freq_hz * (t + 1e-4 * sine(rate_hz * t))
        return wave(turns, partials[: int(_TOP_HZ / freq_hz)]) * gate(
            n, attack_s=0.008, hold_s=duration_s, release_s=0.06
        )

    return play


def flute(rng: np.random.Generator) -> Play:
    """Few partials, breath, and a vibrato that comes late."""
    partials = np.array([1.0, rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.2), 0.04])
    breath = lowpass(noise(SAMPLE_RATE * 8, rng), 3000) * rng.uniform(0.01, 0.04)
    rate_hz = rng.uniform(4.5, 6)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.1)
        t = times_s(n)
        late = gate(n, attack_s=0.5, hold_s=n, release_s=0)
        turns = freq_hz * (t + 8e-5 * late * sine(rate_hz * t))
        note = wave(turns, partials) + np.resize(breath, n)
        return note * gate(n, attack_s=0.03, hold_s=duration_s, release_s=0.1)

    return play


def lead_synth(rng: np.random.Generator) -> Play:
    """A hollow, slightly detuned wave."""
    slope, detune, odd = rng.uniform(1.2, 1.8), rng.uniform(1e-3, 3e-3), rng.uniform(0, 1)

    def play(freq_hz: float, duration_s: float) -> Signal:
        n = num_samples(duration_s + 0.1)
        k = _harmonics(freq_hz)
        partials = k**-slope * np.where(k % 2 == 0, 1 - odd, 1.0)
        turns = freq_hz * times_s(n)
        note = wave(turns, partials) + wave((1 + detune) * turns, partials)
        return note * decay(n, 0.8) * gate(n, attack_s=0.005, hold_s=duration_s, release_s=0.1)

    return play


def _harmonics(freq_hz: float) -> NDArray[np.float64]:
    return np.arange(1.0, max(2, min(48, _TOP_HZ // freq_hz)) + 1)


INSTRUMENTS: dict[str, Callable[[np.random.Generator], Play]] = {
    "rhodes": rhodes,
    "piano": piano,
    "bells": bells,
    "vibes": vibes,
    "pluck": pluck,
    "guitar": guitar,
    "strings": strings,
    "pad": pad,
    "organ": organ,
    "flute": flute,
    "lead synth": lead_synth,
}
