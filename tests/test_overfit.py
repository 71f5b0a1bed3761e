"""Every stage learns one batch by heart in the loop that trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rapgen.audio.io import resample
from rapgen.parts import load_parts
from rapgen.recipe import load_recipe
from rapgen.registry import build
from rapgen.schema import Training
from rapgen.training.loop import Arguments, Stage, train
from rapgen.training.run import Run
from rapgen.training.stages import make_stage


def overfit(stage: Stage, batch: Arguments, folder: Path, *, steps: int, rate: float) -> dict[str, float]:
    """Figures of the averaged weights on the one batch they have seen."""
    settings = Training(steps=steps, learning_rate=rate, warmup_steps=10, weight_decay=0, ema_decay=0.9)
    always = replace(stage, settings=settings, batch=lambda number: batch, valid_batches=lambda: [batch] * 8)
    return train(always, folder, seed=0, watch=lambda *step: None).valid


def stage_of(run: Path, name: str) -> Stage:
    recipe = load_recipe(run / "recipe.yaml")
    return make_stage(Run(run, recipe), name, load_parts(run, recipe))


@pytest.mark.parametrize(
    ("name", "steps", "accuracy"),
    [("semantic", 60, 0.99), ("coarse", 80, 0.99), ("fine", 300, 0.95)],  # flat, delay, masked
)
def test_token_stages(tiny_run: Path, tmp_path: Path, name: str, steps: int, accuracy: float) -> None:
    stage = stage_of(tiny_run, name)
    tokens, _ = stage.batch(0)  # without the batch's chance, so that masks are others at every step
    figures = overfit(stage, (tokens,), tmp_path, steps=steps, rate=1e-2)
    assert figures["accuracy"] > accuracy
    assert figures["loss"] < 0.2


def test_mulan(tiny_run: Path, tmp_path: Path) -> None:
    stage = stage_of(tiny_run, "mulan")
    figures = overfit(stage, stage.batch(0), tmp_path, steps=60, rate=3e-3)
    assert figures["recall@1 a2t"] == figures["recall@1 t2a"] == 1.0
    assert figures["loss"] < 0.1


def test_codec(tmp_path: Path) -> None:
    toys = build("source", {"use": "toy", "num_clips": 1, "duration_s": 1.0})
    clip = toys.load(next(toys.refs()))
    audio = torch.from_numpy(resample(clip.audio, clip.sample_rate, 24_000))[None]
    torch.manual_seed(0)
    sizes = {"num_codebooks": 4, "codebook_size": 64, "width": 64, "latent_width": 64, "code_dim": 16}
    codec = build("codec", {"use": "boombox", **sizes})
    stage = Stage("codec", Training(), codec.module, lambda number: (audio,), lambda: [(audio,)])
    figures = overfit(stage, (audio,), tmp_path, steps=120, rate=1e-2)
    assert figures["mel_distance"] < 0.3
    assert figures["si_sdr_db"] > 1
    codec.module.eval()
    again = codec.decode(codec.encode(audio))
    assert np.corrcoef(again.flatten(), audio.flatten())[0, 1] > 0.7
