"""Streams of earlier stages as prefixes, MusicLM's way: trained, decoded and streamed as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import train_toy
from torch import Tensor

from rapgen.errors import RecipeError
from rapgen.generation.audiolm import AudioLM, Opening, Piece
from rapgen.generation.musiclm import MusicLM
from rapgen.generation.onnx_engine import OnnxEngine
from rapgen.generation.stages import Stages
from rapgen.interfaces import Prompt
from rapgen.models.patterns import PAD
from rapgen.parts import build_parts
from rapgen.recipe import parse_recipe
from rapgen.tokens.batches import ClipOrder
from rapgen.tokens.shards import Shards
from rapgen.tokens.streams import TOKEN_STAGES, batch, crop_frames, make_model, stage_streams

PIECES = [Piece(Prompt("boom bap, 90 bpm")), Piece(Prompt("trap, 140 bpm", seed=3), 1)]


@pytest.fixture
def tree(toy_recipe: dict[str, Any]) -> dict[str, Any]:
    """The toy recipe in the paper's patterns; a codec frame is half a semantic one, the crops are odd on purpose."""
    stages = toy_recipe["stages"]
    stages["coarse"] |= {"pattern": "flat", "as_prefix": ["semantic"], "look_ahead": 0, "crop_s": 0.54}
    stages["fine"] |= {"pattern": "flat", "as_prefix": ["coarse"], "crop_s": 0.3}
    return toy_recipe


def untrained(tree: dict[str, Any], **sampling: dict[str, float]) -> AudioLM:
    """Fresh weights, and parts that need no training."""
    torch.manual_seed(0)
    tree["conditioners"] = {name: {"use": name} for name in ("groove", "grid", "toy")}
    tree["sampling"] = sampling
    for stage in TOKEN_STAGES:
        tree["stages"][stage]["inputs"] = [n for n in tree["stages"][stage]["inputs"] if n != "mulan"]
    recipe = parse_recipe(tree, "test")
    parts = build_parts(recipe)
    models = {name: make_model(recipe, stage_streams(recipe, parts, name)).eval() for name in TOKEN_STAGES}
    return AudioLM(recipe, parts, models)


def codes(lm: AudioLM, frames: int, **options: Any) -> Tensor:
    return torch.cat(list(lm.stream(PIECES, frames, sampling=lm.recipe.sampling, **options)), 1)


@pytest.mark.parametrize("coarse", ["flat", "delay"])
@pytest.mark.parametrize("fine", ["flat", "masked"])
def test_streaming_gives_the_same_tokens(tree: dict[str, Any], coarse: str, fine: str) -> None:
    """Over several windows of each stage; no stage reads what is not made yet."""
    tree["stages"]["coarse"]["pattern"], tree["stages"]["fine"]["pattern"] = coarse, fine
    lm = untrained(tree, coarse={"guidance_scale": 2.0})
    whole = codes(lm, 70)
    assert (whole != PAD).all()
    assert torch.equal(codes(lm, 70, block=9), whole)
    assert torch.equal(codes(lm, 33), whole[:, :33])
    inside = Stages(lm, PIECES, 70, lm.recipe.sampling, None)
    original = inside._tokens

    def checked(*arguments: Any) -> Tensor:
        tokens = original(*arguments)
        assert (tokens != PAD).all(), f"{arguments} read too early"
        return tokens

    vars(inside)["_tokens"] = checked
    for end in (1, 9, 40, 70):
        inside.advance_causal(end)
        inside.advance_fine(end)
    assert torch.equal(inside.codes(0, 70), whole)


def test_an_opening_goes_on(tree: dict[str, Any]) -> None:
    lm = untrained(tree)
    opening = Opening(torch.zeros(2, 20, 1, dtype=torch.int64), torch.ones(2, 41, 4, dtype=torch.int64))
    went_on = codes(lm, 70, opening=opening, block=9)
    assert torch.equal(went_on[:, :41], opening.codes)
    assert torch.equal(went_on, codes(lm, 70, opening=opening))


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_decoding_reads_what_training_reads(tree: dict[str, Any], stage: str) -> None:
    """At temperature 0 every token of the first window is the most likely one of the pass that training makes."""
    lm = untrained(tree, **{name: {"temperature": 0.0, "guidance_scale": 1.0} for name in TOKEN_STAGES})
    lm._engines = {name: OnnxEngine(model, is_quantized=False) for name, model in lm.models.items()}
    made = Stages(lm, PIECES, 70, lm.recipe.sampling, None)
    made.advance_causal(70)
    made.advance_fine(70)
    streams, model = lm.streams[stage], lm.models[stage]
    frames = np.arange(crop_frames(getattr(lm.recipe.stages, stage), streams.target))
    inputs = {n: t for n, t in made._inputs(stage, 0, len(frames)).items() if n not in ("semantic", "coarse")}
    if stage == "coarse":
        inputs["semantic"] = made.semantic.codes[:, streams.semantic_read(frames)[:, 0]]
        assert inputs["semantic"].shape[1] == 14  # 27 frames of the codec
    else:
        inputs["coarse"] = made.coarse.codes[:, frames]
    target = made.codes(0, len(frames))[..., streams.books]
    with torch.no_grad():
        loss, figures = model({"target": target, **inputs})
        assert figures["accuracy"] == 1
        prefix = {name: (inputs[name] + 1) % 32 for name in {"semantic", "coarse"} & inputs.keys()}
        other, _ = model({"target": target, **inputs, **prefix})
        assert len(prefix) == 1
        assert abs(other - loss) > 1e-3  # it is heard


def test_a_run_trains_and_generates(tree: dict[str, Any], tmp_path: Path) -> None:
    for name in TOKEN_STAGES:
        tree["stages"][name]["steps"] = 2
    train_toy(tmp_path, tree)
    lm = MusicLM.load(tmp_path)
    (beat,) = lm.generate("boom bap, 90 bpm", duration_s=1)
    assert beat.audio.shape == (1, 8000)
    shards, streams = Shards(tmp_path / "tokens/train"), lm.streams["coarse"]
    crop = crop_frames(lm.recipe.stages.coarse, streams.target)
    order = ClipOrder(shards.weights, 0, "coarse")
    found = batch(shards, order, streams, rows=lm.recipe.stages.coarse.batch_size, crop=crop, seed=0, number=0)
    assert found["target"].shape == (4, 27, 2)
    assert found["semantic"].shape == (4, 14, 1)
    assert (found["semantic"] != PAD).all()


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("fine", {"as_prefix": ["semantic"]}, "as_prefix names 'semantic', which is not among the inputs"),
        ("coarse", {"as_prefix": ["grid"]}, "'semantic' or 'coarse'"),
        ("coarse", {"look_ahead": 2}, "look_ahead must be 0 where semantic is a prefix"),
    ],
)
def test_a_bad_prefix_is_one_line(tree: dict[str, Any], stage: str, change: dict[str, Any], message: str) -> None:
    tree["stages"][stage] |= change
    with pytest.raises(RecipeError, match=message) as raised:
        parse_recipe(tree, "test")
    assert "\n" not in str(raised.value)
