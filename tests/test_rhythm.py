"""Rhythm: synthetic beats at drawn tempos and phases, tempos that drift, hints, and what is no beat at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen import registry
from rapgen.audio.rhythm import Rhythm, track_rhythm

RATE = 22_050
TEMPOS = st.floats(82, 108) | st.floats(122, 148)


def _hits(times_s: np.ndarray, duration_s: float, rate: int, *, hz: float | None) -> np.ndarray:
    """A drum at each time: a decaying sine, or noise where `hz` is None."""
    audio = np.zeros(round(duration_s * rate), np.float32)
    seconds = np.arange(round(0.08 * rate)) / rate
    noise = np.random.default_rng(1).standard_normal(len(seconds))
    hit = np.exp(-seconds / 0.015) * (noise if hz is None else np.sin(2 * np.pi * hz * seconds))
    for start in np.round(times_s[(times_s >= 0) & (times_s < duration_s)] * rate).astype(int):
        audio[start : start + len(hit)] += hit[: len(audio) - start]
    return audio


def _beat(beats_s: np.ndarray, duration_s: float, rate: int = RATE) -> np.ndarray:
    """f32 [1, S]: a kick and a new chord on every fourth beat, the first included, a snare on 2 and 4, hats in 8ths."""
    eighths = np.interp(np.arange(2 * len(beats_s)) / 2, np.arange(len(beats_s)), beats_s)
    kick = _hits(beats_s[::4], duration_s, rate, hz=60)
    snare = _hits(beats_s[1::2], duration_s, rate, hz=None)
    hats = np.diff(_hits(eighths, duration_s, rate, hz=None), prepend=0)
    seconds = np.arange(len(kick)) / rate
    bar = np.searchsorted(beats_s[::4], seconds, side="right") % 4
    chord = np.sin(2 * np.pi * np.array([220.0, 277.2, 329.6, 246.9])[bar] * seconds)
    return (0.8 * kick + 0.3 * snare + 0.1 * hats + 0.1 * chord)[None].astype(np.float32)


def _steady(tempo_bpm: float, start_s: float, duration_s: float) -> np.ndarray:
    return np.arange(start_s, duration_s + 60 / tempo_bpm, 60 / tempo_bpm)


def _errors_s(true: np.ndarray, rhythm: Rhythm, duration_s: float) -> np.ndarray:
    """Of each beat that sounds: how far the nearest found one is."""
    return np.abs(true[true < duration_s - 0.1][:, None] - np.array(rhythm.beats_s)).min(1)


@settings(max_examples=15, deadline=None)
@given(tempo_bpm=TEMPOS, turn=st.floats(0, 1))
def test_tempo_beats_and_downbeat_of_a_beat(tempo_bpm: float, turn: float) -> None:
    true = _steady(tempo_bpm, turn * 60 / tempo_bpm, 25)
    rhythm = track_rhythm(_beat(true, 25), RATE)
    assert rhythm.tempo_bpm == pytest.approx(tempo_bpm, rel=2e-3)
    assert _errors_s(true, rhythm, 25).max() < 0.03
    assert np.abs(true[::4] - rhythm.beats_s[rhythm.first_downbeat]).min() < 0.03
    assert 0.3 < rhythm.confidence <= 1


def test_the_grid_of_three_minutes_holds_to_its_end() -> None:
    true = _steady(91.37, 0.31, 180)
    rhythm = track_rhythm(_beat(true, 180), RATE)
    assert _errors_s(true, rhythm, 180).max() < 0.02
    assert np.diff(rhythm.beats_s) == pytest.approx(60 / rhythm.tempo_bpm, abs=1e-6)


@pytest.mark.parametrize("drift", [-0.04, 0.03, 0.06])
def test_a_tempo_that_drifts_is_followed(drift: float) -> None:
    seconds_a_beat = 60 / np.linspace(92, 92 * (1 + drift), 140)
    true = 0.2 + np.r_[0, np.cumsum(seconds_a_beat)]
    rhythm = track_rhythm(_beat(true, 80), RATE)
    assert _errors_s(true, rhythm, 80).max() < 0.05
    assert rhythm.tempo_bpm == pytest.approx(60 / np.diff(true[true < 80]).mean(), rel=0.01)


@pytest.mark.parametrize(
    ("hint_bpm", "heard_bpm"),
    [(90.0, 90.0), (180.0, 180.0), (91.5, 90.0), (117.0, 90.0), (70.0, 90.0)],
    ids=["right", "double is meant", "rounded", "wrong", "wrong and slow"],
)
def test_a_hint_settles_the_octave_and_nothing_else(hint_bpm: float, heard_bpm: float) -> None:
    audio = _beat(_steady(90, 0.1, 25), 25)
    assert track_rhythm(audio, RATE, tempo_hint_bpm=hint_bpm).tempo_bpm == pytest.approx(heard_bpm, rel=2e-3)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 6])
def test_any_rate_and_channels(rate: int, channels: int) -> None:
    true = _steady(94, 0.25, 12)
    rhythm = track_rhythm(np.repeat(_beat(true, 12, rate), channels, 0), rate)
    assert rhythm.tempo_bpm == pytest.approx(94, rel=5e-3)
    assert _errors_s(true, rhythm, 12).max() < 0.05


@settings(max_examples=10, deadline=None)
@given(gain_db=st.floats(-50, 20), offset=st.floats(-0.5, 0.5))
def test_gain_and_a_constant_offset_change_nothing(gain_db: float, offset: float) -> None:
    audio = _beat(_steady(88, 0.1, 12), 12)
    rhythm = track_rhythm(audio * np.float32(10 ** (gain_db / 20)) + np.float32(offset), RATE)
    assert rhythm.tempo_bpm == pytest.approx(88, rel=5e-3)
    assert rhythm.first_downbeat == track_rhythm(audio, RATE).first_downbeat


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.2, 1.0, 30.0])
def test_silence_is_a_guess_with_beats_all_the_same(seconds: float) -> None:
    rhythm = track_rhythm(np.zeros((2, round(44_100 * seconds)), np.float32), 44_100, tempo_hint_bpm=88)
    assert (rhythm.tempo_bpm, rhythm.first_downbeat, rhythm.confidence) == (88, 0, 0)
    assert len(rhythm.beats_s) == np.ceil(seconds * 88 / 60)


@pytest.mark.parametrize("seconds", [0.6, 1.0, 2.3, 20.0])
def test_noise_is_in_doubt(seconds: float) -> None:
    noise = np.random.default_rng(0).standard_normal((2, round(44_100 * seconds))).astype(np.float32) * 0.1
    rhythm = track_rhythm(noise, 44_100)
    assert rhythm.confidence < 0.3
    beats = np.array(rhythm.beats_s)
    assert 0 <= rhythm.first_downbeat < max(len(beats), 1)
    assert (beats >= 0).all()
    assert (beats < seconds).all()
    assert (np.diff(beats) > 0.2).all()


def test_beatmaker_is_heard_as_it_is_annotated() -> None:
    source = registry.build("source", {"use": "beatmaker", "num_clips": 8, "duration_s": 20.0, "seed": 3})
    found = []
    for clip in map(source.load, source.refs()):
        true = np.array(clip.annotations.beats_s)
        rhythm = track_rhythm(clip.audio, clip.sample_rate)
        octaves = np.log2(rhythm.tempo_bpm / (clip.annotations.groove.tempo_bpm or np.nan))
        found.append(abs(octaves - round(octaves)) < 0.03 and np.median(_errors_s(true, rhythm, 20)) < 0.07)
    assert sum(found) >= 7
