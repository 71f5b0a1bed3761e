"""From a song to sound: every part played on a track of its own, then the mix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rapgen_plugins.beatmaker.bass import Tone, draw_bass, slide
from rapgen_plugins.beatmaker.instruments import draw_patch
from rapgen_plugins.beatmaker.kits import build_kit
from rapgen_plugins.beatmaker.mix import Tracks, mix
from rapgen_plugins.beatmaker.palettes import PALETTES, Palette
from rapgen_plugins.beatmaker.patches import Patch
from rapgen_plugins.beatmaker.samples import LONGEST_S
from rapgen_plugins.beatmaker.song import Hit, Note, Part, Song
from rapgen_plugins.beatmaker.sounds import Sounds, open_sounds
from rapgen_plugins.beatmaker.synth import (
    HOP,
    SAMPLE_RATE,
    Signal,
    fade,
    midi_to_hz,
    num_samples,
    place,
    spread_out,
)

_IN_THE_HALL = ("snare", "clap", "snap", "rim", "tom", "conga", "cowbell", "tambourine")
_BASS_RELEASE_S = 0.03
_STRENGTHS = 4  # tones of a note, from soft to hard


Event = TypeVar("Event", Note, Hit)


@dataclass(frozen=True)
class Rendered:
    """A song's sound, float32 [2, samples] at 44.1 kHz."""

    mix: Signal
    stems: Mapping[str, Signal]  # "drums", "bass", "music" and "effects", the sum of which is the mix; "lead", of music
    levels_db: Mapping[str, float]  # each part, drum voice and "vinyl crackle" against the mix
    effects: tuple[str, ...]  # the texture that can be heard: "vinyl crackle", "tape wow", "side-chain" ...
    sounds: Mapping[str, str]  # where sounds come from, and their licences


@dataclass(frozen=True)
class _Stage:
    """What all players share: the song, and a stretch of `length` samples of which the clip is the last part."""

    song: Song
    past: int
    length: int
    palette: Palette
    sounds: Sounds
    held_out: bool

    def cues(self, events: Iterable[Event], *, ring: int) -> list[tuple[int, Event]]:
        """(sample, event) of all that can be heard if they ring for so many samples, in order.

        A loop comes around before the clip begins.
        """
        clock = self.song.clock
        clip = self.length - self.past
        turns = range(-(-self.past // clip), -1, -1) if clock.is_loop else (0,)
        at = [(self.past + clock.sample(event.step, SAMPLE_RATE), event) for event in events]
        return [
            (sample - turn * clip, event)
            for turn in turns
            for sample, event in at
            if -ring < sample - turn * clip < self.length
        ]

    def samples(self, note: Note) -> int:
        """How long a note is held."""
        return num_samples(note.length * self.song.clock.step_s)


def render(
    song: Song, rng: np.random.Generator, *, soundfont: str | None = None, samples_dir: str | None = None
) -> Rendered:
    """Play and mix a song, where the user gives them with the sounds of an SF2 and of a folder of one-shots.

    Drums, parts and mix have streams of their own, so that none moves the others. Raises what `open_sounds` does.
    """
    sounds = open_sounds(soundfont, samples_dir)
    palette = PALETTES[song.style]
    drums_rng, mix_rng, *part_rngs = rng.spawn(2 + len(song.parts))
    opens = song.clock.start_step == 0 and not song.clock.is_loop
    past = 0 if opens else num_samples(0.7 * palette.hall_s[1] + 0.2)  # until the hall is 40 dB down
    length = past + song.clock.num_samples(SAMPLE_RATE)
    stage = _Stage(song, past, length, palette, sounds, held_out=song.split == "test")
    drums, snares, voices_db = _play_drums(stage, drums_rng)
    music, bass = {}, np.zeros(length, np.float32)
    for (name, part), part_rng in zip(song.parts.items(), part_rngs, strict=True):
        if name == "bass":
            bass = _play_bass(stage, part, part_rng)
        else:
            music[name] = _play_part(stage, part, part_rng)
    kicks = [(at, hit.velocity) for at, hit in stage.cues(song.drums.get("kick", ()), ring=SAMPLE_RATE)]
    step = song.clock.step_s * SAMPLE_RATE
    mixed = mix(Tracks(drums, snares, bass, music, kicks, past, step, song.clock.is_loop), palette, mix_rng)
    levels_db = {voice: level_db + mixed.levels_db["drums"] for voice, level_db in voices_db.items()}
    return Rendered(mixed.mix, mixed.stems, mixed.levels_db | levels_db, mixed.effects, sounds.origins)


def _play_drums(stage: _Stage, rng: np.random.Generator) -> tuple[Signal, Signal, dict[str, float]]:
    """The drums [2, samples], what of them goes into the hall [samples], and each voice's level against all, in dB."""
    palette, drums = stage.palette, stage.song.drums
    kit = build_kit(palette, stage.sounds, rng, held_out=stage.held_out)
    track, hall = np.zeros((2, stage.length), np.float32), np.zeros(stage.length, np.float32)
    kick_db, energy = rng.uniform(*palette.drums), {}
    power: dict[int, float] = {}
    ring = num_samples(LONGEST_S)
    closings = np.array([at for at, _ in stage.cues(drums.get("hat", ()), ring=ring)] + [2**62])
    for voice, hits in drums.items():
        voice_db = kick_db + palette.drums_db[voice] + (rng.uniform(-1.5, 1.5) if voice != "kick" else 0)
        energy[voice] = 1e-9
        for stroke, (at, hit) in enumerate(stage.cues(hits, ring=ring)):
            shot = kit(voice, hit.velocity, stroke)
            gain = 10 ** (voice_db / 20) * hit.velocity
            until = int(closings[np.searchsorted(closings, at + 1)]) - at if voice == "open hat" else shot.shape[-1]
            place(track, at, _choked(shot, until), gain)
            if voice in _IN_THE_HALL:
                place(hall, at, shot[0], gain)
            power.setdefault(id(shot), float(np.vdot(shot, shot)))
            energy[voice] += gain**2 * power[id(shot)] * (at >= stage.past)
    whole = sum(energy.values())
    return track, hall, {voice: 10 * float(np.log10(one / whole)) for voice, one in energy.items()}


def _choked(shot: Signal, n: int) -> Signal:
    """An open hat until it is closed."""
    return shot if n >= shot.shape[-1] else fade(shot[..., :n].copy(), attack_s=0, release_s=0.012)


def _play_part(stage: _Stage, part: Part, rng: np.random.Generator) -> Signal:
    """A part on an instrument, [2, samples]; notes of one pitch and strength are made once, as long as the longest."""
    patch = stage.sounds.patch(part.instrument) or draw_patch(part.instrument, rng, held_out=stage.held_out)
    release = num_samples(patch.release_s)
    ring = release + max((stage.samples(note) for note in part.notes), default=0)
    track = np.zeros((2, stage.length), np.float32)
    heard: list[tuple[tuple[int, int], int, int, Note]] = []
    longest: dict[tuple[int, int], int] = {}
    for at, note in stage.cues(part.notes, ring=ring):
        n = stage.samples(note) + release
        key = note.midi, _strength(note)
        if at + n > 0:
            heard.append((key, at, n, note))
            longest[key] = max(longest.get(key, 0), n)
    made: dict[tuple[int, int], Signal] = {}
    for key, at, n, note in heard:
        if key not in made:
            made[key] = patch.play(midi_to_hz(note.midi), (key[1] + 0.7) / _STRENGTHS, longest[key])
        place(track, at, fade(made[key][:, :n].copy(), attack_s=0, release_s=patch.release_s), note.velocity)
    if patch.tremolo:
        track *= _tremolo(stage, patch.tremolo_hz, patch.tremolo)
    return track


def _strength(note: Note) -> int:
    return min(int(note.velocity * _STRENGTHS), _STRENGTHS - 1)


def _tremolo(stage: _Stage, rate_hz: float, depth: float) -> Signal:
    """A gain [2, samples] that goes from side to side, a whole number of times in a loop."""
    clip_s = (stage.length - stage.past) / SAMPLE_RATE
    if stage.song.clock.is_loop:
        rate_hz = max(round(rate_hz * clip_s), 1) / clip_s
    at_s = (np.arange(stage.length // HOP + 1) + 0.5) * HOP / SAMPLE_RATE
    sway = spread_out(0.5 * depth * np.sin(2 * np.pi * rate_hz * at_s), stage.length)
    return np.stack([1 - np.float32(0.5 * depth) + sway, 1 - np.float32(0.5 * depth) - sway])


def _play_bass(stage: _Stage, part: Part, rng: np.random.Generator) -> Signal:
    """A bass line [samples]: one voice, so that a note ends where the next begins."""
    tone = draw_bass(part.instrument, stage.palette.bass_ranges, rng, held_out=stage.held_out)
    slide_s = rng.uniform(0.05, 0.14)
    if patch := stage.sounds.patch(part.instrument):
        tone = _in_the_middle(patch)
    track = np.zeros(stage.length, np.float32)
    release = num_samples(_BASS_RELEASE_S)
    ring = release + max((stage.samples(note) for note in part.notes), default=0)
    cues = stage.cues(part.notes, ring=ring)
    ends: Sequence[int] = [at for at, _ in cues[1:]] + [2**62] * bool(cues)
    made: dict[tuple[int, int | None, int, int], Signal] = {}
    for (at, note), end in zip(cues, ends, strict=True):
        n = min(stage.samples(note) + release, end - at + release // 4)
        if n <= release or at + n <= 0:
            continue
        strength = _strength(note)
        key = note.midi, note.slide_to, strength, n
        if key not in made:
            velocity = (strength + 0.7) / _STRENGTHS
            if note.slide_to is None:
                sound = tone(midi_to_hz(note.midi), velocity, n)
            else:
                sound = slide(tone, note.midi, note.slide_to, velocity, n, slide_s=slide_s)
            made[key] = fade(sound, attack_s=0, release_s=_BASS_RELEASE_S)
        place(track, at, made[key], note.velocity)
    return track


def _in_the_middle(patch: Patch) -> Tone:
    return lambda freq_hz, velocity, n: patch.play(freq_hz, velocity, n).mean(axis=0)
