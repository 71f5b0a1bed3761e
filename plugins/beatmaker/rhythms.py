"""Rhythms of notes, written a character a 16th: x a note, - held on, . a rest."""

from __future__ import annotations

from rapgen_plugins.beatmaker.song import STEPS_PER_BAR


def read_cell(pattern: str) -> tuple[list[tuple[float, float]], int]:
    """(step, length) of each note, and the bars that the pattern spans."""
    marks = pattern.replace("|", "")
    notes: list[tuple[float, float]] = []
    for step, mark in enumerate(marks):
        if mark == "x":
            held = len(marks[step + 1 :]) - len(marks[step + 1 :].lstrip("-"))
            notes.append((float(step), 1.0 + held))
    return notes, len(marks) // STEPS_PER_BAR


def read_rhythm(pattern: str, num_bars: int) -> list[tuple[float, float]]:
    """(step, length) of each note of a pattern that repeats over `num_bars`."""
    cell, bars = read_cell(pattern)
    last = num_bars * STEPS_PER_BAR
    starts = range(0, last, bars * STEPS_PER_BAR)
    return [(at + step, min(length, last - at - step)) for at in starts for step, length in cell if at + step < last]
