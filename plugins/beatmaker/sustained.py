"""Instruments that last as long as they are held: bowed, blown, sung and synthesized."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rapgen_plugins.beatmaker.patches import Instrument, Patch, even_energy, harmonics
from rapgen_plugins.beatmaker.presets import Settings
from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Floats,
    Signal,
    band_noise,
    decay,
    fade,
    line,
    modes,
    num_samples,
    read_table,
    sine,
    times_s,
    wavetable,
)

_FOREVER_S = 1e3
_VOWELS = {"oo": (325, 700, 2550), "oh": (430, 820, 2700), "ah": (780, 1180, 2850)}  # formants in Hz


def pad(p: Settings, rng: np.random.Generator) -> Patch:
    """A soft, slow synthesizer whose filter closes a little while it is held."""
    offsets = rng.random((2, 3, 24))

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 24)
        level = k ** -p["slope"] / (1 + (freq_hz * k / (p["cutoff_hz"] * (0.6 + 0.4 * velocity))) ** 4)
        tau_s = np.where(k > 3, 2.5, _FOREVER_S)
        note = _ensemble(freq_hz, level, tau_s, n, p["cents"], offsets)
        return fade(note, attack_s=p["attack_s"], release_s=0)

    return Patch(play, release_s=0.45)


def strings(p: Settings, rng: np.random.Generator) -> Patch:
    """A section of bowed strings: bright waves through the wood."""
    offsets, wood_hz = rng.random((2, 4, 32)), rng.uniform([280, 900, 2300], [360, 1300, 3200])

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 32)
        level = k ** -(p["slope"] + 0.5 * (1 - velocity)) * (0.5 + _peaks(freq_hz * k, wood_hz, 0.3))
        note = _ensemble(freq_hz, level, _FOREVER_S, n, p["cents"], offsets)
        return fade(note, attack_s=p["attack_s"] * (1.3 - 0.5 * velocity), release_s=0)

    return Patch(play, release_s=0.28)


def choir(p: Settings, rng: np.random.Generator) -> Patch:
    """Voices on a vowel between oo, oh and ah, and their breath."""
    offsets = rng.random((2, 5, 30))
    formants_hz = [np.interp(p["vowel"], (0, 0.5, 1), column) for column in zip(*_VOWELS.values(), strict=True)]
    breath = np.stack([band_noise(4 * SAMPLE_RATE, 900, 5000, rng) for _ in range(2)])

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 30)
        level = k**-0.9 * (0.04 + _peaks(freq_hz * k, formants_hz, 0.12) * (0.7 + 0.3 * velocity))
        level[0] = max(level[0], 0.3 * level.max())
        note = _ensemble(freq_hz, level, _FOREVER_S, n, p["cents"], offsets)
        note += np.float32(p["breath"]) * np.take(breath, np.arange(n) % breath.shape[1], axis=1)
        return fade(note, attack_s=p["attack_s"], release_s=0)

    return Patch(play, release_s=0.35)


def organ(p: Settings, rng: np.random.Generator) -> Patch:
    """Drawbars, a percussive third and the click of a key, through a speaker that turns."""
    bars, phases = rng.uniform(0.25, 1, 8) * [0.8, 1, 0.7, 0.7, 0.35, 0.3, 0.2, 0.3], rng.random((2, 9))
    ratios = np.array([0.5, 1, 1.5, 2, 3, 4, 5, 6])
    bars[0] *= p["sub"]
    click = band_noise(num_samples(0.012), 1500, 6000, rng) * decay(num_samples(0.012), 0.003)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        level = np.append(bars * [1, 1, *(0.6 + 0.4 * velocity * np.ones(6))], p["percussion"] * velocity)
        tau_s = np.append(np.full(8, _FOREVER_S), 0.12)
        note = modes(freq_hz * np.append(ratios, 3), even_energy(level[None] * np.ones((2, 1))), tau_s, n, phase=phases)
        note = fade(note, attack_s=0.006, release_s=0)
        m = min(n, len(click))
        note[:, :m] += np.float32(0.06) * click[:m]
        return note

    return Patch(play, release_s=0.05, tremolo_hz=p["leslie_hz"], tremolo=0.25)


def brass(p: Settings, rng: np.random.Generator) -> Patch:
    """A section that stabs: it opens in a moment and settles."""
    offsets = rng.random((2, 3, 28))

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 28)
        soft = k**-1.9
        hard = k ** -p["slope"] / (1 + (freq_hz * k / (2200 + 5000 * velocity)) ** 2)
        opened = line(n, (0, p["open_s"], p["open_s"] + 0.25), (0.1, 1, 0.55))
        dull, bright = (_ensemble(freq_hz, level, _FOREVER_S, n, p["cents"], offsets) for level in (soft, hard))
        return fade(dull + (bright - dull) * opened, attack_s=0.012 + 0.02 * (1 - velocity), release_s=0)

    return Patch(play, release_s=0.09)


def flute(p: Settings, rng: np.random.Generator) -> Patch:
    """Few partials, breath, and a vibrato that comes late."""
    partials = np.array([1.0, p["second"], 0.5 * p["second"], 0.12, 0.05])
    breath = band_noise(4 * SAMPLE_RATE, 700, 5500, rng)
    chiff = band_noise(num_samples(0.09), 1000, 4500, rng) * decay(num_samples(0.09), 0.025)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        phase = _vibrato(freq_hz, n, p["vibrato_hz"], p["vibrato_cents"])
        level = partials ** (1.25 - 0.4 * velocity)
        note = read_table(wavetable(level / np.sqrt((level**2).sum())), phase)
        note += np.float32(p["breath"]) * np.resize(breath, n)
        m = min(n, len(chiff))
        note[:m] += np.float32(2 * p["breath"] * velocity) * chiff[:m]
        return fade(np.stack([note, note]), attack_s=0.035, release_s=0)

    return Patch(play, release_s=0.1)


def lead_synth(p: Settings, rng: np.random.Generator) -> Patch:
    """Two waves a few cents apart, from hollow to sawing, with a late vibrato and a filter that opens when hit."""

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, 40)
        level = k**-1.0 * np.where(k % 2 == 0, 1 - p["odd"], 1.0)
        cutoff_hz = p["cutoff_hz"] * (0.5 + 0.7 * velocity)
        dull, bright = (level / (1 + (freq_hz * k / hz) ** 2) for hz in (0.5 * cutoff_hz, 2 * cutoff_hz))
        phase = _vibrato(freq_hz, n, p["vibrato_hz"], p["vibrato_cents"])
        detune = 2 ** (p["cents"] / 1200)
        out = np.empty((2, n), np.float32)
        opened = np.float32(0.15) + np.float32(0.85) * decay(n, p["close_s"])
        for side, factor in enumerate((detune, 1 / detune)):
            low, high = (read_table(wavetable(x / np.sqrt((level**2).sum())), factor * phase) for x in (dull, bright))
            out[side] = low + (high - low) * opened
        out = out + np.float32(0.5) * out[::-1]  # each side hears the other, so that the middle stays
        return fade(out, attack_s=0.006, release_s=0)

    return Patch(play, release_s=0.09)


def _ensemble(freq_hz: float, level: Floats, tau_s: ArrayLike, n: int, cents: float, offsets: Floats) -> Signal:
    """[2, n]: several players a few cents apart, `offsets` [2, players, K] the turns they start at on either side."""
    players = offsets.shape[1]
    detune = 2 ** (np.linspace(-cents, cents, players) / 1200)
    partial_hz = (detune[:, None] * freq_hz * np.arange(1.0, len(level) + 1)).ravel()
    tau_s = np.tile(np.broadcast_to(tau_s, level.shape), players)
    phase = offsets[:, :, : len(level)].copy()
    phase[1, :, :2] = phase[0, :, :2]  # the lowest partials stay in the middle: in mono nothing of them is lost
    both = even_energy(np.tile(level, (2, players)))
    return modes(partial_hz, both, tau_s, n, phase=phase.reshape(2, -1))


def _peaks(freq_hz: Floats, centres_hz: ArrayLike, width: float) -> Floats:
    """The sum of resonances, each 1 high and `width` of its frequency wide."""
    centres_hz = np.asarray(centres_hz, float)[:, None]
    heights = 1 / (1 + ((freq_hz - centres_hz) / (width * centres_hz)) ** 2)
    return np.asarray(heights.sum(axis=0))


def _vibrato(freq_hz: float, n: int, rate_hz: float, cents: float) -> Floats:
    """Phase in turns of a pitch that begins to sway after a third of a second."""
    t = times_s(n)
    late = np.clip((t - 0.25) / 0.4, 0, 1)
    sway = (2 ** (cents / 1200) - 1) / (2 * np.pi * rate_hz) * late * sine(rate_hz * t)
    return np.asarray(freq_hz * (t + sway))


SUSTAINED = {
    "pad": Instrument(
        {"slope": (0.8, 1.6), "cutoff_hz": (900, 3500), "cents": (4.0, 10.0), "attack_s": (0.06, 0.22)}, pad),
    "strings": Instrument({"slope": (0.7, 1.25), "cents": (5.0, 11.0), "attack_s": (0.04, 0.12)}, strings),
    "choir": Instrument(
        {"vowel": (0.0, 1.0), "cents": (6.0, 13.0), "attack_s": (0.06, 0.15), "breath": (0.005, 0.03)}, choir),
    "organ": Instrument({"sub": (0.2, 1.0), "percussion": (0.0, 0.7), "leslie_hz": (0.8, 6.8)}, organ),
    "brass": Instrument({"slope": (0.7, 1.1), "open_s": (0.02, 0.06), "cents": (3.0, 8.0)}, brass),
    "flute": Instrument(
        {"second": (0.12, 0.45), "breath": (0.015, 0.05), "vibrato_hz": (4.5, 6.0), "vibrato_cents": (8.0, 25.0)},
        flute),
    "lead synth": Instrument(
        {"odd": (0.0, 0.95), "cutoff_hz": (900, 4000), "cents": (1.5, 5.0), "vibrato_hz": (4.5, 6.5),
         "vibrato_cents": (0.0, 20.0), "close_s": (0.1, 0.5)}, lead_synth),
}  # fmt: skip
