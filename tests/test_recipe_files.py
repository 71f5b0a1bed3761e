"""Every recipe that comes with rapgen: its figures, and a step of each of its stages at a reduced size."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import LAYERS
from conftest import train_toy

from rapgen.cli.facts import recipe_lines, stage_lines
from rapgen.generation.musiclm import MusicLM
from rapgen.parts import build_parts, part_path
from rapgen.recipe import load_recipe, parse_recipe
from rapgen.schema import STAGES
from rapgen.tokens.streams import TOKEN_STAGES
from rapgen.training.pipeline import take_parts
from rapgen.training.run import Run

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml"))
_SMALLER: dict[str, dict[str, Any]] = {  # options of a component that make it small; its rates stay
    "boombox": {"codebook_size": 16, "width": 16, "latent_width": 16, "code_dim": 8},
    "rhythm-kmeans": {"codebook_size": 8},
    "encodec": {"weights": "random"},
    "dac": {"weights": "random"},
    "hubert": {"layer": LAYERS, "codebook_size": 8},
}
_MULAN = {"dim": 16, "width": 16, "layers": 1, "heads": 2, "crop_s": 1.0, "codebook_size": 4, "num_codebooks": 2}
_CROPS = {"codec": 0.4, "mulan": 1.0, "semantic": 1.5, "coarse": 0.8, "fine": 0.8}


def smaller(name: str, checkpoints: dict[str, Path]) -> dict[str, Any]:
    """A recipe with its parts, patterns and inputs, at sizes for a second of training on toy beats."""
    tree: dict[str, Any] = copy.deepcopy(load_recipe(name, with_sources=False).model_dump(mode="json"))
    tree.pop("start_from", None)
    tree["data"] = {
        "train": {"use": "toy", "num_clips": 2, "duration_s": 1.0},
        "valid": {"use": "toy", "num_clips": 1, "duration_s": 1.0, "seed": 1},
    }
    for role in ("codec", "semantic"):
        tree[role] |= _SMALLER.get(tree[role]["use"], {})
        if tree[role]["use"] in checkpoints:
            tree[role]["path"] = str(checkpoints[tree[role]["use"]])
    tree["text_encoder"] = {"use": "toy"}
    tree["mulan"] = _MULAN
    for stage, settings in tree["stages"].items():
        settings |= {"steps": 1, "batch_size": 2, "accumulate": 1, "crop_s": _CROPS[stage], "patience": None}
        if stage in TOKEN_STAGES:
            settings["model"] |= {"width": 32, "layers": 1, "heads": 2}
            settings["model"]["mlp_width"] = settings["model"]["mlp_width"] and 64
    tree["stages"]["fine"]["block_s"] = 0.4
    return tree


@pytest.mark.parametrize("name", [name for name in NAMES if load_recipe(name, with_sources=False).start_from])
def test_a_recipe_has_the_parts_of_the_model_it_starts_from(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    take_parts(Run(tmp_path, recipe))
    assert all(part_path(tmp_path, key).is_file() for key, part in build_parts(recipe).items() if part.learns)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_takes_a_step_and_plays_a_moment(name: str, tiny_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    report = train_toy(tmp_path, smaller(name, tiny_checkpoints))
    recipe = load_recipe(tmp_path / "recipe.yaml")
    is_trained = type(build_parts(recipe)["codec"].component).__name__ == "BoomboxCodec"
    assert report.figures.keys() == {s for s in STAGES if s != "codec" or is_trained}
    for figures in report.figures.values():
        assert all(np.isfinite(value) for _, _, found in figures for value in found.values())
    (beat,) = MusicLM.load(tmp_path).generate("boom bap, 90 bpm", duration_s=0.2)
    assert beat.audio.shape[1] == round(0.2 * beat.sample_rate)
    assert np.isfinite(beat.audio).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_figures(name: str) -> None:
    """Of its own sizes, without a download; memory, which takes seconds a stage, has tests of its own."""
    recipe = load_recipe(name, with_sources=False)
    parts = build_parts(recipe)
    for stage in STAGES:
        told = "; ".join(stage_lines(recipe, parts, stage))
        assert "M parameters" in told
        assert "frames/s" in told or stage == "mulan"


@pytest.mark.parametrize(("name", "codec"), [("tiny", "GB to train"), ("encodec", "nothing to train")])
def test_memory_is_told_of_every_stage(name: str, codec: str, tiny_checkpoints: dict[str, Path]) -> None:
    lines = recipe_lines(parse_recipe(smaller(name, tiny_checkpoints), name))
    assert [line.partition(":")[0] for line in lines] == [*STAGES, "all"]
    assert codec in lines[0]
    assert "GB to train on a GPU" in lines[1]
    assert all("GB to train on a GPU, sharded over 8" in line for line in lines[2:-1])
    assert not any("sharded" in line for line in lines[:2])
    assert "sequential steps a second of audio" in lines[-1]
    assert "GB to generate one piece" in lines[-1]


def test_musiclm_is_the_papers() -> None:
    """Sections 4.1 and 4.2, and appendix A of AudioLM for the transformers."""
    recipe = load_recipe("musiclm", with_sources=False)
    parts = build_parts(recipe)
    told = {stage: "; ".join(stage_lines(recipe, parts, stage)) for stage in STAGES}
    assert "12 codebooks of 1024, 50 frames/s, 6 kbps" in told["codec"]
    assert "12 codebooks of 1024, once a clip" in told["mulan"]
    assert "1 codebook of 1024, 25 frames/s" in told["semantic"]
    assert "4 codebooks of 1024, 50 frames/s" in told["coarse"]
    assert "8 codebooks of 1024, 50 frames/s" in told["fine"]
    steps = {s: float(told[s].rpartition(" sequential")[0].rpartition(" ")[2]) for s in TOKEN_STAGES}
    assert 30 * sum(steps.values()) == 18_750
    sizes = [float(told[s].partition(" M parameters")[0]) for s in TOKEN_STAGES]
    assert sizes == pytest.approx([430, 430, 430], rel=0.05)
    assert [getattr(recipe.stages, s).crop_s for s in TOKEN_STAGES] == [30, 10, 3]
    assert [getattr(recipe.sampling, s).temperature for s in TOKEN_STAGES] == [1.0, 0.95, 0.4]


def test_large_is_large() -> None:
    recipe = load_recipe("large", with_sources=False)
    parts = build_parts(recipe)
    sizes = [float(stage_lines(recipe, parts, s)[0].partition(" ")[0]) for s in TOKEN_STAGES]
    assert min(sizes) > 150
    assert sum(sizes) > 700
