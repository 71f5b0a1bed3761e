"""Any audio file to 44.1 kHz stereo, piece by piece, so that a long file costs no memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soxr

from rapgen.audio.io import audio_stream, open_media
from rapgen.data.limits import FULL_SCALE, LOWEST_RATE
from rapgen.data.prepare.records import Unfit

RATE = 44_100
_PIECE = 1 << 16  # samples at a time
_LARGEST = 1e6  # of samples that are still taken for sound
_TRUNCATED = 0.9  # of the length that a header tells
_GUESSED_LENGTH = ("mp3", "aac")  # formats without a header that tells it


@dataclass(frozen=True)
class Decoded:
    """A track as it came out of its file."""

    audio: np.ndarray  # f32 [2, S] at RATE
    sample_rate: int  # Hz, of the file
    channels: int  # of the file
    clipped: float  # share of samples at full scale that follow one of the same sign
    offset: float  # the largest mean of a channel, which was taken away


def decode(file: BinaryIO, *, max_duration_s: float, start_s: float = 0.0, end_s: float | None = None) -> Decoded:
    """All of a file, or the section from `start_s` to `end_s`.

    Raises Unfit for what is not audio, longer than allowed, cut short, sampled too slowly or not made of numbers.
    """
    import av

    try:
        with open_media(file) as container:
            if (stream := audio_stream(container)) is None:
                raise Unfit("not audio", "it has no audio stream that can be decoded")
            told_s = _told_s(container, stream)
            if told_s is not None:
                _check_length(min(told_s, end_s or told_s) - start_s, max_duration_s)
            rate, channels = stream.rate, stream.channels
            if rate < LOWEST_RATE:
                raise Unfit(f"sampled at less than {LOWEST_RATE} Hz", f"{rate} Hz")
            pieces = _section(_pieces(container, stream), rate, start_s, end_s or np.inf, max_duration_s)
            meter = _Meter()
            audio = _resampled(map(meter.read, pieces), rate)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Unfit("not audio", str(getattr(error, "strerror", None) or error)) from None
    got_s = meter.samples / rate
    expected_s = (min(told_s, end_s or told_s) - start_s) if told_s is not None else got_s
    if not meter.samples:
        raise Unfit("no samples", f"from {start_s:g} s on" if start_s else "")
    if container.format.name not in _GUESSED_LENGTH and got_s < _TRUNCATED * expected_s:
        raise Unfit("cut short", f"{got_s:.1f} s of {expected_s:.1f} s can be read")
    offset = audio.mean(1, dtype=np.float64, keepdims=True)
    audio -= offset.astype(np.float32)
    return Decoded(audio, rate, channels, meter.clipped, float(np.abs(offset).max()))


def _told_s(container: Any, stream: Any) -> float | None:
    """Seconds by the file's header, if it tells."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _check_length(duration_s: float, max_duration_s: float) -> None:
    if duration_s > max_duration_s:
        raise Unfit("longer than --max-duration", f"over {max_duration_s:g} s")


def _pieces(container: Any, stream: Any) -> Iterator[np.ndarray]:
    """f32 [1 or 2, samples] in a row at the stream's own rate; more channels are mixed down as their layout asks."""
    import av

    layout = "stereo" if stream.channels > 2 else None
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=stream.rate, frame_size=_PIECE)
    try:
        for frame in container.decode(stream):
            frame.pts = None
            for piece in resampler.resample(frame):
                yield piece.to_ndarray()
    except av.error.FFmpegError:
        pass  # what came before is there; how much that is of the whole is looked at later
    for piece in resampler.resample(None):
        yield piece.to_ndarray()


def _section(
    pieces: Iterator[np.ndarray], rate: int, start_s: float, end_s: float, max_duration_s: float
) -> Iterator[np.ndarray]:
    """What lies between two times; Unfit when that gets longer than allowed."""
    at, taken = 0, 0
    start, end = round(start_s * rate), end_s * rate
    for piece in pieces:
        part = piece[:, max(0, start - at) : max(0, int(min(end - at, piece.shape[1])))]
        at += piece.shape[1]
        taken += part.shape[1]
        _check_length(taken / rate, max_duration_s)
        if part.shape[1]:
            yield part
        if at >= end:
            return


class _Meter:
    """Counts samples, and those that are clipped, as they pass."""

    def __init__(self) -> None:
        self.samples, self._flat = 0, 0.0

    @property
    def clipped(self) -> float:
        return self._flat / max(1, self.samples)

    def read(self, piece: np.ndarray) -> np.ndarray:
        """Pass a piece on as f32 [2, samples]; Unfit where it holds what are no numbers."""
        peak = np.abs(piece).max()
        if not peak < _LARGEST:
            raise Unfit("samples that are not numbers")
        if peak >= FULL_SCALE:
            for top in (piece >= FULL_SCALE, piece <= -FULL_SCALE):
                self._flat += float((top[:, 1:] & top[:, :-1]).sum()) / len(piece)
        self.samples += piece.shape[1]
        return piece if len(piece) == 2 else np.repeat(piece, 2, 0)


def _resampled(pieces: Iterator[np.ndarray], rate: int) -> np.ndarray:
    """f32 [2, S] at RATE of pieces at `rate` Hz."""
    if rate == RATE:
        return _join([*pieces])
    stream = soxr.ResampleStream(rate, RATE, 2, dtype="float32", quality="HQ")
    done = [stream.resample_chunk(np.ascontiguousarray(piece.T)).T for piece in pieces]
    return _join([*done, stream.resample_chunk(np.zeros((0, 2), np.float32), last=True).T])


def _join(pieces: list[np.ndarray]) -> np.ndarray:
    """One f32 [2, S]; the pieces are let go as they are copied, so that both are never there at once."""
    joined = np.empty((2, sum(piece.shape[1] for piece in pieces)), np.float32)
    at = 0
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        joined[:, at : at + piece.shape[1]] = piece
        at += piece.shape[1]
    return joined
