"""Drums that are metal: clouds of modes that share no harmonic, and the air around them."""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.presets import Settings
from rapgen_plugins.beatmaker.synth import (
    TOP_HZ,
    Floats,
    Signal,
    band_noise,
    decay,
    drive,
    fade,
    line,
    modes,
    num_samples,
    unit_peak,
)

_OSCILLATORS = np.array([2.0, 3.0, 4.16, 5.43, 6.79, 8.21])  # six square waves, as in an analogue drum machine


def hat(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A closed or open hat: struck softly it is duller and shorter."""
    length = p["decay_s"] * (0.6 + 0.4 * velocity) * (1 + rng.uniform(-0.06, 0.06))
    n = num_samples(min(5 * length + 0.01, 1.4))
    low_hz = p["low_hz"] * (0.8 + 0.2 * velocity)
    tune_hz = p["tune_hz"] * (1 + rng.uniform(-0.003, 0.003))
    metal = _metal(tune_hz, low_hz, 5000 + 15_000 * velocity, length, n, rng)
    air = band_noise(n, low_hz, 7000 + 8500 * velocity, rng) * decay(n, length)
    share = np.float32(p["air"])
    tick = np.float32(0.5 * velocity) * decay(n, 0.003)
    return fade(unit_peak(((1 - share) * metal + share * air) * (1 + tick)), attack_s=0.0004, release_s=0.01)


def cymbal(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A crash: a cloud of modes that builds for a moment, the high ones short; float32 [2, samples]."""
    n = num_samples(min(3 * p["decay_s"], 2.6))
    freq_hz = _cloud_hz(p, 110)
    tau_s = p["decay_s"] * (freq_hz / 2000) ** -0.35
    level = (freq_hz / 3000) ** (0.2 + 0.5 * velocity) * np.exp(-freq_hz / 9000) * rng.uniform(0.3, 1, (2, 110))
    cloud = modes(freq_hz, level, tau_s, n, phase=rng.random((2, 110)))
    air = np.stack([band_noise(n, p["low_hz"], 13_000, rng) for _ in range(2)]) * decay(n, 0.3 * p["decay_s"])
    cloud = unit_peak(cloud * line(n, (0, 0.004), (0.2, 1)))
    return fade(unit_peak(cloud + np.float32(p["air"] * 0.4) * air), attack_s=0.0005, release_s=0.4)


def ride(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """A ping over a wash."""
    n = num_samples(min(3 * p["decay_s"], 1.6))
    freq_hz = _cloud_hz(p, 60)
    level = np.exp(-freq_hz / (4000 + 6000 * velocity))
    wash = modes(freq_hz, level, p["decay_s"] * (freq_hz / 1500) ** -0.3, n, phase=rng.random(60))
    ping_hz = p["tune_hz"] * np.array([4.1, 6.3, 8.7, 11.9])
    ping = modes(ping_hz, [1, 0.8, 0.6, 0.4], 0.35 * p["decay_s"], n, phase=rng.random(4))
    stick = band_noise(n, 3000, 6000 + 8000 * velocity, rng) * decay(n, 0.004)
    out = unit_peak(wash) * line(n, (0, 0.02), (0.3, 1)) + np.float32(p["ping"]) * unit_peak(ping)
    return fade(out + np.float32(0.2 * velocity) * stick, attack_s=0.0004, release_s=0.3)


def tambourine(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """Jingles that strike one after another."""
    n = num_samples(0.35)
    out = np.zeros(n, np.float32)
    for at_s, level in ((0.0, 1.0), (0.012, 0.6), (0.026, 0.45), (0.045, 0.3)):
        at = num_samples(at_s * (1 + rng.uniform(-0.2, 0.2)))
        freq_hz = p["tune_hz"] * rng.uniform(1.0, 2.6, 9)
        jingle = modes(freq_hz, np.ones(9), p["decay_s"], n - at, phase=rng.random(9))
        out[at:] += np.float32(level) * jingle
    air = band_noise(n, 0.8 * p["tune_hz"], 9000 + 5000 * velocity, rng) * decay(n, 0.4 * p["decay_s"])
    return fade(unit_peak(unit_peak(out) + np.float32(p["air"]) * air), attack_s=0.0005, release_s=0.06)


def cowbell(p: Settings, velocity: float, rng: np.random.Generator) -> Signal:
    """Two square waves a wide fifth apart, with a clank in front."""
    n = num_samples(min(6 * p["decay_s"], 0.7))
    freq_hz, level = _square_partials(p["tune_hz"] * np.array([1.0, p["mode"]]))
    level *= np.exp(-freq_hz / (2500 + 5000 * velocity))
    tone = modes(freq_hz, level, p["decay_s"] * (p["tune_hz"] / freq_hz) ** 0.25, n, phase=rng.random(len(freq_hz)))
    clank = np.float32(1 + velocity) * decay(n, 0.012) + np.float32(0.6)
    return fade(drive(unit_peak(tone * clank), p["drive"]), attack_s=0.0004, release_s=0.05)


def _cloud_hz(p: Settings, count: int) -> Floats:
    """The modes of a cymbal, which are the cymbal's own: every stroke finds the same."""
    own = np.random.Generator(np.random.Philox(int(p["casting"])))
    return np.asarray(np.sort(p["tune_hz"] * (TOP_HZ / p["tune_hz"]) ** own.random(count)))


def _metal(tune_hz: float, low_hz: float, dull_hz: float, tau_s: float, n: int, rng: np.random.Generator) -> Signal:
    """Six square oscillators of unit variance or so, high-passed; `dull_hz` says how fast their partials fall."""
    freq_hz, level = _square_partials(tune_hz * _OSCILLATORS)
    level *= np.exp(-freq_hz / dull_hz) / (1 + (low_hz / freq_hz) ** 8)
    heard = level > 1e-3 * level.max()
    sound = modes(freq_hz[heard], level[heard], tau_s, n, phase=rng.random(int(heard.sum())))
    return sound / np.float32(np.sqrt((level**2).sum() / 2))


def _square_partials(tune_hz: Floats) -> tuple[Floats, Floats]:
    """Frequencies and levels of the odd partials of square waves, none above TOP_HZ."""
    odd = np.arange(1.0, 60, 2)
    freq_hz, level = np.outer(tune_hz, odd).ravel(), np.tile(1 / odd, len(tune_hz))
    return freq_hz[freq_hz < TOP_HZ], level[freq_hz < TOP_HZ]
