"""Build, freeze, save and load the parts of a run: codec, tokenizers, MuLaN, conditioners."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rapgen.errors import MismatchError, ModelError, PluginError
from rapgen.files import write_tensors
from rapgen.identities import Part, Parts, compare, compare_kind, full, half, identity_from_json, state_sha256
from rapgen.interfaces import TokenSpec, Trainable, TunableTextEncoder
from rapgen.models.mulan import build_mulan
from rapgen.models.patterns import PAD
from rapgen.paths import is_file, local_copy
from rapgen.registry import build, lasting_options, registry
from rapgen.schema import STAGES, Node, Recipe
from rapgen.stage_checks import check_stages


def build_parts(recipe: Recipe) -> Parts:
    """Build every part a recipe names, untrained, and show each the others.

    Raises RecipeError where the recipe's stages do not fit the codec's or tokenizer's codebooks and rates, PluginError
    where a component is not what its role asks for.
    """
    parts: Parts = {}
    for key, (role, node) in recipe.nodes().items():
        if role != "source":
            parts[key] = build_part(role, node)
    codec, semantic = parts["codec"].component, parts["semantic"].component
    check_stages(recipe, codec.spec, semantic.spec, trains_codec=isinstance(codec, Trainable))
    options = recipe.mulan.model_dump() | {"sample_rate": parts["codec"].component.spec.sample_rate}
    mulan = build_mulan(text_encoder=parts["text_encoder"].component, **options)
    parts["mulan"] = Part("mulan", "mulan", mulan, options)
    bind(parts)
    return parts


def bind(parts: Parts) -> None:
    """Show every part all parts; done again when one of them has learned."""
    components = {key: part.component for key, part in parts.items()}
    for part in parts.values():
        part.component.bind(components)


def conditioners(parts: Parts) -> dict[str, Any]:
    """The conditioner components by the name the recipe gives them."""
    return {k.partition(".")[2]: p.component for k, p in parts.items() if p.role == "conditioner"}


def padded(
    conditioner: Any, items: Any, spec: TokenSpec | None = None, num_frames: int = 0, start_frame: int = 0
) -> Tensor:
    """A conditioner's tokens with PAD where they are not valid."""
    tokens, valid = conditioner.encode(items, spec=spec, start_frame=start_frame, num_frames=num_frames)
    return torch.where(valid, tokens, PAD)


def build_part(role: str, node: Node) -> Part:
    """The part that a recipe's node names, untrained."""
    component = build(role, node)
    offer = registry().find(role, node["use"])
    return Part(role, offer.name, component, lasting_options(role, node), offer.distribution, offer.version)


def freeze(part: Part) -> None:
    """Round a part to the precision it ships in, before anything is tokenized with it.

    Raises PluginError where it does not take its own state back.
    """
    try:
        part.component.load_state(full(half(part.component.state())))
    except (KeyError, ValueError, RuntimeError) as error:
        raise PluginError(
            f"{part.role} '{part.name}' ({part.distribution} {part.version}) does not take back its own state, rounded "
            f"to fp16: {_one_line(error)}; report it to the plugin's authors"
        ) from error


def part_path(folder: Path, key: str) -> Path:
    """Where a run or bundle keeps a part."""
    return folder / "parts" / f"{key}.safetensors"


def save_part(folder: Path, key: str, part: Part) -> None:
    """Write a frozen part with its identity."""
    identity = json.dumps(dataclasses.asdict(part.identity()), sort_keys=True)
    write_tensors(part_path(folder, key), half(part.component.state()), metadata={"identity": identity})


def load_part(folder: Path, key: str, part: Part) -> None:
    """Load a part's state; ModelError where the file is damaged, MismatchError where it is another's."""
    path = part_path(folder, key)
    try:
        with local_copy(path) as local, safe_open(local, framework="pt") as file:
            stored = identity_from_json(json.loads(file.metadata()["identity"]))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); make it again or fetch it anew") from None
    if state_sha256(state) != stored.state_sha256:
        raise ModelError(f"{path} is damaged: its tensors do not match its own hash; fetch it anew")
    compare_kind(stored, part.kind(), str(path), part)
    try:
        part.component.load_state(full(state))
    except (KeyError, ValueError, RuntimeError) as error:
        raise MismatchError(
            f"{path} does not fit {part.role} '{part.name}': {_one_line(error)}; use the recipe it was made with, or "
            "another run"
        ) from None
    if isinstance(part.component, Trainable):
        part.component.module.eval()
    part.source_sha256 = stored.source_sha256
    compare(stored, part.identity(), str(path), part)


def load_parts(folder: Path, recipe: Recipe, *, need: tuple[str, ...] | None = None) -> Parts:
    """All parts of a run or bundle, with the state of those that have learned so far.

    `need` names the parts that must be there (None: all); ModelError says which stage makes a missing one.
    """
    parts = build_parts(recipe)
    missing = []
    for key, part in parts.items():
        if is_file(part_path(folder, key)):
            load_part(folder, key, part)
        elif part.learns and (need is None or key in need):
            missing.append(key)
    if missing:
        makers = {key: _maker(key, parts[key]) for key in missing}
        key = min(missing, key=lambda k: STAGES.index(makers[k]))
        raise ModelError(f"{folder} has no trained {key}; run `rapgen train {makers[key]}` with this recipe first")
    bind(parts)
    return parts


def _maker(key: str, part: Part) -> str:
    """The stage that makes a part: its own where it trains in the loop, else the first that needs it fitted."""
    if isinstance(part.component, TunableTextEncoder):
        return "mulan"
    return key if isinstance(part.component, Trainable) else "semantic"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
