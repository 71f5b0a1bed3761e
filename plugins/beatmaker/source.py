"""The data source: indices to clips."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from rapgen.errors import RecipeError
from rapgen.interfaces import LEAD, Annotations, Clip, ClipRef, DataSource
from rapgen_plugins.beatmaker.arrangement import arrange
from rapgen_plugins.beatmaker.captions import captions
from rapgen_plugins.beatmaker.render import render
from rapgen_plugins.beatmaker.styles import STYLES
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE

SPLITS = ("train", "valid", "test")


class BeatmakerSource(DataSource):
    """Beats rendered on demand; `refs()` costs nothing and `load()` a fraction of a second."""

    def __init__(
        self, *, num_clips: int, duration_s: float, seed: int, styles: Sequence[str] | None, split: str, stems: bool
    ) -> None:
        if num_clips < 1 or seed < 0:
            raise RecipeError(f"beatmaker: num_clips is {num_clips} and seed {seed}; give at least 1 and 0")
        if not 1.0 <= duration_s <= 600.0:
            raise RecipeError(f"beatmaker: duration_s is {duration_s}; give between 1 and 600")
        if styles is not None and not styles:
            raise RecipeError(f"beatmaker: styles is empty; leave it out or choose from {', '.join(STYLES)}")
        self._num_clips = num_clips
        self._duration_s = duration_s
        self._styles = [STYLES[_known("style", name, tuple(STYLES))] for name in styles or STYLES]
        self._stems = stems
        self._key = (seed, SPLITS.index(_known("split", split, SPLITS)))

    def refs(self) -> Iterator[ClipRef]:
        """One handle a clip: "beat-000017"."""
        for index in range(self._num_clips):
            name = f"beat-{index:06d}"
            yield ClipRef(id=name, track=name, payload={"index": index})

    def load(self, ref: ClipRef) -> Clip:
        """Compose and render: float32 [1, duration_s * 24000], with beats, groove and captions."""
        seeds = np.random.SeedSequence((*self._key, ref.payload["index"]))
        rng = np.random.Generator(np.random.Philox(seeds))
        style = self._styles[rng.integers(len(self._styles))]
        song = arrange(style, self._duration_s, rng)
        audio, heard, lead = render(song, rng)
        annotations = Annotations(
            groove=song.groove,
            beats_s=song.beats_s,
            first_beat=song.first_beat,
            captions=captions(song, heard, rng),
            licence="CC0-1.0",
        )
        return Clip(audio[None], SAMPLE_RATE, annotations, {LEAD: lead[None]} if self._stems else {})


def _known(what: str, name: str, names: Sequence[str]) -> str:
    """Return `name` where it is one of `names`; raise RecipeError naming the nearest where not."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise RecipeError(f"beatmaker: unknown {what} {name!r}; did you mean {near!r}? Known: {', '.join(names)}")
