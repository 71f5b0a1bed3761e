"""A source of captioned beats, synthesized and sequenced in numpy: exact tempo, key, beats and words."""

from __future__ import annotations

from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import DataSource


@hookimpl
def rapgen_components(register: Register) -> None:
    """Offer the source."""
    register("source", "beatmaker", beatmaker)


def beatmaker(
    *,
    num_clips: int = 1000,
    duration_s: float = 20.0,
    seed: int = 0,
    styles: list[str] | None = None,
    split: str = "train",
    stems: bool = False,
) -> DataSource:
    """Render captioned boom bap, trap, lo-fi and drill beats, 24 kHz mono, one per index.

    Clip `i` depends on (`seed`, `split`, `i`, `duration_s`, `styles`) alone. Splits never share a clip. With `stems` a
    clip brings its lead alone too, silence where it has none.
    Raises RecipeError for an unknown style or split and for numbers out of range.
    """
    from rapgen_plugins.beatmaker.source import BeatmakerSource

    return BeatmakerSource(
        num_clips=num_clips, duration_s=duration_s, seed=seed, styles=styles, split=split, stems=stems
    )
