"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapgen.errors import RapgenError

if TYPE_CHECKING:
    from rapgen.identities import Parts
    from rapgen.schema import Recipe
    from rapgen.training.run import Run

RecipeOption = Annotated[str | None, typer.Option("--recipe", "-r", help="Recipe, by path or name.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="Folder of the run.", show_default="runs/ and the recipe's name")
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
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]


def chosen_run(recipe: str | None, folder: Path | None, overrides: list[str] | None) -> Run:
    """The run to work on: of a recipe, or of a folder that has one already. RapgenError where neither is given."""
    from rapgen.recipe import load_recipe
    from rapgen.training.run import Run, run_recipe

    if recipe is None:
        if folder is None:
            raise RapgenError("no recipe is given; add --recipe boombox, or --run with the folder of a run")
        recipe = str(run_recipe(folder))
    loaded = load_recipe(recipe, overrides or ())
    return Run(folder or Path("runs") / loaded.name, loaded)


def load_some(model: str | None, need: tuple[str, ...]) -> tuple[Recipe, Parts]:
    """Recipe and parts of a run or bundle; the parts named in `need` must be trained."""
    from rapgen.checkpoint import find_model
    from rapgen.parts import load_parts
    from rapgen.recipe import load_recipe

    folder = find_model(model)
    recipe = load_recipe(folder / "recipe.yaml", with_sources=False)
    return recipe, load_parts(folder, recipe, need=need)


def check_device(name: str) -> str:
    """The name of a device that is there; RapgenError where it is not."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise RapgenError(f"device '{name}' cannot be used ({reason}); try --device cpu") from None
    return name


def changed_keys(old: Any, new: Any, path: str = "") -> list[str]:
    """Key paths whose values differ between two trees of mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [p for k in keys for p in changed_keys(old.get(k), new.get(k), f"{path}.{k}".lstrip("."))]
    return [] if old == new else [path]
