"""A source of captioned beats, composed on a grid and synthesized in numpy: exact notes, tempo, key, beats, words."""

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
    duration_s: float | None = None,
    bars: int | None = None,
    seed: int = 0,
    styles: list[str] | None = None,
    split: str = "train",
    stems: bool = False,
    samples_dir: str | None = None,
    soundfont: str | None = None,
) -> DataSource:
    """Render captioned rap instrumentals in ten styles, 44.1 kHz stereo, one per index, each with its MIDI.

    Without `duration_s` a clip is a loop of 8 or 16 `bars`, drawn where not given; with it a window of that length into
    a song that goes on. Clip `i` depends on (`seed`, `split`, `i`) and the options alone; splits never share a clip,
    and some kits, presets and wordings are the test split's own. With `stems` a clip brings its "drums", "bass",
    "music" and "effects", which add up to it, and its "lead" alone, silence where it has none. `samples_dir` holds
    one-shots of your own for the drums, `soundfont` is an SF2 file for the instruments.
    Raises RecipeError for an unknown style or split and for numbers out of range.
    """
    from rapgen_plugins.beatmaker.source import BeatmakerSource

    return BeatmakerSource(
        num_clips=num_clips,
        duration_s=duration_s,
        bars=bars,
        seed=seed,
        styles=styles,
        split=split,
        stems=stems,
        samples_dir=samples_dir,
        soundfont=soundfont,
    )
