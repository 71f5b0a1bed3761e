"""Sounds that the user brings, a soundfont and one-shots, and where all sounds of a beat come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rapgen_plugins.beatmaker.patches import Patch
from rapgen_plugins.beatmaker.samples import Samples, read_samples
from rapgen_plugins.beatmaker.soundfont import SoundFont, open_soundfont
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, Signal, band_response, convolve, hz_to_midi

Strike = Callable[
    [str, float], Signal | None
]  # (voice, velocity) -> [2, n] of unit peak, None where it has no such drum

SYNTHESIZED = {"synthesized": "CC0-1.0"}
_SHOT = 2 * SAMPLE_RATE  # samples
_FONT_RELEASE_S = 0.2
_SOFT_HZ = {0.4: 4000.0, 0.8: 9000.0}  # one-shots struck softer than this are duller than this


@dataclass(frozen=True)
class Sounds:
    """What the user brings."""

    font: SoundFont | None
    samples: Samples
    origins: dict[str, str]  # where it comes from, with its licence

    def strike(self, family: str, rng: np.random.Generator) -> Strike:
        """A kit of the user's sounds: a one-shot for each drum that has some, else the font's."""
        chosen = {voice: shots[rng.integers(len(shots))] for voice, shots in self.samples.items()}
        kits = self.font.kits(family) if self.font else []
        kit = int(rng.choice(kits)) if kits else None

        def strike(voice: str, velocity: float) -> Signal | None:
            if voice in chosen:
                soft = next((hz for bound, hz in _SOFT_HZ.items() if velocity < bound), None)
                return chosen[voice] if soft is None else convolve(chosen[voice], band_response(0, soft)[None])
            return self.font.drum(kit, voice, velocity, _SHOT) if self.font and kit is not None else None

        return strike

    def patch(self, instrument: str) -> Patch | None:
        """The font's instrument or bass; None where it has none."""
        font, program = self.font, self.font.program(instrument) if self.font else None
        if font is None or program is None:
            return None
        return Patch(
            lambda freq_hz, velocity, n: font.note(program, round(hz_to_midi(freq_hz)), velocity, n), _FONT_RELEASE_S
        )


@lru_cache(maxsize=4)
def open_sounds(soundfont: str | None, samples_dir: str | None) -> Sounds:
    """Open a soundfont and read a folder of one-shots, once a process.

    Raises RecipeError where one cannot be used, PluginError where tinysoundfont is missing.
    """
    font = open_soundfont(soundfont) if soundfont is not None else None
    samples = read_samples(samples_dir) if samples_dir is not None else {}
    origins = {f"soundfont {font.name}": "as the font's, of the user"} if font else {}
    if samples_dir is not None:
        origins[f"one-shots of {Path(samples_dir).name}"] = "as theirs, of the user"
    return Sounds(font, samples, SYNTHESIZED | origins)


def licence(origins: Mapping[str, str]) -> str:
    """The licence of a beat: CC0-1.0 where all of it is synthesized here, else that of what the user brought."""
    brought = [f"{name}: {told}" for name, told in origins.items() if name not in SYNTHESIZED]
    return "; ".join(brought) or SYNTHESIZED["synthesized"]
