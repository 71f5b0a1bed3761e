"""Read and write audio files: soundfile first, PyAV for what it does not know; torchaudio never."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr

from rapgen.audio.wav import WavFormat, WavWriter
from rapgen.errors import AudioError
from rapgen.files import atomic
from rapgen.paths import as_path, is_file, local_copy

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# What a file may be. Play lists and the like, which would have other files or addresses opened, are not among it.
FORMATS = (
    "wav,w64,flac,mp3,ogg,matroska,webm,mov,mp4,m4a,aac,aiff,caf,ac3,eac3,asf,avi,amr,ape,wv,tta,au,flv,mpeg,mpegts"
)


def read_audio(path: str | Path, *, sample_rate: int | None = None, mono: bool = False) -> tuple[np.ndarray, int]:
    """f32 [C, S] and its rate in Hz, resampled to `sample_rate` and mixed down if asked; `path` may be a URL.

    Raises AudioError where the file is missing, empty, silent of samples, or not audio.
    """
    path = as_path(path)
    if not is_file(path):
        raise AudioError(f"no audio file at {path}")
    with local_copy(path) as local:
        audio, rate = _read(local, path)
    if audio.shape[1] == 0:
        raise AudioError(f"{path} holds no audio; give a file with at least one sample")
    if not np.isfinite(audio).all():
        raise AudioError(f"{path} holds samples that are not numbers; convert it to 16 bit PCM first")
    if mono:
        audio = audio.mean(0, keepdims=True)
    if sample_rate is not None and rate != sample_rate:
        audio, rate = resample(audio, rate, sample_rate), sample_rate
    return np.ascontiguousarray(audio, np.float32), rate


def _read(local: Path, path: Path) -> tuple[np.ndarray, int]:
    """All of a file of this machine, which errors call `path`."""
    try:
        samples, rate = soundfile.read(local, dtype="float32", always_2d=True)
        return samples.T, rate
    except soundfile.LibsndfileError:
        return _read_av(local, path)


def open_media(file: Path | BinaryIO) -> InputContainer:
    """A file of this machine for PyAV; its own errors where it is of none of `FORMATS`."""
    import av

    named = f"file:{file}" if isinstance(file, Path) else file  # whatever its name is, it is no address
    return av.open(named, "r", options={"format_whitelist": FORMATS}, metadata_errors="replace")


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The first audio stream of a file that this FFmpeg has a decoder for; without one a stream has not even a rate."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _read_av(local: Path, path: Path) -> tuple[np.ndarray, int]:
    import av

    try:
        with open_media(local) as container:
            if (stream := audio_stream(container)) is None:
                raise ValueError("no audio")
            resampler = av.AudioResampler(format="fltp", rate=stream.rate)
            frames: list[Any] = [f for frame in container.decode(stream) for f in resampler.resample(frame)]
            frames += resampler.resample(None)
            chunks = [f.to_ndarray() for f in frames]
            rate = int(stream.rate)
        return (np.concatenate(chunks, 1) if chunks else np.zeros((1, 0), np.float32)), rate
    except (av.error.FFmpegError, OSError, ValueError):  # ValueError too where layout or rate change on the way
        raise AudioError(f"{path} cannot be read as audio; give a WAV, FLAC, MP3, M4A or Opus file") from None


def write_wav(
    path: str | Path, audio: np.ndarray, sample_rate: int, *, licences: Mapping[str, str] | None = None
) -> None:
    """Write f32 [C, S] as 16 bit PCM, whole or not at all; AudioError where it cannot be encoded.

    The file's information names rapgen and, as its copyright, the licences of the weights it was made with, by part.
    """
    with atomic(Path(path)) as temporary, temporary.open("wb") as file:
        WavWriter(file, WavFormat(len(audio), sample_rate, licences or {})).write(audio)


def resample(audio: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """f32 [C, S] at `rate` Hz -> f32 [C, S * to_rate / rate] at `to_rate` Hz."""
    if rate == to_rate:
        return audio
    return soxr.resample(audio.T, rate, to_rate, quality="HQ").T.astype(np.float32)


def fit_channels(audio: np.ndarray, channels: int) -> np.ndarray:
    """f32 [C, S] -> f32 [channels, S]: mixed down to mono, or mono repeated."""
    if audio.shape[0] == channels:
        return audio
    mono = audio.mean(0, keepdims=True)
    return mono if channels == 1 else np.repeat(mono, channels, 0)
