"""`metadata.jsonl` of each split, from records that are read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rapgen.audio.metadata import BLANKS, METADATA, SPLITS
from rapgen.data.prepare.places import clip_path
from rapgen.data.prepare.verdicts import read_records
from rapgen.data.storage import Storage


def write_metadata(out: Storage, splits: Mapping[str, str], weights: Mapping[str, float]) -> None:
    """Write the lines of all clips of tracks, in the order of `splits`; `weights` are by file name.

    All files have the same columns, each of one type, and none that is empty everywhere.
    """
    tracks = {split: [track for track, its in splits.items() if its == split] for split in SPLITS}
    known = {split: _known_columns(out, names) for split, names in tracks.items()}
    columns = set().union(*known.values())
    for split, names in tracks.items():
        path = clip_path(split, METADATA)
        if names:
            blanks = {column: BLANKS[column] for column in (columns - known[split]) & BLANKS.keys()}
            out.write(path, _lines(out, names, weights, columns, blanks))
        elif out.exists(path):
            out.remove(path)


def _known_columns(out: Storage, tracks: Sequence[str]) -> set[str]:
    """The columns that any clip of these tracks says something in."""
    rows = (clip.row for record in read_records(out, tracks) for clip in record.clips)
    return {column for row in rows for column, value in row.items() if value not in (None, "", [])}


def _lines(
    out: Storage, tracks: Sequence[str], weights: Mapping[str, float], columns: set[str], blanks: Mapping[str, Any]
) -> Iterator[bytes]:
    """A line a clip; the first holds `blanks`, which tell the types of columns that no clip here says anything in."""
    for record in read_records(out, tracks):
        for clip in record.clips:
            row = {**clip.row, **blanks, "weight": weights[clip.file_name]}
            told = {column: value for column, value in row.items() if column in columns}
            yield json.dumps(told, ensure_ascii=False).encode() + b"\n"
            blanks = {}
