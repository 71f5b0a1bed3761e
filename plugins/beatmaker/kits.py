"""Drum kits: each voice one shot in several strengths and takes, its settings drawn so that no two kits are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rapgen_plugins.beatmaker import drums, metals
from rapgen_plugins.beatmaker.effects import sampler
from rapgen_plugins.beatmaker.palettes import Palette
from rapgen_plugins.beatmaker.presets import Ranges, Settings, draw_settings
from rapgen_plugins.beatmaker.sounds import Sounds
from rapgen_plugins.beatmaker.synth import Signal, band_response, convolve, decay, pan, unit_peak

Shot = Callable[[str, float, int], Signal]  # (voice, velocity, how many strokes came before) -> float32 [2, samples]

_STRENGTHS = (0.25, 0.6, 1.0)
_TAKES = {"hat": 4, "shaker": 4, "tambourine": 3, "snare": 3, "clap": 2, "snap": 2, "conga": 2, "rim": 2}
_SPREAD = {  # how far from the middle a voice may stand
    "hat": 0.3, "open hat": 0.3, "shaker": 0.5, "tambourine": 0.5, "ride": 0.35, "cowbell": 0.3, "tom": 0.3,
    "conga": 0.45, "rim": 0.2, "snap": 0.15,
}  # fmt: skip

_VOICES: dict[str, Callable[[Settings, float, np.random.Generator], Signal]] = {
    "kick": drums.kick, "snare": drums.snare, "clap": drums.clap, "snap": drums.snap, "rim": drums.rim,
    "tom": drums.tom, "conga": drums.conga, "shaker": drums.shaker,
    "hat": metals.hat, "open hat": metals.hat, "crash": metals.cymbal, "ride": metals.ride,
    "tambourine": metals.tambourine, "cowbell": metals.cowbell,
}  # fmt: skip

_ACOUSTIC: dict[str, Ranges] = {  # the first setting of each is the one that the test split has a part of for itself
    "kick": {
        "tune_hz": (50, 68), "decay_s": (0.07, 0.15), "punch": (0.8, 2.2), "fall_s": (0.012, 0.028),
        "click": (0.25, 0.7), "click_hz": (2500, 6000), "shell": (0.15, 0.5), "drive": (0.2, 2.0),
    },
    "snare": {
        "tune_hz": (165, 235), "mode": (1.5, 1.9), "decay_s": (0.07, 0.14), "ring": (0.1, 0.9), "low_hz": (500, 1500),
        "high_hz": (6000, 11_000), "body": (0.35, 0.75), "drive": (0.2, 1.6),
    },
    "clap": {"gap_s": (0.008, 0.012), "decay_s": (0.05, 0.1), "low_hz": (750, 1200), "drive": (0.2, 1.5)},
    "snap": {"tune_hz": (1300, 2100), "decay_s": (0.008, 0.016), "air": (0.1, 0.3)},
    "rim": {"tune_hz": (420, 900), "mode": (1.6, 2.2), "decay_s": (0.012, 0.03), "drive": (0.0, 1.0)},
    "hat": {"tune_hz": (300, 480), "decay_s": (0.025, 0.055), "air": (0.5, 0.9), "low_hz": (4000, 7000)},
    "open hat": {"tune_hz": (300, 480), "decay_s": (0.11, 0.24), "air": (0.5, 0.9), "low_hz": (3800, 6500)},
    "crash": {
        "tune_hz": (280, 520), "decay_s": (0.6, 1.0), "air": (0.4, 0.9), "low_hz": (2500, 5000), "casting": (0, 2**20),
    },
    "ride": {"tune_hz": (420, 760), "decay_s": (0.35, 0.7), "ping": (0.5, 1.2), "casting": (0, 2**20)},
    "shaker": {"attack_s": (0.012, 0.035), "decay_s": (0.015, 0.035), "low_hz": (3500, 6000)},
    "tambourine": {"tune_hz": (4200, 6500), "decay_s": (0.03, 0.07), "air": (0.2, 0.6)},
    "cowbell": {"tune_hz": (520, 760), "mode": (1.46, 1.56), "decay_s": (0.05, 0.12), "drive": (0.0, 1.0)},
    "tom": {"tune_hz": (75, 150), "decay_s": (0.12, 0.28), "bend": (0.05, 0.25), "shell": (0.3, 0.8)},
    "conga": {"tune_hz": (170, 340), "decay_s": (0.08, 0.18)},
}  # fmt: skip
_NINE: dict[str, Ranges] = _ACOUSTIC | {  # after a TR-909
    "kick": {
        "tune_hz": (46, 60), "decay_s": (0.11, 0.24), "punch": (2.0, 4.5), "fall_s": (0.012, 0.028),
        "click": (0.2, 0.6), "click_hz": (5000, 12_000), "shell": (0.0, 0.1), "drive": (0.6, 3.5),
    },
    "snare": {
        "tune_hz": (175, 260), "mode": (1.6, 2.0), "decay_s": (0.08, 0.17), "ring": (0.0, 0.4), "low_hz": (900, 2500),
        "high_hz": (9000, 15_000), "body": (0.25, 0.6), "drive": (0.5, 2.5),
    },
    "clap": {"gap_s": (0.008, 0.012), "decay_s": (0.07, 0.14), "low_hz": (900, 1500), "drive": (0.5, 3.0)},
    "hat": {"tune_hz": (380, 640), "decay_s": (0.018, 0.045), "air": (0.3, 0.75), "low_hz": (6000, 8500)},
    "open hat": {"tune_hz": (380, 640), "decay_s": (0.12, 0.3), "air": (0.3, 0.75), "low_hz": (5500, 8000)},
    "rim": {"tune_hz": (480, 1100), "mode": (2.0, 2.6), "decay_s": (0.008, 0.018), "drive": (0.5, 2.0)},
    "tom": {"tune_hz": (70, 160), "decay_s": (0.15, 0.3), "bend": (0.3, 0.7), "shell": (0.0, 0.3)},
}  # fmt: skip
_EIGHT: dict[str, Ranges] = _NINE | {  # after a TR-808
    "kick": {
        "tune_hz": (42, 56), "decay_s": (0.16, 0.45), "punch": (0.6, 1.6), "fall_s": (0.008, 0.02),
        "click": (0.08, 0.3), "click_hz": (1500, 4000), "shell": (0.0, 0.05), "drive": (0.2, 2.0),
    },
    "snare": {
        "tune_hz": (165, 215), "mode": (1.75, 1.95), "decay_s": (0.06, 0.13), "ring": (0.3, 0.8),
        "low_hz": (1200, 3000), "high_hz": (8000, 13_000), "body": (0.4, 0.8), "drive": (0.2, 1.5),
    },
    "hat": {"tune_hz": (240, 420), "decay_s": (0.02, 0.05), "air": (0.0, 0.35), "low_hz": (6500, 9000)},
    "open hat": {"tune_hz": (240, 420), "decay_s": (0.13, 0.35), "air": (0.0, 0.35), "low_hz": (6000, 8500)},
    "rim": {"tune_hz": (1400, 1900), "mode": (1.3, 1.5), "decay_s": (0.005, 0.01), "drive": (0.0, 1.0)},
    "conga": {"tune_hz": (160, 380), "decay_s": (0.06, 0.14)},
}  # fmt: skip
_FAMILIES = {"acoustic": _ACOUSTIC, "909": _NINE, "808": _EIGHT}


def build_kit(palette: Palette, sounds: Sounds, rng: np.random.Generator, *, held_out: bool) -> Shot:
    """A kit in a palette's taste: "808", "909", "acoustic", or "layered" of two of them; the user's sounds first."""
    names = list(palette.kits)
    weights = np.array([palette.kits[name] for name in names])
    family = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    chosen = ["acoustic", "909", "808"] if family == "layered" else [family]
    layers = [
        {voice: draw_settings(_ranges(one, voice, palette), rng, held_out=held_out) for voice in _VOICES}
        for one in rng.permutation(chosen)[:2]
    ]
    places = {voice: float(rng.uniform(-spread, spread)) for voice, spread in _SPREAD.items()}
    tone, rate_hz = band_response(0, rng.uniform(*palette.drum_lowpass_hz)), float(rng.uniform(*palette.sampler_hz))
    brought = sounds.strike(family, rng)
    made: dict[tuple[str, int, int], Signal] = {}

    def strike(voice: str, velocity: float) -> Signal:
        own = brought(voice, velocity)
        if own is not None:
            return own
        sound = _strike(voice, [layer[voice] for layer in layers], velocity, rng)
        sound = convolve(sampler(sound, rate_hz), tone)
        return sound if sound.ndim == 2 else pan(sound, places.get(voice, 0.0))

    def shot(voice: str, velocity: float, stroke: int) -> Signal:
        strength = min(int(velocity * len(_STRENGTHS)), len(_STRENGTHS) - 1)
        key = voice, strength, stroke % _TAKES.get(voice, 1)
        if key not in made:
            made[key] = strike(voice, _STRENGTHS[strength])
        return made[key]

    return shot


def _ranges(family: str, voice: str, palette: Palette) -> Ranges:
    return {**_FAMILIES[family][voice], **palette.kit_ranges.get(voice, {})}


def _strike(voice: str, layers: list[Settings], velocity: float, rng: np.random.Generator) -> Signal:
    """One stroke, float32 [samples] or [2, samples]; of two layers, the front of one and the body of the other."""
    first, *others = (_VOICES[voice](settings, velocity, rng) for settings in layers)
    for other in others:
        n = max(first.shape[-1], other.shape[-1])
        long, under = (np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - x.shape[-1])]) for x in (first, other))
        front = decay(n, 0.018)
        first = long * (np.float32(0.35) + np.float32(0.65) * front) + under * (1 - np.float32(0.55) * front)
    return unit_peak(first)
