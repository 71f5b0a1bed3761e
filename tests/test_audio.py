"""Audio files in and out, rates, channels, and everything that is not audio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rapgen.audio.io import fit_channels, read_audio, resample, write_wav
from rapgen.audio.mel import LogMel
from rapgen.audio.metadata import audio_duration_s
from rapgen.audio.rate import to_rate
from rapgen.errors import AudioError, RapgenError

RATE = 24_000


def sine(*, rate: int = RATE, duration_s: float = 1.0, hz: float = 440.0, channels: int = 1) -> np.ndarray:
    times_s = np.arange(round(duration_s * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * hz * times_s)
    return np.repeat(tone[None], channels, 0).astype(np.float32)


def encode_av(path: Path, codec: str, audio: np.ndarray, rate: int) -> None:
    """Write f32 [C, S] with PyAV; skips where its FFmpeg cannot encode `codec`."""
    av = pytest.importorskip("av")
    try:
        encoder = av.codec.Codec(codec, "w")
    except Exception:
        pytest.skip(f"this FFmpeg has no {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder.name, rate=rate)
        stream.layout = "mono" if len(audio) == 1 else "stereo"
        interleaved = np.round(audio.T * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=stream.layout.name)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@given(
    audio=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 3), st.integers(1, 300)), elements=st.floats(-1, 1, width=32)
    ),
    rate=st.sampled_from([8_000, 22_050, 44_100, 48_000]),
)
@settings(max_examples=30, deadline=None)
def test_wav_comes_back_to_16_bits(tmp_path_factory: pytest.TempPathFactory, audio: np.ndarray, rate: int) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    write_wav(path, audio, rate)
    again, read_rate = read_audio(path)
    assert read_rate == rate
    assert again.shape == audio.shape
    assert again.dtype == np.float32
    assert np.abs(again - audio).max() <= 1.51 / 32767
    info = soundfile.info(path)
    assert (info.format, info.subtype) == ("WAV", "PCM_16")


def test_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.array([[2.0, -2.0, 1.0, -1.0]], np.float32), RATE)
    again, _ = read_audio(tmp_path / "a.wav")
    assert np.allclose(again, [[1, -1, 1, -1]], atol=1e-4)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_soundfile_formats(tmp_path: Path, name: str, channels: int) -> None:
    tone = sine(rate=44_100, channels=channels)
    soundfile.write(tmp_path / name, tone.T, 44_100)
    audio, rate = read_audio(tmp_path / name)
    assert rate == 44_100
    assert audio.shape[0] == channels
    assert abs(audio.shape[1] - 44_100) < 3000  # an MP3 is padded
    assert np.abs(audio[:, 4000:40000]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("name", "codec"), [("a.opus", "libopus"), ("a.m4a", "aac"), ("a.webm", "libopus")])
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_that_downloads_come_in(tmp_path: Path, name: str, codec: str, channels: int) -> None:
    encode_av(tmp_path / name, codec, sine(rate=48_000, channels=channels), 48_000)
    audio, rate = read_audio(tmp_path / name, sample_rate=RATE)
    assert rate == RATE
    assert audio.shape[0] == channels
    assert abs(audio.shape[1] - RATE) < 2500
    spectrum = np.abs(np.fft.rfft(audio[0, 4000:20000]))
    assert np.argmax(spectrum) * RATE / 16000 == pytest.approx(440, abs=3)


def test_reading_can_resample_and_mix_down(tmp_path: Path) -> None:
    stereo = np.concatenate([sine(rate=44_100), np.zeros((1, 44_100), np.float32)])
    write_wav(tmp_path / "a.wav", stereo, 44_100)
    audio, rate = read_audio(tmp_path / "a.wav", sample_rate=RATE, mono=True)
    assert (audio.shape, rate) == ((1, RATE), RATE)
    assert np.abs(audio[0, 2000:-2000] - sine()[0, 2000:-2000] / 2).max() < 1e-3


def bad_files() -> dict[str, bytes]:
    return {"empty": b"", "text": b"this is no beat\n" * 100, "torn": b"RIFF\xff\xff\xff\xffWAVEfmt "}


@pytest.mark.parametrize("content", bad_files().values(), ids=bad_files())
def test_what_is_no_audio_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav") as raised:
        read_audio(path)
    assert "\n" not in str(raised.value)


PLAY_LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("content", PLAY_LISTS.values(), ids=PLAY_LISTS)
@pytest.mark.parametrize("read", [read_audio, audio_duration_s])
def test_a_play_list_opens_no_other_file(tmp_path: Path, content: str, read: Callable[[Path], object]) -> None:
    soundfile.write(tmp_path / "secret.wav", sine()[0], RATE)
    (tmp_path / "a.m3u8").write_text(content)
    with pytest.raises(AudioError, match=r"a\.m3u8 cannot be read as audio"):
        read(tmp_path / "a.m3u8")


def test_missing_files_and_folders_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(AudioError, match="no audio file at"):
            read_audio(path)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), RATE)
    with pytest.raises(AudioError, match="holds no audio"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    tone = sine()
    tone[0, 100] = value
    soundfile.write(tmp_path / "a.wav", tone.T, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="not numbers"):
        write_wav(tmp_path / "b.wav", tone, RATE)
    assert not (tmp_path / "b.wav").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RapgenError, match="cannot write"):
        write_wav(tmp_path / "file" / "a.wav", sine(), RATE)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot write"):
        write_wav(tmp_path / "a.wav", np.zeros((0, 10), np.float32), RATE)
    assert not list(tmp_path.iterdir())


@given(
    num_samples=st.integers(1, 5000),
    rate=st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100]),
    to=st.sampled_from([8_000, 16_000, 24_000, 32_000, 48_000]),
)
@settings(max_examples=60, deadline=None)
def test_resampling_keeps_the_length(num_samples: int, rate: int, to: int) -> None:
    audio = resample(np.zeros((2, num_samples), np.float32), rate, to)
    assert audio.dtype == np.float32
    assert abs(audio.shape[1] - num_samples * to / rate) <= 1
    tensor = to_rate(torch.zeros(1, 2, num_samples), rate, to)
    assert tensor.shape == (1, *audio.shape)


def test_resampling_keeps_the_sound() -> None:
    audio = resample(sine(rate=44_100), 44_100, RATE)
    assert np.abs(audio[0, 2000:-2000] - sine()[0, 2000:-2000]).max() < 1e-3


@pytest.mark.parametrize(("have", "want"), [(1, 1), (2, 1), (1, 2), (6, 2), (2, 2)])
def test_channels_fit(have: int, want: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (have, 50)).astype(np.float32)
    fitted = fit_channels(audio, want)
    assert fitted.shape == (want, 50)
    assert np.allclose(fitted.mean(0), audio.mean(0), atol=1e-6)


@pytest.mark.parametrize("center", [True, False])
def test_a_full_scale_sine_is_0_in_its_mel_band(center: bool) -> None:
    mel = LogMel(sample_rate=RATE, n_fft=1024, hop_length=240, num_mels=64, center=center)
    frames = mel(torch.from_numpy(2 * sine())[None])
    assert frames.shape == (1, 64, RATE // 240 + 1 if center else (RATE - 1024) // 240 + 1)
    assert frames[0, :, 10:-10].max().item() == pytest.approx(0.0, abs=0.7)
    assert mel(torch.zeros(1, 1, RATE)).max().item() == pytest.approx(np.log(1e-5))
    assert not mel.state_dict()


def test_mel_filters_made_without_gradients_serve_training() -> None:
    """They are made when first used, which may be a validation."""
    mel = LogMel(sample_rate=RATE, n_fft=512, hop_length=256, num_mels=16)
    assert mel.filters is None
    audio = torch.from_numpy(sine())[None]
    with torch.inference_mode():
        first = mel(audio)
    audio.requires_grad_()
    again = mel(audio)
    again.sum().backward()
    assert torch.equal(first, again)
    assert audio.grad is not None
    assert "filters" not in mel.state_dict()
