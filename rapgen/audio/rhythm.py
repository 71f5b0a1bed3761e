"""Tempo, beats and downbeats of a track.

A *pulse* is what one would tap along to, fast: its tempo lies within the octave from 110 bpm. It is found by
autocorrelation. Beats are its pulses or every other one, and where in the bar they stand is told by what rap is made
of: the kick and new chords come on the downbeat, hats on every beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from rapgen.audio.onsets import FPS, Onsets, find_onsets
from rapgen.groove import BEATS_A_BAR

_PULSE_MIN_BPM = 110.0
_LAGS = 60 * FPS / np.geomspace(_PULSE_MIN_BPM, 2 * _PULSE_MIN_BPM, 480, endpoint=False)  # frames a pulse
_MULTIPLES = {1: 0.5, 2: 1.0, 4: 1.5, 8: 1.5, 16: 1.0}  # of the pulse that are looked at, and what each counts
_HINT_WITHIN, _HINT_SHARE = 0.02, 0.75  # a hint needs a pulse so near to it, with this share of the best's strength
_EVEN_BPM = 150.0  # pulses slower than this are likelier beats than half beats
_STEADY = 0.9  # a pulse whose phase holds so well needs no following
_WORTH = 1.3  # times the onsets that pulses of one tempo fall on: what following them must bring
_BINS = 50  # of a pulse that its phase is told by
_STEPS = 4  # a beat
_BAR = _STEPS * BEATS_A_BAR
# What speaks for a downbeat: onsets of each range, and changes of the notes, on the four beats from there on.
_BEATS = ((1, 0, 0, 0), (0, 0, -0.5, 0), (0, 0.25, 0.5, 0.25), (0, 0.5, 0.5, 0.5), (1, 0, 0, 0))
_GUESS_BPM = 90.0
_EARLY_S = 0.03  # a beat found so far before the track's start opens it


@dataclass(frozen=True)
class Rhythm:
    """The grid of a track, four beats a bar. `confidence` is 0 .. 1: how far the track repeats itself on the grid."""

    tempo_bpm: float
    beats_s: tuple[float, ...]  # seconds from the track's start
    first_downbeat: int  # index into beats_s
    confidence: float


def track_rhythm(audio: np.ndarray, rate: int, *, tempo_hint_bpm: float | None = None) -> Rhythm:
    """Tempo, beats and downbeats of f32 [C, S] at `rate` Hz; a guess of confidence 0 where nothing begins to sound.

    `tempo_hint_bpm`, from a title, tells which octave is meant, and is passed over where the sound has no such pulse.
    """
    onsets = find_onsets(audio, rate)
    envelope = onsets.rise.sum(0)
    if len(envelope) < FPS / 2 or not envelope.any():
        beats = np.arange(0, audio.shape[1] / rate, 60 / (tempo_hint_bpm or _GUESS_BPM))
        return Rhythm(tempo_hint_bpm or _GUESS_BPM, tuple(beats.tolist()), 0, 0.0)
    lag, confidence = _find_pulse(envelope, tempo_hint_bpm)
    pulses, lag = _track(envelope, lag)
    pulse_bpm = 60 * FPS / lag
    a_beat = 1 if _is_beat(onsets, pulses, pulse_bpm, tempo_hint_bpm) else 2
    beats, first_downbeat = _number(onsets, pulses, a_beat)
    return Rhythm(pulse_bpm / a_beat, tuple((beats / FPS).tolist()), first_downbeat, confidence)


# ------------------------------------------------------------------------------------------------------ pulse


def _find_pulse(envelope: np.ndarray, hint_bpm: float | None) -> tuple[float, float]:
    """How many frames a pulse lasts, and how well the track agrees with itself that far on, 0 .. 1."""
    centred = envelope - envelope.mean()
    size = next_fast_len(2 * len(centred), real=True)
    products = irfft(np.abs(rfft(centred, size)) ** 2, size)[: max(2, int(0.8 * len(centred)))]
    correlation = products / products[0] * len(centred) / (len(centred) - np.arange(len(products)))
    strength = np.zeros(len(_LAGS))
    for multiple, weight in _MULTIPLES.items():
        strength += weight * np.interp(_LAGS * multiple, np.arange(len(correlation)), correlation, right=0)
    best = int(np.argmax(strength))
    if hint_bpm is not None:
        octaves = np.log2(60 * FPS / _LAGS / hint_bpm)
        near = np.abs(octaves - np.round(octaves)) < np.log2(1 + _HINT_WITHIN)
        is_peak = strength == maximum_filter1d(strength, 9, mode="wrap")
        hinted = int(np.argmax(np.where(near & is_peak, strength, -np.inf)))
        best = hinted if near[hinted] and strength[hinted] > _HINT_SHARE * strength[best] else best
    return float(_LAGS[best]), float(np.clip(strength[best] / sum(_MULTIPLES.values()), 0, 1))


def _track(envelope: np.ndarray, lag: float) -> tuple[np.ndarray, float]:
    """Where the pulses are, f64 [P] in frames, and how many frames one lasts: evenly spaced where the tempo holds."""
    lag = _refine(envelope, lag)
    even = np.arange(_phase(envelope, lag), len(envelope), lag)
    if _steadiness(envelope, lag) > _STEADY:
        return even, lag
    near = gaussian_filter1d(envelope, 2)
    followed = _follow(envelope, lag)
    if near[np.round(followed).astype(int)].mean() < _WORTH * near[even.astype(int)].mean():
        return even, lag
    return followed, float(np.polyfit(np.arange(len(followed)), followed, 1)[0])


def _phase(envelope: np.ndarray, lag: float) -> float:
    """When the first of pulses `lag` frames apart is, where they are to fall on as many onsets as they can."""
    at = np.arange(0, len(envelope) - 1, lag / _BINS)
    profile = np.interp(at, np.arange(len(envelope)), envelope)
    profile = np.pad(profile, (0, -len(profile) % _BINS)).reshape(-1, _BINS).sum(0)
    return float(np.argmax(gaussian_filter1d(profile, 1, mode="wrap"))) / _BINS * lag


def _refine(envelope: np.ndarray, lag: float) -> float:
    """The lag near `lag` whose frequency, half and double of it the whole track's spectrum is strongest at."""
    size = next_fast_len(8 * len(envelope), real=True)
    spectrum = np.abs(rfft(envelope - envelope.mean(), size))
    lags = lag * np.linspace(0.985, 1.015, 601)
    power = sum(np.interp(size * times / lags, np.arange(len(spectrum)), spectrum) for times in (0.5, 1, 2))
    return float(lags[np.argmax(power)])


def _steadiness(envelope: np.ndarray, lag: float) -> float:
    """0 .. 1: how far stretches of some seconds agree on the phase of the pulse."""
    turns = (envelope - envelope.mean()) * np.exp(-2j * np.pi * np.arange(len(envelope)) / lag)
    size = round(6 * FPS)
    stretches = np.add.reduceat(turns, np.arange(0, len(turns), size))
    return float(np.abs(stretches.sum()) / (np.abs(stretches).sum() + 1e-9))


def _follow(envelope: np.ndarray, lag: float) -> np.ndarray:
    """Pulses about `lag` apart that fall on onsets, by dynamic programming (Ellis 2007), f64 [P] in frames."""
    strength = gaussian_filter1d(envelope, lag / 32) / (envelope.std() + 1e-9)
    back = np.arange(round(lag * 0.7), round(lag * 1.4))
    cost = 100 * np.log(back / lag) ** 2
    total, previous = strength.copy(), np.full(len(strength), -1)
    for now in range(len(back) and int(back[-1]), len(strength)):
        sums = total[now - back] - cost
        best = int(np.argmax(sums))
        total[now] += sums[best]
        previous[now] = now - back[best]
    last = len(total) - round(lag) + int(np.argmax(total[-round(lag) :]))
    pulses = []
    while last >= 0:
        pulses.append(last)
        last = previous[last]
    first = np.arange(pulses[-1] - lag, 0, -lag)[::-1]
    return np.concatenate([first, np.array(pulses[::-1], np.float64)])


# -------------------------------------------------------------------------------------------------- beats, bars


def _is_beat(onsets: Onsets, pulses: np.ndarray, pulse_bpm: float, hint_bpm: float | None) -> bool:
    """Whether a pulse is a beat, else it is half of one.

    A hint tells. Without one: slow pulses are beats, as are those that have notes halfway and chords that change
    after four of them.
    """
    if hint_bpm is not None:
        for is_beat, tempo_bpm in ((True, pulse_bpm), (False, pulse_bpm / 2)):
            if abs(tempo_bpm / hint_bpm - 1) < _HINT_WITHIN:
                return is_beat
    kick, _, noise, hats, changes = _folded(onsets, pulses, 2 * _BAR)
    start = int(np.argmax(_scaled(kick) + _scaled(changes)))
    changes, hats = np.roll(_scaled(changes), -start), np.roll(noise + hats, -start)
    halfway = hats[2::4].mean() / (hats[::4].mean() + 0.1)
    again = changes[_BAR] / max(changes[0], 0.1)
    votes = np.clip(np.log2(halfway / 0.12 + 1e-3), -1, 1) + np.clip(2 * (again - 0.15), -0.5, 0.5)
    return bool(votes > 8 * np.log2(pulse_bpm / _EVEN_BPM))


def _number(onsets: Onsets, pulses: np.ndarray, a_beat: int) -> tuple[np.ndarray, int]:
    """The beats, f64 [B] in frames, that last `a_beat` pulses each, and the index of the first that opens a bar."""
    beats = pulses[::a_beat]
    scores = sum(
        weight * np.roll(_scaled(profile), -_STEPS * beat)
        for profile, weights in zip(_folded(onsets, beats, _BAR), _BEATS, strict=True)
        for beat, weight in enumerate(weights)
    )
    downbeat = int(np.argmax(scores))
    period = np.diff(beats).mean() if len(beats) > 1 else FPS
    around = np.concatenate([[beats[0] - period], beats, [beats[-1] + period]])
    places = np.arange(downbeat % _STEPS / _STEPS - 1, len(beats) + 1)  # a beat may be found to fall between two
    beats = np.interp(places, np.arange(-1, len(beats) + 1), around)
    first_downbeat = downbeat // _STEPS + 1
    early = int(np.sum(beats < -_EARLY_S * FPS))
    beats = np.maximum(beats[early:], 0)
    beats = beats[beats < onsets.rise.shape[1] - 1]
    return beats, min((first_downbeat - early) % BEATS_A_BAR, max(len(beats) - 1, 0))


def _folded(onsets: Onsets, beats: np.ndarray, steps: int) -> np.ndarray:
    """f64 [5, steps], `_STEPS` a beat: the mean onsets of each range, and how the notes change, at each step."""
    count = max((len(beats) - 1) * _STEPS // steps, 1) * steps
    at = np.interp(np.arange(count) / _STEPS, np.arange(len(beats)), beats)
    frames = np.clip(np.round(at).astype(int), 0, onsets.rise.shape[1] - 1)
    rise = maximum_filter1d(onsets.rise, 5, axis=1)[:, frames]
    return np.vstack([rise, _changes(onsets, at)]).reshape(5, -1, steps).mean(1)


def _changes(onsets: Onsets, at: np.ndarray) -> np.ndarray:
    """f64 [N]: how unlike the notes are in the beats before and after each step's time, 0 .. 1."""
    sums = np.concatenate([np.zeros((len(onsets.tones), 1)), np.cumsum(onsets.tones, axis=1, dtype=np.float64)], axis=1)
    sums = sums[:, np.clip(np.round(at / onsets.every).astype(int), 0, sums.shape[1] - 1)]
    changes = np.zeros(len(at))
    if len(at) > 2 * _STEPS:
        spans = sums[:, _STEPS:] - sums[:, :-_STEPS]
        spans /= np.linalg.norm(spans, axis=0) + 1e-9
        changes[_STEPS:-_STEPS] = 1 - (spans[:, _STEPS:] * spans[:, :-_STEPS]).sum(0)
        changes[:_STEPS] = changes[-_STEPS:] = np.median(changes[_STEPS:-_STEPS])
    return changes


def _scaled(profile: np.ndarray) -> np.ndarray:
    spread = profile.std()
    return (profile - profile.mean()) / spread if spread > 1e-6 else np.zeros_like(profile)
