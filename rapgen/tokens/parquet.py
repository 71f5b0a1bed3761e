"""Datasets and token shards as Parquet, for the tools of others."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rapgen.audio.metadata import METADATA, SPLITS, audio_files, parse_rows
from rapgen.errors import AudioError, ModelError, RapgenError
from rapgen.paths import fetch, is_file, is_folder, same_place
from rapgen.tokens.shards import list_shards, opened

Report = Callable[[int, int], None]
Tree = dict[str, Any]
_AUDIO = pa.struct({"bytes": pa.binary(), "path": pa.string()})  # what Hugging Face's `Audio` is stored as
_FEATURES = {b"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Audio"}}}}).encode()}
_GROUP_ROWS, _GROUP_BYTES = 100, 32_000_000  # of a row group, which readers hold in memory
_FILE_BYTES = 500_000_000


def export_dataset(dataset: Path, out: Path, *, report: Report) -> int:
    """Write `out/<split>/00000.parquet`, ... with all columns of the metadata and the audio files' bytes; the rows.

    `datasets.load_dataset(out)` gives them a column `audio` that decodes. All files have the same columns. Raises
    AudioError where a folder or its metadata cannot be used, RapgenError where `out` is there or cannot be written.
    """
    found = {split: dataset / split for split in SPLITS if is_folder(dataset / split)} or {"train": dataset}
    trees = {split: _trees(folder) for split, folder in found.items()}
    total, done = sum(map(len, trees.values())), 0
    if not total:
        raise AudioError(f"{dataset} holds no audio; name a dataset that `rapgen data prepare` or `synth` has made")
    schema = _schema(tree for rows in trees.values() for tree in rows)
    with _appearing(out) as work:
        for split, rows in trees.items():
            (work / split).mkdir()
            for number, groups in enumerate(_files(_groups(found[split], rows))):
                with pq.ParquetWriter(work / split / f"{number:05d}.parquet", schema) as writer:
                    for group in groups:
                        writer.write_table(pa.Table.from_pylist(group, schema=schema))
                        done += len(group)
                        report(done, total)
    return total


def export_tokens(tokens: Mapping[str, Path], out: Path, *, report: Report) -> int:
    """Write `out/<split>/<shard>.parquet` of folders of token shards, by split; the number of clips.

    A clip's stream is a list of int16 whose frames, of as many values as `widths` says, stand one after another; -1 is
    a token that is not known. The key `rapgen` of a file's schema holds the widths and the identities of the parts, as
    JSON. Raises ModelError where there are no tokens, RapgenError where `out` is there or cannot be written.
    """
    paths = [(split, path) for split, folder in tokens.items() for path in list_shards(folder)]
    if not paths:
        raise ModelError(f"there are no tokens in {' or '.join(map(str, tokens.values()))}; run `rapgen data tokenize`")
    clips = 0
    with _appearing(out) as work:
        for done, (split, path) in enumerate(paths, start=1):
            (work / split).mkdir(exist_ok=True)
            with opened(path) as shard:
                table = pa.Table.from_batches([shard.batch])
                plain = [
                    pa.field(f.name, pa.list_(pa.int16()) if f.name in shard.widths else f.type) for f in table.schema
                ]
                table = table.cast(pa.schema(plain, table.schema.metadata))
                pq.write_table(table, work / split / f"{path.stem}.parquet", row_group_size=_GROUP_ROWS)
                clips += len(shard)
            report(done, len(paths))
    return clips


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder that is `out` when the block ends well, and gone when it does not."""
    if is_folder(same_place(out, "export")) or is_file(out):
        raise RapgenError(f"{out} is there already; choose a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            yield work
            work.chmod(0o755)
            work.rename(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise RapgenError(f"cannot write {out}: {error.strerror or error}; free some space") from None


def _trees(folder: Path) -> list[Tree]:
    """A folder's lines of metadata, whole, or a line a file where it has none."""
    path = folder / METADATA
    if not is_file(path):
        return [{"file_name": name} for name in audio_files(folder)]
    for row in parse_rows(path):
        if isinstance(row, AudioError):
            raise row
    with fetch(path) as file:
        return [json.loads(line) for line in file.read().splitlines() if line.strip()]


def _schema(trees: Iterable[Tree]) -> pa.Schema:
    """The columns of all rows together: numbers as the widest of a column's, and the audio before them."""
    schema = pa.schema([])
    batch: list[Tree] = []
    for tree in trees:
        batch.append(tree)
        if len(batch) == 1000:
            schema, batch = _wider(schema, batch), []
    schema = _wider(schema, batch)
    if "audio" in schema.names:
        raise AudioError("the metadata has a column 'audio', which the audio itself is to be; give it another name")
    return pa.schema([pa.field("audio", _AUDIO), *schema], metadata=_FEATURES)


def _wider(schema: pa.Schema, trees: list[Tree]) -> pa.Schema:
    try:
        columns = sorted({name for tree in trees for name in tree})
        found = pa.schema([(name, pa.infer_type([tree.get(name) for tree in trees])) for name in columns])
        return pa.unify_schemas([schema, found], promote_options="permissive")
    except pa.ArrowException as error:
        raise AudioError(f"the metadata has columns of mixed kinds ({' '.join(str(error).split())}); mend it") from None


def _groups(folder: Path, trees: list[Tree]) -> Iterator[list[Tree]]:
    """Rows with their audio, as many as make a row group."""
    group: list[Tree] = []
    size = 0
    for tree in trees:
        with fetch(folder / tree["file_name"]) as file:
            content = file.read()
        group.append({"audio": {"bytes": content, "path": tree["file_name"]}, **tree})
        size += len(content)
        if len(group) == _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _files(groups: Iterator[list[Tree]]) -> Iterator[Iterator[list[Tree]]]:
    """Row groups, as many as make a file; each file's are to be taken before the next is asked for."""
    for first in groups:

        def rest(first: list[Tree] = first) -> Iterator[list[Tree]]:
            size = 0
            group: list[Tree] | None = first
            while group is not None:
                yield group
                size += sum(len(tree["audio"]["bytes"]) for tree in group)
                group = next(groups, None) if size < _FILE_BYTES else None

        yield rest()
