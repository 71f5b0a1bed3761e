"""From a song to sound: every part on a track of its own, then the mix."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from rapgen_plugins.beatmaker.arrangement import Part, Song
from rapgen_plugins.beatmaker.bass import play_line
from rapgen_plugins.beatmaker.drums import build_kit
from rapgen_plugins.beatmaker.harmony import Note
from rapgen_plugins.beatmaker.instruments import INSTRUMENTS
from rapgen_plugins.beatmaker.mix import mix
from rapgen_plugins.beatmaker.patterns import STEPS_PER_BAR, STEPS_PER_PHRASE, Hit
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, Signal, midi_to_hz, num_samples, place

Event = TypeVar("Event", Note, Hit)

_BUSES = {
    "kick": ("kick",),
    "snare": ("snare", "clap", "rim"),
    "hats": ("hat", "open hat", "shaker", "crash"),
    "perc": ("perc",),
}


def render(song: Song, rng: np.random.Generator) -> tuple[Signal, dict[str, float], Signal]:
    """Play and mix a song: float32 [samples], how loud each track is against the whole, in dB, and the lead alone."""
    bar_samples = round(STEPS_PER_BAR * song.clock.step_s * SAMPLE_RATE)
    past = 0 if song.opens else bar_samples  # played and cut off, so that what rang before is heard
    length = num_samples(song.clock.duration_s)
    tracks = _drum_tracks(song, past, length, rng)
    for name, part in song.parts.items():
        notes = _unroll(part.notes, song, name, past)
        if part.instrument in INSTRUMENTS:
            tracks[name] = _play(part, notes, song, past + length, rng)
        else:
            tracks[name] = play_line(part.instrument, notes, song.clock.step_s, past + length, rng)
    lead = tracks["lead"][past:] if "lead" in tracks else np.zeros(length, np.float32)
    audio, levels = mix(tracks, song, past, rng)
    return audio, levels, lead / max(1.0, float(np.abs(lead).max()))


def _unroll(events: list[Event], song: Song, part: str, past: int) -> list[tuple[int, Event]]:
    """Repeat a phrase over the clip and the bar before it: (sample, event) of what is active, in order."""
    last = past + num_samples(song.clock.duration_s)
    unrolled = []
    for phrase in range(-1, song.clock.num_phrases):
        for event in events:
            step = event.step + phrase * STEPS_PER_PHRASE
            bar = int(step // STEPS_PER_BAR) if step >= 0 else int(event.step // STEPS_PER_BAR)
            at = past + song.clock.sample(step)
            if 0 <= at < last and song.active[part][bar]:
                unrolled.append((at, event))
    return sorted(unrolled, key=lambda item: item[0])


def _drum_tracks(song: Song, past: int, length: int, rng: np.random.Generator) -> dict[str, Signal]:
    """The drums on four buses."""
    kit = build_kit(song.style.kit, song.drums, rng)
    tracks = {}
    for bus, voices in _BUSES.items():
        tracks[bus] = np.zeros(past + length, np.float32)
        for voice in voices:
            part = "hats" if voice in ("hat", "open hat", "shaker") else "drums"
            for at, hit in _unroll(song.drums.get(voice, []), song, part, past):
                place(tracks[bus], at, kit[voice], hit.velocity)
    return tracks


def _play(part: Part, notes: list[tuple[int, Note]], song: Song, length: int, rng: np.random.Generator) -> Signal:
    """A part on an instrument; a note of the same pitch and length is made once."""
    play = INSTRUMENTS[part.instrument](rng)
    track = np.zeros(length, np.float32)
    made: dict[tuple[int, float], Signal] = {}
    for at, note in notes:
        voice = (note.midi, note.length)
        if voice not in made:
            made[voice] = play(midi_to_hz(note.midi), note.length * song.clock.step_s)
        place(track, at, made[voice], note.velocity)
    return track
