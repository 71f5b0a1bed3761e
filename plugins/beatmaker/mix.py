"""The mix: levels, tape, side-chain, rooms and crackle, and the stems that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rapgen_plugins.beatmaker.effects import crackle, echo, hall_response, reverb, sampler, wow
from rapgen_plugins.beatmaker.master import HOP, frames, master_gain, spread_out
from rapgen_plugins.beatmaker.palettes import Palette
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, Signal, drive, highpass, lowpass

_LEVEL_FRAME = SAMPLE_RATE // 10  # samples
_AUDIBLE_PUMP = 0.15
_AUDIBLE_WOW_MS = 0.3


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
    drums = drive(tracks.drums, rng.uniform(*palette.drum_drive))
    bass = _at_level(tracks.bass, rng.uniform(*palette.bass_db))
    bass = bass * _side_chain(tracks, rng.uniform(*palette.duck), 0.09)
    parts = _music(tracks, palette, heard, rng)
    rooms = _rooms(parts, tracks, palette, heard, rng)
    buses = {"drums": drums, "bass": np.stack([bass, bass]), **parts, "rooms": rooms}
    if rng.random() < palette.crackle_chance:
        heard.append("vinyl crackle")
        buses["vinyl crackle"] = _gain(rng.uniform(*palette.crackle_db)) * crackle(drums.shape[-1], rng)
    buses = {name: bus[:, tracks.past :] for name, bus in buses.items()}
    total = np.sum(list(buses.values()), axis=0)
    gain = master_gain(total, ratio=rng.uniform(*palette.squeeze), wraps=tracks.wraps)
    total_db = _level_db(total)
    levels_db = {name: _level_db(bus) - total_db for name, bus in buses.items()}
    buses = {name: bus * gain for name, bus in buses.items()}
    stems = {name: buses[name] for name in ("drums", "bass")}
    stems["music"] = np.sum([buses[name] for name in parts], axis=0)
    stems["effects"] = np.sum([bus for name, bus in buses.items() if name not in (*stems, *parts)], axis=0)
    whole = np.sum(list(stems.values()), axis=0)
    return Mixed(whole, {**stems, "lead": buses.get("lead", np.zeros_like(whole))}, levels_db, tuple(heard))


def _music(tracks: Tracks, palette: Palette, heard: list[str], rng: np.random.Generator) -> dict[str, Signal]:
    """The pitched parts through one chain: levels, filters, an old sampler, tape, and the kick's side-chain."""
    low_hz, high_hz = rng.uniform(*palette.music_highpass_hz), rng.uniform(*palette.music_lowpass_hz)
    sampler_hz = rng.uniform(22_000, 30_000) if rng.random() < palette.music_sampler_chance else 0.0
    wow_ms, pump = rng.uniform(*palette.wow_ms), rng.uniform(*palette.pump)
    if sampler_hz:
        heard.append("12-bit sampler")
    if wow_ms > _AUDIBLE_WOW_MS:
        heard.append("tape wow")
    if pump > _AUDIBLE_PUMP:
        heard.append("side-chain")
    ducked = _side_chain(tracks, pump, 0.16)
    period_s = (tracks.drums.shape[-1] - tracks.past) / SAMPLE_RATE if tracks.wraps else None
    tape = int(rng.integers(2**31))  # one tape for all parts
    parts = {}
    for name, track in tracks.music.items():
        level_db = palette.chords_db if name == "chords" else palette.lead_db
        part = _at_level(track, rng.uniform(*level_db) - (3 if name == "counter" else 0))
        part = sampler(lowpass(highpass(part, low_hz), high_hz), sampler_hz)
        if wow_ms:
            part = wow(part, wow_ms, np.random.Generator(np.random.Philox(tape)), period_s=period_s)
        parts[name] = part * ducked
    return parts


def _rooms(
    parts: Mapping[str, Signal], tracks: Tracks, palette: Palette, heard: list[str], rng: np.random.Generator
) -> Signal:
    """The hall and the echo alone, [2, samples]."""
    length_s, amount = rng.uniform(*palette.hall_s), rng.uniform(*palette.hall)
    response = hall_response(length_s, rng.uniform(*palette.hall_hz), rng)
    send = np.sum([part.mean(0) * (1.3 if name == "lead" else 1.0) for name, part in parts.items()], axis=0)
    send = send.astype(np.float32) + np.float32(rng.uniform(0.15, 0.5)) * tracks.snares
    wet = np.float32(amount) * reverb(send, response)
    if amount > 0.25:
        heard.append("reverb")
    steps = int(rng.choice([3, 4, 6]))
    if rng.random() < palette.echo_chance and "lead" in parts:
        heard.append("echo")
        delay = round(steps * tracks.step)
        wet += echo(parts["lead"], delay, feedback=rng.uniform(0.25, 0.42), cutoff_hz=rng.uniform(2500, 5000))
    return wet


def _at_level(track: Signal, level_db: float) -> Signal:
    """Bring a track near a level where it sounds: resting most of the time makes a part no louder."""
    power = np.square(frames(track, _LEVEL_FRAME)).mean(axis=-1, dtype=float)
    power = power.mean(axis=0) if power.ndim == 2 else power
    if not power.any():
        return track
    return track * (_gain(level_db) / np.float32(np.sqrt((power**2).sum() / power.sum())))


def _side_chain(tracks: Tracks, depth: float, recover_s: float) -> Signal:
    """A gain that gives way to each kick at once and comes back in about `recover_s`; told by the notes, not the sound."""
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
    return float(10 * np.log10(np.vdot(signal, signal) / signal.size + 1e-12))


def _gain(level_db: float) -> np.float32:
    return np.float32(10 ** (level_db / 20))
