"""A package to start a plugin from: written from `rapgen/templates`, whole or not at all."""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
import sys
import tempfile
from pathlib import Path
from string import Template

from rapgen.errors import PluginError
from rapgen.interfaces import ROLES
from rapgen.recipe import recipe_paths
from rapgen.registry import registry
from rapgen.schema import TAKEN_NAMES

_SUMMARIES = {
    "codec": "A codec of a few cosines a frame.",
    "semantic": "A semantic tokenizer that hears loudness alone.",
    "text_encoder": "A text encoder that knows words by their letters.",
    "conditioner": "A conditioner that tells how loud a beat is.",
    "source": "A data source of metronomes.",
    "captioner": "A captioner that says what is known and how it sounds.",
    "metric": "A metric of level and silence.",
}
_NODES = {  # of a recipe that trains in a minute or two
    "train": "{use: beatmaker, num_clips: 24, duration_s: 8, split: train}",
    "valid": "{use: beatmaker, num_clips: 8, duration_s: 8, split: valid}",
    "codec": "{use: toy}",
    "semantic": "{use: toy}",
    "text_encoder": "{use: toy}",
    "conditioners": "",
    "inputs": "mulan, groove, grid",
}
_OWN_NODES = {
    "codec": {"codec": "{use: $name}"},
    "semantic": {"semantic": "{use: $name}"},
    "text_encoder": {"text_encoder": "{use: $name}"},
    "conditioner": {"conditioners": "conditioners:\n  $name: {use: $name}\n", "inputs": "mulan, groove, grid, $name"},
    "source": {"train": "{use: $name, num_clips: 24, seed: 0}", "valid": "{use: $name, num_clips: 8, seed: 1}"},
}
"""What the recipe says of the new component; roles that no stage of a recipe asks for yet have none."""
_USE = """    rapgen train all --recipe $name          # a minute or two on a CPU
    rapgen generate "boom bap, 90 bpm" --model runs/$name -o out.wav

Once the package is installed, its [recipe](src/$module/recipes/$name.yaml) goes by its name.
"""
_NO_USE = """
No recipe asks for a $role yet: it is listed, checked and called from Python
(`rapgen.registry.build("$role", {"use": "$name"})`) until rapgen's own pipeline does.
"""


def write_plugin(name: str, role: str, out: Path) -> Path:
    """Write the folder `out/name`; PluginError for a name that cannot be used, or where something is there already."""
    _check(name, role)
    folder = out / name
    if folder.exists() or folder.is_symlink():
        raise PluginError(f"{folder} is there already; choose another name or --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as temporary:
            made = Path(temporary) / name
            for path, content in _files(name, role).items():
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(content)
            made.rename(folder)
    except OSError as error:
        raise PluginError(f"cannot write {folder}: {(error.strerror or '').lower()}; choose another --out") from None
    return folder


def next_steps(name: str, role: str, folder: Path) -> list[str]:
    """Commands that install, test and use what was written."""
    steps = [f"pip install -e {folder}", f"pytest {folder}", f"rapgen plugins check {role} {name}"]
    return [*steps, f"rapgen train all --recipe {name}"] if role in _OWN_NODES else steps


def _check(name: str, role: str) -> None:
    if role not in ROLES:
        raise PluginError(f"'{role}' is not a role; roles are {', '.join(ROLES)}")
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise PluginError(f"'{name}' cannot name a package; use small letters, digits and single dashes: my-codec")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or importlib.util.find_spec(module):
        raise PluginError(f"a module '{module}' exists already; choose another name")
    if role == "conditioner" and name in TAKEN_NAMES:
        raise PluginError(f"a conditioner cannot be called '{name}', which is another stream; choose another name")
    if name in registry().names(role):
        raise PluginError(f"a {role} '{name}' is installed already; choose another name")
    if role in _OWN_NODES and name in recipe_paths():
        raise PluginError(f"a recipe '{name}' exists already; choose another name")


def _files(name: str, role: str) -> dict[str, str]:
    """Relative path -> content."""
    has_recipe = role in _OWN_NODES
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "role": role,
        "factory": module,
        "class": "".join(part.capitalize() for part in name.split("-")),
        "summary": _SUMMARIES[role],
    }
    nodes = {**_NODES, **{key: Template(node).substitute(words) for key, node in _OWN_NODES.get(role, {}).items()}}
    optional = {
        "use": _USE if has_recipe else _NO_USE,
        "package_data": f'\n[tool.setuptools.package-data]\n{module} = ["recipes/*.yaml"]' if has_recipe else "",
    }
    words |= nodes | {key: Template(text).substitute(words) for key, text in optional.items()}
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{module}/__init__.py": f"{role}.py",
        f"tests/test_{module}.py": "test.py",
    }
    if has_recipe:
        files[f"src/{module}/recipes/{name}.yaml"] = "recipe.yaml"
        files[f"tests/test_{module}_recipe.py"] = "test_recipe.py"
    return {path: _filled(template, words) for path, template in files.items()}


def _filled(template: str, words: dict[str, str]) -> str:
    text = (importlib.resources.files("rapgen") / "templates" / f"{template}.txt").read_text()
    return Template(text).substitute(words).rstrip("\n") + "\n"
