"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapgen.errors import RapgenError
from rapgen.paths import as_path, local_copy, same_place

if TYPE_CHECKING:
    from rapgen.identities import Parts
    from rapgen.schema import Recipe
    from rapgen.training.run import Run


class Engine(StrEnum):
    """What runs jobs."""

    LOCAL = "local"
    RAY = "ray"


RecipeOption = Annotated[str | None, typer.Option("--recipe", "-r", help="Recipe, by path or name.")]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", parser=as_path, metavar="PATH", help="Folder of the run.", show_default="runs/ and the recipe's name"
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key of the recipe: stages.coarse.steps=200. Repeatable.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Run or bundle, by path or name.", show_default="the embedded one")
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", min=1, help="Processes of this machine to train with: GPUs, or shares of the CPU.")
]
EngineOption = Annotated[
    Engine, typer.Option("--engine", help="Where the work is done: in processes of this machine, or on a Ray cluster.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Jobs at a time.", show_default="one a core")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]


def chosen_run(
    recipe: str | None, folder: Path | None, overrides: Sequence[str] | None, *, is_trained: bool = True
) -> Run:
    """The run to work on: of a recipe, or of a folder that has one already; at a URL where it `is_trained` not.

    RapgenError where neither is given.
    """
    from rapgen.recipe import load_recipe
    from rapgen.training.run import Run, run_recipe

    if folder is not None and is_trained:
        same_place(folder, "training")
    if recipe is not None:
        loaded = load_recipe(recipe, overrides or ())
    elif folder is None:
        raise RapgenError("no recipe is given; add --recipe boombox, or --run with the folder of a run")
    else:
        with local_copy(run_recipe(folder)) as path:
            loaded = load_recipe(path, overrides or ())
    return Run(folder or Path("runs") / loaded.name, loaded)


def load_some(model: str | None, need: tuple[str, ...]) -> tuple[Recipe, Parts]:
    """Recipe and parts of a run or bundle; the parts named in `need` must be trained."""
    from rapgen.checkpoint import find_model
    from rapgen.parts import load_parts
    from rapgen.recipe import load_recipe

    folder = find_model(model)
    recipe = load_recipe(folder / "recipe.yaml", with_sources=False)
    return recipe, load_parts(folder, recipe, need=need)


def changed_keys(old: Any, new: Any, path: str = "") -> list[str]:
    """Key paths whose values differ between two trees of mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [p for k in keys for p in changed_keys(old.get(k), new.get(k), f"{path}.{k}".lstrip("."))]
    return [] if old == new else [path]
