"""Shards: uncompressed Arrow files of int16 streams, one row a clip, read through a memory map, remote ones by copies.

Audio is a stream of samples, tokens are a stream of frames; both are rows [length, width] behind each other in one
column, so that a batch of crops is one gather a shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from rapgen.errors import ModelError, RapgenError
from rapgen.files import atomic
from rapgen.interfaces import Annotations
from rapgen.paths import list_folder, local_copy, read_from, same_place

_AS_JSON = TypeAdapter(Annotations)
_WEIGHT = "annotations.weight"  # no stream is called so: behind a dot stands `codes` or `semantic` alone


@dataclass(frozen=True)
class Row:
    """A clip as it is stored."""

    id: str
    track: str
    annotations: Annotations
    streams: Mapping[str, np.ndarray]  # int16 [length, width]


def write_shard(path: Path, rows: Sequence[Row], meta: Mapping[str, Any]) -> None:
    """Write one shard atomically; all rows have the same streams, widths equal throughout."""
    names = sorted(rows[0].streams)
    widths = {n: rows[0].streams[n].shape[1] for n in names}
    columns = {
        "id": pa.array([r.id for r in rows]),
        "track": pa.array([r.track for r in rows]),
        "annotations": pa.array([_AS_JSON.dump_json(r.annotations).decode() for r in rows]),
        _WEIGHT: pa.array([r.annotations.weight for r in rows], pa.float64()),  # all that training reads of them
    }
    for name in names:
        lengths = [r.streams[name].size for r in rows]
        values = np.concatenate([r.streams[name].reshape(-1) for r in rows])
        columns[name] = pa.LargeListArray.from_arrays(np.r_[0, np.cumsum(lengths)], pa.array(values, pa.int16()))
    header = {b"rapgen": json.dumps({"widths": widths, **meta}).encode()}
    table = pa.table(columns).replace_schema_metadata(header)
    with (
        atomic(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=len(rows))


def list_shards(folder: Path) -> list[Path]:
    """The shards of a folder in order; what a stopped run left unfinished is none."""
    return list_folder(folder, ".arrow")


def check_written(paths: Iterable[Path]) -> None:
    """RapgenError where shards that jobs have written are not here, since machines do not share the folder."""
    wanted = list(paths)
    there = {path for folder in {path.parent for path in wanted} for path in list_shards(folder)}
    if missing := [path for path in wanted if path not in there]:
        raise RapgenError(
            f"{len(missing)} shards, {missing[0].name} first, are not in {missing[0].parent}: they were written on a "
            "machine that does not share it; name a URL or a folder that all machines share"
        )


@contextmanager
def opened(path: Path) -> Iterator[Shard]:
    """A shard, of a remote one a copy for as long as the block lasts: neither it nor views of it may outlive that."""
    with local_copy(path) as local:
        yield Shard(local, path)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} is damaged ({reason}); remove it and run the same command again") from None


@dataclass(frozen=True)
class Label:
    """What a shard says of itself."""

    meta: dict[str, Any]
    ids: tuple[str, ...]  # of its clips


def read_label(path: Path) -> Label:
    """The meta and the ids of a shard; the rest of it is not read, nor fetched where it is remote."""
    with _damage_told(path), read_from(path) as file:
        fields = pa.ipc.open_file(file).schema
        only = pa.ipc.IpcReadOptions(included_fields=[fields.get_field_index("id")])
        batch = pa.ipc.open_file(file, options=only).get_batch(0)
        return Label(json.loads(fields.metadata[b"rapgen"]), tuple(batch.column("id").to_pylist()))


class Shard:
    """One memory-mapped file; errors call it `named`."""

    def __init__(self, path: Path, named: Path | None = None) -> None:
        with _damage_told(named or path):
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self.batch = reader.get_batch(0)
            self.meta: dict[str, Any] = json.loads(reader.schema.metadata[b"rapgen"])
            self.widths: dict[str, int] = self.meta["widths"]

    def __len__(self) -> int:
        return self.batch.num_rows

    @cached_property
    def annotations(self) -> list[Annotations]:
        """What is known of each clip."""
        return [_AS_JSON.validate_json(text) for text in self.batch.column("annotations").to_pylist()]

    @property
    def weights(self) -> np.ndarray:
        """f64 [rows]: how often training sees each clip; shards of an older rapgen keep it in the annotations alone."""
        if _WEIGHT in self.batch.schema.names:
            return self.batch.column(_WEIGHT).to_numpy()
        return np.array([annotations.weight for annotations in self.annotations])

    def row(self, stream: str, clip: int) -> np.ndarray:
        """int16 [length, width]: a whole clip's stream, a view."""
        start, end = self.offsets(stream)[clip : clip + 2]
        return self.values(stream)[start:end]

    def offsets(self, stream: str) -> np.ndarray:
        """int64 [rows + 1]: where each row starts, in units of `width` values."""
        return self.batch.column(stream).offsets.to_numpy() // self.widths[stream]

    def values(self, stream: str) -> np.ndarray:
        """int16 [sum of lengths, width], a view of the map."""
        return self.batch.column(stream).values.to_numpy().reshape(-1, self.widths[stream])


class Shards:
    """All shards of a folder of this machine as one sequence of clips."""

    def __init__(self, folder: Path) -> None:
        self.shards = [Shard(path) for path in list_shards(same_place(folder, "training"))]
        if not self.shards:
            raise ModelError(f"no shards in {folder}; run `rapgen data tokenize` first")
        self.first = np.cumsum([0, *map(len, self.shards)])
        self._known_spans: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def meta(self) -> dict[str, Any]:
        """What the first shard says of all of them."""
        return self.shards[0].meta

    def __len__(self) -> int:
        return int(self.first[-1])

    @cached_property
    def annotations(self) -> list[Annotations]:
        """What is known of each clip."""
        return [annotations for shard in self.shards for annotations in shard.annotations]

    @cached_property
    def weights(self) -> np.ndarray:
        """f64 [clips]: how often training sees each clip, against the others."""
        return np.concatenate([shard.weights for shard in self.shards])

    def lengths(self, stream: str) -> np.ndarray:
        """int64 [clips]: frames (or samples) each clip has of a stream."""
        return self._spans(stream)[1]

    def width(self, stream: str) -> int:
        """Values a frame of a stream has."""
        return self.shards[0].widths[stream]

    def row(self, stream: str, clip: int) -> np.ndarray:
        """int16 [length, width]: a whole clip's stream, a view."""
        shard = int(np.searchsorted(self.first, clip, "right")) - 1
        return self.shards[shard].row(stream, clip - int(self.first[shard]))

    def gather(self, stream: str, clips: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """int16 [B, L, width]: the given frames [B, L] of the given clips [B], -1 where a clip has no such frame."""
        starts, lengths = self._spans(stream)
        at = starts[clips, None] + frames
        inside = (frames >= 0) & (frames < lengths[clips, None])
        out = np.full((*frames.shape, self.width(stream)), -1, np.int16)
        for shard, rows in self._by_shard(clips):
            found = inside[rows]
            if found.all():
                out[rows] = shard.values(stream)[at[rows]]
            else:
                part = out[rows]
                part[found] = shard.values(stream)[at[rows][found]]
                out[rows] = part
        return out

    def crops(self, stream: str, clips: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """As `gather` of `length` frames from `starts` [B] >= 0 on: a copy a row, without indices."""
        first, lengths = self._spans(stream)
        counts = np.clip(lengths[clips] - starts, 0, length)
        out = np.full((len(clips), length, self.width(stream)), -1, np.int16)
        for shard, rows in self._by_shard(clips):
            values = shard.values(stream)
            for row in rows:
                at = first[clips[row]] + starts[row]
                out[row, : counts[row]] = values[at : at + counts[row]]
        return out

    def _by_shard(self, clips: np.ndarray) -> Iterator[tuple[Shard, np.ndarray]]:
        """The rows of `clips` [B] that lie in each shard."""
        owners = np.searchsorted(self.first, clips, "right") - 1
        order = np.argsort(owners, kind="stable")
        found, counts = np.unique(owners, return_counts=True)
        for number, rows in zip(found, np.split(order, np.cumsum(counts)[:-1]), strict=True):
            yield self.shards[number], rows

    def _spans(self, stream: str) -> tuple[np.ndarray, np.ndarray]:
        """Where each clip starts in its shard, and its length, both int64 [clips]; read once."""
        if stream not in self._known_spans:
            offsets = [shard.offsets(stream) for shard in self.shards]
            starts = np.concatenate([each[:-1] for each in offsets])
            self._known_spans[stream] = starts, np.concatenate([np.diff(each) for each in offsets])
        return self._known_spans[stream]
