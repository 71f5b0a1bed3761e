"""SEMANTIC, COARSE and FINE as rows of data: what each predicts, from which streams, at which frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rapgen.identities import Parts
from rapgen.interfaces import TokenSpec
from rapgen.models.token_lm import Input, TokenLM
from rapgen.parts import conditioners
from rapgen.schema import FineStage, Recipe, TokenStage
from rapgen.tokens.batches import ClipOrder, draw_starts, uniforms
from rapgen.tokens.names import CODES, SEMANTIC, aligned_name

if TYPE_CHECKING:
    from rapgen.tokens.shards import Shards

TOKEN_STAGES = ("semantic", "coarse", "fine")


@dataclass(frozen=True)
class StageStreams:
    """The streams of one token stage."""

    stage: str
    source: str  # the stored stream that holds the target: CODES or SEMANTIC
    books: slice  # the target's codebooks within it
    target: TokenSpec
    inputs: Mapping[str, Input]
    semantic: TokenSpec
    look_ahead: int

    @property
    def frame_samples(self) -> int:
        """Samples a frame of the target, at the target's rate."""
        assert self.target.hop_length is not None
        return self.target.hop_length

    def semantic_frames(self, frames: np.ndarray) -> np.ndarray:
        """The semantic frame that covers the start of each of the target's frames, exactly."""
        assert self.target.sample_rate
        assert self.semantic.sample_rate
        assert self.semantic.hop_length
        return (
            frames
            * (self.frame_samples * self.semantic.sample_rate)
            // (self.target.sample_rate * self.semantic.hop_length)
        )

    def semantic_read(self, frames: np.ndarray) -> np.ndarray:
        """The semantic frames that are read with a run of the target's frames [..., F].

        Beside each of them [..., F, 1 + look_ahead]; as a prefix, each once [..., N, 1].
        """
        beside = self.semantic_frames(frames)
        if self.inputs["semantic"].is_prefix:
            count = int(self.semantic_frames(np.array(frames.shape[-1] - 1))) + 1
            return (beside[..., :1] + np.arange(count))[..., None]
        return beside[..., None] + np.arange(1 + self.look_ahead)


def stage_streams(recipe: Recipe, parts: Parts, stage: str) -> StageStreams:
    """The row of data for `stage`, from the recipe and the parts' specs."""
    codec, semantic = parts["codec"].component.spec, parts["semantic"].component.spec
    coarse = recipe.stages.coarse.num_codebooks
    ranges = {"semantic": slice(0, semantic.num_codebooks), "coarse": slice(0, coarse)}
    books = ranges.get(stage, slice(coarse, codec.num_codebooks))
    settings: TokenStage = getattr(recipe.stages, stage)
    known = conditioners(parts)
    inputs = {}
    for name in settings.inputs:
        if name in known:
            inputs[name] = Input(known[name].spec, not known[name].is_aligned, is_condition=True)
        else:
            columns = {"semantic": 1 + settings.look_ahead, "coarse": coarse}[name]
            spec = replace(semantic if name == "semantic" else codec, num_codebooks=columns)
            inputs[name] = Input(spec, name in settings.as_prefix, is_condition=False)
    own = semantic if stage == "semantic" else codec
    return StageStreams(
        stage=stage,
        source=SEMANTIC if stage == "semantic" else CODES,
        books=books,
        target=replace(own, num_codebooks=books.stop - books.start),
        inputs=inputs,
        semantic=semantic,
        look_ahead=settings.look_ahead,
    )


def make_model(recipe: Recipe, streams: StageStreams) -> TokenLM:
    """A fresh model for a token stage."""
    settings: TokenStage = getattr(recipe.stages, streams.stage)
    model = TokenLM(
        target=streams.target,
        inputs=streams.inputs,
        pattern=settings.pattern,
        condition_dropout=settings.condition_dropout,
        block_frames=block_frames(settings, streams.target),
        **settings.model.model_dump(),
    )
    model.transformer.checkpointing = settings.checkpointing is True
    return model


def block_frames(settings: TokenStage, target: TokenSpec) -> int:
    """Frames of a block of FINE; 1 for the other stages."""
    return target.frames(settings.block_s) if isinstance(settings, FineStage) else 1


def crop_frames(settings: TokenStage, target: TokenSpec) -> int:
    """Frames of a training crop."""
    return target.frames(settings.crop_s)


def batch(
    shards: Shards, order: ClipOrder, streams: StageStreams, *, rows: int, crop: int, seed: int, number: int
) -> dict[str, torch.Tensor]:
    """Training batch `number`, of crops of `crop` frames: "target" int64 [B, F, Q] and every input by name."""
    clips = order.clips(number * rows, rows)
    columns = 1 + len(streams.inputs)
    chance = uniforms(seed, streams.stage, "crop", first=number * rows, rows=rows, columns=columns)
    starts = draw_starts(shards.lengths(streams.source)[clips], crop, chance[:, 0])
    return gather(shards, streams, clips, starts[:, None] + np.arange(crop), chance[:, 1:])


def gather(
    shards: Shards, streams: StageStreams, clips: np.ndarray, frames: np.ndarray, chance: np.ndarray
) -> dict[str, torch.Tensor]:
    """The given frames [B, F] of the given clips; a prefix with several views gives one, by `chance` [B, inputs]."""
    found = {"target": shards.gather(streams.source, clips, frames)[..., streams.books]}
    for column, (name, stream) in enumerate(streams.inputs.items()):
        if name == "semantic":
            read = streams.semantic_read(frames)
            found[name] = shards.gather(SEMANTIC, clips, read.reshape(len(clips), -1)).reshape(read.shape)
        elif name == "coarse":
            found[name] = shards.gather(CODES, clips, frames)[..., : stream.spec.num_codebooks]
        elif stream.is_prefix:
            view = (chance[:, column] * shards.lengths(name)[clips]).astype(np.int64)
            found[name] = shards.gather(name, clips, view[:, None])[:, 0]
        else:
            found[name] = shards.gather(aligned_name(name, streams.source), clips, frames)
    return {name: torch.from_numpy(values.astype(np.int64)) for name, values in found.items()}
