"""Any SF2 that the user gives, through tinysoundfont: General MIDI programs in place of what is synthesized here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rapgen.errors import PluginError, RecipeError
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, Signal, unit_peak

_PROGRAMS = {  # General MIDI, counted from 0; what it does not know (808, cowbell as a tune) stays synthesized
    "piano": 0, "rhodes": 4, "vibes": 11, "bells": 14, "organ": 16, "guitar": 24, "muted guitar": 28,
    "upright bass": 32, "bass guitar": 33, "synth bass": 38, "pluck": 45, "strings": 48, "choir": 52, "brass": 61,
    "flute": 73, "lead synth": 80, "pad": 89,
}  # fmt: skip
_KEYS = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "hat": 42, "tom": 45, "open hat": 46, "crash": 49, "ride": 51,
    "tambourine": 54, "cowbell": 56, "conga": 63, "shaker": 70,
}  # fmt: skip
KITS = {"acoustic": (0, 8, 16, 32, 40), "909": (24, 25), "808": (25,), "layered": (0, 8, 16, 24, 25)}
_DRUM_BANK = 128


@dataclass(frozen=True)
class SoundFont:
    """An open font; plays one note at a time, each from silence, so that a note never depends on those before."""

    name: str
    synth: Any
    font: int

    def has(self, bank: int, program: int) -> bool:
        """Whether there is such a preset."""
        return self.synth.sfpreset_name(self.font, bank, program) is not None

    def kits(self, family: str) -> list[int]:
        """Drum kits like a family, else all that General MIDI names."""
        known = sorted({program for programs in KITS.values() for program in programs})
        kits = [program for program in KITS[family] if self.has(_DRUM_BANK, program)]
        return kits or [program for program in known if self.has(_DRUM_BANK, program)]

    def program(self, instrument: str) -> int | None:
        """The program that plays an instrument or a bass; None where it has none."""
        program = _PROGRAMS.get(instrument)
        return program if program is not None and self.has(0, program) else None

    def note(self, program: int, midi: int, velocity: float, n: int) -> Signal:
        """[2, n] of unit peak."""
        return self._play(0, program, midi, velocity, n)

    def drum(self, kit: int, voice: str, velocity: float, n: int) -> Signal | None:
        """[2, n] of unit peak; None where the kit has no such drum."""
        shot = self._play(_DRUM_BANK, kit, _KEYS[voice], velocity, n) if voice in _KEYS else None
        return shot if shot is not None and shot.any() else None

    def _play(self, bank: int, program: int, key: int, velocity: float, n: int) -> Signal:
        self.synth.program_select(0, self.font, bank % _DRUM_BANK, program, bank == _DRUM_BANK)
        self.synth.noteon(0, key, max(1, round(velocity * 127)))
        played = np.frombuffer(self.synth.generate_simple(n), np.float32).reshape(n, 2).T
        self.synth.sounds_off()
        self.synth.generate_simple(SAMPLE_RATE // 10)  # what is cut off fades for a moment
        return unit_peak(played)


def open_soundfont(path: str) -> SoundFont:
    """Load an SF2.

    Raises RecipeError where it is missing or is no SF2, PluginError where tinysoundfont is not installed.
    """
    if not Path(path).is_file():
        raise RecipeError(f"beatmaker: no soundfont at {path}; give the path of an SF2 file")
    try:
        from tinysoundfont import Synth
    except ImportError as error:
        raise PluginError(
            f"beatmaker: {error.name} is missing, which soundfont needs: pip install --no-deps tinysoundfont"
        ) from error
    synth = Synth(samplerate=SAMPLE_RATE)
    try:
        font = synth.sfload(path)
    except RuntimeError:
        raise RecipeError(f"beatmaker: soundfont {path} cannot be read; give an SF2 file") from None
    return SoundFont(Path(path).name, synth, font)
