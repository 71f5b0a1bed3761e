"""Audio shards + frozen parts -> token shards: every stream that a stage reads or predicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rapgen.audio.rate import to_rate
from rapgen.errors import MismatchError
from rapgen.identities import Parts, compare_all, identities
from rapgen.interfaces import Clip, TokenSpec
from rapgen.models.patterns import PAD
from rapgen.parts import conditioners
from rapgen.tokens.collect import stored_clip
from rapgen.tokens.shards import Row, Shard, Shards, write_shard

CODES, SEMANTIC = "codes", "semantic"


def aligned_name(conditioner: str, consumer: str) -> str:
    """Name of a frame-aligned conditioner's stream at the rate of `codes` or `semantic`."""
    return f"{conditioner}.{consumer}"


def tokenize(audio: Shards, parts: Parts, folder: Path, *, report: Callable[[int, int], None]) -> Shards:
    """Write one token shard for each audio shard; shards made with the same parts are kept.

    Raises MismatchError where `folder` holds shards of other parts.
    """
    current = json.loads(json.dumps(identities(parts), default=str))  # once: large parts take seconds to hash
    done = 0
    for number, shard in enumerate(audio.shards):
        path = folder / f"{number:05d}.arrow"
        clips = range(done, done + len(shard))
        if path.is_file():
            stored = Shard(path).meta["identities"]
            if stored != current:
                compare_all(stored, parts, str(path))
            if new := sorted(parts.keys() - stored.keys()):
                raise MismatchError(f"{path} was made without {' and '.join(new)}; remove {folder.parent} and go on")
        else:
            rows = [_row(audio, i, parts) for i in clips]
            write_shard(path, rows, {"identities": current})
        done += len(shard)
        report(done, len(audio))
    return Shards(folder)


def _row(audio: Shards, index: int, parts: Parts) -> Row:
    shard = int(np.searchsorted(audio.first, index, "right")) - 1
    batch, local = audio.shards[shard].batch, index - int(audio.first[shard])
    clip = stored_clip(audio, index)
    streams = clip_streams(clip, parts)
    return Row(batch.column("id")[local].as_py(), batch.column("track")[local].as_py(), clip.annotations, streams)


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


def padded(
    conditioner: Any, items: Any, spec: TokenSpec | None = None, num_frames: int = 0, start_frame: int = 0
) -> Tensor:
    """A conditioner's tokens with PAD where they are not valid."""
    tokens, valid = conditioner.encode(items, spec=spec, start_frame=start_frame, num_frames=num_frames)
    return torch.where(valid, tokens, PAD)
