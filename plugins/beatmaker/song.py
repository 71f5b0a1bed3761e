"""A song: everything a clip plays, as notes and hits on a grid, before any sound is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from rapgen.interfaces import Groove

STEPS_PER_BEAT = 4
STEPS_PER_BAR = 16
BARS_PER_PHRASE = 8
BEATS_PER_PHRASE = BARS_PER_PHRASE * STEPS_PER_BAR // STEPS_PER_BEAT

DRUM_VOICES = (
    "kick", "snare", "clap", "snap", "rim", "hat", "open hat", "crash", "ride", "shaker", "tambourine", "cowbell",
    "tom", "conga",
)  # fmt: skip
BASSES = ("808", "bass guitar", "upright bass", "synth bass")
INSTRUMENTS = (
    "rhodes", "piano", "pad", "strings", "guitar", "muted guitar", "organ", "brass", "flute", "bells", "choir",
    "lead synth", "vibes", "pluck", "cowbell",
)  # fmt: skip
PARTS = ("chords", "bass", "lead", "counter")


class Hit(NamedTuple):
    """One stroke."""

    step: float  # 16ths from the song's first downbeat, before swing; fractions are rolls and loose timing
    velocity: float  # 0 .. 1


class Note(NamedTuple):
    """One note."""

    step: float
    length: float  # steps
    midi: int
    velocity: float
    slide_to: int | None = (
        None  # the pitch that an 808, synth bass or lead synth glides to, from the middle of the note
    )


class ChordAt(NamedTuple):
    """A chord, until the next one."""

    step: float
    name: str  # "F#m7"


class Section(NamedTuple):
    """A stretch of bars, until the next one."""

    bar: int
    name: str  # "intro", "main", "variation", "break"


@dataclass(frozen=True)
class Part:
    """A pitched part: who plays it, and all its notes in the order of time."""

    instrument: str  # one of INSTRUMENTS, or of BASSES for the part "bass"
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Clock:
    """Turns steps, counted from the song's first downbeat, into time within the clip.

    A clip is either a loop (the whole song, whole bars: what rings past its end belongs to its start) or a window:
    what began before it rings into it, unless it opens the song.
    """

    tempo_bpm: int
    swing: float  # where in its pair the second 16th falls: 0.5 is straight, 0.667 a triplet
    start_step: float  # where the clip starts
    duration_s: float
    is_loop: bool

    @property
    def step_s(self) -> float:
        """The length of a 16th."""
        return 60 / self.tempo_bpm / STEPS_PER_BEAT

    @property
    def end_step(self) -> float:
        """Where the clip ends."""
        return self.start_step + self.duration_s / self.step_s

    def time_s(self, step: float) -> float:
        """Seconds from the clip's start to a step once it is swung; below 0 before the clip."""
        pair, within = divmod(step, 2)
        late = within * 2 * self.swing if within < 1 else 2 * self.swing + (within - 1) * (2 - 2 * self.swing)
        return (2 * pair + late - self.start_step) * self.step_s

    def holds(self, step: float) -> bool:
        """Whether a swung step falls into the clip."""
        return 0 <= self.time_s(step) < self.duration_s

    def sample(self, step: float, sample_rate: int) -> int:
        """The sample of the clip on which a swung step falls."""
        return round(self.time_s(step) * sample_rate)

    def num_samples(self, sample_rate: int) -> int:
        """Samples of the clip."""
        return round(self.duration_s * sample_rate)


@dataclass(frozen=True)
class Song:
    """What a clip plays: events over `num_bars` bars, of which the clip is the stretch that its clock names."""

    style: str  # one of rapgen.groove.STYLES
    split: str  # "train", "valid" or "test": some kits, presets and wordings are kept for the last
    groove: Groove
    clock: Clock
    num_bars: int
    drums: Mapping[str, tuple[Hit, ...]]  # all hits of each of DRUM_VOICES that is played, in the order of time
    parts: Mapping[str, Part]  # by PARTS, in that order; "chords" and "bass" always
    chords: tuple[ChordAt, ...]
    sections: tuple[Section, ...]
    moods: tuple[str, ...]  # what the notes say, whatever they sound like
    energy: float  # 0 calm .. 1 wild

    @property
    def beats_s(self) -> tuple[float, ...]:
        """Every beat within the clip."""
        clock = self.clock
        first = ceil(clock.start_step / STEPS_PER_BEAT)
        last = ceil(clock.end_step / STEPS_PER_BEAT - 1e-9)  # a loop ends on a beat, which is its first one again
        return tuple((beat * STEPS_PER_BEAT - clock.start_step) * clock.step_s for beat in range(first, last))

    @property
    def first_beat(self) -> int:
        """The number of the clip's first beat within its phrase."""
        return ceil(self.clock.start_step / STEPS_PER_BEAT) % BEATS_PER_PHRASE
