"""Recipes: YAML to a frozen, typed, complete description of a run. All errors are reported at once."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rapgen.errors import RapgenError, RecipeError
from rapgen.registry import check_node, registry
from rapgen.schema import Recipe


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = (), *, with_sources: bool = True) -> Recipe:
    """Read, merge, override (`a.b=c`) and check a recipe.

    A trained model is used without its data: `with_sources=False` lets data sources be missing on this machine.
    Raises RecipeError with one line a problem: file, key path, what is wrong, the nearest right name.
    """
    path = find_recipe(name_or_path)
    tree = _read(path)
    for override in overrides:
        _override(tree, override)
    return parse_recipe(tree, path.name, with_sources=with_sources)


def parse_recipe(tree: Mapping[str, Any], origin: str, *, with_sources: bool = True) -> Recipe:
    """Check a recipe that is already a tree; `origin` names it in errors."""
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(e) for e in error.errors()]
        raise RecipeError("\n".join(f"{origin}: {p}" for p in problems)) from None
    problems = [*_node_problems(recipe, with_sources), *_input_problems(recipe)]
    if problems:
        raise RecipeError("\n".join(f"{origin}: {p}" for p in problems))
    return recipe


def read_options(overrides: Iterable[str]) -> dict[str, Any]:
    """The tree that overrides (`a.b=c`) make by themselves; RecipeError where one is none."""
    tree: dict[str, Any] = {}
    for override in overrides:
        _override(tree, override)
    return tree


def recipe_paths() -> dict[str, Path]:
    """Recipes found by name: rapgen's own and those of plugins."""
    folders = [Path(str(importlib.resources.files("rapgen_recipes"))), *registry().recipe_folders()]
    return {p.stem: p for folder in reversed(folders) for p in sorted(folder.glob("*.yaml"))}


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe given by path or by name (`tiny`, `recipes/tiny.yaml`)."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = recipe_paths()
    if path.stem in known and str(path) in {path.stem, path.name, f"recipes/{path.name}"}:
        return known[path.stem]
    near = get_close_matches(path.stem, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
    raise RecipeError(f"no recipe '{name_or_path}'; {hint}")


def _read(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tree of a file over that of the one it extends; `below` are the files that extend this one."""
    if path.resolve() in below:
        raise RecipeError(f"{path.name}: extends itself; take `extends` out of one of {len(below)} files")
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path.name}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path.name}: a recipe is a mapping of keys to values")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    sibling = path.parent / str(base)
    parent = sibling if sibling.is_file() else find_recipe(str(base))
    return _merge(_read(parent, (*below, path.resolve())), tree)


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`change` over `base`, key by key; a node that names another component replaces the whole node."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        swaps = isinstance(value, dict) and isinstance(old, dict) and value.get("use", old.get("use")) != old.get("use")
        if isinstance(value, dict) and isinstance(old, dict) and not swaps:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _override(tree: dict[str, Any], override: str) -> None:
    match = re.fullmatch(r"([^=]+)=(.*)", override, flags=re.DOTALL)
    if not match:
        raise RecipeError(f"--set takes key.path=value, got '{override}'")
    *parents, last = match[1].strip().split(".")
    node = tree
    for key in parents:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise RecipeError(f"--set {override}: '{key}' is a value, not a section")
    try:
        node[last] = yaml.safe_load(match[2])
    except yaml.YAMLError:
        raise RecipeError(f"--set {override}: the value is not YAML") from None


# -------------------------------------------------------------------------------------------- errors


def _explain(error: Any) -> str:
    """One pydantic error as `key.path: what is wrong; the nearest right name`."""
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _fields_at(error["loc"][:-1])
        near = get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        return f"{path}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{path}: missing"
    return f"{path}: {error['msg']} (got {error['input']!r})"


def _fields_at(location: Iterable[str | int]) -> list[str]:
    model: Any = Recipe
    for key in location:
        model = model.model_fields[str(key)].annotation
    return list(model.model_fields)


def _node_problems(recipe: Recipe, with_sources: bool) -> list[str]:
    problems = []
    for path, (role, node) in recipe.nodes().items():
        if role == "source" and not with_sources:
            continue
        try:
            problems += [f"{path}: {p}" for p in check_node(role, node)[2]]
        except RapgenError as error:
            problems.append(f"{path}: {error}")
    return problems


def _input_problems(recipe: Recipe) -> list[str]:
    """Inputs that name no stream of the recipe."""
    before = {"semantic": [], "coarse": ["semantic"], "fine": ["semantic", "coarse"]}
    problems = []
    for stage, earlier in before.items():
        known = [*recipe.conditioners, *earlier]
        for name in getattr(recipe.stages, stage).inputs:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
                problems.append(f"stages.{stage}.inputs: no stream '{name}'; {hint}")
    return problems
