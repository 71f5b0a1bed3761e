"""Loudness: the reference signals of EBU Tech 3341, any rate and channels, and what is no sound at all."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.audio.loudness import loudness_lufs


def _tone(*parts: tuple[float, float], channels: int = 2, rate: int = 48_000) -> np.ndarray:
    """A 1 kHz sine, in turn so many dBFS for so many seconds."""
    levels = np.concatenate([np.full(round(seconds * rate), 10 ** (level / 20)) for level, seconds in parts])
    sine = levels * np.sin(2 * np.pi * 1000 * np.arange(len(levels)) / rate)
    return np.repeat(sine[None], channels, 0).astype(np.float32)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),  # the relative gate
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),  # and the absolute one
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_reference_signals_are_within_a_tenth(parts: list[tuple[float, float]], lufs: float) -> None:
    assert loudness_lufs(_tone(*parts), 48_000) == pytest.approx(lufs, abs=0.1)


def test_surround_is_weighted_and_the_lfe_counts_nothing() -> None:
    levels = np.array([-28, -28, -24, -np.inf, -30, -30])
    audio = _tone((0, 20), channels=6) * (10 ** (levels / 20))[:, None].astype(np.float32)
    assert loudness_lufs(audio, 48_000) == pytest.approx(-23.0, abs=0.1)
    assert loudness_lufs(np.delete(audio, 3, 0), 48_000) == pytest.approx(-23.0, abs=0.1)
    audio[3] = audio[2]
    assert loudness_lufs(audio, 48_000) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
def test_every_rate_measures_alike(rate: int) -> None:
    assert loudness_lufs(_tone((-23, 3), rate=rate), rate) == pytest.approx(-23.0, abs=0.1)


def test_noise_is_as_loud_as_pyloudnorm_says() -> None:
    rng = np.random.default_rng(0)
    audio = (rng.standard_normal((2, 44_100 * 12)) * np.geomspace(0.001, 0.3, 44_100 * 12)).astype(np.float32)
    said = pyloudnorm.Meter(44_100).integrated_loudness(audio.T.astype(np.float64))
    assert loudness_lufs(audio, 44_100) == pytest.approx(said, abs=0.1)


def test_one_channel_is_three_lu_softer_than_two() -> None:
    stereo, mono = _tone((-20, 2)), _tone((-20, 2), channels=1)
    assert loudness_lufs(stereo, 48_000) - loudness_lufs(mono, 48_000) == pytest.approx(10 * np.log10(2), abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(gain_db=st.floats(-30, 20), seconds=st.floats(0.5, 12.0))
def test_gain_adds_up_and_length_does_not_matter(gain_db: float, seconds: float) -> None:
    audio = _tone((-20, seconds), rate=16_000)
    louder = audio * np.float32(10 ** (gain_db / 20))
    assert loudness_lufs(louder, 16_000) == pytest.approx(loudness_lufs(audio, 16_000) + gain_db, abs=0.05)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.3, 1.0])
def test_silence_has_no_loudness(seconds: float) -> None:
    assert loudness_lufs(np.zeros((2, round(44_100 * seconds)), np.float32), 44_100) == -np.inf


def test_constant_offset_is_not_heard() -> None:
    audio = _tone((-23, 20))
    assert loudness_lufs(audio + np.float32(0.2), 48_000) == pytest.approx(-23.0, abs=0.1)


def test_what_is_shorter_than_a_block_is_still_measured() -> None:
    assert -40 < loudness_lufs(_tone((-23, 0.2)), 48_000) < -23
