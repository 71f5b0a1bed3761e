"""The mix: levels, room, tape and crackle, then a master of even loudness that never clips."""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

from rapgen_plugins.beatmaker.arrangement import Song
from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Signal,
    decay,
    highpass,
    lowpass,
    noise,
    num_samples,
    sine,
    times_s,
)

LOUDNESS_DB = -14.0  # of the weighted signal's RMS
_CEILING = 0.97
_FRAME = SAMPLE_RATE // 10  # samples
_SHOTS = ("kick", "snare", "hats", "perc")  # levelled by their peak, everything else by its loudness


def mix(tracks: dict[str, Signal], song: Song, past: int, rng: np.random.Generator) -> tuple[Signal, dict[str, float]]:
    """Sum tracks and master them, leaving out the first `past` samples: float32 [samples], and levels.

    Levels are each track's loudness within the clip against the whole, in dB, "crackle" among them.
    """
    style = song.style
    tracks = {name: _at_level(name, track, style.levels_db[name], rng) for name, track in tracks.items()}
    for name in tracks.keys() & {"chords", "lead"}:
        tracks[name] = highpass(lowpass(tracks[name], song.music_lowpass_hz), 110)
    tracks["bass"] = tracks["bass"] * _duck(tracks["kick"], rng.uniform(0.2, 0.7))
    music = tracks["chords"]
    if "lead" in tracks:
        echo_s = rng.choice([0, 3, 4, 6]) * song.clock.step_s
        music = music + _echo(tracks["lead"], num_samples(echo_s))
    music = _wow(music, rng.uniform(*style.wow_ms), rng)
    send = music + rng.uniform(0.1, 0.4) * (tracks["snare"] + tracks["perc"])
    room = rng.uniform(0.1, 0.3) * _reverb(send, rng.uniform(*style.reverb_s), rng)
    total = music + room + tracks["bass"] + sum(tracks[name] for name in _SHOTS)
    if rng.random() < style.crackle_chance:
        tracks["crackle"] = _crackle(len(total), style.levels_db["crackle"] + rng.uniform(-4, 4), rng)
        total = total + tracks["crackle"]
    total = lowpass(highpass(total, 25), rng.uniform(*style.master_lowpass_hz), order=1)
    whole_db = _loudness_db(total[past:])
    levels = {name: _rms_db(track[past:]) - whole_db for name, track in tracks.items()}
    return _master(total[past:] * _gain(LOUDNESS_DB - whole_db), song.drive), levels


def _at_level(name: str, track: Signal, level_db: float, rng: np.random.Generator) -> Signal:
    """Bring a track near its level, give or take 2 dB."""
    level_db += rng.uniform(-2, 2)
    if name in _SHOTS:
        return track * _gain(level_db)
    frames = track[: len(track) // _FRAME * _FRAME].reshape(-1, _FRAME)
    rms = np.sqrt((frames**2).mean(axis=1))
    sounding = rms[rms > 0.03 * rms.max()]  # a part that rests most of the time is no louder for it
    return track * (_gain(level_db) / np.percentile(sounding, 75)) if len(sounding) else track


def _duck(kick: Signal, depth: float) -> Signal:
    """A gain that gives way to the kick for about 100 ms."""
    step = SAMPLE_RATE // 200
    frames = np.abs(kick[: len(kick) // step * step]).reshape(-1, step).max(axis=1)
    frames = frames / max(frames.max(), 1e-6)
    held = np.interp(np.arange(len(kick)) / step, np.arange(len(frames)), frames)
    return 1 - np.float32(depth) * np.minimum(held, 1).astype(np.float32)


def _wow(signal: Signal, depth_ms: float, rng: np.random.Generator) -> Signal:
    """The pitch of a worn tape: a delay that sways by `depth_ms`."""
    if depth_ms == 0:
        return signal
    t = times_s(len(signal))
    sway = sine(rng.uniform(0.3, 0.8) * t + rng.random()) + 0.06 * sine(rng.uniform(5, 9) * t)
    at = np.maximum(np.arange(len(signal)) - depth_ms * 1e-3 * SAMPLE_RATE * (1.06 + sway), 0)
    before = at.astype(np.int64)
    after = np.minimum(before + 1, len(signal) - 1)
    return signal[before] + (at - before).astype(np.float32) * (signal[after] - signal[before])


def _echo(signal: Signal, delay: int) -> Signal:
    """Add three echoes, each duller and softer."""
    out, tap = signal.copy(), signal
    for _ in range(3) if delay else ():
        late = np.concatenate([np.zeros(delay, np.float32), tap])[: len(signal)]
        tap = np.float32(0.35) * lowpass(late, 4000, order=1)
        out += tap
    return out


def _reverb(signal: Signal, length_s: float, rng: np.random.Generator) -> Signal:
    """A room of noise that dies by 60 dB in `length_s`."""
    n = num_samples(length_s)
    tail = highpass(lowpass(noise(n, rng) * decay(n, length_s / 6.9), 5000, order=1), 200)
    tail /= np.sqrt((tail**2).sum())
    return oaconvolve(signal, tail)[: len(signal)].astype(np.float32)


def _crackle(n: int, level_db: float, rng: np.random.Generator) -> Signal:
    """A vinyl surface: sparse ticks over faint hiss; the ticks reach 24 dB above the hiss."""
    ticks = np.zeros(n, np.float32)
    count = rng.poisson(rng.uniform(3, 14) * n / SAMPLE_RATE)
    ticks[rng.integers(0, n, count)] = rng.exponential(1.0, count) * rng.choice([-1, 1], count)
    ticks = lowpass(ticks, rng.uniform(3000, 7000))
    hiss = lowpass(highpass(noise(n, rng), 800, order=1), 6000, order=1)
    ticks *= 16 / max(np.abs(ticks).max(), 1e-6)
    return _gain(level_db) * (hiss + ticks)


def _master(signal: Signal, amount: float) -> Signal:
    """Saturate, make up for what that cost in loudness, and stay below the ceiling."""
    knee = 0.85 - 0.25 * amount
    signal = _soft_clip(signal, knee=knee)
    return _soft_clip(signal * _gain(LOUDNESS_DB - _loudness_db(signal)), knee=knee)


def _soft_clip(signal: Signal, *, knee: float) -> Signal:
    """Leave what is below `knee`, bend what is above towards the ceiling."""
    room = np.float32(_CEILING - knee)
    over = np.maximum(np.abs(signal) - np.float32(knee), np.float32(0))
    return np.asarray(signal + np.sign(signal) * (room * np.tanh(over / room) - over))


def _loudness_db(signal: Signal) -> float:
    """RMS in dB after a weighting like the ear's: less below 60 Hz, 4 dB more above 1500 Hz."""
    weighted = highpass(signal, 60)
    return _rms_db(weighted + np.float32(0.58) * highpass(weighted, 1500, order=1))


def _rms_db(signal: Signal) -> float:
    return float(10 * np.log10(np.dot(signal, signal) / len(signal) + 1e-12))


def _gain(level_db: float) -> np.float32:
    return np.float32(10 ** (level_db / 20))
