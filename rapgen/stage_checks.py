"""Whether a recipe's stages fit the codec and the tokenizer that it names; told before anything is built on them."""

from __future__ import annotations

import math

from rapgen.errors import RecipeError
from rapgen.interfaces import TokenSpec
from rapgen.schema import Recipe

_LEAST_FRAMES = {"crop_s": 2, "block_s": 1}  # a crop has a frame to predict from another
_LEAST_MULAN_S = 0.08  # a patch of its spectrogram


def check_stages(recipe: Recipe, codec: TokenSpec, semantic: TokenSpec, *, trains_codec: bool) -> None:
    """RecipeError, a line a problem, where FINE has no codebooks or a crop or block holds too few frames."""
    coarse, name = recipe.stages.coarse.num_codebooks, f"codec '{recipe.codec['use']}'"
    problems = []
    if coarse >= codec.num_codebooks:
        problems.append(
            f"stages.coarse.num_codebooks is {coarse} and {name} has {codec.num_codebooks}; leave at least one for fine"
        )
    problems += _short("codec", recipe, name, codec) if trains_codec else []
    for key, crop_s in {"mulan": recipe.mulan.crop_s, "stages.mulan": recipe.stages.mulan.crop_s}.items():
        if crop_s < _LEAST_MULAN_S:
            short = f"{key}.crop_s is {crop_s:g}, which is too short to hear anything in"
            problems.append(f"{short}; give {_LEAST_MULAN_S:g} or more")
    problems += _short("semantic", recipe, f"semantic tokenizer '{recipe.semantic['use']}'", semantic)
    problems += _short("coarse", recipe, name, codec) + _short("fine", recipe, name, codec)
    if problems:
        raise RecipeError("\n".join(problems))


def _short(stage: str, recipe: Recipe, whose: str, spec: TokenSpec) -> list[str]:
    """What is too short in a stage, with the least that would do."""
    problems = []
    for key, least in _LEAST_FRAMES.items():
        seconds = getattr(getattr(recipe.stages, stage), key, None)
        if seconds is not None and spec.frames(seconds) < least:
            enough = math.ceil(least / spec.frame_rate * 1000) / 1000
            problems.append(
                f"stages.{stage}.{key} is {seconds:g}, which is too short for {whose} at {spec.frame_rate:g} frames a "
                f"second; give {enough:g} or more"
            )
    return problems
