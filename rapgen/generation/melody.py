"""A melody made to fit a beat: at its tempo, in its key if asked, over and over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rapgen.audio.melody import melody_key
from rapgen.groove import BEATS_A_BAR, NOTES
from rapgen.interfaces import Groove, Melody, Note

_FEWEST_ONSETS = 4  # that tell a tempo
_TEMPO_STEP = 2 ** (1 / 240)
_USUAL_OCTAVES = 0.2  # how far from the beat's tempo a hummed tune's is likely to be
_TAIL_BEATS = 0.5  # of a last note, which opens no bar


def fill_groove(groove: Groove, melody: Melody, *, transpose: bool) -> Groove:
    """What a prompt leaves open, as the melody has it: its tempo, and its key where it stays in it."""
    key = groove.key or (None if transpose else melody_key(melody))
    return replace(groove, tempo_bpm=groove.tempo_bpm or melody.tempo_bpm, key=key)


def fit_melody(melody: Melody, groove: Groove, *, transpose: bool) -> Melody:
    """The melody at the groove's tempo, in its key with `transpose`, repeated in whole bars.

    A tune whose tempo is not known is taken to be near the groove's, where its onsets fit a grid of eighths best, and
    to begin with the beat. Without a tempo in the groove it stays as it is and is heard once.
    """
    if transpose and groove.key is not None:
        melody = _moved(melody, _interval(melody_key(melody), groove.key), groove.key)
    if groove.tempo_bpm is None or not melody.notes:
        return melody
    tempo_bpm = melody.tempo_bpm or _tempo_near(melody, groove.tempo_bpm)
    start_s = 0.0 if melody.tempo_bpm else melody.notes[0].start_s
    factor = _octave(tempo_bpm / groove.tempo_bpm)
    fitted = _timed(melody, lambda time_s: (time_s - start_s) * factor)
    bar_s = BEATS_A_BAR * 60 / groove.tempo_bpm
    tail_s = _TAIL_BEATS * 60 / groove.tempo_bpm
    bars = max(1, math.ceil((fitted.notes[-1].end_s - tail_s) / bar_s))
    return replace(fitted, tempo_bpm=groove.tempo_bpm, loop_s=bars * bar_s)


def _tempo_near(melody: Melody, tempo_bpm: float) -> float:
    """Within half an octave of `tempo_bpm`, the tempo on whose eighths the notes begin most nearly."""
    onsets_s = np.array([note.start_s for note in melody.notes])
    if len(onsets_s) < _FEWEST_ONSETS:
        return tempo_bpm
    octaves = np.log2(_TEMPO_STEP) * np.arange(-120, 121)
    eighths_hz = 2 * tempo_bpm * 2**octaves / 60
    on_grid = np.abs(np.exp(2j * np.pi * eighths_hz[:, None] * onsets_s).mean(1))
    likely = np.exp(-((octaves / _USUAL_OCTAVES) ** 2) / 2)
    return float(tempo_bpm * 2 ** octaves[int(np.argmax(on_grid * likely))])


def _octave(factor: float) -> float:
    """A stretch by less than half an octave: a tune at 70 goes with a beat at 140 as it is."""
    return float(2 ** ((math.log2(factor) + 0.5) % 1 - 0.5))


def _interval(key: str, wanted: str) -> int:
    """Semitones, the fewest, from a key to another, or to its relative where one is major and one minor."""
    (tonic, mode), (goal, goal_mode) = key.split(), wanted.split()
    relative = 0 if mode == goal_mode else 3 if mode == "minor" else -3
    return (NOTES.index(goal) - NOTES.index(tonic) - relative + 6) % 12 - 6


def _moved(melody: Melody, semitones: int, key: str) -> Melody:
    notes = tuple(replace(note, midi=note.midi + semitones) for note in melody.notes)
    return replace(melody, notes=notes, key=key)


def _timed(melody: Melody, place: Callable[[float], float]) -> Melody:
    notes = tuple(Note(place(note.start_s), place(note.end_s), note.midi) for note in melody.notes)
    return replace(melody, notes=notes)
