"""Chords over a song: a progression in a key, voiced, and struck in a rhythm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from rapgen.groove import NOTES
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.rhythms import read_rhythm
from rapgen_plugins.beatmaker.song import STEPS_PER_BAR, Note
from rapgen_plugins.beatmaker.style import Harmony
from rapgen_plugins.beatmaker.theory import Chord, chord, voice


@dataclass(frozen=True)
class Changes:
    """A key and a progression that repeats over the song."""

    tonic: int  # pitch class
    mode: str  # "major" or "minor"
    scale: str  # of the tunes
    starts: tuple[int, ...]  # step of each chord within the progression
    chords: tuple[Chord, ...]
    num_bars: int  # of the progression

    @property
    def key(self) -> str:
        """The key's name."""
        return f"{NOTES[self.tonic]} {self.mode}"

    def index_at(self, step: float) -> int:
        """Which chord sounds at a step of the song."""
        within = step % (self.num_bars * STEPS_PER_BAR)
        return sum(start <= within for start in self.starts) - 1

    def at(self, step: float) -> Chord:
        """The chord that sounds at a step of the song."""
        return self.chords[self.index_at(step)]

    def spans(self, num_bars: int) -> list[tuple[int, int, int]]:
        """(start, end, index) of every chord over `num_bars` bars; one that stays is struck anew each round."""
        length = self.num_bars * STEPS_PER_BAR
        last = num_bars * STEPS_PER_BAR
        starts = [(at + start, i) for at in range(0, last, length) for i, start in enumerate(self.starts)]
        ends = [start for start, _ in starts[1:]] + [last]
        return [(start, min(end, last), i) for (start, i), end in zip(starts, ends, strict=True) if start < last]


def draw_changes(harmony: Harmony, dice: Dice) -> Changes:
    """A key and a progression of a style."""
    is_minor = dice.chance(harmony.minor_percent)
    progression = dice.one(harmony.minor if is_minor else harmony.major)
    tonic = dice.below(12)
    starts, chords = [], []
    bars = progression.split(" | ")
    for bar, numerals in enumerate(bars):
        names = numerals.split()
        for place, numeral in enumerate(names):
            starts.append(bar * STEPS_PER_BAR + place * STEPS_PER_BAR // len(names))
            chords.append(chord(numeral, tonic))
    return Changes(
        tonic=tonic,
        mode="minor" if is_minor else "major",
        scale=dice.one(harmony.minor_scales if is_minor else harmony.major_scales),
        starts=tuple(starts),
        chords=tuple(chords),
        num_bars=len(bars),
    )


def draw_comping(harmony: Harmony, changes: Changes, num_bars: int, dice: Dice) -> tuple[Note, ...]:
    """The chords of a whole song, voiced and struck."""
    shift = dice.between(-3, 2)
    voicings = voice(changes.chords, low=harmony.low + shift, high=harmony.high + shift, max_notes=harmony.max_notes)
    comping = dice.one(harmony.comping)
    if comping.startswith("arp"):
        return _broken(changes, voicings, int(comping.split()[1]), num_bars, dice)
    notes = []
    strum = dice.one((0, 0, 1, 2)) / 60 if "---" in comping else 0.0
    for step, length in read_rhythm(comping, num_bars):
        for part, end, index in _within(changes, step, length, num_bars):
            for place, midi in enumerate(voicings[index]):
                velocity = (82 if step % 4 == 0 else 72) + dice.between(-5, 5) + 4 * (place == len(voicings[index]) - 1)
                notes.append(Note(part + place * strum, end - part - place * strum, midi, velocity / 100))
    return tuple(sorted(notes))


def _within(changes: Changes, step: float, length: float, num_bars: int) -> list[tuple[float, float, int]]:
    """The parts of a stroke that each chord takes: a chord that changes under it is struck anew."""
    end = min(step + length, float(num_bars * STEPS_PER_BAR))
    parts, at = [], step
    while at < end:
        index, until = changes.index_at(at), at + 1
        while until < end and changes.index_at(until) == index and not _restarts(changes, until):
            until += 1
        parts.append((at, min(until, end), index))
        at = until
    return parts


def _restarts(changes: Changes, step: float) -> bool:
    return step % (changes.num_bars * STEPS_PER_BAR) in changes.starts


_ORDERS = ((0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3), (0, 1, 2, 3, 2, 1), (0, 2, 3, 2), (0, 3, 1, 2))


def _broken(
    changes: Changes, voicings: list[tuple[int, ...]], stride: int, num_bars: int, dice: Dice
) -> tuple[Note, ...]:
    """One chord tone every `stride` steps, in an order that starts anew with each chord."""
    order = dice.one(_ORDERS)
    notes = []
    for start, end, index in changes.spans(num_bars):
        voicing = sorted(voicings[index])
        bars = [*range(start, end, STEPS_PER_BAR), end]
        for at, until in pairwise(bars):
            for count, step in enumerate(range(at, until, stride)):
                place = order[count % len(order)]
                midi = voicing[place] if place < len(voicing) else voicing[place - len(voicing)] + 12
                velocity = (84 if step % 4 == 0 else 70) + dice.between(-5, 5)
                notes.append(Note(float(step), float(min(2 * stride, until - step)), midi, velocity / 100))
    return tuple(notes)
