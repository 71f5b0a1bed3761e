"""16 bit WAV, written as it comes: what is there can be played at any time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from rapgen import __version__
from rapgen.errors import AudioError


@dataclass(frozen=True)
class WavFormat:
    """What a WAV says of its samples."""

    channels: int
    sample_rate: int  # Hz
    licences: Mapping[str, str] = field(default_factory=dict)  # of weights that somebody else made, by part


class WavWriter:
    """Writes f32 [C, S] to an open file, piece by piece.

    Its header is true after every piece. With `num_samples`, which says how long the whole will be, it is written once
    and the file is never gone back in, as a pipe demands.
    """

    def __init__(self, file: BinaryIO, form: WavFormat, *, num_samples: int | None = None) -> None:
        self._file, self._form, self._frame_bytes = file, form, 2 * form.channels
        self._header = _header(form)
        self._grows = num_samples is None
        self._bytes = 0
        self._put(self._header_of(self._frame_bytes * (num_samples or 0)))

    @property
    def duration_s(self) -> float:
        """How much is written."""
        return self._bytes / self._frame_bytes / self._form.sample_rate

    def write(self, audio: np.ndarray) -> None:
        """Add f32 [C, S]. Raises AudioError for samples that are no numbers, OSError where the file takes no more."""
        if not np.isfinite(audio).all():
            raise AudioError("the audio has samples that are not numbers; the model has diverged")
        pcm = to_pcm16(audio).T.astype("<i2").tobytes()
        self._put(pcm)
        self._bytes += len(pcm)
        if self._grows:  # last, so that the header never tells of more than there is
            self._file.seek(0)
            self._put(self._header_of(self._bytes))
            self._file.seek(0, os.SEEK_END)

    def _put(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:  # an unbuffered file may take less than it is given
            rest = rest[self._file.write(rest) :]
        self._file.flush()

    def _header_of(self, num_bytes: int) -> bytes:
        """The header of a file with so many bytes of samples: a RIFF's size is at 4, that of its data at the end."""
        sizes = (n.to_bytes(4, "little") for n in (len(self._header) - 8 + num_bytes, num_bytes))
        return self._header[:4] + next(sizes) + self._header[8:-4] + next(sizes)


@contextmanager
def growing_wav(path: Path, form: WavFormat) -> Iterator[WavWriter]:
    """A file written in its place as its samples come; what was there is gone, what has come stays, whatever happens.

    Raises AudioError, which says how much there is, where the disk takes no more or the audio is none.
    """
    writer: WavWriter | None = None
    try:
        with path.open("wb", buffering=0) as file:
            writer = WavWriter(file, form)
            yield writer
    except OSError as error:
        held = f"; it holds {writer.duration_s:.1f} s" if writer else ""
        raise AudioError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another place{held}"
        ) from None


def _header(form: WavFormat) -> bytes:
    """A WAV without samples, as libsndfile makes it."""
    content = io.BytesIO()
    try:
        with soundfile.SoundFile(content, "w", form.sample_rate, form.channels, format="WAV", subtype="PCM_16") as file:
            file.software = f"rapgen {__version__}"
            if form.licences:
                told = "; ".join(f"{part}: {licence}" for part, licence in form.licences.items())
                file.copyright = f"made with weights of others, {told}"
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"cannot write a WAV of {form.channels} channels at {form.sample_rate} Hz: {error.error_string}; "
            "use another codec"
        ) from None
    return content.getvalue()


def to_pcm16(audio: np.ndarray) -> np.ndarray:
    """f32 within -1 .. 1 -> int16; what is outside is clipped."""
    return np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)


def from_pcm16(pcm: np.ndarray) -> np.ndarray:
    """int16 -> f32 within -1 .. 1."""
    return pcm.astype(np.float32) / 32767
