"""Musical facts in words: tempo, key, style, feel and bars, read from free text and written back."""

from __future__ import annotations

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(f"{note} {mode}" for note in NOTES for mode in ("major", "minor"))
STYLES = ("boom bap", "trap", "lo-fi", "drill", "west coast", "phonk", "jazz rap", "cloud rap")
FEELS = ("straight", "half", "double")
