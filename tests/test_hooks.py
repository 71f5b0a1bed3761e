"""Hooks are documented, and what is called a hook in a plugin is one."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rapgen import hookspecs
from rapgen.registry import registry

ROOT = Path(__file__).parents[1]
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "rapgen_spec")}


def test_there_are_hooks() -> None:
    assert {"rapgen_components", "rapgen_commands", "rapgen_recipes"} <= HOOKS.keys()


@pytest.mark.parametrize(("name", "hook"), HOOKS.items(), ids=list(HOOKS))
def test_a_hook_is_documented(name: str, hook: Callable[..., Any]) -> None:
    doc = inspect.getdoc(hook)
    assert doc
    assert "\n" not in doc
    assert doc.endswith(".")
    assert name in (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_hook_of_a_plugin_exists(path: Path) -> None:
    """A misspelt hook would be passed over in silence."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    marked = {f.name for f in functions if any(ast.unparse(d) == "hookimpl" for d in f.decorator_list)}
    assert marked <= HOOKS.keys()
    assert {f.name for f in functions if f.name.startswith("rapgen_")} <= marked


def test_all_installed_plugins_implement_known_hooks() -> None:
    registry().manager.check_pending()
