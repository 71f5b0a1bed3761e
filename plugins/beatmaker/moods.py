"""How a song feels, by rules on what it is made of."""

from __future__ import annotations

from collections.abc import Mapping

from rapgen_plugins.beatmaker.harmony import Changes
from rapgen_plugins.beatmaker.song import Hit
from rapgen_plugins.beatmaker.style import Style


def energy_percent(style: Style, tempo_bpm: int, feel: str, hits: Mapping[str, tuple[Hit, ...]], num_bars: int) -> int:
    """Percent: the style's own, more where the tempo is high for it, the drums are busy or in double time."""
    low, high = style.tempo_bpm
    pace = 16 * (tempo_bpm - low) // max(1, high - low) - 8
    strokes = sum(len(own) for own in hits.values()) // num_bars
    busy = max(-12, min(14, strokes - 16))
    feels = {"half": -8, "straight": 0, "double": 8}
    return max(2, min(98, style.energy + pace + busy + feels[feel] - feels[style.feel]))


def moods_of(style: Style, changes: Changes, swing: float, energy: int) -> tuple[str, ...]:
    """Adjectives that hold, at least one."""
    minor = changes.mode == "minor"
    roots = {(chord.root - changes.tonic) % 12 for chord in changes.chords}
    phrygian = 1 in roots or changes.scale == "phrygian"
    tense = changes.scale == "harmonic minor" or any(
        c.quality == "" and (c.root - changes.tonic) % 12 == 7 for c in changes.chords
    )
    rich = sum(len(chord.tones) > 3 for chord in changes.chords) * 2 > len(changes.chords)
    holds = {
        "dark": minor and energy >= 50,
        "menacing": minor and phrygian and energy >= 60,
        "sinister": minor and phrygian,
        "eerie": minor and tense and not rich,
        "moody": minor,
        "melancholic": minor and energy < 45,
        "hard": energy >= 75,
        "aggressive": minor and energy >= 82,
        "energetic": energy >= 70,
        "hypnotic": len(changes.chords) <= 2 and changes.num_bars <= 2,
        "bright": not minor and energy >= 45,
        "uplifting": not minor and energy >= 35,
        "sunny": not minor and energy < 60,
        "dreamy": rich and energy < 40 and style.name in ("cloud rap", "lo-fi"),
        "spacey": style.name == "cloud rap",
        "chill": energy < 40,
        "laid-back": energy < 55 and style.feel == "straight",
        "mellow": energy < 35,
        "smooth": rich and energy < 60,
        "soulful": rich and style.name in ("boom bap", "lo-fi", "jazz rap", "g-funk"),
        "funky": style.name in ("g-funk", "old school"),
        "swinging": swing >= 0.58,
        "nostalgic": style.name in ("lo-fi", "old school"),
    }  # fmt: skip
    return tuple(mood for mood, does in holds.items() if does) or ("steady",)
