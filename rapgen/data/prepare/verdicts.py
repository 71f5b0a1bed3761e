"""What all tracks together decide: which are copies of others, and which split each is in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rapgen.data.duplicates import find_duplicates
from rapgen.data.prepare.places import ASSIGNED, ORDER, print_path, record_path
from rapgen.data.prepare.records import Record
from rapgen.data.prepare.split import assign_splits
from rapgen.data.storage import Storage


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
    before = json.loads(out.read(ASSIGNED)) if out.exists(ASSIGNED) else {}
    kept = {name: family for name, family in families.items() if name not in copies}
    splits = assign_splits(dict.fromkeys(kept.values()), before, seed)
    write_json(out, ASSIGNED, splits)
    return Verdicts(copies, {name: splits[family] for name, family in kept.items()})


def read_records(out: Storage, tracks: Sequence[str]) -> Iterator[Record]:
    """The records of tracks, one at a time: all lines of metadata at once may be more than memory holds."""
    for track in tracks:
        yield Record.model_validate_json(out.read(record_path(track)))


def keep_order(out: Storage, found: Sequence[str]) -> list[str]:
    """All tracks that were ever found in RAW, new ones last by name; the order is kept from now on."""
    known = json.loads(out.read(ORDER)) if out.exists(ORDER) else []
    new = sorted(set(found).difference(known))
    if new:
        write_json(out, ORDER, known + new)
    return known + new


def write_json(out: Storage, name: str, content: object) -> None:
    """Write JSON as people read it; the same bytes for the same content."""
    out.write(name, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
