"""Recipes: YAML to a frozen, typed, complete description of a run. All errors are reported at once."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rapgen.errors import RapgenError, RecipeError
from rapgen.registry import check_node, registry

Node = dict[str, Any]  # {use: name, option: value, ...}
STAGES = ("codec", "mulan", "semantic", "coarse", "fine")


class Frozen(BaseModel):
    """A section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(Frozen):
    """How a stage is trained; the same keys for all five."""

    steps: int = Field(1000, ge=1)
    batch_size: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)  # micro-batches a step
    crop_s: float = Field(10.0, gt=0)
    learning_rate: float = Field(3e-4, gt=0)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    valid_every: int = Field(250, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    patience: int | None = Field(None, ge=1)  # validations without a better loss before an early stop


class Transformer(Frozen):
    """Sizes of a decoder-only transformer."""

    width: int = Field(256, ge=8)
    layers: int = Field(6, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Transformer:
        if self.width % (2 * self.heads):
            raise ValueError("width must be a multiple of 2 * heads (rotary positions turn pairs)")
        return self


class TokenStage(Training):
    """A stage that predicts one stream of tokens from others."""

    model: Transformer = Transformer()
    pattern: str
    inputs: tuple[str, ...] = ()  # conditioners by name, and "semantic" or "coarse"
    look_ahead: int = Field(0, ge=0)  # frames of the semantic stream seen ahead
    condition_dropout: float = Field(0.1, ge=0, le=1)  # share of clips whose conditioners are left out


class CausalStage(TokenStage):
    """A stage that goes through time step by step."""

    pattern: Literal["flat", "delay"] = "flat"


class CoarseStage(CausalStage):
    """The stage that predicts the first codebooks of the codec."""

    num_codebooks: int = Field(4, ge=1)


class FineStage(TokenStage):
    """The stage that predicts the codec's remaining codebooks, block by block."""

    pattern: Literal["flat", "masked"] = "masked"
    block_s: float = Field(1.0, gt=0)
    passes: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _a_block_fits_the_crop(self) -> FineStage:
        if self.block_s > self.crop_s:
            raise ValueError("block_s must not be over crop_s: a block is made in sight of a crop")
        return self


class Stages(Frozen):
    """The five stages, in the order in which they are trained."""

    codec: Training = Training(crop_s=1.0)
    mulan: Training = Training()
    semantic: CausalStage = CausalStage(inputs=("mulan", "groove", "grid"))
    coarse: CoarseStage = CoarseStage(pattern="delay", inputs=("mulan", "groove", "grid", "semantic"))
    fine: FineStage = FineStage(inputs=("coarse",))


class MuLaN(Frozen):
    """Sizes of the joint text-audio embedding and of its residual quantizer."""

    dim: int = Field(128, ge=2)
    width: int = Field(192, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    crop_s: float = Field(10.0, gt=0)
    loss: Literal["softmax", "sigmoid"] = "softmax"
    codebook_size: int = Field(256, ge=2)
    num_codebooks: int = Field(8, ge=1)


class Sampling(Frozen):
    """How a stage's tokens are drawn; the defaults of `rapgen generate`."""

    temperature: float = Field(1.0, ge=0)
    top_k: int = Field(0, ge=0)  # 0: all
    guidance_scale: float = Field(1.0, ge=0)  # 1: no guidance


class Samplings(Frozen):
    """Sampling of each stage that predicts tokens."""

    semantic: Sampling = Sampling(guidance_scale=2.0)
    coarse: Sampling = Sampling(temperature=0.95, guidance_scale=1.5)
    fine: Sampling = Sampling(temperature=0.4)


class Data(Frozen):
    """Where clips come from; `valid` is never trained on."""

    train: Node
    valid: Node


class Recipe(Frozen):
    """Everything a run is made from."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    data: Data
    codec: Node
    semantic: Node
    text_encoder: Node
    mulan: MuLaN = MuLaN()
    conditioners: dict[str, Node]
    stages: Stages = Stages()
    sampling: Samplings = Samplings()

    @property
    def sha256(self) -> str:
        """Hash of the resolved recipe."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def nodes(self) -> dict[str, tuple[str, Node]]:
        """Every component the recipe names: key path -> (role, node)."""
        fixed = {
            "data.train": ("source", self.data.train),
            "data.valid": ("source", self.data.valid),
            "codec": ("codec", self.codec),
            "semantic": ("semantic", self.semantic),
            "text_encoder": ("text_encoder", self.text_encoder),
        }
        return fixed | {f"conditioners.{k}": ("conditioner", v) for k, v in self.conditioners.items()}


# ------------------------------------------------------------------------------------------- loading


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


def recipe_paths() -> dict[str, Path]:
    """Recipes found by name: rapgen's own and those of plugins."""
    folders = [Path(str(importlib.resources.files("rapgen_recipes")))]
    for more in registry().manager.hook.rapgen_recipes():
        folders.extend(more)
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
