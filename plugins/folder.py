"""The source `folder`: audio files of your own, with or without words about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rapgen.errors import RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Annotations, Clip, ClipRef, DataSource
from rapgen.paths import PathOrUrl

if TYPE_CHECKING:
    from rapgen.audio.metadata import Row


@hookimpl
def rapgen_components(register: Register) -> None:
    register("source", "folder", folder)


def folder(*, path: PathOrUrl, duration_s: float | None = None) -> DataSource:
    """Audio files in `path`, told of in its metadata.jsonl; files over `duration_s` are cut into clips of that length.

    The path may be a URL that fsspec knows, like s3://bucket/beats.
    Each line names a `file_name` and any of text, caption, captions, track, tempo_bpm, key, style, feel, bars,
    beats_s, first_beat, licence, weight, stems and what else `rapgen.audio.metadata.Row` has. Without words a file's
    name is its caption. Raises RecipeError for a length that is none.
    """
    if duration_s is not None and not duration_s > 0:
        raise RecipeError(f"folder: duration_s must be over 0, got {duration_s}")
    return FolderSource(path.expanduser(), duration_s)


class FolderSource(DataSource):
    """A clip a file or, of a long file, one every `duration_s`; a rest of at least half of that is a clip too."""

    def __init__(self, path: Path, duration_s: float | None) -> None:
        self._path = path
        self._duration_s = duration_s
        # The file read last, since its clips come in a row: name, audio, stems, rate.
        self._last: tuple[str, np.ndarray, dict[str, np.ndarray], int] | None = None

    def refs(self) -> Iterator[ClipRef]:
        """Handles by file name, "sub/beat.wav" or "sub/beat.wav#0002"; audio headers are read only to cut.

        Raises AudioError where the folder or its metadata cannot be used.
        """
        from rapgen.audio.metadata import read_rows

        for row in read_rows(self._path):
            track = row.track or row.file_name
            for number, start_s in enumerate(self._starts_s(row.file_name)):
                name = row.file_name if start_s is None else f"{row.file_name}#{number:04d}"
                yield ClipRef(id=name, track=track, payload={"row": row, "start_s": start_s})

    def load(self, ref: ClipRef) -> Clip:
        """f32 [C, S] as the file has it; AudioError where it cannot be read."""
        from rapgen.audio.metadata import annotations_of

        row, start_s = ref.payload["row"], ref.payload["start_s"]
        audio, stems, rate = self._read(row)
        annotations = annotations_of(row)
        if start_s is None or self._duration_s is None:
            return Clip(audio, rate, annotations, stems)
        cut = slice(round(start_s * rate), round((start_s + self._duration_s) * rate))
        annotations = _cut(annotations, start_s, self._duration_s)
        return Clip(audio[:, cut], rate, annotations, {name: stem[:, cut] for name, stem in stems.items()})

    def _starts_s(self, file_name: str) -> list[float] | list[None]:
        """Where the clips of a file start; None is the file as a whole."""
        from rapgen.audio.metadata import audio_duration_s

        if self._duration_s is None or (total_s := audio_duration_s(self._path / file_name)) <= self._duration_s:
            return [None]
        return [number * self._duration_s for number in range(int(total_s / self._duration_s + 0.5))]

    def _read(self, row: Row) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
        """Audio, its stems brought to the same rate and length, and the rate."""
        from rapgen.audio.io import read_audio

        if self._last is None or self._last[0] != row.file_name:
            audio, rate = read_audio(self._path / row.file_name)
            stems = {}
            for name, file_name in (row.stems or {}).items():
                alone, _ = read_audio(self._path / file_name, sample_rate=rate)
                stems[name] = np.pad(alone, ((0, 0), (0, max(0, audio.shape[1] - alone.shape[1]))))[:, : audio.shape[1]]
            self._last = (row.file_name, audio, stems, rate)
        return self._last[1:]


def _cut(annotations: Annotations, start_s: float, duration_s: float) -> Annotations:
    """What is known of a stretch; how many bars it has is not."""
    skipped = sum(beat_s < start_s for beat_s in annotations.beats_s)
    kept = [beat_s - start_s for beat_s in annotations.beats_s[skipped:]]
    return replace(
        annotations,
        groove=replace(annotations.groove, bars=None),
        beats_s=tuple(beat_s for beat_s in kept if beat_s < duration_s),
        first_beat=annotations.first_beat + skipped,
    )
