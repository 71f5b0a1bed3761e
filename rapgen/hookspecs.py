"""The hooks a plugin can implement. An entry point in the group `rapgen` names the module that does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("rapgen")
hookimpl = pluggy.HookimplMarker("rapgen")

Register = Callable[[str, str, Callable[..., Any]], None]


@hookspec
def rapgen_components(register: Register) -> None:
    """Offer components: call `register(role, name, factory)` for each; options are the factory's keywords."""


@hookspec
def rapgen_commands(app: typer.Typer) -> None:
    """Add commands or command groups to the CLI."""


@hookspec
def rapgen_recipes() -> list[Path]:  # type: ignore[empty-body]
    """Name folders that hold recipes (`*.yaml`), so that `--recipe NAME` finds them."""
