"""Tempo, beats and downbeats of a track."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import uniform_filter1d

from rapgen.audio.io import resample

_RATE, _N_FFT, _HOP = 22_050, 1024, 220
_FPS = _RATE / _HOP
_EDGES_HZ = (30.0, 150.0, 2000.0, 6000.0, 11_000.0)  # kick and bass; snare's body and music; snare's noise; hats
_BANDS = 10  # in each of these
_PULSE_MIN_BPM = 110.0  # pulses lie within the octave that begins here


@dataclass(frozen=True)
class Rhythm:
    """Where the beats of the grid are: four make a bar. `confidence` 0 .. 1; 0 is a guess."""

    tempo_bpm: float
    beats_s: tuple[float, ...]  # seconds from the track's start
    first_downbeat: int  # index into beats_s
    confidence: float


def track_rhythm(audio: np.ndarray, rate: int, *, tempo_hint_bpm: float | None = None) -> Rhythm:
    """Tempo, beats and downbeats of f32 [C, S] at `rate` Hz.

    A hint (from a title) is followed where the sound agrees within a few per cent at some octave.
    """
    onsets = _onsets(audio, rate)
    envelope = onsets.sum(0)
    if len(envelope) < 4 or not envelope.any():
        return _guess(audio.shape[1] / rate, tempo_hint_bpm or 90.0)
    lag, strength = _pulse_lag(envelope)
    lag, phase = _refine(envelope, lag)
    pulse_bpm = 60 * _FPS / lag
    tempo = _grid_tempo(pulse_bpm, tempo_hint_bpm)
    step = 1 if tempo > 0.75 * pulse_bpm else 2
    folded = _fold(onsets, lag, phase, 4 * step)
    place = folded[0] - folded[2] + np.roll(folded[2], -2)  # a kick, and a snare two pulses later
    downbeat = int(np.argmax(place))
    beats = np.arange(phase + (downbeat % step) * lag, len(envelope), lag * step)
    first = min(downbeat // step, max(0, len(beats) - 1))
    return Rhythm(float(tempo), tuple(float(x) for x in beats / _FPS), int(first), float(np.clip(strength, 0, 1)))


def _grid_tempo(pulse_bpm: float, hint_bpm: float | None) -> float:
    """The pulse's own tempo or half of it."""
    tempos = (pulse_bpm, pulse_bpm / 2)
    if hint_bpm is not None:
        nearest = min(tempos, key=lambda tempo: abs(np.log2(tempo / hint_bpm)))
        if abs(nearest / hint_bpm - 1) < 0.04:
            return nearest
    return tempos[0] if pulse_bpm < 153 else tempos[1]


def _guess(duration_s: float, tempo_bpm: float) -> Rhythm:
    return Rhythm(tempo_bpm, tuple(float(beat) for beat in np.arange(0, duration_s, 60 / tempo_bpm)), 0, 0.0)


def _onsets(audio: np.ndarray, rate: int) -> np.ndarray:
    """f32 [C, S] -> f32 [4, T]: how much louder each range of the spectrum gets, `_FPS` times a second."""
    mono = resample(audio.mean(0, keepdims=True), rate, _RATE)[0]
    mono = np.pad(mono, (_N_FFT // 2, _N_FFT // 2))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _N_FFT)[::_HOP]
    filters = _filters()
    window = np.hanning(_N_FFT).astype(np.float32)
    bands = np.concatenate(
        [np.abs(rfft(part * window, axis=1)) @ filters for part in np.array_split(frames, -(-len(frames) // 1024))]
    )
    loud = np.log1p(bands * 100).T
    rise = np.maximum(np.diff(loud, axis=1, prepend=loud[:, :1]), 0)
    onsets = rise.reshape(4, _BANDS, -1).sum(1)
    onsets -= uniform_filter1d(onsets, round(_FPS), axis=1)
    onsets = np.maximum(onsets, 0)
    return onsets / (onsets.std(1, keepdims=True) + 1e-3)


@lru_cache
def _filters() -> np.ndarray:
    """f32 [bins, bands]: triangles, `_BANDS` in each range, evenly spaced in octaves."""
    edges = np.concatenate([np.geomspace(lo, hi, _BANDS, endpoint=False) for lo, hi in itertools.pairwise(_EDGES_HZ)])
    edges = np.r_[edges, _EDGES_HZ[-1]]
    hz = rfftfreq(_N_FFT, 1 / _RATE)
    filters = np.zeros((len(hz), len(edges) - 1), np.float32)
    for index, (lo, hi) in enumerate(itertools.pairwise(edges)):
        inside = (hz >= lo) & (hz < hi)
        if not inside.any():
            inside[np.argmin(np.abs(hz - (lo + hi) / 2))] = True
        filters[inside, index] = 1 / inside.sum() / (_N_FFT / 4)
    return filters


def _autocorrelation(envelope: np.ndarray) -> np.ndarray:
    centred = envelope - envelope.mean()
    size = next_fast_len(2 * len(centred), real=True)
    spectrum = rfft(centred, size)
    acf = irfft(spectrum * spectrum.conj(), size)[: len(centred)]
    return acf / acf[0] * (len(acf) / np.arange(len(acf), 0, -1))


def _pulse_lag(envelope: np.ndarray) -> tuple[float, float]:
    acf = _autocorrelation(envelope)
    acf = acf[: max(2, int(0.8 * len(acf)))]
    tempos = np.geomspace(_PULSE_MIN_BPM, 2 * _PULSE_MIN_BPM, 480, endpoint=False)
    lags = 60 * _FPS / tempos
    score = np.zeros(len(tempos))
    for multiple, weight in ((1, 0.5), (2, 1.0), (4, 1.5), (8, 1.5), (16, 1)):
        score += weight * np.interp(lags * multiple, np.arange(len(acf)), acf, right=0)
    best = int(np.argmax(score))
    return float(lags[best]), float(score[best] / 5.5)


def _refine(envelope: np.ndarray, lag: float) -> tuple[float, float]:
    """The period and phase, in frames, of the pulse near `lag` that the onsets of the whole track agree on best."""
    times = np.arange(len(envelope))
    centred = envelope - envelope.mean()
    width = 0.015
    for _ in range(2):
        lags = lag * (1 + np.linspace(-width, width, 61))
        power = sum(np.abs(np.exp(-2j * np.pi * k * times / lags[:, None]) @ centred) for k in (0.5, 1, 2))
        lag = float(lags[int(np.argmax(power))])
        width /= 20
    folded = _fold(envelope[None], lag, 0.0, 1, 50)[0]
    return lag, float(np.argmax(folded)) / 50 * lag


def _fold(onsets: np.ndarray, lag: float, phase: float, pulses: int, bins: int = 1) -> np.ndarray:
    """[N, T] -> [N, pulses * bins]: the mean around each place within `pulses` pulses."""
    at = np.arange(phase, onsets.shape[1] - 1, lag / bins)
    taken = np.stack(
        [
            np.maximum.reduce(
                [np.interp(at + d, np.arange(len(o)), o) for d in ((-2, -1, 0, 1, 2) if bins == 1 else (0,))]
            )
            for o in onsets
        ]
    )
    size = pulses * bins
    whole = taken.shape[1] // size
    if whole == 0:
        return np.pad(taken, ((0, 0), (0, size - taken.shape[1])))
    return taken[:, : whole * size].reshape(len(onsets), whole, size).mean(1)
