"""Drums that are skins, hands and wood: each a function of a few settings and of how hard it is struck.

A voice takes its settings, a velocity within 0 .. 1 (which changes its tone, not its level) and a random stream,
and gives float32 [samples] of about unit peak.
"""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.presets import Settings
from rapgen_plugins.beatmaker.synth import (
    Signal,
    band_noise,
    decay,
    drive,
    fade,
    falling_phase,
    line,
    modes,
    num_samples,
    sine,
    times_s,
    unit_peak,
)

_MEMBRANE = np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92])  # modes of a round skin, as ratios


def kick(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A sine that falls to `tune_hz`, a shell that rings with it, and a click in front, brighter when struck hard."""
    n = num_samples(min(4.5 * p["decay_s"] + 0.05, 1.4))
    punch = p["punch"] * (0.6 + 0.4 * velocity)
    body = sine(falling_phase(n, p["tune_hz"], (punch, p["fall_s"]), (2.5 * velocity, 0.004)))
    body *= decay(n, p["decay_s"]) * line(n, (0, 0.0008), (0, 1))
    shell = modes(p["tune_hz"] * _MEMBRANE[1:5], [0.5, 0.35, 0.3, 0.2], 0.35 * p["decay_s"], n)
    out = drive(body + np.float32(p["shell"]) * shell, p["drive"])
    m = min(n, num_samples(0.03))
    click = band_noise(m, 400, p["click_hz"] * (0.4 + 0.6 * velocity), rng) * decay(m, 0.0025)
    out[:m] += np.float32(p["click"] * (0.3 + 0.7 * velocity)) * unit_peak(click)
    return fade(out, attack_s=0, release_s=0.03)


def snare(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """The modes of two heads under the wires' noise; a soft stroke has less of the wires and less snap."""
    n = num_samples(min(5 * p["decay_s"] + 0.03, 0.8))
    pitch = p["tune_hz"] * (0.985 + 0.015 * velocity) * (1 + rng.uniform(-0.004, 0.004))
    head = sine(falling_phase(n, pitch, (0.5 * velocity, 0.006))) * decay(n, 0.7 * p["decay_s"])
    ring = modes(
        pitch * np.array([p["mode"], *(_MEMBRANE[2:] * 1.06)]),
        np.array([0.7, 0.3, 0.25, 0.2, 0.15]) * (0.5 + 0.5 * velocity),
        p["decay_s"] * np.array([0.5, 0.4, 0.35, 0.3, 0.25]) * (0.5 + p["ring"]),
        n,
        phase=rng.uniform(-0.1, 0.1, 5),
    )
    high_hz = p["high_hz"] * (0.45 + 0.55 * velocity)
    wires = band_noise(n, p["low_hz"], high_hz, rng) * (decay(n, p["decay_s"]) + np.float32(0.9) * decay(n, 0.009))
    body = np.float32(p["body"]) * (head + ring)
    return fade(drive(body + np.float32(0.16 + 0.14 * velocity) * wires, p["drive"]), attack_s=0, release_s=0.05)


def clap(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A few hands just after one another, then the room."""
    n = num_samples(min(5 * p["decay_s"] + 0.04, 0.9))
    hands = p["gap_s"] * np.array([0, 1, 2, 3]) * (1 + rng.uniform(-0.08, 0.08, 4))
    shape = np.zeros(n, np.float32)
    for number, at_s in enumerate(hands):
        at = num_samples(at_s)
        last = number == len(hands) - 1
        shape[at:] += (0.75 if last else 0.85) * decay(n - at, p["decay_s"] if last else 0.0028)
    air = band_noise(n, p["low_hz"], p["low_hz"] * (2.5 + 2.5 * velocity), rng)
    air += np.float32(0.5) * band_noise(n, 0.9 * p["low_hz"], 1.6 * p["low_hz"], rng)
    return fade(drive(np.float32(0.4) * air * shape, p["drive"]), attack_s=0, release_s=0.04)


def snap(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """Two fingers: a tiny scrape, then a hollow pop with the palm's resonance."""
    n = num_samples(0.22)
    palm = modes(
        p["tune_hz"] * np.array([1, 1.47, 2.1]),
        [1, 0.6, 0.25 + 0.3 * velocity],
        p["decay_s"] * np.array([1, 0.7, 0.5]),
        n,
    )
    air = band_noise(n, 0.8 * p["tune_hz"], p["tune_hz"] * (2 + 2 * velocity), rng)
    pop = unit_peak(palm) + np.float32(p["air"]) * air * (decay(n, 0.008) + np.float32(0.25) * decay(n, 0.05))
    return fade(pop, attack_s=0.0003, release_s=0.03)


def rim(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A stick on the rim: three short modes and a tick."""
    n = num_samples(0.18)
    ratios = np.array([1.0, p["mode"], 2.9, 4.3])
    wood = modes(p["tune_hz"] * ratios, [1, 0.8, 0.5 * velocity, 0.3 * velocity], p["decay_s"] / np.sqrt(ratios), n)
    tick = band_noise(n, 2000, 5000 + 9000 * velocity, rng) * decay(n, 0.0015)
    return fade(drive(unit_peak(wood) + np.float32(0.25) * tick, p["drive"]), attack_s=0, release_s=0.04)


def tom(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A skin whose pitch sinks, and the stick."""
    n = num_samples(min(5 * p["decay_s"], 1.2))
    skin = sine(falling_phase(n, p["tune_hz"], (p["bend"] * (0.4 + 0.6 * velocity), 0.05))) * decay(n, p["decay_s"])
    upper = modes(p["tune_hz"] * _MEMBRANE[1:], 0.35 * np.ones(5), 0.3 * p["decay_s"] / _MEMBRANE[1:], n)
    stick = band_noise(n, 300, 2000 + 5000 * velocity, rng) * decay(n, 0.005)
    out = skin + np.float32(p["shell"]) * upper + np.float32(0.12 * velocity) * stick
    return fade(out, attack_s=0.0005, release_s=0.05)


def conga(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """An open tone; struck hard, a slap with more of the upper modes."""
    n = num_samples(min(6 * p["decay_s"], 0.7))
    ratios = np.array([1.0, 1.5, 2.05, 2.62, 3.5])
    tilt = 0.25 + 0.6 * velocity
    tone = modes(p["tune_hz"] * ratios, tilt ** np.arange(5), p["decay_s"] / ratios**0.8, n)
    slap = band_noise(n, 800, 3000 + 5000 * velocity, rng) * decay(n, 0.004)
    return fade(unit_peak(tone) + np.float32(0.2 * velocity) * slap, attack_s=0.0004, release_s=0.04)


def shaker(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """Grains that swell for a moment and stop."""
    n = num_samples(p["attack_s"] * (1.3 - 0.5 * velocity) + p["decay_s"] * 4)
    swell = line(n, (0, p["attack_s"] * (1.3 - 0.5 * velocity)), (0, 1)) * decay(n, p["decay_s"])
    grains = band_noise(n, p["low_hz"], p["low_hz"] * (1.6 + velocity), rng)
    ripple = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(60, 140) * times_s(n)).astype(np.float32)
    return fade(unit_peak(grains * swell * ripple), attack_s=0, release_s=0.02)
