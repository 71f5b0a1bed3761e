"""The data source: indices to clips."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from rapgen.errors import RecipeError
from rapgen.interfaces import Annotations, Chord, Clip, ClipRef, DataSource
from rapgen_plugins.beatmaker.arrangement import BLOCK_BARS, arrange
from rapgen_plugins.beatmaker.captions import captions
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.heard import Heard, hear
from rapgen_plugins.beatmaker.midi import write_midi
from rapgen_plugins.beatmaker.render import render
from rapgen_plugins.beatmaker.song import Song
from rapgen_plugins.beatmaker.sounds import licence
from rapgen_plugins.beatmaker.styles import STYLES
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE

SPLITS = ("train", "valid", "test")
_LONGEST_S = 600.0


class BeatmakerSource(DataSource):
    """Beats rendered on demand; `refs()` costs nothing and `load()` a fraction of a second."""

    def __init__(
        self,
        *,
        num_clips: int,
        duration_s: float | None,
        bars: int | None,
        seed: int,
        styles: Sequence[str] | None,
        split: str,
        stems: bool,
        samples_dir: str | None,
        soundfont: str | None,
    ) -> None:
        if num_clips < 1 or seed < 0:
            raise RecipeError(f"beatmaker: num_clips is {num_clips} and seed {seed}; give at least 1 and 0")
        if duration_s is not None and not 1.0 <= duration_s <= _LONGEST_S:
            raise RecipeError(f"beatmaker: duration_s is {duration_s}; give between 1 and {_LONGEST_S:g}, or none")
        if bars is not None and bars not in BLOCK_BARS:
            raise RecipeError(f"beatmaker: bars is {bars}; give {' or '.join(map(str, BLOCK_BARS))}, or none")
        if styles is not None and not styles:
            raise RecipeError(f"beatmaker: styles is empty; leave it out or choose from {', '.join(STYLES)}")
        self._num_clips = num_clips
        self._duration_s, self._bars = duration_s, bars
        self._styles = [STYLES[_known("style", name, tuple(STYLES))] for name in styles or STYLES]
        self._split = _known("split", split, SPLITS)
        self._seeds = (seed, SPLITS.index(split))
        self._stems = stems
        self._samples_dir, self._soundfont = samples_dir, soundfont

    def refs(self) -> Iterator[ClipRef]:
        """One handle a clip: "beat-000017", the track of a seed and a split."""
        for index in range(self._num_clips):
            track = f"{self._split}-{self._seeds[0]}-{index:06d}"
            yield ClipRef(id=f"beat-{index:06d}", track=track, payload={"index": index})

    def load(self, ref: ClipRef) -> Clip:
        """Compose and render: float32 [2, samples] at 44.1 kHz, with all that is known of it."""
        notes, sound, words = np.random.SeedSequence((*self._seeds, ref.payload["index"])).spawn(3)
        dice = Dice(notes)
        song = arrange(dice.one(self._styles), dice, duration_s=self._duration_s, bars=self._bars, split=self._split)
        rng = np.random.Generator(np.random.Philox(sound))
        rendered = render(song, rng, soundfont=self._soundfont, samples_dir=self._samples_dir)
        heard = hear(song, rendered.levels_db, rendered.effects)
        return Clip(
            rendered.mix,
            SAMPLE_RATE,
            _annotations(song, heard, captions(song, heard, Dice(words)), licence(rendered.sounds)),
            dict(rendered.stems) if self._stems else {},
            write_midi(song),
        )


def _annotations(song: Song, heard: Heard, words: tuple[str, ...], terms: str) -> Annotations:
    return Annotations(
        groove=song.groove,
        beats_s=song.beats_s,
        first_beat=song.first_beat,
        captions=words,
        licence=terms,
        swing=song.clock.swing,
        chords=_chords(song),
        instruments=(*heard.players, *heard.colours),
        moods=heard.moods,
        energy=song.energy,
    )


def _chords(song: Song) -> tuple[Chord, ...]:
    """The clip's chords; the one that sounds where it starts stands at 0."""
    clock = song.clock
    before = [chord for chord in song.chords if chord.step <= clock.start_step][-1:]
    after = [chord for chord in song.chords if clock.start_step < chord.step < clock.end_step]
    return tuple(Chord(max(0.0, clock.time_s(chord.step)), chord.name) for chord in before + after)


def _known(what: str, name: str, names: Sequence[str]) -> str:
    """Return `name` where it is one of `names`; raise RecipeError naming the nearest where not."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise RecipeError(f"beatmaker: unknown {what} {name!r}; did you mean {near!r}? Known: {', '.join(names)}")
