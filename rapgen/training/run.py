"""The run directory: where a recipe's data, parts and checkpoints are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rapgen.errors import ModelError
from rapgen.files import atomic
from rapgen.paths import is_file, local_copy
from rapgen.recipe import load_recipe
from rapgen.schema import Recipe

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Run:
    """A folder and the recipe it is made from."""

    folder: Path
    recipe: Recipe

    def audio(self, split: str) -> Path:
        """Audio shards of a split."""
        return self.folder / "audio" / split

    def tokens(self, split: str) -> Path:
        """Token shards of a split."""
        return self.folder / "tokens" / split

    def stage(self, name: str) -> Path:
        """Checkpoints of a stage."""
        return self.folder / name

    def save_recipe(self) -> None:
        """Write the resolved recipe."""
        with atomic(self.folder / "recipe.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False))


def run_recipe(folder: Path) -> Path:
    """The recipe of a run that exists; ModelError where the folder is none."""
    path = folder / "recipe.yaml"
    if not is_file(path):
        raise ModelError(f"{folder} is not a run or bundle: it has no recipe.yaml")
    return path


def open_run(folder: Path) -> Run:
    """A run that exists; ModelError where the folder is none."""
    with local_copy(run_recipe(folder)) as path:
        return Run(folder, load_recipe(path))
