"""Basses: one voice, in the middle, that can glide from a pitch to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rapgen_plugins.beatmaker.patches import harmonics
from rapgen_plugins.beatmaker.presets import Ranges, Settings, draw_settings
from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Floats,
    Signal,
    band_noise,
    decay,
    drive,
    fade,
    falling_phase,
    line,
    midi_to_hz,
    modes,
    num_samples,
    sine,
    unit_peak,
)

Tone = Callable[[float, float, int], Signal]  # (frequency in Hz, velocity 0 .. 1, samples) -> float32 [samples]


@dataclass(frozen=True)
class Bass:
    """How a bass is made: ranges of its settings (the first is the one the test split has a part of), and the maker."""

    ranges: Ranges
    build: Callable[[Settings, np.random.Generator], Tone]


def draw_bass(name: str, own: Ranges, rng: np.random.Generator, *, held_out: bool) -> Tone:
    """A bass, its settings drawn, from a style's `own` ranges where it has some."""
    ranges = {setting: own.get(setting, bounds) for setting, bounds in BASSES[name].ranges.items()}
    return BASSES[name].build(draw_settings(ranges, rng, held_out=held_out), rng)


def slide(tone: Tone, midi: int, slide_to: int, velocity: float, n: int, *, slide_s: float) -> Signal:
    """A note [n] that glides to another pitch from its middle on."""
    at = _bent_time(n, slide_to - midi, slide_s)
    straight = tone(midi_to_hz(midi), velocity, int(at[-1]) + 2)
    before = at.astype(np.int64)
    low = straight.take(before)
    return low + (at - before).astype(np.float32) * (straight.take(before + 1) - low)


def _bent_time(n: int, semitones: int, slide_s: float) -> Floats:
    """Where in a note at its first pitch each sample of the sliding note is read: faster is higher."""
    progress = np.clip((np.arange(n) - n // 2) / (slide_s * SAMPLE_RATE), 0, 1)
    progress = progress * progress * (3 - 2 * progress)
    speed = 2 ** (semitones / 12 * progress)
    return np.asarray(np.cumsum(speed) - speed[0])


def _808(p: Settings, rng: np.random.Generator) -> Tone:
    """A long sine with a knock in front, driven until it is heard on small speakers."""

    def tone(freq_hz: float, velocity: float, n: int) -> Signal:
        body = sine(falling_phase(n, freq_hz, (p["knock"] * velocity, 0.018))) * decay(n, p["tau_s"])
        body *= line(n, (0, 0.002), (0, 1))
        return drive(body * np.float32(0.55 + 0.45 * velocity), p["drive"])

    return tone


def _synth(p: Settings, rng: np.random.Generator) -> Tone:
    """Two saws and a sub behind a ladder filter that falls shut."""

    def tone(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 36)
        wave = k**-1.0 * np.where(k % 2 == 0, 1 - p["odd"], 1.0)
        rest_hz = p["cutoff_hz"]
        rest, opened = (wave / (1 + (freq_hz * k / hz) ** 4) for hz in (rest_hz, rest_hz * (1 + p["sweep"] * velocity)))
        detune = 2 ** (p["cents"] / 1200)
        level = np.concatenate([rest, opened - rest])
        tau_s = np.concatenate([np.full(len(k), 4.0), np.full(len(k), p["close_s"])])
        partial_hz = np.tile(freq_hz * k, 2)
        two = np.concatenate([level, 0.7 * level])
        both_hz = np.concatenate([partial_hz, partial_hz * detune])
        out = modes(both_hz, two / np.sqrt((two**2).sum()), np.tile(tau_s, 2), n)
        return drive(fade(out, attack_s=0.003, release_s=0), p["drive"])

    return tone


def _guitar(p: Settings, rng: np.random.Generator) -> Tone:
    """A bass guitar under a finger or a pick."""
    finger = band_noise(num_samples(0.04), 500, 3500, rng) * decay(num_samples(0.04), 0.006)
    return _plucked(p, damp=0.1, touch=finger, attack_s=0.003)


def _upright(p: Settings, rng: np.random.Generator) -> Tone:
    """A double bass, plucked: a round thump that soon is dull, and wood."""
    thump = band_noise(num_samples(0.12), 60, 450, rng) * decay(num_samples(0.12), 0.02)
    return _plucked(p, damp=0.45, touch=thump, attack_s=0.006)


def _plucked(p: Settings, *, damp: float, touch: Signal, attack_s: float) -> Tone:
    """A thick string: `damp` says how much sooner its upper partials die, `touch` is the noise of what plucks it."""

    def tone(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 28)
        level = np.abs(np.sin(np.pi * k * p["place"])) * k ** -(p["slope"] + 0.8 * (1 - velocity))
        tau_s = p["tau_s"] * (freq_hz / 60) ** -0.3 / (1 + damp * (k - 1))
        out = unit_peak(modes(freq_hz * k, level, tau_s, n, phase=0.05 * (k % 3)))
        m = min(n, len(touch))
        out[:m] += np.float32(p["finger"] * velocity) * touch[:m]
        return drive(fade(out, attack_s=attack_s, release_s=0), p["drive"])

    return tone


BASSES = {
    "808": Bass({"tau_s": (0.5, 1.5), "knock": (0.3, 1.4), "drive": (0.4, 3.5)}, _808),
    "synth bass": Bass(
        {"cutoff_hz": (140, 420), "sweep": (1.0, 6.0), "close_s": (0.06, 0.25), "odd": (0.0, 0.8), "cents": (2.0, 6.0),
         "drive": (0.3, 1.5)}, _synth),
    "bass guitar": Bass(
        {"place": (0.11, 0.26), "slope": (1.1, 1.8), "tau_s": (0.5, 1.1), "finger": (0.02, 0.1), "drive": (0.2, 1.2)},
        _guitar),
    "upright bass": Bass(
        {"place": (0.2, 0.36), "slope": (1.2, 1.9), "tau_s": (0.35, 0.7), "finger": (0.08, 0.3), "drive": (0.1, 0.6)},
        _upright),
}  # fmt: skip
