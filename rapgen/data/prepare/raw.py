"""What lies in RAW: audio files, and what is said of them beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rapgen.audio.metadata import METADATA
from rapgen.data.fetch import ANY_PAGE, INFO, RECORDS
from rapgen.data.prepare.records import Known, Track
from rapgen.data.report import Dropped
from rapgen.data.storage import Storage
from rapgen.errors import PromptError
from rapgen.groove import TEMPO_MAX_BPM, TEMPO_MIN_BPM, read_groove
from rapgen.interfaces import Upload

_NOT_TRACKS = (METADATA, RECORDS)
_UNFINISHED = (".part", ".ytdl", ".tmp")
_INFO_BYTES = 20_000_000  # more than any real one
_WORDS = {"title": 500, "description": 10_000, "uploader": 200, "url": 2000}  # characters kept
_LARGEST_S = 1e6
_CAPTION_CHARACTERS, _ITEM_CHARACTERS, _TAG_CHARACTERS, _TAGS = 1000, 1000, 100, 100


@dataclass(frozen=True)
class Raw:
    """The tracks of a folder, by file name, and what is none."""

    tracks: tuple[Track, ...]
    drops: tuple[Dropped, ...]


def list_raw(raw: Storage) -> Raw:
    """Every file of RAW as tracks or a reason; RapgenError where there is no such folder."""
    sizes = {name: size for name, size in sorted(raw.sizes()) if not _is_hidden(name)}
    drops: list[Dropped] = []
    rows = _read_metadata(raw, sizes, drops)
    tracks: list[Track] = []
    infos = {name for name in sizes if name.endswith(INFO)}
    for name, size in sizes.items():
        if name in infos or PurePosixPath(name).name in _NOT_TRACKS:
            continue
        if reason := _refuse(name, size):
            drops.append(Dropped(name, reason))
            continue
        info = str(PurePosixPath(name).with_suffix(INFO))
        said = _read_info(raw, info, sizes, drops) if info in infos else {}
        tracks += _tracks(name, size or 0, said | rows.pop(name, {}))
    with_audio = {str(PurePosixPath(track.source).with_suffix(INFO)) for track in tracks}
    drops += (Dropped(name, "metadata without its audio") for name in sorted(infos - with_audio))
    drops += (
        Dropped(name, "metadata without its audio", row["line"]) for name, row in rows.items() if name not in sizes
    )
    cleaned = (Dropped(clean(d.item, _ITEM_CHARACTERS), d.reason, clean(d.detail, _ITEM_CHARACTERS)) for d in drops)
    return Raw(tuple(tracks), tuple(cleaned))


def _tracks(name: str, size: int, said: Mapping[str, Any]) -> Iterator[Track]:
    """A track a file or, where sections of it are wanted, one for each."""
    sections = [section for section in _list(said.get("sections")) if isinstance(section, dict)]
    for section in sections or [{}]:
        yield Track(source=name, size=size, known=_known(name, {**said, **section}))


def clean(text: Any, characters: int) -> str:
    """Text as UTF-8 takes it, of so many characters at most; empty where it is no text."""
    return text[:characters].encode("utf-8", "replace").decode() if isinstance(text, str) else ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _refuse(name: str, size: int | None) -> str | None:
    """Why a file need not be opened."""
    if size is None:
        return "not a regular file"
    if clean(name, len(name)) != name:
        return "file name that is not UTF-8"
    if name.lower().endswith(_UNFINISHED):
        return "unfinished download"
    return "empty file" if size == 0 else None


def _read_info(raw: Storage, name: str, sizes: Mapping[str, int | None], drops: list[Dropped]) -> dict[str, Any]:
    if (sizes[name] or 0) > _INFO_BYTES:
        drops.append(Dropped(name, "metadata that cannot be read", f"over {_INFO_BYTES} bytes"))
        return {}
    content = _read(raw, name, sizes, drops)
    return {} if content is None else _parse(content, name, drops)


def _read_metadata(raw: Storage, sizes: Mapping[str, int | None], drops: list[Dropped]) -> dict[str, dict[str, Any]]:
    """Lines of all `metadata.jsonl`, by the file they speak of."""
    rows: dict[str, dict[str, Any]] = {}
    for path in (name for name in sizes if PurePosixPath(name).name == METADATA):
        for number, line in enumerate((_read(raw, path, sizes, drops) or b"").splitlines(), start=1):
            where = f"{path} line {number}"
            if not line.strip() or not (row := _parse(line, where, drops)):
                continue
            if not isinstance(file_name := row.get("file_name"), str):
                drops.append(Dropped(where, "metadata that cannot be read", "it names no file"))
                continue
            name = str(PurePosixPath(path).parent / file_name)
            if name in rows:
                drops.append(Dropped(where, "metadata that stands twice", name))
                continue
            rows[name] = row | {"line": where}
    return rows


def _read(raw: Storage, name: str, sizes: Mapping[str, int | None], drops: list[Dropped]) -> bytes | None:
    """A file of metadata; None, which is told, where it cannot be read."""
    why = "not a regular file"  # a pipe would have us wait for ever
    if sizes[name] is not None:
        try:
            return raw.read(name)
        except OSError as error:
            why = error.strerror or str(error)
    drops.append(Dropped(name, "metadata that cannot be read", why))
    return None


def _parse(content: bytes, where: str, drops: list[Dropped]) -> dict[str, Any]:
    """An object of JSON; what is none is told and empty."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        drops.append(Dropped(where, "metadata that cannot be read", f"not JSON: {error}"))
        return {}
    if isinstance(tree, dict):
        return tree
    drops.append(Dropped(where, "metadata that cannot be read", "not an object of JSON"))
    return {}


def _known(name: str, said: Mapping[str, Any]) -> Known:
    """What a file's metadata says, of yt-dlp's or of AudioFolder's names; what makes no sense is passed over."""
    given = {"url": said.get("webpage_url") or said.get("url"), "title": said.get("title") or _title(name)}
    words = {key: clean(given.get(key, said.get(key)), characters) for key, characters in _WORDS.items()}
    captions = [said.get("text"), said.get("caption"), *_list(said.get("captions"))]
    site = clean(said.get("extractor_key") or said.get("extractor"), 100)
    given_id = said.get("id")
    stated = clean(str(given_id), 500) if isinstance(given_id, str | int) else ""
    if site.lower() in ANY_PAGE:
        stated = stated and f"{words['url'] or name}/{stated}"
    return Known(
        id=f"{site}:{stated}" if stated else name,
        upload=Upload(tags=tuple(filter(None, _texts(said.get("tags"))))[:_TAGS], **words),
        captions=tuple(dict.fromkeys(filter(None, (clean(text, _CAPTION_CHARACTERS).strip() for text in captions)))),
        licence=clean(said.get("licence") or said.get("license"), 200) or None,
        tempo_bpm=_between(TEMPO_MIN_BPM, said.get("tempo_bpm"), TEMPO_MAX_BPM),
        key=_groove_of("key", said.get("key")),
        style=_groove_of("style", said.get("style")),
        start_s=_between(0, said.get("start_s"), _LARGEST_S),
        end_s=_between(0, said.get("end_s"), _LARGEST_S),
    )


def _title(name: str) -> str:
    """Words of a file's name, where nobody has given a title."""
    return PurePosixPath(name).stem.replace("_", " ").replace("-", " ")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    return (clean(text, _TAG_CHARACTERS) for text in _list(value))


def _between(low: float, value: Any, high: float) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and low <= value <= high else None


def _groove_of(fact: str, value: Any) -> str | None:
    """A key or style by rapgen's name for it."""
    if not isinstance(value, str):
        return None
    try:
        read = getattr(read_groove(f"key: {value}" if fact == "key" else value), fact)
    except PromptError:
        return None
    return read or (clean(value, 100).strip().lower() or None if fact == "style" else None)
