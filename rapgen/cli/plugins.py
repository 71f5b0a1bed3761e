"""`rapgen plugins`: what is installed, whether it keeps its promises, and a start for one of your own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

_PIPED_WIDTH = 200  # so that a row is a line for what reads it

app = typer.Typer(help="List, check and start plugins.", no_args_is_help=True, rich_markup_mode=None)


RoleArgument = Annotated[str, typer.Argument(help="codec, semantic, text_encoder, conditioner, source, ...")]


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


@app.command()
def check(
    role: RoleArgument,
    name: Annotated[str, typer.Argument(help="Name of the component.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="An option: hop_length=320. Repeatable.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="How far samples or vectors may be apart.")] = 1e-3,
    agreement: Annotated[float, typer.Option(min=0, max=1, help="Least share of tokens that agree.")] = 0.99,
) -> None:
    """Hold a component to all that rapgen relies on; exits with 1 where it breaks a rule.

    \b
    rapgen plugins check codec toy
    rapgen plugins check codec toy --set hop_length=320
    """
    from rapgen.recipe import read_options
    from rapgen.registry import build
    from rapgen.testing import Case, rules

    promises = rules(role)
    options = read_options(set_ or ())
    build(role, {"use": name, **options})  # what is wrong with the call is told as everywhere
    case = Case(role, name, options, tolerance=tolerance, agreement=agreement)
    has_failed = False
    for rule in promises:
        try:
            rule(case)
        except AssertionError as error:
            has_failed = True
            typer.echo(f"fail  {rule}: {' '.join(str(error).split())}")
        else:
            typer.echo(f"ok    {rule}: {rule.promise}")
    if has_failed:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of component and package: my-codec.")],
    role: Annotated[str, typer.Option("--role", help="codec, semantic, text_encoder, conditioner, source, ...")],
    out: Annotated[Path, typer.Option("--out", help="Folder to put the package's folder in.")] = Path("."),
) -> None:
    """Write a package with a working component, its tests and a recipe that uses it.

    \b
    rapgen plugins new my-codec --role codec
    pip install -e my-codec && pytest my-codec
    """
    from rapgen.cli.new_plugin import next_steps, write_plugin

    folder = write_plugin(name, role, out)
    typer.echo(f"wrote {folder}; next:")
    for line in next_steps(name, role, folder):
        typer.echo(f"  {line}")
