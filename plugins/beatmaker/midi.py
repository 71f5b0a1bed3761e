"""A clip as a standard MIDI file: tempo, key, and a track for the drums and for each part."""

from __future__ import annotations

import io
from typing import Any

from rapgen_plugins.beatmaker.song import STEPS_PER_BEAT, Clock, Part, Song

TICKS_PER_BEAT = 960
_DRUM_CHANNEL = 9
_DRUM_TICKS = TICKS_PER_BEAT // 8
DRUM_NOTES = {  # General MIDI's percussion map
    "kick": 36, "snare": 38, "clap": 39, "snap": 40, "rim": 37, "hat": 42, "open hat": 46, "crash": 49, "ride": 51,
    "shaker": 70, "tambourine": 54, "cowbell": 56, "tom": 45, "conga": 63,
}  # fmt: skip
PROGRAMS = {  # General MIDI's, counted from 0
    "rhodes": 4, "piano": 0, "pad": 89, "strings": 48, "guitar": 24, "muted guitar": 28, "organ": 17, "brass": 61,
    "flute": 73, "bells": 14, "choir": 52, "lead synth": 81, "vibes": 11, "pluck": 45, "cowbell": 112, "808": 38,
    "bass guitar": 33, "upright bass": 32, "synth bass": 39,
}  # fmt: skip
_CHANNELS = {"chords": 0, "bass": 1, "lead": 2, "counter": 3}

Events = list[tuple[int, int, Any]]  # (tick, order, message): notes end before others begin


def write_midi(song: Song) -> bytes:
    """The notes that sound in the clip, its start at tick 0: format 1, drums on channel 10, tracks named by part."""
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(_conductor(song))
    file.tracks.append(_track("drums", _drum_events(song)))
    for name, part in song.parts.items():
        track = _track(f"{name}: {part.instrument}", _part_events(song.clock, part, _CHANNELS[name]))
        track.insert(1, mido.Message("program_change", channel=_CHANNELS[name], program=PROGRAMS[part.instrument]))
        file.tracks.append(track)
    stored = io.BytesIO()
    file.save(file=stored)
    return stored.getvalue()


def _conductor(song: Song) -> Any:
    """Tempo, metre, key, and the sections as markers."""
    import mido

    key = (song.groove.key or "").split()
    metas = [
        mido.MetaMessage("track_name", name=song.style),
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(song.clock.tempo_bpm)),
        mido.MetaMessage("time_signature", numerator=4, denominator=4),
        mido.MetaMessage("key_signature", key=_signature(*key)),
    ]
    marks = [(_tick(song.clock, 16 * section.bar), section.name) for section in song.sections]
    end = _last_tick(song.clock)
    events: Events = [(0, -1, meta) for meta in metas]
    events += [(at, 0, mido.MetaMessage("marker", text=name)) for at, name in marks if 0 <= at < end]
    return _delta(events)


_SIGNATURES = {"D# major": "Eb", "G# major": "Ab", "A# major": "Bb"}  # which MIDI cannot write with sharps


def _signature(note: str, mode: str) -> str:
    return _SIGNATURES.get(f"{note} {mode}", note + ("m" if mode == "minor" else ""))


def _tick(clock: Clock, step: float) -> int:
    """The tick of a swung step."""
    return round(clock.time_s(step) / clock.step_s / STEPS_PER_BEAT * TICKS_PER_BEAT)


def _last_tick(clock: Clock) -> int:
    return round(clock.duration_s / clock.step_s / STEPS_PER_BEAT * TICKS_PER_BEAT)


def _drum_events(song: Song) -> Events:
    events: Events = []
    for voice, hits in song.drums.items():
        for hit in hits:
            if song.clock.holds(hit.step):
                at = _tick(song.clock, hit.step)
                events += _note(at, at + _DRUM_TICKS // 2, _DRUM_CHANNEL, DRUM_NOTES[voice], hit.velocity)
    return events


def _part_events(clock: Clock, part: Part, channel: int) -> Events:
    """A part's notes; what sounds already where the clip starts begins with it, what sounds on is cut where it ends.

    A note that is struck again ends there.
    """
    events: Events = []
    again: dict[int, int] = {}  # where a pitch is struck next
    last = _last_tick(clock)
    for note in reversed(part.notes):
        start = _tick(clock, note.step)
        end = min(_tick(clock, note.step + note.length), again.get(note.midi, last), last)
        again[note.midi] = start
        if start < last and end > 0:
            events += _note(max(start, 0), end, channel, note.midi, note.velocity)
    return events


def _note(start: int, end: int, channel: int, midi: int, velocity: float) -> Events:
    from mido import Message

    loud = max(1, min(127, round(127 * velocity)))
    return [
        (start, 1, Message("note_on", skip_checks=True, channel=channel, note=midi, velocity=loud, time=0)),
        (
            max(end, start + 1),
            0,
            Message("note_off", skip_checks=True, channel=channel, note=midi, velocity=64, time=0),
        ),
    ]


def _track(name: str, events: Events) -> Any:
    import mido

    track = _delta(events)
    track.insert(0, mido.MetaMessage("track_name", name=name))
    return track


def _delta(events: Events) -> Any:
    """Events in the order of time, each told by its distance from the one before."""
    import mido

    track, now = mido.MidiTrack(), 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        message.time = at - now
        track.append(message)
        now = at
    track.append(mido.MetaMessage("end_of_track"))
    return track
