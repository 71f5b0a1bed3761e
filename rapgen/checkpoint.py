"""A run's stage checkpoints: safetensors and JSON in a folder that appears whole or not at all."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rapgen.errors import ModelError, RapgenError
from rapgen.files import write_tensors

FORMAT = 1
EMBEDDED = "boombox"
KEPT = 2  # checkpoints a stage keeps, in case the newest turns out to be unwanted

State = dict[str, Tensor]


def save_checkpoint(folder: Path, step: int, states: Mapping[str, State], meta: Mapping[str, Any]) -> Path:
    """Write `folder/step_00000042/{name}.safetensors` and `meta.json` (last), then drop old checkpoints."""
    final = folder / f"step_{step:08d}"
    temporary = folder / f".step_{step:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, state in states.items():
            write_tensors(
                temporary / f"{name}.safetensors", {k: v.detach().cpu().contiguous() for k, v in state.items()}
            )
        (temporary / "meta.json").write_text(json.dumps({"format": FORMAT, "step": step, **meta}, indent=2) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except OSError as error:
        raise RapgenError(f"cannot write {final}: {error}; free some space, then run the same command") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a stage, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def find_model(model: str | Path | None) -> Path:
    """The folder of a run or bundle given by path, or of an embedded bundle by name (None: the default)."""
    if model is not None and (Path(model) / "recipe.yaml").is_file():
        return Path(model)
    bundles = Path(str(importlib.resources.files("rapgen.bundles")))
    named = bundles / str(model or EMBEDDED)
    if named.parent == bundles and (named / "recipe.yaml").is_file():
        return named
    known = ", ".join(sorted(p.parent.name for p in bundles.glob("*/recipe.yaml"))) or "none"
    raise ModelError(f"no run or bundle '{model or EMBEDDED}': there is no recipe.yaml in it; embedded ones: {known}")


def is_bundle(folder: Path) -> bool:
    """Whether a model's folder is a bundle and not a run."""
    return (folder / "stages").is_dir()


def stage_weights(folder: Path, stage: str) -> State:
    """The averaged weights of a stage of a run or bundle; ModelError where it has none."""
    if is_bundle(folder):
        return read_state(folder / "stages", stage)
    checkpoint = latest_checkpoint(folder / stage)
    if checkpoint is None:
        raise ModelError(f"{folder} has no trained {stage}; run `rapgen train {stage}` with its recipe first")
    return read_state(checkpoint, "ema")


def read_meta(path: Path) -> dict[str, Any]:
    """A checkpoint's or bundle's `meta.json`; ModelError where it is missing, damaged or of another format."""
    try:
        meta: dict[str, Any] = json.loads((path / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} has no readable meta.json ({error}); it is damaged or not a model") from None
    if not isinstance(meta, dict):
        raise ModelError(f"{path}/meta.json holds no keys; it is damaged or not a model")
    if meta.get("format") != FORMAT:
        raise ModelError(
            f"{path} has format {meta.get('format')}, this rapgen reads {FORMAT}; use the rapgen it was made with"
        )
    if not isinstance(meta.get("identities"), dict):
        raise ModelError(f"{path}/meta.json names no identities; it is damaged or not a model")
    return meta


def read_state(path: Path, name: str) -> State:
    """One of a checkpoint's states; ModelError where it is missing or damaged."""
    try:
        return load_file(path / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path / name}.safetensors is missing or damaged ({error}); remove {path.name} and resume"
        ) from None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob("step_*/meta.json"))
