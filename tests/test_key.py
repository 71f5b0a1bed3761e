"""Key: cadences in all keys, transposed and retuned; noise, silence and what is very short."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen import registry
from rapgen.audio.io import resample
from rapgen.audio.key import estimate_key
from rapgen.groove import KEYS, NOTES

RATE = 22_050
CADENCES = {
    "major": ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
    "minor": ((0, 3, 7), (8, 12, 15), (5, 8, 12), (7, 10, 14), (0, 3, 7)),
}


def _cadence(key: str, rate: int = RATE) -> np.ndarray:
    """f32 [1, S]: the chords of a cadence over their roots, each a second long, of notes with five overtones."""
    note, mode = key.split()
    seconds = np.arange(rate) / rate
    chords = []
    for chord in CADENCES[mode]:
        midi = np.array([chord[0] - 24, *chord]) + 60 + NOTES.index(note)
        hz = 440 * 2 ** ((midi - 69) / 12)
        chords.append(
            sum(np.sin(2 * np.pi * f * n * seconds) / n**2 for f in hz for n in range(1, 6) if f * n < rate / 2)
        )
    return (np.concatenate(chords)[None] * 0.1).astype(np.float32)


@pytest.mark.parametrize("key", KEYS)
def test_cadences_are_in_their_keys(key: str) -> None:
    estimate = estimate_key(_cadence(key), RATE)
    assert estimate.key == key
    assert 0 < estimate.confidence <= 1


@settings(max_examples=12, deadline=None)
@given(key=st.sampled_from(KEYS), semitones=st.integers(-5, 2))
def test_what_is_played_faster_is_transposed(key: str, semitones: int) -> None:
    """Of all keys; from three semitones up some are missed, 13 of 96: the higher the bass, the less it tells."""
    played = resample(_cadence(key), round(RATE * 2 ** (semitones / 12)), RATE)
    note, mode = key.split()
    assert estimate_key(played, RATE).key == f"{NOTES[(NOTES.index(note) + semitones) % 12]} {mode}"


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 6])
def test_any_rate_and_channels(rate: int, channels: int) -> None:
    assert estimate_key(np.repeat(_cadence("F# minor", rate), channels, 0), rate).key == "F# minor"


def test_drums_constants_and_gain_do_not_hide_a_key() -> None:
    audio = _cadence("D minor")
    drums = np.random.default_rng(0).standard_normal(audio.shape) * (np.arange(audio.shape[1]) % 11_025 < 800) * 0.2
    assert estimate_key(0.01 * (audio + drums).astype(np.float32) + np.float32(0.3), RATE).key == "D minor"


@pytest.mark.parametrize("samples", [0, 1, 100, 44_100])
def test_silence_is_a_guess(samples: int) -> None:
    assert estimate_key(np.zeros((2, samples), np.float32), 44_100).confidence == 0


@pytest.mark.parametrize("samples", [1, 100, 44_100, 441_000])
def test_noise_has_some_key_and_little_confidence(samples: int) -> None:
    noise = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    estimate = estimate_key(noise, 44_100)
    assert estimate.key in KEYS
    assert 0 <= estimate.confidence <= 1


def test_most_of_beatmaker_is_heard_in_its_key() -> None:
    source = registry.build("source", {"use": "beatmaker", "num_clips": 12, "duration_s": 20.0, "seed": 3})
    clips = [source.load(ref) for ref in source.refs()]
    right = [estimate_key(clip.audio, clip.sample_rate).key == clip.annotations.groove.key for clip in clips]
    assert sum(right) >= 6
