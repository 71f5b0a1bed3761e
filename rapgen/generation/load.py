"""Runs and bundles to models that can generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rapgen.checkpoint import find_model, is_bundle, latest_checkpoint, read_meta, stage_weights
from rapgen.errors import MismatchError, ModelError, RapgenError
from rapgen.files import file_sha256
from rapgen.generation.threads import one_thread
from rapgen.identities import Parts, compare_all, full, half, state_sha256
from rapgen.models.blank import Blank
from rapgen.models.token_lm import TokenLM
from rapgen.parts import load_parts
from rapgen.recipe import load_recipe
from rapgen.schema import Recipe
from rapgen.tokens.streams import TOKEN_STAGES, make_model, stage_streams


@one_thread()  # many small operations, which two threads on a busy machine take several times as long for
def load_model(model: str | Path | None = None, *, device: str = "cpu") -> tuple[Recipe, Parts, dict[str, TokenLM]]:
    """Recipe, parts and token models of a run or bundle, at the precision they ship in, ready to generate.

    Raises ModelError where something is missing or damaged, MismatchError where things do not belong together,
    RapgenError where there is no such device.
    """
    _check_device(device)
    folder = find_model(model)
    meta = read_meta(folder) if is_bundle(folder) else None
    if meta is not None and file_sha256(folder / "recipe.yaml") != meta.get("recipe_yaml_sha256"):
        raise ModelError(f"{folder / 'recipe.yaml'} does not match the bundle's own hash; fetch it anew")
    recipe = load_recipe(folder / "recipe.yaml", with_sources=False)
    parts = load_parts(folder, recipe)
    if meta is not None:
        compare_all(meta["identities"], parts, str(folder))
    models = {name: _load_stage(folder, name, recipe, parts, meta) for name in TOKEN_STAGES}
    for part in parts.values():
        part.component.to(device)
    for name in TOKEN_STAGES:
        models[name].to(device).eval().requires_grad_(False)
    return recipe, parts, models


def _check_device(name: str) -> None:
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        if reason.startswith("Expected one of"):  # and then all that torch ever ran on
            reason = "there is no such kind"
        raise RapgenError(f"device '{name}' cannot be used ({reason}); try --device cpu") from None


def _load_stage(folder: Path, name: str, recipe: Recipe, parts: Parts, meta: dict[str, Any] | None) -> TokenLM:
    state = stage_weights(folder, name)
    if meta is None:
        state = half(state)
        checkpoint = latest_checkpoint(folder / name)
        assert checkpoint is not None
        compare_all(read_meta(checkpoint)["identities"], parts, str(checkpoint))
    elif state_sha256(state) != meta.get("stages", {}).get(name):
        raise ModelError(f"{folder}/stages/{name}.safetensors is damaged: it does not match its hash; fetch it anew")
    with Blank():
        model = make_model(recipe, stage_streams(recipe, parts, name))
    try:
        model.load_state_dict(full(state), assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MismatchError(f"{folder}: the weights of {name} do not fit its recipe: {reason}") from None
    return model
