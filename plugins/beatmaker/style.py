"""What makes a style, as data: patterns to choose among and chances in percent.

Patterns are written a character a 16th, bars apart by "|". Drums: X accent, x stroke, o soft, g ghost; drawn for each
two bars: ? a stroke in half of the cases, ~ soft in 40 of a hundred, "," a ghost in 40; O an open hat. Notes: x a note,
- held on, . a rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Patterns = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A voice that colours some beats of a style."""

    voice: str
    patterns: Patterns
    percent: int


@dataclass(frozen=True)
class Drumming:
    """The drums, in the style's own feel."""

    kicks: Patterns
    backbeats: Patterns
    backbeat_voices: tuple[tuple[str, ...], ...]
    hats: Patterns
    ghosts: Patterns = ("................",)
    ghost_voice: str = "snare"
    hat_voice: str = "hat"
    layers: tuple[Layer, ...] = ()
    roll_percent: int = 0  # of half a bar, of having a hat roll
    rolls: tuple[int, ...] = (8, 6)  # strokes a beat: 8 are 32nds, 6 and 3 triplets
    fills: Patterns = ("kick out", "hats out", "run")  # names in fills.FILLS
    late: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # 60ths of a step that a voice drags


@dataclass(frozen=True)
class Harmony:
    """Keys, chords and how they are struck."""

    minor_percent: int
    minor: Patterns  # progressions: numerals, bars apart by "|"
    major: Patterns
    minor_scales: Patterns  # names in theory.SCALES, of the tunes
    major_scales: Patterns
    instruments: Patterns
    comping: Patterns  # note patterns, or "arp 2": one chord tone each 2 steps
    low: int = 53  # the chords' range
    high: int = 74
    max_notes: int = 4


@dataclass(frozen=True)
class Tune:
    """The lead."""

    instruments: Patterns
    rhythms: Patterns
    contours: Patterns  # names in motifs.CONTOURS
    percent: int  # of beats that have one
    low: int = 65
    high: int = 84
    slide_percent: int = 0  # of long notes


@dataclass(frozen=True)
class Bass:
    """The bass line."""

    instruments: Patterns
    kinds: Patterns  # names in basslines.LINES
    rhythms: Patterns = ()  # of the kinds that have one of their own
    low: int = 28  # the lowest root
    slide_percent: int = 0
    slides: tuple[int, ...] = (12, 12, 7)  # semitones


@dataclass(frozen=True)
class Style:
    """One style."""

    name: str
    tempo_bpm: tuple[int, int]
    swing: tuple[int, int]  # percent of its pair at which the second 16th falls
    feel: str  # the usual one
    odd_feel_percent: int
    energy: int  # percent, of a usual beat
    drumming: Drumming
    harmony: Harmony
    bass: Bass
    lead: Tune
    counter: Patterns  # instruments of a second voice
    counter_percent: int
