"""The mix: levels, tape, side-chain, rooms and crackle, and the stems that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rapgen_plugins.beatmaker.effects import crackle, echo, hall_response, reverb, run_tape, sampler, tape
from rapgen_plugins.beatmaker.master import master_gain
from rapgen_plugins.beatmaker.palettes import OFF, Palette
from rapgen_plugins.beatmaker.synth import (
    HOP,
    SAMPLE_RATE,
    Signal,
    add_up,
    band_response,
    convolve,
    drive,
    frames,
    pan,
    spread_out,
)

_LEVEL_FRAME = SAMPLE_RATE // 10  # samples
_AUDIBLE_PUMP = 0.15
_AUDIBLE_WOW_MS = 0.3
_AUDIBLE_HALL = 0.25

STEMS = ("drums", "bass", "music", "effects")  # that add up to the mix


@dataclass(frozen=True)
class Tracks:
    """What was played, before the mix: all float32, of one length."""

    drums: Signal  # [2, samples], levelled
    snares: Signal  # [samples], what of the drums goes into the hall
    bass: Signal  # [samples]
    music: Mapping[str, Signal]  # "chords" and perhaps "lead" and "counter": [2, samples]
    kicks: Sequence[tuple[int, float]]  # when, in samples, and how hard
    past: int  # samples before the clip begins
    step: float  # samples of a 16th
    wraps: bool  # the end of the clip goes over into its start


@dataclass(frozen=True)
class Mixed:
    """A clip's sound, all [2, samples]: the first four stems add up to the mix, and "lead" is a part of "music"."""

    mix: Signal
    stems: dict[str, Signal]
    levels_db: dict[str, float]  # of each track within the clip, against the mix
    effects: tuple[str, ...]  # those that can be heard


def mix(tracks: Tracks, palette: Palette, rng: np.random.Generator) -> Mixed:
    """Mix and master; the samples before the clip are left out."""
    heard: list[str] = []
    levelled = {name: _at_its_place(name, track, palette, rng) for name, track in tracks.music.items()}
    bass = _at_level(tracks.bass, rng.uniform(*palette.bass_db))
    bass *= _side_chain(tracks, rng.uniform(*palette.duck), 0.09)
    backing, lead = _chain(levelled, tracks, palette, heard, rng)
    drums = drive(_in_a_room(tracks.drums, palette, rng), rng.uniform(*palette.drum_drive))
    effects = _rooms(backing, lead, tracks, palette, heard, rng)
    surface_db = rng.uniform(*palette.crackle_db)
    if rng.random() < palette.crackle_chance:
        heard.append("vinyl crackle")
        effects += _gain(surface_db) * crackle(drums.shape[-1], rng)
    music = backing
    if lead is not None:
        music += lead
    stems = {"drums": drums, "bass": bass[None], "music": music, "effects": effects}
    if lead is not None:
        stems["lead"] = lead
    stems = {name: stem[:, tracks.past :] for name, stem in stems.items()}
    total = add_up(stems[name] for name in STEMS)
    gain = master_gain(total, ratio=rng.uniform(*palette.squeeze), wraps=tracks.wraps)
    total_db = _level_db(total)
    levels_db = {name: _level_db(stem[:, tracks.past :]) - total_db for name, stem in levelled.items()}
    levels_db |= {name: _level_db(stems[name]) - total_db for name in ("drums", "bass")}
    if "vinyl crackle" in heard:
        levels_db["vinyl crackle"] = surface_db + 3 - total_db
    total *= gain
    for stem in stems.values():
        stem *= gain
    stems["bass"] = np.repeat(stems["bass"], 2, axis=0)
    stems.setdefault("lead", np.zeros_like(total))
    return Mixed(total, stems, levels_db, tuple(heard))


def _in_a_room(drums: Signal, palette: Palette, rng: np.random.Generator) -> Signal:
    """The drums with a small room around them, where the palette has one."""
    if palette.room == OFF:
        return drums
    response = hall_response(rng.uniform(*palette.room_s), 5500, rng, ahead_s=0.004)
    return drums + reverb(drums[0] + drums[1], response * np.float32(0.5 * rng.uniform(*palette.room)))


def _at_its_place(name: str, track: Signal, palette: Palette, rng: np.random.Generator) -> Signal:
    """A part at its level and somewhat to a side: the lead near the middle, chords and counter away from each other."""
    level_db = rng.uniform(*(palette.chords_db if name == "chords" else palette.lead_db)) - 3 * (name == "counter")
    side = {"chords": -0.22, "counter": 0.4}.get(name, 0.1) * rng.uniform(0.3, 1.0)
    track = _at_level(track, level_db)
    track *= pan(np.ones(1, np.float32), side)
    return track


def _chain(
    parts: Mapping[str, Signal], tracks: Tracks, palette: Palette, heard: list[str], rng: np.random.Generator
) -> tuple[Signal, Signal | None]:
    """The pitched parts, the lead apart, through filters, an old sampler, tape, and the kick's side-chain."""
    n = tracks.drums.shape[-1]
    band = band_response(rng.uniform(*palette.music_highpass_hz), rng.uniform(*palette.music_lowpass_hz))
    sampler_hz = rng.uniform(22_000, 30_000) if rng.random() < palette.music_sampler_chance else 0.0
    wow_ms, pump = rng.uniform(*palette.wow_ms), rng.uniform(*palette.pump)
    period_s = (n - tracks.past) / SAMPLE_RATE if tracks.wraps else None
    worn = tape(n, wow_ms, rng, period_s=period_s) if wow_ms else None
    ducked = _side_chain(tracks, pump, 0.16)
    told = {"12-bit sampler": sampler_hz, "tape wow": wow_ms > _AUDIBLE_WOW_MS, "side-chain": pump > _AUDIBLE_PUMP}
    heard += [name for name, is_heard in told.items() if is_heard]

    def run(part: Signal) -> Signal:
        part = sampler(convolve(part, band[None]), sampler_hz)
        if worn is not None:
            part = run_tape(part, worn)
        part *= ducked
        return part

    backing = run(add_up(part for name, part in parts.items() if name != "lead"))
    return backing, run(parts["lead"]) if "lead" in parts else None


def _rooms(
    backing: Signal,
    lead: Signal | None,
    tracks: Tracks,
    palette: Palette,
    heard: list[str],
    rng: np.random.Generator,
) -> Signal:
    """The hall and the echo alone, [2, samples]."""
    amount = rng.uniform(*palette.hall)
    response = hall_response(rng.uniform(*palette.hall_s), rng.uniform(*palette.hall_hz), rng)
    send = np.float32(0.5) * (backing[0] + backing[1]) + np.float32(rng.uniform(0.15, 0.5)) * tracks.snares
    if lead is not None:
        send += np.float32(0.65) * (lead[0] + lead[1])
    wet = reverb(send, np.float32(amount) * response)
    if amount > _AUDIBLE_HALL:
        heard.append("reverb")
    delay, feedback = round(int(rng.choice([3, 4, 6])) * tracks.step), rng.uniform(0.25, 0.42)
    if rng.random() < palette.echo_chance and lead is not None:
        heard.append("echo")
        wet += echo(lead, delay, feedback=feedback)
    return wet


def _at_level(track: Signal, level_db: float) -> Signal:
    """Bring a track, in place, near a level where it sounds: resting most of the time makes a part no louder."""
    rows = frames(np.atleast_2d(track), _LEVEL_FRAME)
    power = np.einsum("cfh,cfh->f", rows, rows).astype(float) / (len(rows) * _LEVEL_FRAME)
    if not power.any():
        return track
    track *= _gain(level_db) / np.float32(np.sqrt((power**2).sum() / power.sum()))
    return track


def _side_chain(tracks: Tracks, depth: float, recover_s: float) -> Signal:
    """A gain that gives way to each kick of the score at once and comes back in about `recover_s`."""
    n = tracks.drums.shape[-1]
    control = np.zeros(n // HOP + 1)
    t = np.arange(int(4 * recover_s * SAMPLE_RATE / HOP)) * HOP / SAMPLE_RATE
    shape = np.exp(-((t / recover_s) ** 1.5))
    for at, velocity in tracks.kicks:
        first = at // HOP
        skip, last = max(-first, 0), min(first + len(shape), len(control))
        if first + skip < last:
            part = control[first + skip : last]
            np.maximum(part, velocity * shape[skip : skip + len(part)], out=part)
    return spread_out(1 - depth * control, n)


def _level_db(signal: Signal) -> float:
    return float(10 * np.log10(sum(np.dot(channel, channel) for channel in signal) / signal.size + 1e-12))


def _gain(level_db: float) -> np.float32:
    return np.float32(10 ** (level_db / 20))
