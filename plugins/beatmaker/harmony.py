"""Keys, chords and the parts made of them: comping, riffs and bass lines over a phrase of eight bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rapgen_plugins.beatmaker.patterns import BARS_PER_PHRASE, STEPS_PER_BAR, STEPS_PER_PHRASE, Hit

TONICS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {  # scale degrees, one a bar
    "minor": (
        (0, 0, 5, 5), (0, 5, 2, 6), (0, 3, 0, 4), (0, 5, 3, 4), (0, 6, 5, 6), (0, 3, 5, 4), (0, 0, 3, 3),
        (0, 2, 5, 4), (0, 0, 5, 4), (0, 6, 5, 4), (0, 0, 0, 5), (0, 5, 0, 6), (0, 2, 3, 5), (0, 0, 6, 5),
    ),
    "major": (
        (0, 5, 3, 4), (1, 4, 0, 0), (0, 3, 0, 3), (3, 2, 1, 0), (0, 2, 3, 4), (0, 5, 1, 4), (0, 0, 3, 3),
        (0, 4, 5, 3), (3, 4, 2, 5), (0, 2, 5, 3),
    ),
}  # fmt: skip
COMPING = {  # (step, length) of each stroke in a bar
    "hold": ((0, 16),),
    "stabs": ((0, 3), (6, 2), (10, 3)),
    "charleston": ((0, 6), (6, 10)),
    "pulse": ((0, 4), (4, 4), (8, 4), (12, 4)),
}
_RIFF_WEIGHTS = np.array([6, 0.4, 2, 2, 4, 0.4, 3, 1.5, 4, 0.4, 3, 1.5, 3.5, 0.4, 2, 0.8])


class Note(NamedTuple):
    """One note."""

    step: float  # from the start of the phrase
    length: float  # steps
    midi: int
    velocity: float
    slide_to: int | None = None  # the pitch an 808 glides to


@dataclass(frozen=True)
class Harmony:
    """A key and a chord for each bar of a phrase."""

    tonic: int  # pitch class
    mode: str
    degrees: tuple[int, ...]  # of the scale, one a bar
    chord_size: int
    leading_tone: bool  # whether the dominant of a minor key has a major third

    @property
    def key(self) -> str:
        """The key's name."""
        return f"{TONICS[self.tonic]} {self.mode}"

    def pitch(self, degree: int, bar: int) -> int:
        """Semitones above the tonic's pitch class for a scale degree, which may pass an octave."""
        octave, step = divmod(degree, 7)
        raised = self.leading_tone and self.mode == "minor" and step == 6 and self.degrees[bar] == 4
        return self.tonic + 12 * octave + SCALES[self.mode][step] + raised

    def chord(self, bar: int, low: int) -> list[int]:
        """The bar's chord in stacked thirds, each note within the octave above `low`."""
        stack = [self.pitch(self.degrees[bar] + 2 * i, bar) for i in range(self.chord_size)]
        return sorted({fold(pitch, low) for pitch in stack})


def fold(pitch: int, low: int) -> int:
    """The octave of a pitch that lies within `low` and `low` + 11."""
    return low + (pitch - low) % 12


def draw_harmony(*, minor_chance: float, chord_size: tuple[int, int], rng: np.random.Generator) -> Harmony:
    """A key and four bars of chords, played twice."""
    mode = "minor" if rng.random() < minor_chance else "major"
    progression = PROGRESSIONS[mode][rng.integers(len(PROGRESSIONS[mode]))]
    return Harmony(
        tonic=int(rng.integers(12)),
        mode=mode,
        degrees=progression * 2,
        chord_size=int(rng.integers(chord_size[0], chord_size[1] + 1)),
        leading_tone=bool(rng.random() < 0.4),
    )


def draw_chords(harmony: Harmony, comping: str, rng: np.random.Generator) -> list[Note]:
    """The chords of a phrase, struck in the rhythm of `comping`, or "broken" into 8ths."""
    low = int(rng.integers(52, 60))
    shape = rng.permutation(4) if rng.random() < 0.5 else np.arange(4)
    notes = []
    for bar in range(BARS_PER_PHRASE):
        chord, at = harmony.chord(bar, low), bar * STEPS_PER_BAR
        if comping == "broken":
            order = [chord[shape[i % 4] % len(chord)] for i in range(8)]
            notes += [Note(at + 2.0 * i, 4.0, midi, 0.8) for i, midi in enumerate(order)]
        else:
            strokes = COMPING[comping]
            notes += [Note(float(at + step), length, m, 0.8) for step, length in strokes for m in chord]
    return notes


def draw_lead(harmony: Harmony, rng: np.random.Generator) -> list[Note]:
    """A riff of one or two bars that follows the chords; the end of the phrase answers it."""
    low, motif_bars = int(rng.integers(64, 72)), int(rng.choice([1, 2, 2]))
    motif, answer = (_draw_motif(motif_bars, rng) for _ in range(2))
    notes = []
    for at in range(0, BARS_PER_PHRASE, motif_bars):
        for step, length, contour in answer if at + motif_bars == BARS_PER_PHRASE else motif:
            bar = at + int(step) // STEPS_PER_BAR
            degree = harmony.degrees[bar] % 7 + contour
            if step % 4 == 0:
                degree = _nearest_chord_degree(degree, harmony.degrees[bar])
            midi = low + (harmony.tonic - low) % 12 - harmony.tonic + harmony.pitch(degree, bar)
            midi -= 12 * (midi > low + 17)
            notes.append(Note(at * STEPS_PER_BAR + step, length, midi, 1.0 if step % 4 == 0 else 0.75))
    return notes


def _draw_motif(bars: int, rng: np.random.Generator) -> list[tuple[float, float, int]]:
    """(step, length, scale degrees above the chord's root) of each note."""
    weights = np.tile(_RIFF_WEIGHTS, bars)
    count = int(rng.integers(3 * bars, 7 * bars))
    steps = np.sort(rng.choice(len(weights), count, replace=False, p=weights / weights.sum()))
    lengths = np.minimum(np.diff(steps, append=len(weights)), rng.choice([2, 4, 8]))
    walk = np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2, 4], count)) + rng.integers(0, 5)
    return [
        (float(step), float(length), int(abs(height) % 8))
        for step, length, height in zip(steps, lengths, walk, strict=True)
    ]


def _nearest_chord_degree(degree: int, root: int) -> int:
    return min((degree, degree - 1, degree + 1), key=lambda d: (d - root) % 7 not in (0, 2, 4))


def draw_bass(
    harmony: Harmony, kicks: list[Hit], *, low: int, slide_chance: float, rng: np.random.Generator
) -> list[Note]:
    """A bass line that mostly plays roots, on some of the kicks and on each chord's first beat."""
    keep = {step: rng.random() < 0.75 for step in range(2 * STEPS_PER_BAR)}
    fifth = {step: rng.random() < 0.12 for step in range(2 * STEPS_PER_BAR)}
    starts = {hit.step for hit in kicks if keep[int(hit.step) % (2 * STEPS_PER_BAR)]}
    steps = sorted(starts | {float(bar * STEPS_PER_BAR) for bar in range(BARS_PER_PHRASE)})
    longest = float(rng.choice([4, 8, 16]))
    notes = []
    for step, end in zip(steps, [*steps[1:], float(STEPS_PER_PHRASE)], strict=True):
        bar = int(step) // STEPS_PER_BAR
        above = 4 if fifth[int(step) % (2 * STEPS_PER_BAR)] and step % STEPS_PER_BAR else 0
        midi = fold(harmony.pitch(harmony.degrees[bar] + above, bar), low)
        slides = end - step >= 2 and rng.random() < slide_chance
        slide_to = midi + int(rng.choice([12, 12, 7, -5])) if slides else None
        notes.append(Note(step, min(end - step, longest), midi, 1.0 if step % 4 == 0 else 0.85, slide_to))
    return notes
