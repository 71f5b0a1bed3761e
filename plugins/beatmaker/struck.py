"""Instruments that are struck or plucked: sums of modes that die away."""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.patches import Instrument, Patch, even_energy, harmonics
from rapgen_plugins.beatmaker.presets import Settings
from rapgen_plugins.beatmaker.synth import TOP_HZ, Floats, Signal, band_noise, decay, drive, fade, modes, num_samples


def rhodes(p: Settings, rng: np.random.Generator) -> Patch:
    """Electric piano: a round tone that barks when struck hard, and a tine that pings."""
    lean = rng.uniform(-0.2, 0.2, 8)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        bark = p["bark"] * (0.05 + 0.95 * velocity**1.5)
        k = np.arange(1.0, 7)
        level = np.array([1.0, 0.85, 0.5, 0.32, 0.2, 0.12]) * bark ** np.array([0, 0.8, 1.3, 1.7, 2.1, 2.5])
        tau_s = p["tau_s"] * (freq_hz / 260) ** -0.45 / k**0.75
        tine_hz = freq_hz * np.array([p["tine"], p["tine"] * 2.4])
        ping = p["ping"] * (0.3 + 0.7 * velocity)
        return _struck(
            np.append(freq_hz * k, tine_hz), np.append(level, [ping, 0.4 * ping]), np.append(tau_s, [0.12, 0.05]),
            n, lean, attack_s=0.0025,
        )  # fmt: skip

    return Patch(play, release_s=0.14, tremolo_hz=p["tremolo_hz"], tremolo=p["tremolo"])


def piano(p: Settings, rng: np.random.Generator) -> Patch:
    """Stretched partials on pairs of strings, that die the sooner the higher they are, and the thump of a hammer."""
    most = 26
    beat, lean = rng.uniform(0.2, 0.8, most) * p["detune_hz"], rng.uniform(-0.35, 0.35, 2 * most)
    thump = band_noise(num_samples(0.12), 80, 1400, rng) * decay(num_samples(0.12), 0.014)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, most)
        partial_hz = freq_hz * k * np.sqrt((1 + p["stiffness"] * k**2) / (1 + p["stiffness"]))
        level = k ** -(p["slope"] + 1.3 * (1 - velocity)) * np.abs(np.sin(np.pi * k * 0.122))
        tau_s = p["tau_s"] * (freq_hz / 260) ** -0.55 / (1 + 0.22 * (k - 1))
        pair_hz = np.concatenate([partial_hz + beat[: len(k)] / 2, partial_hz - beat[: len(k)] / 2])
        note = _struck(
            pair_hz, np.concatenate([level, 0.6 * level]), np.concatenate([tau_s, 2.2 * tau_s]), n, lean, attack_s=0.001
        )
        m = min(n, len(thump))
        note[:, :m] += np.float32(p["hammer"] * (0.3 + 0.7 * velocity)) * thump[:m]
        return note

    return Patch(play, release_s=0.16)


def vibes(p: Settings, rng: np.random.Generator) -> Patch:
    """Vibraphone: the modes of a tuned bar and the turning of its fans."""
    lean = rng.uniform(-0.15, 0.15, 4)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        ratios = np.array([1.0, 3.984, 9.8])
        level = np.array([1.0, p["shine"] * (0.3 + 0.7 * velocity), 0.3 * p["shine"] * velocity])
        tau_s = p["tau_s"] * (freq_hz / 400) ** -0.5 / np.array([1.0, 3.5, 9.0])
        return _struck(freq_hz * ratios, level, tau_s, n, lean, attack_s=0.0015)

    return Patch(play, release_s=0.35, tremolo_hz=p["fans_hz"], tremolo=p["fans"])


def bells(p: Settings, rng: np.random.Generator) -> Patch:
    """A hum, and strike tones that share no harmonic, the high ones short."""
    ratios = np.array([1.0, 2.0, 2.756, 3.98, 5.404, 8.1]) * (1 + rng.uniform(-0.012, 0.012, 6) * [0, 0, 1, 1, 1, 1])
    weights, lean = np.array([1, 0.45, 0.4, 0.25, 0.2, 0.1]) * rng.uniform(0.4, 1.2, 6), rng.uniform(-0.5, 0.5, 6)

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        level = weights * np.append(1.0, (0.35 + 0.65 * velocity) * p["glass"] * np.ones(5))
        tau_s = p["tau_s"] * (freq_hz / 700) ** -0.4 / ratios**0.8
        return _struck(freq_hz * ratios, level, tau_s, n, lean, attack_s=0.001)

    return Patch(play, release_s=0.6)


def guitar(p: Settings, rng: np.random.Generator) -> Patch:
    """Nylon or steel: a string plucked off its middle, so that some partials are missing, and the body's air."""
    return _string(p, rng, hold=1.0, release_s=0.12)


def muted_guitar(p: Settings, rng: np.random.Generator) -> Patch:
    """A string under the palm: a short, dull note, mostly its beginning."""
    return _string(p, rng, hold=0.22, release_s=0.06)


def _string(p: Settings, rng: np.random.Generator, *, hold: float, release_s: float) -> Patch:
    most = 32
    lean = rng.uniform(-0.25, 0.25, most + 2)
    pick = band_noise(num_samples(0.03), 1200, 5500, rng) * decay(num_samples(0.03), 0.004)
    body_hz = rng.uniform([95, 180], [115, 220])

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, most)
        level = np.abs(np.sin(np.pi * k * p["place"])) * k ** -(p["slope"] + 0.9 * (1 - velocity))
        tau_s = hold * p["tau_s"] * (freq_hz / 200) ** -0.4 / (1 + p["damp"] * k**1.3)
        partial_hz = freq_hz * k * np.sqrt((1 + 6e-5 * k**2) / (1 + 6e-5))
        level = np.append(level / np.abs(level).max(), [0.12, 0.1])
        note = _struck(np.append(partial_hz, body_hz), level, np.append(tau_s, [0.05, 0.04]), n, lean, attack_s=0.0008)
        m = min(n, len(pick))
        note[:, :m] += np.float32(p["pick"] * velocity) * pick[:m]
        return note

    return Patch(play, release_s=release_s)


def pluck(p: Settings, rng: np.random.Generator) -> Patch:
    """A synthesizer's pluck: two detuned bright waves behind a filter that closes fast."""
    most = 30
    lean = np.repeat([1.0, -1.0], most) * p["width"]

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        k = harmonics(freq_hz, most)
        level = (
            k**-1.0 * np.where(k % 2 == 0, 1 - p["odd"], 1.0) * np.exp(-(k - 1) * freq_hz / (1500 + 6000 * velocity))
        )
        tau_s = p["tau_s"] / k ** p["close"]
        detune = 2 ** (p["cents"] / 1200)
        pair_hz = np.concatenate([freq_hz * k * detune, freq_hz * k / detune])
        own = np.concatenate([lean[: len(k)], lean[most : most + len(k)]])
        return _struck(pair_hz, np.tile(level, 2), np.tile(tau_s, 2), n, own, attack_s=0.0015)

    return Patch(play, release_s=0.1)


def cowbell(p: Settings, rng: np.random.Generator) -> Patch:
    """A drum machine's cowbell that plays tunes: two square waves a fifth apart, with a clank in front."""
    odd = np.arange(1.0, 24, 2)
    ratios, lean = np.concatenate([odd, 1.5 * odd]), rng.uniform(-0.3, 0.3, 2 * len(odd))

    def play(freq_hz: float, velocity: float, n: int) -> Signal:
        level = np.concatenate([1 / odd, p["fifth"] / odd]) * np.exp(-freq_hz * ratios / (2500 + 5500 * velocity))
        note = _struck(freq_hz * ratios, level, p["tau_s"] / ratios**0.3, n, lean, attack_s=0.0006)
        return drive(note * (1 + np.float32(velocity) * decay(n, 0.012)), p["drive"])

    return Patch(play, release_s=0.08)


def _struck(freq_hz: Floats, level: Floats, tau_s: Floats, n: int, lean: Floats, *, attack_s: float) -> Signal:
    """[2, n]: modes under TOP_HZ, each leaning to a side in level and phase, of even energy however many there are."""
    heard = freq_hz < TOP_HZ
    lean = np.resize(lean, len(freq_hz))
    both = np.stack([level * (1 + lean), level * (1 - lean)])[:, heard]
    apart = np.stack([0 * lean, 0.4 * lean])[:, heard]
    note = modes(freq_hz[heard], even_energy(both), tau_s[heard], n, phase=apart)
    return fade(note, attack_s=attack_s, release_s=0)


STRUCK = {
    "rhodes": Instrument(
        {"bark": (0.35, 1.1), "tau_s": (0.9, 1.9), "tine": (6.2, 7.4), "ping": (0.03, 0.16), "tremolo_hz": (3.2, 6.0),
         "tremolo": (0.0, 0.35)}, rhodes),
    "piano": Instrument(
        {"slope": (0.5, 1.25), "tau_s": (0.7, 1.5), "stiffness": (1e-4, 6e-4), "detune_hz": (0.2, 1.2),
         "hammer": (0.03, 0.14)}, piano),
    "vibes": Instrument(
        {"shine": (0.12, 0.45), "tau_s": (0.8, 1.8), "fans_hz": (3.5, 6.5), "fans": (0.1, 0.4)}, vibes),
    "bells": Instrument({"glass": (0.3, 1.1), "tau_s": (0.5, 1.2)}, bells),
    "guitar": Instrument(
        {"place": (0.12, 0.34), "slope": (0.9, 1.5), "tau_s": (0.6, 1.2), "damp": (0.04, 0.14), "pick": (0.02, 0.1)},
        guitar),
    "muted guitar": Instrument(
        {"place": (0.12, 0.3), "slope": (0.7, 1.2), "tau_s": (0.45, 0.8), "damp": (0.12, 0.3), "pick": (0.05, 0.14)},
        muted_guitar),
    "cowbell": Instrument({"fifth": (0.25, 0.8), "tau_s": (0.12, 0.35), "drive": (0.2, 1.5)}, cowbell),
    "pluck": Instrument(
        {"odd": (0.0, 0.9), "tau_s": (0.2, 0.5), "close": (0.5, 1.0), "cents": (1.0, 4.0), "width": (0.2, 0.7)}, pluck),
}  # fmt: skip
