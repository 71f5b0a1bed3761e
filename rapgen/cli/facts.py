"""What a recipe, run or bundle comes to: sizes, streams, rates, progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from rapgen.checkpoint import find_model, latest_checkpoint, read_meta
from rapgen.generation.masked import pass_plan
from rapgen.generation.need import cache_bytes
from rapgen.identities import Parts
from rapgen.interfaces import TokenSpec, Trainable, TunableTextEncoder
from rapgen.models.mulan import MuLaNPart
from rapgen.models.token_lm import TokenLM
from rapgen.parts import build_parts
from rapgen.recipe import load_recipe
from rapgen.schema import STAGES, Recipe
from rapgen.tokens.streams import TOKEN_STAGES, StageStreams, block_frames, crop_frames, make_model, stage_streams
from rapgen.training.estimate import training_memory

_BOX = 8  # GPUs of the machine that memory is told for beside a single one


def stage_lines(recipe: Recipe, parts: Parts, stage: str) -> list[str]:
    """Size, streams and sequential steps of a stage, a line each."""
    if stage not in TOKEN_STAGES:
        component = parts[stage].component
        trained = component.module if isinstance(component, Trainable) else None
        spec = component.quantizer.spec if isinstance(component, MuLaNPart) else component.spec
        known = getattr(component, "num_parameters", None)
        comes = "comes trained" if known is None else f"comes trained, {known / 1e6:.2f} M parameters"
        return [comes if trained is None else _size(trained), f"tokens: {_stream(spec)}"]
    streams = stage_streams(recipe, parts, stage)
    with torch.device("meta"):
        model = make_model(recipe, streams)
    heard = ", ".join(streams.inputs) or "nothing"
    rate = _steps_a_second(recipe, stage, streams.target)
    return [
        _size(model),
        f"predicts: {_stream(streams.target)}",
        f"hears: {heard}",
        f"{rate:g} sequential steps a second of audio ({getattr(recipe.stages, stage).pattern})",
    ]


def recipe_lines(recipe: Recipe) -> list[str]:
    """All stages of a recipe, a line each, then what they come to; nothing is downloaded."""
    parts = build_parts(recipe)
    stages = {stage: "; ".join(stage_lines(recipe, parts, stage)) for stage in STAGES}
    spare = build_parts(recipe)  # those that memory is estimated with are used up
    lines = [f"{stage}: {told}; {_training(recipe, spare, stage)}" for stage, told in stages.items()]
    return [*lines, f"all: {_all_stages(recipe, parts)}"]


def _training(recipe: Recipe, parts: Parts, stage: str) -> str:
    """Memory of a stage's training."""
    try:
        memory = training_memory(recipe, parts, stage, on_gpu=True)
    except Exception as error:  # a stranger's module may do what needs values
        return f"memory to train is not known here ({type(error).__name__})"
    if memory is None:
        return "nothing to train"
    is_tuned = stage == "mulan" and isinstance(parts["text_encoder"].component, TunableTextEncoder)
    whole = f"{memory.total() / 1e9:.3g} GB to train on a GPU{' beside the text encoder' * is_tuned}"
    if stage not in TOKEN_STAGES:  # the others are not sharded
        return whole
    return f"{whole}, sharded over {_BOX} {memory.total(_BOX) / 1e9:.3g} GB each"


def _all_stages(recipe: Recipe, parts: Parts) -> str:
    models, steps, caches = [], 0.0, 0
    for stage in TOKEN_STAGES:
        streams = stage_streams(recipe, parts, stage)
        steps += _steps_a_second(recipe, stage, streams.target)
        with torch.device("meta"):
            models.append(make_model(recipe, streams))
            caches += _cache_bytes(recipe, streams, models[-1])
    modules = [*models, *(p.component.module for p in parts.values() if isinstance(p.component, Trainable))]
    size = sum(p.numel() for m in modules for p in m.parameters())
    weights = sum(v.nbytes for m in modules for v in m.state_dict().values())
    return (
        f"{size / 1e6:.2f} M parameters; {steps:g} sequential steps a second of audio; "
        f"{(weights + caches) / 1e9:.3g} GB to generate one piece, {caches / 1e9:.2g} GB of it caches"
    )


def _cache_bytes(recipe: Recipe, streams: StageStreams, model: TokenLM) -> int:
    """Keys and values of a full window of one piece; `model` is on the device meta."""
    settings = getattr(recipe.stages, streams.stage)
    if settings.pattern == "masked":
        return 0
    guidance_scale = getattr(recipe.sampling, streams.stage).guidance_scale
    return cache_bytes(model, crop_frames(settings, model.target), guidance_scale)


def describe_stage(stage: str, recipe: str | None, model: str | None) -> str:
    """A stage's settings in a recipe, run or bundle, with its size, streams and progress."""
    folder = None if recipe is not None and model is None else find_model(model)
    loaded = load_recipe(recipe if recipe is not None else find_model(model) / "recipe.yaml", with_sources=False)
    sections = {stage: getattr(loaded, stage)} if stage in ("codec", "mulan", "semantic") else {}
    sections[f"stages.{stage}"] = getattr(loaded.stages, stage)
    plain = {k: v if isinstance(v, dict) else v.model_dump(mode="json") for k, v in sections.items()}
    lines = [yaml.safe_dump(plain, sort_keys=False).rstrip(), *stage_lines(loaded, build_parts(loaded), stage)]
    return "\n".join(lines + ([] if folder is None else _progress_lines(folder, stage)))


def _progress_lines(folder: Path, stage: str) -> list[str]:
    checkpoint = latest_checkpoint(folder / stage)
    if checkpoint is not None:
        progress: dict[str, Any] = read_meta(checkpoint)["progress"]
        figures = ", ".join(f"{name} {value:.4g}" for name, value in progress["valid"].items())
        return [f"checkpoint: step {progress['step']} in {checkpoint}", f"valid: {figures or 'not validated yet'}"]
    if not (folder / "meta.json").is_file():
        return [f"checkpoint: none in {folder}"]
    meta = read_meta(folder)
    sha256 = meta["stages"].get(stage) or meta["identities"].get(stage, {}).get("state_sha256")
    return [f"bundle: {folder}, weights {str(sha256)[:16]}"]


def _size(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M parameters"


def _stream(spec: TokenSpec) -> str:
    books = f"{spec.num_codebooks} codebook{'s' * (spec.num_codebooks != 1)} of {spec.codebook_size}"
    if spec.is_prefix:
        return f"{books}, once a clip"
    return f"{books}, {spec.frame_rate:g} frames/s, {spec.kbit_per_s:.3g} kbps"


def _steps_a_second(recipe: Recipe, stage: str, target: TokenSpec) -> float:
    settings = getattr(recipe.stages, stage)
    if settings.pattern == "flat":
        return target.frame_rate * target.num_codebooks
    if settings.pattern == "delay":
        return target.frame_rate
    return len(pass_plan(target.num_codebooks, recipe.stages.fine.passes)) * (
        target.frame_rate / block_frames(settings, target)
    )
