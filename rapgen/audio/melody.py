"""Melodies: the line of notes in a recording, or in a MIDI file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rapgen.audio.io import read_audio, resample
from rapgen.audio.key import fit_key
from rapgen.errors import AudioError, PluginError, PromptError
from rapgen.groove import TEMPO_MAX_BPM, TEMPO_MIN_BPM, read_groove
from rapgen.interfaces import Melody, Note

MIDI_SUFFIXES = (".mid", ".midi")
_TRACKER_RATE = 16_000  # Hz, of swift-f0
_VOICED = 0.5  # swift-f0's own bound of confidence
_SMOOTH_FRAMES = 5  # of 16 ms; a slip of two frames is no note
_SHORTEST_S = 0.06
_DRUM_CHANNEL = 9


def read_melody(path: str | Path) -> Melody:
    """The melody of a hummed, whistled or played recording, or of a MIDI file (its highest notes, drums apart).

    Tempo and key come from the MIDI file or from words in the file's name ("hook 92 bpm Am.wav").
    Raises AudioError where the file cannot be read or holds no melody, PluginError where a package is missing.
    """
    path = Path(path)
    is_midi = path.suffix.lower() in MIDI_SUFFIXES
    melody = _read_midi(path) if is_midi else Melody(track_melody(*read_audio(path, mono=True)))
    if not melody.notes:
        mend = "give one with notes" if is_midi else "hum, whistle or play one line, not too softly"
        raise AudioError(f"{path} holds no melody that can be heard; {mend}")
    try:
        named = read_groove(path.stem.replace("_", " ").replace("-", " "))
    except PromptError:
        return melody
    return Melody(melody.notes, melody.tempo_bpm or named.tempo_bpm, melody.key or named.key)


def pitch_classes(melody: Melody, times_s: np.ndarray) -> np.ndarray:
    """The pitch class of the note that sounds at each time, float64 [F] -> int64 [F]: C is 0, a rest is -1."""
    if not melody.notes:
        return np.full(len(times_s), -1)
    if melody.loop_s is not None:
        times_s = times_s % melody.loop_s
    starts, ends, midi = np.array([(note.start_s, note.end_s, note.midi) for note in melody.notes]).T
    at = np.searchsorted(starts, times_s, side="right") - 1
    sounds = (at >= 0) & (times_s < ends[at])
    return np.where(sounds, midi[at] % 12, -1).astype(np.int64)


def track_melody(audio: np.ndarray, sample_rate: int) -> tuple[Note, ...]:
    """The notes of the dominant pitch in f32 [C, S], tuned to itself: a singer a quarter tone low is heard in tune.

    Raises PluginError where swift-f0 is not installed.
    """
    mono = resample(audio.mean(0, keepdims=True), sample_rate, _TRACKER_RATE)[0]
    if mono.size == 0:
        return ()
    heard = _tracker().detect(mono, _TRACKER_RATE)
    voiced = heard.confidence >= _VOICED
    pitch = 69 + 12 * np.log2(np.maximum(heard.pitch_hz, 1.0) / 440)
    if voiced.any():
        pitch = pitch - np.angle(np.exp(2j * np.pi * pitch[voiced]).mean()) / (2 * np.pi)
    midi = np.where(voiced, np.round(pitch), -1).astype(np.int64)
    return _notes(_median(midi), heard.timestamps)


def _notes(midi: np.ndarray, times_s: np.ndarray) -> tuple[Note, ...]:
    """Runs of one pitch, int64 [T] with -1 where there is none; what is too short belongs to no note."""
    bounds = np.flatnonzero(np.diff(midi)) + 1
    starts, ends = np.r_[0, bounds], np.r_[bounds, len(midi)]
    frame_s = float(times_s[1] - times_s[0]) if len(times_s) > 1 else _SHORTEST_S
    runs = [
        Note(float(times_s[start]), float(times_s[end - 1]) + frame_s, int(midi[start]))
        for start, end in zip(starts, ends, strict=True)
        if midi[start] >= 0
    ]
    return tuple(note for note in runs if note.end_s - note.start_s >= _SHORTEST_S)


def _median(midi: np.ndarray) -> np.ndarray:
    """Each value's median among its neighbours; the ends look at themselves."""
    padded = np.pad(midi, _SMOOTH_FRAMES // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH_FRAMES), axis=1).astype(np.int64)


_loaded: Any = None


def _tracker() -> Any:
    """swift-f0, on one thread: several clips at a time are several processes' work."""
    global _loaded
    if _loaded is None:
        try:
            from swift_f0 import SwiftF0
        except ImportError as error:
            raise PluginError(f"pitch is found by the package '{error.name}': pip install 'rapgen[melody]'") from error
        _loaded = SwiftF0(threads=1)
    return _loaded


# ----------------------------------------------------------------------------------------------------- MIDI


def _read_midi(path: Path) -> Melody:
    if not path.is_file():
        raise AudioError(f"no MIDI file at {path}")
    import mido

    try:
        messages = list(mido.MidiFile(path))  # in seconds, by the file's tempos
        tempo_bpm = next((mido.tempo2bpm(m.tempo) for m in messages if m.type == "set_tempo"), 120.0)
    except (OSError, EOFError, ValueError, KeyError, IndexError, ArithmeticError) as error:
        reason = str(error) or "it ends early"
        raise AudioError(f"{path} cannot be read as MIDI ({reason}); export it anew") from None
    if not TEMPO_MIN_BPM <= tempo_bpm <= TEMPO_MAX_BPM:  # of a file that counts otherwise
        tempo_bpm = None
    key = next((m.key for m in messages if m.type == "key_signature"), None)
    return Melody(_highest(messages), tempo_bpm, _midi_key(key))


def _midi_key(name: str | None) -> str | None:
    """ "F#m" -> "F# minor", "Bb" -> "A# major": as rapgen names keys."""
    return None if name is None else read_groove(f"key: {name}").key


def _highest(messages: list[Any]) -> tuple[Note, ...]:
    """At every moment the highest note that sounds."""
    time_s, sounding, line = 0.0, set[tuple[int, int]](), [(0.0, -1)]
    for message in messages:
        time_s += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUM_CHANNEL:
            continue
        is_start = message.type == "note_on" and message.velocity > 0
        (sounding.add if is_start else sounding.discard)((message.channel, message.note))
        line.append((time_s, max((note for _, note in sounding), default=-1)))
    line.append((time_s, -1))
    notes: list[Note] = []
    for (start_s, midi), (end_s, _) in pairwise(line):
        if midi < 0 or end_s <= start_s:
            continue
        if notes and notes[-1].midi == midi and notes[-1].end_s == start_s:
            start_s = notes.pop().start_s
        notes.append(Note(start_s, end_s, midi))
    return tuple(notes)


# ------------------------------------------------------------------------------------------------------ key


def melody_key(melody: Melody) -> str:
    """The key a melody is in: the one it names, else the one whose profile its notes fit best; C major fits noise."""
    if melody.key is not None:
        return melody.key
    lasting = np.zeros(12)
    for note in melody.notes:
        lasting[note.midi % 12] += note.end_s - note.start_s
    return fit_key(lasting).key
