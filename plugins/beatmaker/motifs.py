"""Tunes: a motif of two bars that returns, moved with the chords, varied and answered."""

from __future__ import annotations

from dataclasses import dataclass

from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.harmony import Changes
from rapgen_plugins.beatmaker.rhythms import read_cell, read_rhythm
from rapgen_plugins.beatmaker.song import STEPS_PER_BAR, Note
from rapgen_plugins.beatmaker.style import Tune
from rapgen_plugins.beatmaker.theory import ladder

UNIT_STEPS = 2 * STEPS_PER_BAR
CONTOURS = {  # rungs of the ladder from note to note, counted from the motif's anchor
    "fall": (4, 3, 2, 1, 0, 1, 0, -1),
    "climb": (0, 1, 2, 3, 4, 3, 4, 5),
    "arch": (0, 1, 2, 4, 3, 2, 1, 0),
    "wave": (0, 2, 1, -1, 0, 2, 3, 1),
    "neighbour": (0, 1, 0, -1, 0, 1, 2, 0),
    "pendulum": (0, 3, 0, 2, 0, 3, 1, 0),
    "repeat": (0, 0, 0, 1, 0, 0, -1, 0),
    "leap": (0, 4, 3, 2, 3, 1, 2, 0),
}
_FORMS = ("AaAB", "AAaB", "ABAC", "AaBA", "AABa", "AAAB")  # units of two bars; "a" is A with another end
_LATER_FORMS = ("ABaB", "aAbC", "AabB", "aABC")  # of what comes back after eight bars


@dataclass(frozen=True)
class Motif:
    """Rhythm and shape of two bars: (step, length, rungs from the anchor)."""

    notes: tuple[tuple[float, float, int], ...]


def draw_tune(tune: Tune, changes: Changes, num_bars: int, dice: Dice) -> tuple[Note, ...]:
    """The lead over a whole song, one note at a time."""
    motifs = _draw_motifs(tune, dice)
    form = dice.one(_FORMS)
    later = [dice.one(_LATER_FORMS), form]
    low = tune.low + dice.between(-2, 3)
    high = min(tune.high, low + 19)
    anchor = (low + high) // 2 - dice.between(0, 3)
    notes: list[Note] = []
    for unit in range((num_bars + 1) // 2):
        phrase, place = divmod(unit, 4)
        name = (form if phrase == 0 else later[(phrase - 1) % 2])[place]
        notes += _lay(motifs[name], unit * UNIT_STEPS, changes, (low, high, anchor), tune, dice)
    return _cut(notes, num_bars)


def _draw_motifs(tune: Tune, dice: Dice) -> dict[str, Motif]:
    """A, an answer B and a third C, and each with another end."""
    main, other = dice.some(tune.rhythms, 2)
    contour, against = dice.one(tune.contours), dice.one(tune.contours)
    turned = dice.between(0, 2)
    motifs = {
        "A": _motif(main, CONTOURS[contour], 0),
        "B": _motif(dice.one((main, other)), tuple(-rung for rung in CONTOURS[contour]), turned),
        "C": _motif(other, CONTOURS[against], dice.between(0, 2)),
    }
    for name in "ABC":
        motifs[name.lower()] = _with_other_end(motifs[name], dice)
    return motifs


def _motif(rhythm: str, contour: tuple[int, ...], lift: int) -> Motif:
    cell, bars = read_cell(rhythm)
    cell = [(at * STEPS_PER_BAR + step, length) for at in range(0, 2, bars) for step, length in cell]
    return Motif(tuple((step, length, contour[i % len(contour)] + lift) for i, (step, length) in enumerate(cell)))


def _with_other_end(motif: Motif, dice: Dice) -> Motif:
    """The last few notes turned the other way, cut short, or moved by a third."""
    notes = list(motif.notes)
    count = min(len(notes), dice.between(2, 3))
    kind = dice.one(("turn", "third", "short"))
    if kind == "short" and len(notes) > 4:
        kept = notes[: -count + 1]
        step, length, rung = kept[-1]
        return Motif((*kept[:-1], (step, length + 2, rung)))
    for i in range(len(notes) - count, len(notes)):
        step, length, rung = notes[i]
        notes[i] = (step, length, -rung if kind == "turn" else rung + 2)
    return Motif(tuple(notes))


def _lay(motif: Motif, at: int, changes: Changes, place: tuple[int, int, int], tune: Tune, dice: Dice) -> list[Note]:
    """A motif over the chords that sound there: long and accented notes on tones of the chord."""
    low, high, anchor = place
    notes: list[Note] = []
    for step, length, rung in motif.notes:
        sounding = changes.at(at + step)
        rungs = ladder(changes.tonic, changes.scale, sounding, low, high)
        tones = sounding.pitch_classes
        base = min(range(len(rungs)), key=lambda i: (rungs[i] % 12 not in tones, abs(rungs[i] - anchor)))
        index = _mirrored(base + rung, len(rungs))
        if (step % 8 == 0 or length >= 4) and rungs[index] % 12 not in tones:
            index = min(range(len(rungs)), key=lambda i: (rungs[i] % 12 not in tones, abs(i - index), i))
        velocity = (92 if step % 4 == 0 else 78) + dice.between(-6, 6)
        slides = length >= 3 and bool(notes) and dice.chance(tune.slide_percent)
        slide_to = rungs[_mirrored(index + dice.one((1, -1, 2)), len(rungs))] if slides else None
        notes.append(Note(at + step, length, rungs[index], velocity / 100, slide_to))
    return notes


def _mirrored(index: int, count: int) -> int:
    """An index that turns back at either end."""
    index = abs(index)
    return index if index < count else max(0, 2 * (count - 1) - index)


def _cut(notes: list[Note], num_bars: int) -> tuple[Note, ...]:
    """One note at a time, none past the song's end."""
    last = float(num_bars * STEPS_PER_BAR)
    ends = [note.step for note in notes[1:]] + [last]
    return tuple(
        note._replace(length=min(note.length, end - note.step, last - note.step))
        for note, end in zip(notes, ends, strict=True)
        if note.step < last
    )


# ------------------------------------------------------------------------------------------- a second voice

_COUNTER_RHYTHMS = (
    "x---------------",
    "x-------x-------",
    "........x-------",
    "x-----------....|........x---x---",
    "..........x-x-x-|x---............",
    "............x-x-|................",
)


def draw_counter(tune: Tune, changes: Changes, num_bars: int, dice: Dice) -> tuple[Note, ...]:
    """A slower line of chord tones that moves as little as it can, above or below the lead."""
    rhythm = dice.one(_COUNTER_RHYTHMS)
    low = tune.low + dice.one((-9, -7, 3))
    before = low + 8
    notes = []
    for step, length in read_rhythm(rhythm, num_bars):
        tones = changes.at(step).pitch_classes
        guide = tones[1:] or tones  # not the root, which the bass has
        pitches = [midi for midi in range(low, low + 15) if midi % 12 in guide]
        near = sorted(pitches, key=lambda midi: (abs(midi - before), midi))
        before = near[0] if length > 2 or len(near) < 2 else near[dice.below(2)]
        notes.append(Note(step, length, before, (70 + dice.between(-5, 5)) / 100))
    return tuple(notes)
