"""Notes, scales and chords: roman numerals to pitch classes and names, and voices that move as little as they can."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import NamedTuple

from rapgen.groove import NOTES

SCALES = {  # semitones above the tonic
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "blues": (0, 3, 5, 6, 7, 10),
}
_DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
# Tones above the root by what follows the numeral, of a major (upper case) and a minor chord (lower case).
_MAJOR = {
    "": (0, 4, 7), "6": (0, 4, 7, 9), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "9": (0, 4, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14), "13": (0, 4, 10, 14, 21), "7b9": (0, 4, 7, 10, 13), "7#9": (0, 4, 7, 10, 15),
    "add9": (0, 4, 7, 14), "sus2": (0, 2, 7), "sus4": (0, 5, 7), "7sus4": (0, 5, 7, 10), "9sus4": (0, 5, 7, 10, 14),
    "5": (0, 7), "aug": (0, 4, 8), "69": (0, 4, 7, 9, 14),
}  # fmt: skip
_MINOR = {
    "": (0, 3, 7), "6": (0, 3, 7, 9), "7": (0, 3, 7, 10), "9": (0, 3, 7, 10, 14), "11": (0, 3, 7, 10, 14, 17),
    "add9": (0, 3, 7, 14), "7b5": (0, 3, 6, 10), "dim": (0, 3, 6), "dim7": (0, 3, 6, 9), "maj7": (0, 3, 7, 11),
}  # fmt: skip
_NUMERAL = re.compile(r"(#|b)?([ivIV]+)(.*)")


class Chord(NamedTuple):
    """A chord by its root, the tones above it and how it is written after the root: 6, (0, 3, 7, 10), "m7"."""

    root: int  # pitch class
    tones: tuple[int, ...]
    quality: str

    @property
    def name(self) -> str:
        """As musicians write it, with sharps: "F#m7"."""
        return NOTES[self.root] + self.quality

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Of its tones, the root first."""
        return tuple((self.root + tone) % 12 for tone in self.tones)


@cache
def chord(numeral: str, tonic: int) -> Chord:
    """The chord that a numeral names: upper case major, lower case minor; "bVII" is a whole tone below the tonic."""
    match = _NUMERAL.fullmatch(numeral)
    if match is None:
        raise ValueError(f"no chord numeral: {numeral!r}")
    sign, degree, suffix = match.groups()
    root = _DEGREES[degree.lower()] + {"#": 1, "b": -1, None: 0}[sign]
    is_minor = degree.islower()
    quality = suffix if not is_minor or suffix.startswith("dim") else f"m{suffix}"
    return Chord((tonic + root) % 12, (_MINOR if is_minor else _MAJOR)[suffix], quality)


@cache
def ladder(tonic: int, scale: str, sounding: Chord, low: int, high: int) -> tuple[int, ...]:
    """MIDI notes from `low` to `high` that a tune may use: the scale, bent where the chord bends it."""
    own = set(sounding.pitch_classes)
    kept = {(tonic + tone) % 12 for tone in SCALES[scale]}
    foreign = own - kept
    kept -= {(pitch + side) % 12 for pitch in foreign for side in (1, -1)} - own
    return tuple(midi for midi in range(low, high + 1) if midi % 12 in kept | own)


def fold(pitch: int, low: int) -> int:
    """The octave of a pitch that lies within `low` and `low` + 11."""
    return low + (pitch - low) % 12


def voice(chords: Sequence[Chord], *, low: int, high: int, max_notes: int) -> list[tuple[int, ...]]:
    """Voicings within `low` .. `high`, from each chord to the next with as little movement as there can be.

    Of chords with more tones than voices the root goes first (the bass has it), then the fifth.
    """
    voiced: list[tuple[int, ...]] = []
    for current in chords:
        candidates = _voicings(_essential(current, max_notes), low, high)
        if not voiced:
            voiced.append(min(candidates, key=lambda notes: abs(2 * sum(notes) - (low + high) * len(notes))))
        else:
            voiced.append(min(candidates, key=lambda notes: _distance(voiced[-1], notes)))
    return voiced


def _essential(current: Chord, max_notes: int) -> tuple[int, ...]:
    tones = list(current.pitch_classes)
    while len(tones) > max_notes:
        fifth = (current.root + 7) % 12
        tones.remove(current.root if current.root in tones else fifth if fifth in tones else tones[-1])
    return tuple(tones)


@cache
def _voicings(pitch_classes: tuple[int, ...], low: int, high: int) -> list[tuple[int, ...]]:
    """All ways to lay each tone once within the range over less than two octaves, no seconds in the bottom."""
    notes = [midi for midi in range(low, high + 1) if midi % 12 in pitch_classes]
    size = len(pitch_classes)
    found = [
        pick
        for pick in combinations(notes, size)
        if len({midi % 12 for midi in pick}) == size and pick[-1] - pick[0] <= 17 and pick[1] - pick[0] > 2
    ]
    return found or [tuple(sorted(fold(pitch, low) for pitch in pitch_classes))]


def _distance(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Semitones that all voices move, each to the nearest; a top voice that leaps counts twice."""
    moves = sum(min(abs(note - other) for other in before) for note in after)
    moves += sum(min(abs(note - other) for other in after) for note in before)
    return moves + abs(after[-1] - before[-1])
