"""A run to a bundle: what generation needs, at the precision it ships in."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from rapgen.checkpoint import FORMAT
from rapgen.errors import RapgenError
from rapgen.files import file_sha256, write_json, write_tensors
from rapgen.generation.load import load_model
from rapgen.identities import half, identities, licences, state_sha256
from rapgen.parts import save_part
from rapgen.registry import portable_options
from rapgen.schema import Recipe


def export_bundle(run: Path, bundle: Path) -> int:
    """Write a run's recipe, parts and averaged weights to a new folder; its size in bytes.

    Raises ModelError where the run is incomplete, RapgenError where `bundle` exists or cannot be written.
    """
    if bundle.exists() and any(bundle.iterdir() if bundle.is_dir() else [bundle]):
        raise RapgenError(f"{bundle} exists; remove it or choose another place")
    recipe, parts, models = load_model(run)
    try:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{bundle.name}.", dir=bundle.parent))
    except OSError as error:
        raise RapgenError(f"cannot write {bundle}: {error.strerror}; choose another place") from None
    try:
        for key, part in parts.items():
            part.source_sha256 = part.identity().state_sha256
            if not part.is_external and part.component.state():
                save_part(work, key, part)
        states = {name: half(model.state_dict()) for name, model in models.items()}
        for name, state in states.items():
            write_tensors(work / "stages" / f"{name}.safetensors", state)
        (work / "recipe.yaml").write_text(yaml.safe_dump(_portable(recipe), sort_keys=False))
        meta = {
            "format": FORMAT,
            "recipe_yaml_sha256": file_sha256(work / "recipe.yaml"),
            "identities": identities(parts),
            "licences": licences(parts),
            "stages": {name: state_sha256(state) for name, state in states.items()},
        }
        write_json(work / "meta.json", meta)
        work.chmod(0o755)
        if bundle.exists():
            bundle.rmdir()
        work.replace(bundle)
    except OSError as error:
        raise RapgenError(f"cannot write {bundle}: {error.strerror}; free some space or choose another place") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sum(p.stat().st_size for p in bundle.rglob("*") if p.is_file())


def _portable(recipe: Recipe) -> dict[str, Any]:
    """The recipe's tree without paths of the machine it was trained on."""
    tree = recipe.model_dump(mode="json") | {"start_from": None}
    for key, (role, node) in recipe.nodes().items():
        *parents, last = key.split(".")
        place = tree
        for name in parents:
            place = place[name]
        place[last] = {"use": node["use"], **portable_options(role, node)}
    return tree
