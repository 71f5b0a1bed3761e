"""A cassette deck: a codec that holds samples, a conditioner that turns with the reels, a command that measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import AudioCodec, Conditioner

if TYPE_CHECKING:
    import typer


@hookimpl
def rapgen_components(register: Register) -> None:
    register("codec", "tape", tape)
    register("conditioner", "reels", reels)


@hookimpl
def rapgen_recipes() -> list[Path]:
    return [Path(__file__).parent / "recipes"]


@hookimpl
def rapgen_commands(app: typer.Typer) -> None:
    app.command("tape")(measure)


def tape(*, levels: Annotated[int, Field(ge=3)] = 33) -> AudioCodec:
    """Stereo at 6 kHz, every 50 samples held at their mean; learns how loud the loudest clip is."""
    from rapgen_tape.codec import Tape

    return Tape(levels)


def reels(*, turn_s: Annotated[float, Field(gt=0)] = 1.5) -> Conditioner:
    """Where the reels are in their turn, for every frame."""
    from rapgen_tape.reels import Reels

    return Reels(turn_s)


def measure(levels: int = 33) -> None:
    """Tell the bitrate of a tape."""
    import typer

    typer.echo(f"{tape(levels=levels).spec.kbit_per_s:.2f} kbit/s")
