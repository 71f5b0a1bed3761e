"""The drum machine: one-shots from a few continuous settings, so that no two kits are alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from rapgen_plugins.beatmaker.styles import Ranges
from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Signal,
    decay,
    drive,
    gate,
    glide,
    highpass,
    lowpass,
    noise,
    num_samples,
    sine,
    times_s,
    unit_peak,
)


def build_kit(ranges: Mapping[str, Ranges], voices: Iterable[str], rng: np.random.Generator) -> dict[str, Signal]:
    """One shot a voice, peak 1, its settings drawn from `ranges[voice]`."""
    return {voice: unit_peak(_fade_out(_VOICES[voice](_draw(ranges[voice], rng), rng))) for voice in voices}


def _draw(ranges: Ranges, rng: np.random.Generator) -> dict[str, float]:
    return {name: float(rng.uniform(*bounds)) for name, bounds in ranges.items()}


def kick(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """A sine that falls to `tune_hz`, with a click in front."""
    n = num_samples(min(5 * p["decay_s"], 0.9))
    t = times_s(n)
    fall = p["punch"] * np.exp(t / -p["fall_s"]) + 3 * np.exp(t / -0.004)
    body = sine(glide(p["tune_hz"] * (1 + fall))) * decay(n, p["decay_s"])
    click = lowpass(noise(n, rng), p["click_hz"]) * decay(n, 0.003)
    return drive(body * gate(n, attack_s=0.0005, hold_s=n, release_s=0) + p["click"] * click, p["drive"])


def snare(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """Two modes of a drum head under a burst of filtered noise."""
    n = num_samples(min(6 * p["decay_s"], 0.7))
    bend = 1 + 0.6 * np.exp(times_s(n) / -0.008)
    head = sine(glide(p["tune_hz"] * bend)) + 0.5 * sine(glide(p["tune_hz"] * p["mode"] * bend))
    wires = unit_peak(lowpass(highpass(noise(n, rng), p["low_hz"]), p["high_hz"]))
    wires = wires * (decay(n, p["decay_s"]) + 0.6 * decay(n, 0.012))
    head = head * decay(n, 0.6 * p["decay_s"])
    return drive(np.float32(p["body"]) * head + wires, p["drive"])


def clap(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """A few hands just after one another, then the room."""
    n = num_samples(min(6 * p["decay_s"], 0.7))
    t = times_s(n)
    hands = np.exp((t % p["gap_s"]) / -0.003) * (t < 3 * p["gap_s"])
    room = np.exp((t - 3 * p["gap_s"]) / -p["decay_s"]) * (t >= 3 * p["gap_s"])
    air = lowpass(highpass(noise(n, rng), p["low_hz"]), 4.5 * p["low_hz"])
    shape = (hands + 0.8 * room).astype(np.float32)
    return drive(unit_peak(air * shape), p["drive"])


def rim(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """A stick on the rim: two short modes and a tick."""
    n = num_samples(0.12)
    modes = sine(p["tune_hz"] * times_s(n)) + sine(1.73 * p["tune_hz"] * times_s(n))
    tick = highpass(noise(n, rng), 2000) * decay(n, 0.002)
    return modes * decay(n, p["decay_s"]) + 0.4 * tick


def hat(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """Six square oscillators that share no harmonic, mixed with noise, high-passed."""
    n = num_samples(min(6 * p["decay_s"], 1.2))
    ratios = np.array([2.0, 3.0, 4.16, 5.43, 6.79, 8.21])[:, None]
    metal = np.sign(sine(p["tune_hz"] * ratios * times_s(n) + rng.random((6, 1)))).sum(axis=0) / 4
    air = p["air"] * noise(n, rng) + (1 - p["air"]) * metal
    return highpass(air.astype(np.float32), p["low_hz"], order=4) * decay(n, p["decay_s"])


def shaker(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """Noise that swells for a moment."""
    n = num_samples(0.14)
    swell = gate(n, attack_s=p["attack_s"], hold_s=0.02, release_s=0.1)
    return lowpass(highpass(noise(n, rng), p["low_hz"]), 2 * p["low_hz"]) * swell


def perc(p: Mapping[str, float], rng: np.random.Generator) -> Signal:
    """A struck skin or block: from conga to woodblock with its tuning."""
    n = num_samples(min(7 * p["decay_s"], 0.5))
    skin = sine(glide(p["tune_hz"] * (1 + p["bend"] * np.exp(times_s(n) / -0.02))))
    return skin * decay(n, p["decay_s"]) + 0.3 * highpass(noise(n, rng), 1000) * decay(n, 0.004)


def _fade_out(shot: Signal) -> Signal:
    length_s = len(shot) / SAMPLE_RATE
    return shot * gate(len(shot), attack_s=0.0, hold_s=0.8 * length_s, release_s=0.2 * length_s)


_VOICES = {
    "kick": kick,
    "snare": snare,
    "clap": clap,
    "rim": rim,
    "hat": hat,
    "open hat": hat,
    "crash": hat,
    "shaker": shaker,
    "perc": perc,
}
