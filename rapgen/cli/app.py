"""The root command: its groups, those that plugins add, and how errors come out."""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rapgen import __version__
from rapgen.cli import data, doctor, evaluate, generate, models, plugins, recipes, stages
from rapgen.cli.launch import leave_word
from rapgen.errors import RapgenError, is_out_of_memory

log = logging.getLogger(__name__)


class Root(TyperGroup):
    """A group whose commands fail in one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what it raises is told on stderr and becomes the exit status."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            is_typers = hasattr(error, "exit_code") or isinstance(error, typer.Abort)
            if is_typers or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            message, status = explain(error)
            if not leave_word(error, message, status):
                typer.echo(message, err=True)
            raise typer.Exit(status) from None


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell of an error, and the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped; run the same command to go on", 130
    if isinstance(error, RapgenError):
        return "\n".join(f"error: {line}" for line in str(error).splitlines()), 2
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"error: {where}{error.strerror.lower()}", 2
    if is_out_of_memory(error):
        return "error: out of memory; ask for less at once: a shorter duration, a smaller batch_size", 2
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"error: {what}; this is a bug: please report it with what `rapgen --debug ...` prints", 1


def make_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(cls=Root, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(root)
    app.command()(generate.generate)
    app.command()(stages.train)
    for name, group in stages.groups().items():
        app.add_typer(group, name=name)
    app.add_typer(data.app, name="data")
    app.command()(evaluate.evaluate)
    app.command()(models.export)
    app.add_typer(recipes.app, name="recipes")
    app.add_typer(plugins.app, name="plugins")
    app.command()(doctor.doctor)
    _add_plugin_commands(app)
    return app


def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell more of what is done.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Tell the version.")
    ] = False,
) -> None:
    """A line of text in, a rap instrumental out.

    \b
    rapgen generate "boom bap, 90 bpm" -o out.wav
    rapgen doctor
    """
    from rich.logging import RichHandler

    from rapgen.cli.progress import console

    handler = RichHandler(console=console(), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("rapgen").setLevel(logging.INFO if verbose else logging.WARNING)
    for told in ("rapgen.weights", "rapgen.training.fit"):  # licences, and what training takes, are always told
        logging.getLogger(told).setLevel(logging.INFO)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"rapgen {__version__}")
        raise typer.Exit


def _add_plugin_commands(app: typer.Typer) -> None:
    """Call the hook `rapgen_commands` of all plugins but rapgen's own, which add none and need not be loaded."""
    for entry in importlib.metadata.entry_points(group="rapgen"):
        if entry.dist is None or entry.dist.name == "rapgen":
            continue
        try:
            hook = getattr(entry.load(), "rapgen_commands", None)
        except (Exception, SystemExit):
            continue  # the registry warns of it when it is used
        try:
            if hook is not None:
                hook(app=app)
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("plugin '%s' (%s) adds no commands: %s; update or remove it", entry.name, entry.dist.name, what)
