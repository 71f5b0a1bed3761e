"""Models with random weights at any size, made from a recipe and loaded as a trained run is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rapgen import MusicLM
from rapgen.checkpoint import save_checkpoint
from rapgen.identities import identities
from rapgen.interfaces import Clip
from rapgen.parts import build_parts, freeze, save_part
from rapgen.recipe import parse_recipe
from rapgen.tokens.streams import TOKEN_STAGES, make_model, stage_streams
from rapgen.training.run import Run

RATE = 24000  # Hz, of the semantic tokenizer
HEAD = 64  # columns of an attention head


def stage(width: int, layers: int, crop_s: float, **settings: Any) -> dict[str, Any]:
    """A token stage of a recipe."""
    heads = max(1, width // HEAD)
    return {"model": {"width": width, "layers": layers, "heads": heads}, "crop_s": crop_s, **settings}


def recipe(
    *,
    books: int,
    size: int,
    stages: dict[str, dict[str, Any]],
    sampling: dict[str, dict[str, float]],
    conditioners: Iterable[str] = (),
) -> dict[str, Any]:
    """A recipe's tree: 50 frames a second of `books` codebooks of `size`, semantics at 25 Hz, parts that are fast."""
    toy = {"use": "toy"}
    return {
        "name": "benchmark",
        "data": {"train": toy, "valid": toy},
        "codec": {"use": "toy", "num_codebooks": books, "codebook_size": size},
        "semantic": {"use": "rhythm-kmeans", "codebook_size": size, "hop_length": RATE // 25, "sample_rate": RATE},
        "text_encoder": toy,
        "mulan": {"dim": 16, "width": 16, "layers": 1, "heads": 2, "codebook_size": 8, "num_codebooks": 2},
        "conditioners": {name: {"use": name} for name in conditioners},
        "stages": stages,
        "sampling": sampling,
    }


def random_run(folder: Path, tree: dict[str, Any]) -> Path:
    """A run in `folder` that looks trained: its parts have heard noise, its stages are as initialised."""
    torch.manual_seed(0)
    run = Run(folder, parse_recipe(tree, "benchmark"))
    folder.mkdir(parents=True, exist_ok=True)
    run.save_recipe()
    parts = build_parts(run.recipe)
    noise = np.random.default_rng(0).standard_normal((1, RATE), np.float32)
    parts["semantic"].component.fit([Clip(noise, RATE)], seed=0)
    for key, part in parts.items():
        freeze(part)
        if part.component.state():
            save_part(folder, key, part)
    for name in TOKEN_STAGES:
        model = make_model(run.recipe, stage_streams(run.recipe, parts, name))
        save_checkpoint(run.stage(name), 1, {"ema": model.state_dict()}, {"identities": identities(parts)})
    return folder


def random_model(folder: Path, tree: dict[str, Any]) -> MusicLM:
    """The model of such a run, loaded as users load theirs."""
    return MusicLM.load(random_run(folder, tree))
