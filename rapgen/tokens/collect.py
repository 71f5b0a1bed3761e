"""Data source -> audio shards at the codec's rate: rendered or decoded once, then memory-mapped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rapgen.audio.io import fit_channels, from_pcm16, resample, to_pcm16
from rapgen.errors import MismatchError, RapgenError
from rapgen.interfaces import LEAD, Clip, ClipRef
from rapgen.processes import spread
from rapgen.registry import build, lasting_options
from rapgen.schema import Node
from rapgen.tokens.shards import Row, Shard, Shards, write_shard

CLIPS_A_SHARD = 64
AUDIO = "audio"
Report = Callable[[int, int], None]  # (done, total) in clips


def collect(
    node: Node, folder: Path, *, sample_rate: int, channels: int, report: Report, limit: int | None = None
) -> Shards:
    """Write what a source holds, or its first `limit` clips, to `folder` as int16 audio shards; what is there is kept.

    Raises RapgenError where the source has no clips, MismatchError where a shard is of other clips or another rate.
    """
    refs = list(itertools.islice(build("source", node).refs(), limit))
    if not refs:
        raise RapgenError(f"data source '{node['use']}' holds no clips; check its options")
    batches = [refs[i : i + CLIPS_A_SHARD] for i in range(0, len(refs), CLIPS_A_SHARD)]
    jobs = [(folder / f"{n:05d}.arrow", batch, node, sample_rate, channels) for n, batch in enumerate(batches)]
    for path in sorted(folder.glob("*.arrow")):
        _compare(path, {job[0]: job[1] for job in jobs}.get(path, []), node, sample_rate, channels)
    todo = [job for job in jobs if not job[0].is_file()]
    done = len(refs) - sum(len(job[1]) for job in todo)
    report(done, len(refs))
    for count in spread(_write, todo):
        done += count
        report(done, len(refs))
    return Shards(folder)


def _compare(path: Path, refs: list[ClipRef], node: Node, sample_rate: int, channels: int) -> None:
    """MismatchError where a shard was made from another source, of other clips, or for another codec."""
    shard = Shard(path)
    meta = shard.meta
    stored, current = meta["source"], {"use": node["use"], **lasting_options("source", node)}
    pairs = {
        "sample_rate": (meta["sample_rate"], sample_rate),
        "channels": (meta["channels"], channels),
        "source": ({"use": stored["use"], **lasting_options("source", stored)}, current),
    }
    for name, (was, now) in pairs.items():
        if was != now:
            raise MismatchError(f"{path}: {name} was {was} when it was made and is {now} now; remove {path.parent}")
    if shard.batch.column("id").to_pylist() != [ref.id for ref in refs]:
        raise MismatchError(
            f"{path} holds other clips than '{node['use']}' has now; remove {path.parent} and its tokens"
        )


def _write(path: Path, refs: list[ClipRef], node: Node, sample_rate: int, channels: int) -> int:
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


def stored_clip(shards: Shards, index: int) -> Clip:
    """A clip back from its audio shard."""
    lead = shards.row(LEAD, index)
    return Clip(
        audio=from_pcm16(shards.row(AUDIO, index).T),
        sample_rate=int(shards.meta["sample_rate"]),
        annotations=shards.annotations[index],
        stems={LEAD: from_pcm16(lead.T)} if lead.size else {},
    )
