"""What all tracks together decide: which are copies of others, and which split each is in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rapgen.data.duplicates import find_duplicates
from rapgen.data.prepare.places import ASSIGNED, ORDER, print_path, record_path
from rapgen.data.prepare.records import Record, Track
from rapgen.data.prepare.split import assign_splits
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError


@dataclass(frozen=True)
class Verdicts:
    """Of tracks that have clips, by name."""

    copies: dict[str, str]  # a track to the earlier one that it is a copy of
    splits: dict[str, str]  # of all others


def judge(out: Storage, records: Sequence[Record], seed: int) -> Verdicts:
    """Find copies and assign splits, which are written down before anything is moved by them.

    Records stand in the order in which tracks came, so what is said of one is never changed by those that come later.
    """
    families = {record.track: record.family for record in records if record.clips}
    names = list(families)
    prints = [np.load(io.BytesIO(out.read(print_path(name))), allow_pickle=False) for name in names]
    found = zip(names, find_duplicates(prints), strict=True)
    copies = {name: names[original] for name, original in found if original is not None}
    before = _read_json(out, ASSIGNED) if out.exists(ASSIGNED) else {}
    kept = {name: family for name, family in families.items() if name not in copies}
    splits = assign_splits(dict.fromkeys(kept.values()), before, seed)
    write_json(out, ASSIGNED, splits)
    return Verdicts(copies, {name: splits[family] for name, family in kept.items()})


def read_records(out: Storage, tracks: Sequence[str]) -> Iterator[Record]:
    """The records of tracks, one at a time: all lines of metadata at once may be more than memory holds."""
    for track in tracks:
        yield Record.model_validate_json(out.read(record_path(track)))


def keep_order(out: Storage, found: Sequence[Track]) -> list[str]:
    """Names of all tracks that were ever found in RAW; the order is kept from now on.

    Of copies the first is kept. So new ones come last, of them those that words came with first, then the larger.
    """
    known = _read_json(out, ORDER) if out.exists(ORDER) else []
    there = set(known)
    new = sorted((track for track in found if track.name not in there), key=_rank)
    names = [track.name for track in new]
    if names:
        write_json(out, ORDER, known + names)
    return known + names


def _rank(track: Track) -> tuple[bool, int, str]:
    has_words = bool(track.known.captions or track.known.upload.url or track.known.upload.tags)
    return not has_words, -track.size, track.name


def _read_json(out: Storage, name: str) -> Any:
    try:
        return json.loads(out.read(name))
    except ValueError:
        raise RapgenError(f"{out.path(name)} is damaged; choose a new folder for the dataset") from None


def write_json(out: Storage, name: str, content: object) -> None:
    """Write JSON as people read it; the same bytes for the same content."""
    out.write(name, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
