"""What each stage brings to the loop: its model, its batches, its validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rapgen.audio.wav import from_pcm16
from rapgen.checkpoint import find_model, is_bundle, latest_checkpoint, read_meta, stage_weights
from rapgen.errors import MismatchError, PluginError
from rapgen.identities import Parts, compare_all, full, untrained
from rapgen.interfaces import TokenSpec, Trainable, TunableTextEncoder
from rapgen.models.mulan import MuLaN, TunedMuLaN
from rapgen.models.token_lm import StreamEmbedding, TokenLM
from rapgen.schema import TokenStage, Training
from rapgen.tokens.batches import ClipOrder, draw_starts, padding_share, uniforms
from rapgen.tokens.collect import AUDIO
from rapgen.tokens.names import CODES
from rapgen.tokens.shards import Shards
from rapgen.tokens.streams import TOKEN_STAGES, StageStreams, batch, crop_frames, make_model, stage_streams
from rapgen.training.captions import captions, features_of, tokens_of
from rapgen.training.loop import Stage, step_seed
from rapgen.training.micro import Arguments
from rapgen.training.run import Run
from rapgen.training.speed import Work, token_flops

log = logging.getLogger(__name__)
MUCH_PADDING = 0.1  # of a batch
VALID_BATCHES = 8  # batches a validation looks at


def make_stage(run: Run, name: str, parts: Parts) -> Stage:
    """The stage called `name`; token models are initialised from the recipe's seed."""
    if name in TOKEN_STAGES:
        return _token_stage(run, name, parts)
    return _codec_stage(run, parts) if name == "codec" else _mulan_stage(run, parts)


def seed_weights(run: Run, name: str) -> None:
    """What is initialised next follows from the recipe's seed and the stage alone."""
    torch.manual_seed(step_seed(run.recipe.seed, name, -2))


def trained_module(name: str, parts: Parts) -> nn.Module:
    """What CODEC or MULAN trains: MuLaN with the text encoder under it, where that is tuned."""
    module: nn.Module = parts[name].component.module
    encoder = parts["text_encoder"].component
    if name == "mulan" and isinstance(encoder, TunableTextEncoder):
        return TunedMuLaN(parts[name].component.module, encoder.text_module())
    return module


def _token_stage(run: Run, name: str, parts: Parts) -> Stage:
    settings: TokenStage = getattr(run.recipe.stages, name)
    streams = stage_streams(run.recipe, parts, name)
    model, seed, rows = _fresh_model(run, streams, parts), run.recipe.seed, settings.batch_size

    def crop_of(shards: Shards) -> int:
        """Where all clips are shorter than a crop, as long as they are."""
        return min(crop_frames(settings, streams.target), int(shards.lengths(streams.source).max()))

    def batches(shards: Shards) -> Callable[[int], Arguments]:
        order, crop = ClipOrder(shards.weights, seed, name), crop_of(shards)
        columns = model.num_chances(crop)

        def draw(number: int) -> tuple[dict[str, Tensor], Tensor]:
            chance = uniforms(seed, name, "model", first=number * rows, rows=rows, columns=columns)
            found = batch(shards, order, streams, rows=rows, crop=crop, seed=seed, number=number)
            return found, torch.from_numpy(chance)

        return draw

    train, valid = Shards(run.tokens("train")), Shards(run.tokens("valid"))
    train_batch = batches(train)
    _tell_padding(name, train, streams.source, crop_of(train))
    return Stage(
        name=name,
        settings=settings,
        model=model,
        batch=train_batch,
        valid_batches=_valid(batches(valid), valid, settings),
        parts=parts,
        recipe_sha256=run.recipe.sha256,
        sharded=settings.sharded,
        work=_token_work(model, train_batch(0)[0], rows),
    )


def _tell_padding(name: str, shards: Shards, stream: str, crop: int) -> None:
    share = padding_share(shards.lengths(stream), shards.weights, crop)
    if share > MUCH_PADDING:
        mend = f"set stages.{name}.crop_s lower, or bring longer clips"
        log.warning(
            "%s: %.0f %% of its batches is padding, for many clips are shorter than a crop; %s", name, 100 * share, mend
        )


def _token_work(model: TokenLM, example: dict[str, Tensor], rows: int) -> Work:
    return Work("tokens", example["target"].numel() / rows, token_flops(model, example) / rows)


def _fresh_model(run: Run, streams: StageStreams, parts: Parts) -> TokenLM:
    """A model whose tables start from the codec's own vectors, where it shows them: far fewer steps to learn them."""
    seed_weights(run, streams.stage)
    model = make_model(run.recipe, streams)
    if run.recipe.start_from is not None and latest_checkpoint(run.stage(streams.stage)) is None:
        return _started(model, find_model(run.recipe.start_from), streams.stage, parts)
    codebooks = getattr(parts["codec"].component, "codebooks", None)
    if codebooks is not None and streams.source == CODES:
        model.embed_target.start_from(codebooks[streams.books])
        if "coarse" in streams.inputs:
            known = streams.inputs["coarse"].spec.num_codebooks
            embedding = model.embed_input["coarse"]
            assert isinstance(embedding, StreamEmbedding)
            embedding.start_from(codebooks[:known])
    return model


def _started(model: TokenLM, folder: Path, stage: str, parts: Parts) -> TokenLM:
    """The model with the weights of another run or bundle; streams that one did not hear begin as if not there.

    Raises MismatchError where the other one has other parts or sizes.
    """
    state = full(stage_weights(folder, stage))
    theirs = read_meta(folder if is_bundle(folder) else latest_checkpoint(folder / stage) or folder)["identities"]
    compare_all({key: tree for key, tree in theirs.items() if key in parts}, parts, str(folder))
    for name, embedding in model.embed_input.items():
        if f"embed_input.{name}.table" not in state:
            assert isinstance(embedding, StreamEmbedding)
            torch.nn.init.zeros_(embedding.table)
    own = model.state_dict()
    try:
        model.load_state_dict(own | {name: value for name, value in state.items() if name in own})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MismatchError(f"{stage} cannot start from {folder}, which has other sizes: {reason}") from None
    return model


def codec_crop(settings: Training, spec: TokenSpec) -> int:
    """Samples of a training crop of CODEC: whole frames."""
    assert spec.sample_rate
    assert spec.hop_length
    return -(-round(settings.crop_s * spec.sample_rate) // spec.hop_length) * spec.hop_length


def _codec_stage(run: Run, parts: Parts) -> Stage:
    codec = parts["codec"].component
    if not isinstance(codec, Trainable):
        raise PluginError(f"codec '{parts['codec'].name}' comes trained; there is nothing to train")
    settings, seed, spec = run.recipe.stages.codec, run.recipe.seed, parts["codec"].component.spec
    crop = codec_crop(settings, spec)

    def batches(shards: Shards) -> Callable[[int], Arguments]:
        draw = _audio_crops(shards, settings, crop, seed, "codec")
        return lambda number: (draw(number)[1],)

    train, valid = Shards(run.audio("train")), Shards(run.audio("valid"))
    return Stage(
        name="codec",
        settings=settings,
        model=trained_module("codec", parts),
        batch=batches(train),
        valid_batches=_valid(batches(valid), valid, settings),
        recipe_sha256=run.recipe.sha256,
        work=Work("audio_s", settings.crop_s),
        skips_parameters=True,  # a plugin's module may have some that its loss does not reach
    )


def _mulan_stage(run: Run, parts: Parts) -> Stage:
    model: MuLaN = parts["mulan"].component.module
    text_encoder, encoder = parts["text_encoder"], parts["text_encoder"].component
    settings, seed = run.recipe.stages.mulan, run.recipe.seed
    crop = round(settings.crop_s * model.sample_rate)
    is_tuned = isinstance(encoder, TunableTextEncoder)

    def batches(shards: Shards) -> Callable[[int], Arguments]:
        crops = _audio_crops(shards, settings, crop, seed, "mulan")
        texts, place, first = captions(shards)
        read = tokens_of(encoder, texts) if is_tuned else features_of(model, texts)

        def draw(number: int) -> Arguments:
            clips, audio = crops(number)
            rows = settings.batch_size
            chance = uniforms(seed, "mulan", "caption", first=number * rows, rows=rows, columns=1)[:, 0]
            drawn = first[clips] + (chance * np.diff(first)[clips]).astype(np.int64)
            return audio, *read(place[drawn])

        return draw

    train, valid = Shards(run.audio("train")), Shards(run.audio("valid"))
    return Stage(
        name="mulan",
        settings=settings,
        model=trained_module("mulan", parts),
        batch=batches(train),
        valid_batches=_valid(batches(valid), valid, settings),
        parts={"text_encoder": untrained(text_encoder) if is_tuned else text_encoder},
        recipe_sha256=run.recipe.sha256,
        work=Work("audio_s", settings.crop_s),
        skips_parameters=is_tuned,  # an encoder may have some that no vector passes
    )


def _audio_crops(
    shards: Shards, settings: Training, crop: int, seed: int, stage: str
) -> Callable[[int], tuple[np.ndarray, Tensor]]:
    """The clips [B] of a batch by its number, and a crop of each, f32 [B, C, S]."""
    order, lengths, rows = ClipOrder(shards.weights, seed, stage), shards.lengths(AUDIO), settings.batch_size

    def draw(number: int) -> tuple[np.ndarray, Tensor]:
        clips = order.clips(number * rows, rows)
        chance = uniforms(seed, stage, "crop", first=number * rows, rows=rows, columns=1)[:, 0]
        samples = shards.crops(AUDIO, clips, draw_starts(lengths[clips], crop, chance), crop)
        return clips, torch.from_numpy(from_pcm16(samples)).transpose(1, 2)

    return draw


def _valid(draw: Callable[[int], Arguments], shards: Shards, settings: Training) -> Callable[[], Iterable[Any]]:
    """The first batches of the held-out clips, about once through them."""
    count = max(1, min(VALID_BATCHES, len(shards) // settings.batch_size))
    return lambda: (draw(n) for n in range(count))
