"""Bass lines over a whole song, by how a style plays them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.harmony import Changes
from rapgen_plugins.beatmaker.rhythms import read_rhythm
from rapgen_plugins.beatmaker.song import STEPS_PER_BAR, STEPS_PER_BEAT, Note
from rapgen_plugins.beatmaker.style import Bass
from rapgen_plugins.beatmaker.theory import fold

_CYCLE = 4 * STEPS_PER_BAR  # after which a line says the same again


def draw_bass(
    bass: Bass, changes: Changes, kicks: Sequence[float], num_bars: int, dice: Dice
) -> tuple[str, tuple[Note, ...]]:
    """The instrument and its notes, one at a time: each ends where the next begins, or before."""
    instrument = dice.one(bass.instruments)
    low = bass.low + dice.between(0, 4) + (3 if instrument != "808" else 0)
    notes = LINES[dice.one(bass.kinds)](bass, changes, kicks, low, num_bars, dice)
    slides = bass.slide_percent if instrument in ("808", "synth bass") else 0
    return instrument, _sliding(notes, bass, slides, low, dice)


def _root(changes: Changes, step: float, low: int) -> int:
    return fold(changes.at(step).root, low)


def _fifth(changes: Changes, step: float) -> int:
    """Semitones from the root to the chord's fifth, flat or sharp where the chord has it so."""
    tones = changes.at(step).tones
    return next((tone for tone in tones if tone in (6, 7, 8)), 7)


def _kicks(bass: Bass, changes: Changes, kicks: Sequence[float], low: int, num_bars: int, dice: Dice) -> list[Note]:
    """On the kicks and where chords change: roots, now and then a fifth or an octave."""
    changing = {float(start) for start, _, _ in changes.spans(num_bars)}
    keep = [dice.chance(82) for _ in range(_CYCLE)]
    above = [dice.one(("root",) * 8 + ("fifth", "octave")) for _ in range(_CYCLE)]
    longest = dice.one((3, 6, 8, 16))
    steps = sorted(changing | {step for step in kicks if keep[int(step) % _CYCLE]})
    ends = [*steps[1:], float(num_bars * STEPS_PER_BAR)]
    notes = []
    for step, end in zip(steps, ends, strict=True):
        kind = "root" if step in changing else above[int(step) % _CYCLE]
        lift = {"root": 0, "fifth": _fifth(changes, step), "octave": 12}[kind]
        notes.append(_note(step, min(end - step, longest), _root(changes, step, low) + lift, dice))
    return notes


def _roots(bass: Bass, changes: Changes, kicks: Sequence[float], low: int, num_bars: int, dice: Dice) -> list[Note]:
    """Long roots, with a pick-up into the next one."""
    pickup = dice.one((0, 2, 2, 4))
    early = dice.one((0, 6, 10))
    notes = []
    for start, end, _ in changes.spans(num_bars):
        root = _root(changes, start, low)
        bars = [*range(start, end, STEPS_PER_BAR), end]
        for at, until in pairwise(bars):
            lead_in = pickup if until - at > 8 else 0
            body = until - at - lead_in
            parts = [(at, early), (at + early, body - early)] if 0 < early < body else [(at, body)]
            notes += [_note(float(step), float(length), root, dice) for step, length in parts]
            if lead_in:
                target = _root(changes, until, low)
                notes.append(_note(float(until - lead_in), float(lead_in), _approach(root, target, changes, at), dice))
    return notes


def _approach(root: int, target: int, changes: Changes, step: float) -> int:
    """A tone that leads from one root to the next: the fifth where it stays, a neighbour where it moves."""
    if root == target:
        return root + _fifth(changes, step)
    return target - 1 if target > root and target - 2 != root else target + (2 if target < root else -2)


def _walk(bass: Bass, changes: Changes, kicks: Sequence[float], low: int, num_bars: int, dice: Dice) -> list[Note]:
    """Quarters: the root, tones of the chord on the way, and a half step into the next root; skips between them."""
    notes: list[Note] = []
    skips = dice.one((0, 10, 20))
    spans = changes.spans(num_bars)
    turn = [spans[0][2]]
    targets = [index for _, _, index in spans[1:]] + turn
    memory: dict[tuple[int, int, int], list[int]] = {}
    for (start, end, index), following in zip(spans, targets, strict=True):
        place = start % _CYCLE
        beats = (end - start) // STEPS_PER_BEAT
        key = (place, index, beats)
        if key not in memory:
            memory[key] = _walked(changes, index, following, beats, low, dice)
        for beat, midi in enumerate(memory[key]):
            step = float(start + beat * STEPS_PER_BEAT)
            skip = beat % 2 == 1 and dice.chance(skips)
            notes.append(_note(step, 3.0 if skip else 3.8, midi, dice))
            if skip:
                notes.append(_note(step + 3, 1.0, midi, dice)._replace(velocity=0.5))
    return notes


def _walked(changes: Changes, index: int, following: int, beats: int, low: int, dice: Dice) -> list[int]:
    """A note for each beat of a chord."""
    current = changes.chords[index]
    root, target = fold(current.root, low), fold(changes.chords[following].root, low)
    tones = sorted({root + tone % 12 for tone in current.tones} | {root + 12})
    line = [root]
    heading = dice.one((1, 1, -1))
    for _ in range(1, beats - 1):
        beyond = [tone for tone in tones if (tone - line[-1]) * heading > 0]
        if not beyond:
            heading = -heading
            beyond = [tone for tone in tones if (tone - line[-1]) * heading > 0]
        nearest = sorted(beyond, key=lambda tone: abs(tone - line[-1]))[:2]
        line.append(dice.one(nearest))
    if beats > 1:
        sides = [target + side for side in (-1, 1, 2, -2) if target + side != line[-1]]
        line.append(min(sides[:2], key=lambda midi: (abs(midi - line[-1]), midi)))
    return line[:beats]


def _funk(bass: Bass, changes: Changes, kicks: Sequence[float], low: int, num_bars: int, dice: Dice) -> list[Note]:
    """A riff in a rhythm of its own: roots and octaves, sevenths and fifths between, the same every two bars."""
    rhythm = read_rhythm(dice.one(bass.rhythms), num_bars)
    moves = ("root", "root", "root", "octave", "seventh", "fifth", "fourth")
    drawn = {step % (2 * STEPS_PER_BAR): dice.one(moves) for step, _ in rhythm}
    notes = []
    for step, length in rhythm:
        move = "root" if step % STEPS_PER_BAR == 0 else drawn[step % (2 * STEPS_PER_BAR)]
        lift = {"root": 0, "octave": 12, "seventh": -2, "fifth": _fifth(changes, step), "fourth": 5}[move]
        notes.append(_note(step, length * 0.9, _root(changes, step, low) + lift, dice))
    return notes


def _rhythm(bass: Bass, changes: Changes, kicks: Sequence[float], low: int, num_bars: int, dice: Dice) -> list[Note]:
    """A rhythm of its own on roots, with fifths and octaves where it is off the beat."""
    rhythm = read_rhythm(dice.one(bass.rhythms), num_bars)
    drawn = {step % _CYCLE: dice.one(("root", "root", "root", "fifth", "octave", "third")) for step, _ in rhythm}
    notes = []
    for step, length in rhythm:
        third = changes.at(step).tones[1]
        move = "root" if step % 4 == 0 else drawn[step % _CYCLE]
        lift = {"root": 0, "octave": 12, "fifth": _fifth(changes, step), "third": third}[move]
        notes.append(_note(step, length, _root(changes, step, low) + lift, dice))
    return notes


def _note(step: float, length: float, midi: int, dice: Dice) -> Note:
    return Note(step, length, midi, ((95 if step % 4 == 0 else 84) + dice.between(-5, 5)) / 100)


def _sliding(notes: list[Note], bass: Bass, percent: int, low: int, dice: Dice) -> tuple[Note, ...]:
    """Let some of the longer notes glide: to the next note where that is another, or by one of the style's slides."""
    glides = {step: dice.chance(percent) for step in range(_CYCLE)}
    by = {step: dice.one(bass.slides) for step in range(_CYCLE)}
    into_next = {step: dice.chance(35) for step in range(_CYCLE)}
    slid = []
    for note, after in zip(notes, [*notes[1:], notes[0]], strict=True):
        place = int(note.step) % _CYCLE
        if note.length < 2 or not glides[place]:
            slid.append(note)
            continue
        target = after.midi if into_next[place] and after.midi != note.midi else note.midi + by[place]
        slid.append(note._replace(slide_to=target if target >= low - 5 else note.midi + 12))
    return tuple(slid)


LINES: dict[str, Callable[[Bass, Changes, Sequence[float], int, int, Dice], list[Note]]] = {
    "kicks": _kicks,
    "roots": _roots,
    "walk": _walk,
    "funk": _funk,
    "rhythm": _rhythm,
}
