"""Data source -> audio shards at the codec's rate: rendered or decoded once, then memory-mapped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rapgen.audio.io import fit_channels, resample
from rapgen.audio.wav import from_pcm16, to_pcm16
from rapgen.data.engine import run_jobs
from rapgen.errors import MismatchError, RapgenError
from rapgen.interfaces import LEAD, Clip, ClipRef
from rapgen.paths import is_file
from rapgen.registry import build, lasting_options
from rapgen.schema import Node
from rapgen.tokens.shards import Row, Shard, Shards, check_written, list_shards, opened, read_label, write_shard

CLIPS_A_SHARD = 64
AUDIO = "audio"
Report = Callable[[int, int], None]  # (done, total) in clips


def collect(
    node: Node,
    folder: Path,
    *,
    sample_rate: int,
    channels: int,
    report: Report,
    limit: int | None = None,
    engine: str = "local",
    workers: int | None = None,
) -> None:
    """Write what a source holds, or its first `limit` clips, to `folder` as int16 audio shards; what is there is kept.

    Raises RapgenError where the source has no clips, MismatchError where a shard is of other clips or another rate.
    """
    refs = list(itertools.islice(build("source", node).refs(), limit))
    if not refs:
        raise RapgenError(f"data source '{node['use']}' holds no clips; check its options")
    batches = [refs[i : i + CLIPS_A_SHARD] for i in range(0, len(refs), CLIPS_A_SHARD)]
    jobs = [(folder / f"{n:05d}.arrow", batch, node, sample_rate, channels) for n, batch in enumerate(batches)]
    wanted = {job[0].name: job[1] for job in jobs}
    made = list_shards(folder)
    for path in made:
        _compare(path, wanted.get(path.name, []), node, sample_rate, channels)
    there = {path.name for path in made}
    todo = [job for job in jobs if job[0].name not in there]
    done = len(refs) - sum(len(job[1]) for job in todo)
    report(done, len(refs))
    for count in run_jobs(_write, todo, engine=engine, workers=workers):
        done += count
        report(done, len(refs))
    check_written(job[0] for job in todo)


def _compare(path: Path, refs: list[ClipRef], node: Node, sample_rate: int, channels: int) -> None:
    """MismatchError where a shard was made from another source, of other clips, or for another codec."""
    label = read_label(path)
    stored, current = label.meta["source"], {"use": node["use"], **lasting_options("source", node)}
    pairs = {
        "sample_rate": (label.meta["sample_rate"], sample_rate),
        "channels": (label.meta["channels"], channels),
        "source": ({"use": stored["use"], **lasting_options("source", stored)}, current),
    }
    for name, (was, now) in pairs.items():
        if was != now:
            raise MismatchError(f"{path}: {name} was {was} when it was made and is {now} now; remove {path.parent}")
    if list(label.ids) != [ref.id for ref in refs]:
        raise MismatchError(
            f"{path} holds other clips than '{node['use']}' has now; remove {path.parent} and its tokens"
        )


def _write(path: Path, refs: list[ClipRef], node: Node, sample_rate: int, channels: int) -> int:
    if is_file(path):  # where a job runs again, since the machine that did it has gone before it was told
        return len(refs)
    source = build("source", node)
    meta = {"sample_rate": sample_rate, "channels": channels, "source": node}
    rows = [_row(ref, source.load(ref), sample_rate, channels) for ref in refs]
    write_shard(path, rows, meta)
    return len(refs)


def _row(ref: ClipRef, clip: Clip, sample_rate: int, channels: int) -> Row:
    def pcm(audio: np.ndarray) -> np.ndarray:
        return to_pcm16(resample(fit_channels(audio, channels), clip.sample_rate, sample_rate)).T

    lead = pcm(clip.stems[LEAD]) if LEAD in clip.stems else np.zeros((0, channels), np.int16)
    return Row(ref.id, ref.track, clip.annotations, {AUDIO: pcm(clip.audio), LEAD: lead})


def stored_clip(shards: Shard | Shards, index: int) -> Clip:
    """A clip back from its audio shard."""
    lead = shards.row(LEAD, index)
    return Clip(
        audio=from_pcm16(shards.row(AUDIO, index).T),
        sample_rate=int(shards.meta["sample_rate"]),
        annotations=shards.annotations[index],
        stems={LEAD: from_pcm16(lead.T)} if lead.size else {},
    )


def stored_clips(folder: Path, report: Report) -> Iterator[Clip]:
    """All clips of a folder of audio shards, of which one is open at a time."""
    paths = list_shards(folder)
    total, done = sum(len(read_label(path).ids) for path in paths), 0
    for path in paths:
        with opened(path) as shard:
            for index in range(len(shard)):
                yield stored_clip(shard, index)
                done += 1
                report(done, total)
