"""What a generation takes of memory, and whether there is so much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from rapgen.errors import PromptError
from rapgen.generation.decoders import window_of
from rapgen.memory import free_memory
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Samplings
from rapgen.tokens.streams import crop_frames

if TYPE_CHECKING:
    from rapgen.generation.audiolm import AudioLM

_FLOAT = 4  # bytes


def check_memory(lm: AudioLM, sampling: Samplings, *, beats: int, samples: int = 0) -> None:
    """PromptError where so many beats at once, or their audio of `samples` kept whole, cannot fit.

    Counts what is taken for certain, so that nothing is refused that could be made: keys and values of full windows on
    the device, audio in the machine's memory.
    """
    device = lm.models["coarse"].embed_target.table.device
    caches = beats * sum(_caches(lm, sampling))
    audio = 2 * beats * lm.codec.channels * samples * _FLOAT  # in pieces, then joined
    _check(beats, audio + (caches if device.type == "cpu" else 0), free_memory(), "this machine")
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, from beats before
        _check(beats, caches, torch.cuda.mem_get_info(device)[0] + kept, f"'{device}'")


def _check(beats: int, needed: int, free: int, where: str) -> None:
    if needed > free:
        what = "a beat of this length takes" if beats == 1 else f"{beats} beats of this length at once take"
        raise PromptError(
            f"{what} {needed / 1e9:,.1f} GB of memory, and {where} has {free / 1e9:,.1f} GB free; ask for fewer at a "
            "time, or for shorter ones"
        )


def _caches(lm: AudioLM, sampling: Samplings) -> Iterator[int]:
    """Bytes of keys and values for one beat, of each stage that keeps any."""
    for stage, model in lm.models.items():
        if model.pattern != "masked":
            crop = crop_frames(getattr(lm.recipe.stages, stage), model.target)
            yield cache_bytes(model, crop, getattr(sampling, stage).guidance_scale)


def cache_bytes(model: TokenLM, crop: int, guidance_scale: float) -> int:
    """Keys and values of one piece in a full window of `crop` frames, of a causal model on any device."""
    net, rows = model.transformer, 1 if guidance_scale == 1 else 2
    room = window_of(model, crop, 0)[1] + _prefix(model, crop)
    return 2 * len(net.blocks) * rows * room * net.width * _FLOAT


def _prefix(model: TokenLM, crop: int) -> int:
    """Positions that stand before the steps of a window of `crop` frames."""
    prefixes = [stream.spec for stream in model.inputs.values() if stream.is_prefix]
    seconds = crop / model.target.frame_rate
    return sum(spec.num_codebooks * (1 if spec.is_prefix else spec.frames(seconds)) for spec in prefixes)
