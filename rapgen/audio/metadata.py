"""What is known of a folder's audio files: `metadata.jsonl`, by Hugging Face's AudioFolder convention."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import soundfile
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from rapgen.audio.io import open_media
from rapgen.errors import AudioError, PromptError
from rapgen.groove import read_groove
from rapgen.interfaces import Annotations, Chord, Groove, Upload
from rapgen.paths import fetch, is_file, is_folder, is_remote, list_tree, local_copy

METADATA = "metadata.jsonl"
SPLITS = ("train", "valid", "test")  # of a dataset, a folder with metadata each
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".webm")
# What stands for nothing in the first row of a file that knows a column in no row, where files beside it do: readers of
# several splits, such as `datasets`, want columns of one type in all of them.
BLANKS: Mapping[str, Any] = {
    **dict.fromkeys(("key", "style", "feel", "licence", "title", "description", "uploader", "url"), ""),
    **{column: [""] for column in ("captions", "instruments", "moods", "tags")},
    **{"tempo_bpm": 0.0, "bars": 0, "beats_s": [-1.0]},
}
# Columns that `Annotations` has under the same name.
_FACTS = ("beats_s", "first_beat", "licence", "swing", "chords", "instruments", "moods", "energy")


class Row(BaseModel):
    """One line of `metadata.jsonl`; columns that are not listed here are passed over."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    file_name: str  # from the folder
    track: str | None = None
    text: str | None = None
    caption: str | None = None
    captions: tuple[str, ...] | None = None
    tempo_bpm: float | None = Field(None, gt=0)
    key: str | None = None
    style: str | None = None
    feel: Literal["straight", "half", "double"] | None = None
    bars: int | None = Field(None, ge=1)
    beats_s: tuple[float, ...] | None = None
    first_beat: int | None = None
    licence: str | None = None
    swing: float | None = Field(None, ge=0.5, lt=1)
    chords: tuple[Chord, ...] | None = None
    instruments: tuple[str, ...] | None = None
    moods: tuple[str, ...] | None = None
    energy: float | None = Field(None, ge=0, le=1)
    title: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    uploader: str | None = None
    url: str | None = None
    weight: float = Field(1.0, gt=0)
    stems: dict[str, str] | None = None  # files that hold parts alone, from the folder; `lead` is the tune's
    midi: str | None = None  # file of its notes, from the folder

    @field_validator(*BLANKS, mode="before")
    @classmethod
    def _is_told(cls, value: Any, info: ValidationInfo) -> Any:
        return None if info.field_name and value == BLANKS[info.field_name] else value

    @field_validator("key")
    @classmethod
    def _is_key(cls, value: str | None) -> str | None:
        if value is None or (key := read_groove(f"key: {value}").key):
            return value and key
        raise ValueError("write a key like F# minor")

    @field_validator("style")
    @classmethod
    def _is_style(cls, value: str | None) -> str | None:
        return value and (read_groove(value).style or value.strip().lower())

    @field_validator("beats_s")
    @classmethod
    def _beats_rise(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError("beats must rise")
        return value


def read_rows(folder: Path) -> list[Row]:
    """A row for each audio file, sorted by file name: from `metadata.jsonl`, or by listing where there is none.

    Raises AudioError where there is no folder or no audio, or where a line is not JSON, has a column that makes no
    sense, or names a file that is missing, outside of the folder, or named before.
    """
    if not is_folder(folder):
        raise AudioError(f"there is no folder {folder}; give one that holds audio files")
    path = folder / METADATA
    rows = list(_metadata_rows(path) if is_file(path) else (Row(file_name=name) for name in audio_files(folder)))
    if not rows:
        raise AudioError(f"{folder} holds no audio; put WAV, FLAC, MP3, M4A or Opus files in it")
    return sorted(rows, key=lambda row: row.file_name)


def parse_rows(path: Path) -> Iterator[Row | AudioError]:
    """Each line of a `metadata.jsonl`, or what is wrong with it."""
    seen: set[str] = set()
    remote = list_tree(path.parent) if is_remote(path) else None  # asked once, and not for each file
    with fetch(path) as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = _parse_row(line, where)
            for file_name in filter(None, (row.file_name, row.midi, *(row.stems or {}).values())):
                if remote is None:
                    _check_file(path.parent, file_name, where)
                elif file_name not in remote:
                    raise _missing(file_name, where)
            if row.file_name in seen:
                raise AudioError(f"{where}: {row.file_name!r} has a line already; give it all captions there")
        except AudioError as error:
            yield error
            continue
        seen.add(row.file_name)
        yield row


def audio_files(folder: Path) -> list[str]:
    """Names of all audio files in a folder and those below, but for hidden ones, sorted."""
    if is_remote(folder):
        names = [PurePosixPath(name) for name in list_tree(folder)]
    else:
        names = [PurePosixPath(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    heard = (name for name in names if name.suffix.lower() in SUFFIXES)
    return sorted(str(name) for name in heard if not any(part.startswith(".") for part in name.parts))


def make_row(file_name: str, track: str, annotations: Annotations) -> Row:
    """The row that `annotations_of` reads back."""
    captions = annotations.captions
    return Row(
        file_name=file_name,
        track=track,
        text=captions[0] if captions else None,
        captions=captions,
        **{name: None if (value := getattr(annotations, name)) == () else value for name in _FACTS},
        **{name: value or None for name, value in asdict(annotations.upload).items()},
        **asdict(annotations.groove),
        weight=annotations.weight,
    )


def annotations_of(row: Row) -> Annotations:
    """What a row says; without captions its file name is one, and facts it does not name are read from them."""
    named = [caption for caption in (row.text, row.caption, *(row.captions or ())) if caption]
    words = Path(row.file_name).stem.replace("_", " ").replace("-", " ")
    captions = tuple(dict.fromkeys(named)) or (words,)
    try:
        heard = asdict(read_groove(". ".join(captions)))
    except PromptError:
        heard = {}
    facts = {name: getattr(row, name) for name in asdict(Groove())}
    return Annotations(
        groove=Groove(**{name: heard.get(name) if fact is None else fact for name, fact in facts.items()}),
        captions=captions,
        upload=Upload(**{name: value for name in asdict(Upload()) if (value := getattr(row, name))}),
        weight=row.weight,
        **{name: value for name in _FACTS if (value := getattr(row, name)) is not None},
    )


def audio_duration_s(path: Path) -> float:
    """Seconds of audio by the file's header; AudioError where it is none."""
    with local_copy(path) as local:
        try:
            return float(soundfile.info(local).duration)
        except soundfile.LibsndfileError:
            return _av_duration_s(local, path)


def _av_duration_s(local: Path, path: Path) -> float:
    import av

    try:
        with open_media(local) as container:
            stream = container.streams.audio[0]
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return (container.duration or 0) / av.time_base
    except (av.error.FFmpegError, IndexError, OSError):
        raise AudioError(f"{path} cannot be read as audio; give a WAV, FLAC, MP3, M4A or Opus file") from None


def _metadata_rows(path: Path) -> Iterator[Row]:
    for row in parse_rows(path):
        if isinstance(row, AudioError):
            raise row
        yield row


def _parse_row(line: bytes, where: str) -> Row:
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AudioError(f"{where} is not JSON ({error}); write one object a line") from None
    try:
        return Row.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(key) for key in first["loc"]) or "the line"
        raise AudioError(f"{where}: {column}: {first['msg']} (got {first['input']!r})") from None
    except PromptError as error:
        raise AudioError(f"{where}: {error}") from None


def _check_file(folder: Path, file_name: str, where: str) -> None:
    try:
        target = (folder / file_name).resolve()
        is_inside, is_there = target.is_relative_to(folder.resolve()), target.is_file()
    except (ValueError, OSError, RuntimeError):  # a null character, thousands of characters, links in a circle
        raise AudioError(f"{where}: {file_name[:100]!r} is no file name") from None
    if not is_inside:
        raise AudioError(f"{where}: {file_name!r} leads out of the folder; move the file into it")
    if not is_there:
        raise _missing(file_name, where)


def _missing(file_name: str, where: str) -> AudioError:
    return AudioError(f"{where}: there is no file {file_name!r}; add it or remove the line")
