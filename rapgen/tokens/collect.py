"""Data source -> audio shards at the codec's rate: rendered or decoded once, then memory-mapped."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

import numpy as np

from rapgen.audio.io import fit_channels, resample
from rapgen.errors import RapgenError
from rapgen.interfaces import Clip, ClipRef
from rapgen.recipe import Node
from rapgen.registry import build
from rapgen.tokens.shards import Row, Shards, write_shard

CLIPS_A_SHARD = 64
AUDIO = "audio"
Report = Callable[[int, int], None]  # (done, total) in clips


def collect(node: Node, folder: Path, *, sample_rate: int, channels: int, report: Report) -> Shards:
    """Write what a source holds to `folder` as int16 audio shards; shards that are there are kept.

    Raises RapgenError where the source has no clips.
    """
    refs = list(build("source", node).refs())
    if not refs:
        raise RapgenError(f"data source '{node['use']}' holds no clips; check its options")
    batches = [refs[i : i + CLIPS_A_SHARD] for i in range(0, len(refs), CLIPS_A_SHARD)]
    jobs = [(folder / f"{n:05d}.arrow", batch) for n, batch in enumerate(batches)]
    todo = [job for job in jobs if not job[0].is_file()]
    done = len(refs) - sum(len(batch) for _, batch in todo)
    report(done, len(refs))
    for count in _spread(todo, node, sample_rate, channels):
        done += count
        report(done, len(refs))
    return Shards(folder)


def _spread(jobs: list[tuple[Path, list[ClipRef]]], node: Node, sample_rate: int, channels: int) -> Iterator[int]:
    """Run the jobs on all cores; yields the number of clips of each that ends."""
    workers = min(len(jobs), os.cpu_count() or 1)
    if workers <= 1:
        yield from (_write(path, refs, node, sample_rate, channels) for path, refs in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        queue = iter(jobs)
        pending: set[Future[int]] = set()
        while True:
            for path, refs in itertools.islice(queue, workers + 1 - len(pending)):
                pending.add(pool.submit(_write, path, refs, node, sample_rate, channels))
            if not pending:
                return
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)


def _write(path: Path, refs: list[ClipRef], node: Node, sample_rate: int, channels: int) -> int:
    source = build("source", node)
    meta = {"sample_rate": sample_rate, "channels": channels, "source": node}
    rows = [_row(ref, source.load(ref), sample_rate, channels) for ref in refs]
    write_shard(path, rows, meta)
    return len(refs)


def _row(ref: ClipRef, clip: Clip, sample_rate: int, channels: int) -> Row:
    audio = resample(fit_channels(clip.audio, channels), clip.sample_rate, sample_rate)
    pcm = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)
    return Row(ref.id, ref.track, clip.annotations, {AUDIO: pcm.T})


def stored_clip(shards: Shards, index: int) -> Clip:
    """A clip back from its audio shard."""
    audio = shards.row(AUDIO, index).T.astype(np.float32) / 32767
    return Clip(audio, int(shards.meta["sample_rate"]), shards.annotations[index])
