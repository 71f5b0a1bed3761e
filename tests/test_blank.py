"""Modules that get their values from a file are built without first ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rapgen.checkpoint import stage_weights
from rapgen.models.blank import Blank
from rapgen.parts import load_parts
from rapgen.recipe import load_recipe
from rapgen.tokens.streams import TOKEN_STAGES, make_model, stage_streams


@pytest.mark.parametrize("stage", TOKEN_STAGES)
def test_what_is_filled_is_what_was_saved(tiny_run: Path, stage: str) -> None:
    recipe = load_recipe(tiny_run / "recipe.yaml", with_sources=False)
    streams = stage_streams(recipe, load_parts(tiny_run, recipe), stage)
    before = torch.get_rng_state()
    with Blank():
        blank = make_model(recipe, streams)
    assert torch.equal(torch.get_rng_state(), before)
    plain = make_model(recipe, streams)
    state = stage_weights(tiny_run, stage)
    for model in (blank, plain):
        model.load_state_dict(state, assign=model is blank)
        model.eval()
    assert blank.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in blank.state_dict().items())
    hidden = torch.randn(1, 5, blank.transformer.width)
    assert torch.equal(blank.transformer(hidden), plain.transformer(hidden))


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(3, 4),
        lambda: nn.Embedding(5, 2),
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        lambda: nn.Parameter(torch.randn(3, 2) * 0.5),
    ],
)
def test_nothing_is_drawn(build: Any) -> None:
    before = torch.get_rng_state()
    with Blank():
        made = build()
    assert torch.equal(torch.get_rng_state(), before)
    shapes = [p.shape for p in (made.parameters() if isinstance(made, nn.Module) else [made])]
    drawn = build()
    assert shapes == [p.shape for p in (drawn.parameters() if isinstance(drawn, nn.Module) else [drawn])]
    assert not torch.equal(torch.get_rng_state(), before)


def test_what_is_computed_is_computed() -> None:
    with Blank():
        assert torch.equal(torch.arange(3) * 2, torch.tensor([0, 2, 4]))
        assert torch.hann_window(4).tolist() == pytest.approx([0, 0.5, 1, 0.5])


def test_it_does_without_torchs_compiler() -> None:
    code = """if True:
        import sys, torch
        from rapgen.models.blank import Blank
        with Blank():
            torch.nn.Parameter(torch.randn(3, 2) * 0.5)
            torch.nn.init.normal_(torch.nn.Linear(3, 4).weight, std=0.1)
        sys.exit("torch._dynamo" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
