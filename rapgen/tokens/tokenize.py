"""Audio shards + frozen parts -> token shards: every stream that a stage reads or predicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rapgen.audio.rate import to_rate
from rapgen.data.engine import run_jobs
from rapgen.errors import MismatchError
from rapgen.identities import Parts, compare_all, identities
from rapgen.interfaces import Clip
from rapgen.parts import conditioners, padded
from rapgen.paths import is_file
from rapgen.processes import workers_of_this_size
from rapgen.tokens.collect import stored_clip
from rapgen.tokens.names import CODES, SEMANTIC, aligned_name
from rapgen.tokens.shards import Row, Shard, check_written, list_shards, opened, read_label, write_shard


def tokenize(
    audio: Path,
    parts: Parts,
    folder: Path,
    *,
    report: Callable[[int, int], None],
    load: Callable[[], Parts] | None = None,
    engine: str = "local",
    workers: int | None = None,
) -> None:
    """Write one token shard for each audio shard of `audio`; shards made with the same parts are kept.

    Other processes, by default as many as cores and memory take, get the parts by `load` and work on one thread each;
    without it this process does all. Raises MismatchError where `folder` holds shards of other parts, or where a
    process has others.
    """
    current = json.loads(json.dumps(identities(parts), default=str))  # once: large parts take seconds to hash
    made = {path.name: path for path in list_shards(folder)}
    clips = {path: len(read_label(path).ids) for path in list_shards(audio)}
    for path in made.values():
        _compare(path, read_label(path).meta["identities"], current, parts)
    jobs = [(path, folder / path.name, load, current) for path in clips if path.name not in made]
    done, total = sum(count for path, count in clips.items() if path.name in made), sum(clips.values())
    report(done, total)
    if engine == "local":
        workers = (workers or workers_of_this_size()) if load else 1
    _HERE[:] = [current, parts]
    try:
        for count in run_jobs(_write, jobs, engine=engine, workers=workers):
            done += count
            report(done, total)
    finally:
        _HERE.clear()
    check_written(job[1] for job in jobs)


_HERE: list[Any] = []  # identities and parts that this process works with, since they take long to load


def _parts_here(load: Callable[[], Parts] | None, current: dict[str, Any]) -> Parts:
    if not _HERE or _HERE[0] != current:
        assert load is not None
        parts = load()
        compare_all(current, parts, "what this process is to tokenize with")
        _HERE[:] = [current, parts]
    found: Parts = _HERE[1]
    return found


def _compare(path: Path, stored: dict[str, Any], current: dict[str, Any], parts: Parts) -> None:
    if stored != current:
        compare_all(stored, parts, str(path))
        if new := sorted(parts.keys() - stored.keys()):
            raise MismatchError(f"{path} was made without {' and '.join(new)}; remove {path.parent.parent} and go on")


def _write(audio: Path, path: Path, load: Callable[[], Parts] | None, current: dict[str, Any]) -> int:
    """Tokenize an audio shard; the number of its clips."""
    if is_file(path):  # where a job runs again, since the machine that did it has gone before it was told
        return len(read_label(path).ids)
    parts = _parts_here(load, current)
    with opened(audio) as shard:
        rows = [_row(shard, index, parts) for index in range(len(shard))]
    write_shard(path, rows, {"identities": current})
    return len(rows)


def _row(shard: Shard, index: int, parts: Parts) -> Row:
    clip = stored_clip(shard, index)
    ident, track = (shard.batch.column(name)[index].as_py() for name in ("id", "track"))
    return Row(ident, track, clip.annotations, clip_streams(clip, parts))


@torch.no_grad()
def clip_streams(clip: Clip, parts: Parts) -> dict[str, np.ndarray]:
    """All token streams of a clip: int16 [length, width] with PAD where a token is not known."""
    codec, semantic = parts["codec"].component, parts["semantic"].component
    audio = torch.from_numpy(clip.audio)[None]
    codes = codec.encode(audio)
    tokens = semantic.encode(to_rate(audio, clip.sample_rate, semantic.spec.sample_rate))
    streams = {CODES: codes[0], SEMANTIC: tokens[0]}
    frames = {CODES: (codec.spec, codes.shape[1]), SEMANTIC: (semantic.spec, tokens.shape[1])}
    for name, conditioner in conditioners(parts).items():
        if conditioner.is_aligned:
            for consumer, (spec, count) in frames.items():
                streams[aligned_name(name, consumer)] = padded(conditioner, [clip], spec, count)[0]
        else:
            streams[name] = padded(conditioner, conditioner.views(clip))
    return {name: s.cpu().numpy().astype(np.int16) for name, s in streams.items()}
