"""`rapgen plugins`: what is installed."""

from __future__ import annotations

import sys

import typer

_PIPED_WIDTH = 200  # so that a row is a line for what reads it

app = typer.Typer(help="List what plugins offer.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """List what plugins offer."""


@app.command("list")
def list_plugins() -> None:
    """All components by role, and the plugins that did not load.

    \b
    rapgen plugins list
    """
    from rich.console import Console
    from rich.table import Table

    from rapgen.registry import registry

    found = registry()
    table = Table("role", "name", "plugin", "what it is", box=None, pad_edge=False)
    for _, offers in sorted(found.offers.items()):
        for o in offers:
            table.add_row(o.role, o.name, f"{o.plugin} ({o.distribution} {o.version})", o.summary)
    for plugin, reason in sorted(found.broken.items()):
        table.add_row("broken", "", plugin, reason)
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(markup=False, highlight=False, width=width).print(table)
