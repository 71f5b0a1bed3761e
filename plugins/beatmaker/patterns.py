"""Drums over a whole song: a style's patterns read, repeated and varied; hats that roll; strokes that drag."""

from __future__ import annotations

from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.song import STEPS_PER_BAR, Hit
from rapgen_plugins.beatmaker.style import Drumming

UNIT_STEPS = 2 * STEPS_PER_BAR  # what a pattern spans
STEP_PARTS = 60  # of a step, to which loose strokes fall

_STROKES = {
    "X": (100, 100),
    "x": (80, 100),
    "o": (55, 100),
    "g": (30, 100),
    "?": (80, 50),
    "~": (55, 40),
    ",": (30, 40),
}
_OPEN = "O"
_SPEEDS = {"half": 0, "straight": 1, "double": 2}  # powers of two

Pattern = dict[float, int]  # velocity in percent by step


def draw_drums(drumming: Drumming, *, feel: str, usual_feel: str, num_bars: int, dice: Dice) -> dict[str, Pattern]:
    """All strokes of each voice over `num_bars`, before fills and drop-outs.

    `feel` slows the patterns of kick and backbeat down or speeds them up by two against the grid; hats stay.
    """
    shift = _SPEEDS[feel] - _SPEEDS[usual_feel]
    drums: dict[str, Pattern] = {}
    _add(drums, "kick", _backbone(dice.one(drumming.kicks), shift, num_bars, dice))
    backbeat = _backbone(dice.one(drumming.backbeats), shift, num_bars, dice)
    for voice in dice.one(drumming.backbeat_voices):
        _add(drums, voice, backbeat)
    _add(drums, drumming.ghost_voice, _backbone(dice.one(drumming.ghosts), shift, num_bars, dice))
    hats = "xoxoxoxoxoxoxoxo" if feel == "double" else dice.one(drumming.hats)
    for voice, hits in _hats(hats, drumming, num_bars, dice).items():
        _add(drums, voice, hits)
    for layer in drumming.layers:
        if dice.chance(layer.percent):
            _add(drums, layer.voice, _repeated(dice.one(layer.patterns), num_bars, dice))
    return {voice: hits for voice, hits in drums.items() if hits}


def _add(drums: dict[str, Pattern], voice: str, hits: Pattern) -> None:
    """Lay strokes over those the voice has; of two on one step the louder stays."""
    own = drums.setdefault(voice, {})
    for step, velocity in hits.items():
        own[step] = max(velocity, own.get(step, 0))


def _read(pattern: str, dice: Dice, *, is_open: bool = False) -> Pattern:
    """The strokes of two bars, those left to chance drawn; or the open hats alone."""
    marks = pattern.replace("|", "")
    marks *= UNIT_STEPS // len(marks)
    if is_open:
        return {float(step): 75 for step, mark in enumerate(marks) if mark == _OPEN}
    hits = {}
    for step, mark in enumerate(marks):
        if mark in _STROKES:
            velocity, percent = _STROKES[mark]
            if dice.chance(percent):
                hits[float(step)] = velocity
    return hits


def _repeated(pattern: str, num_bars: int, dice: Dice) -> Pattern:
    """A pattern drawn twice: the first take plays, every fourth time the second one answers it."""
    take, answer = _read(pattern, dice), _read(pattern, dice)
    hits = {}
    for unit in range((num_bars + 1) // 2):
        for step, velocity in (answer if unit % 4 == 3 else take).items():
            hits[unit * UNIT_STEPS + step] = velocity
    return {step: velocity for step, velocity in hits.items() if step < num_bars * STEPS_PER_BAR}


def _backbone(pattern: str, shift: int, num_bars: int, dice: Dice) -> Pattern:
    """A repeated pattern played 2 ** `shift` times as fast, on the 16th grid."""
    if shift == 0:
        return _repeated(pattern, num_bars, dice)
    needed = num_bars * 2**shift if shift > 0 else -(-num_bars // 2**-shift)
    stretched: Pattern = {}
    for step, velocity in _repeated(pattern, needed, dice).items():
        moved = float(int(step * 2.0**-shift))
        stretched[moved] = max(velocity, stretched.get(moved, 0))
    return {step: velocity for step, velocity in stretched.items() if step < num_bars * STEPS_PER_BAR}


# ---------------------------------------------------------------------------------------------------- hats


def _hats(pattern: str, drumming: Drumming, num_bars: int, dice: Dice) -> dict[str, Pattern]:
    """Closed and open hats; rolls fall alike in each four bars, and once more in the last bar of eight."""
    closed = _repeated(pattern, num_bars, dice)
    opened = _read(pattern, dice, is_open=True)
    rolls = _draw_rolls(drumming, 4, dice)
    extra = _draw_rolls(drumming, 1, dice)
    for bar in range(num_bars):
        last = bar % 8 == 7
        for start, length, strokes in rolls:
            if start // STEPS_PER_BAR == bar % 4:
                _roll(closed, bar * STEPS_PER_BAR + start % STEPS_PER_BAR, length, strokes)
        for start, length, strokes in extra if last else ():
            _roll(closed, bar * STEPS_PER_BAR + start, length, strokes)
    units = range((num_bars + 1) // 2)
    opens = {unit * UNIT_STEPS + step: velocity for unit in units for step, velocity in opened.items()}
    return {drumming.hat_voice: closed, "open hat": {s: v for s, v in opens.items() if s < num_bars * STEPS_PER_BAR}}


def _draw_rolls(drumming: Drumming, num_bars: int, dice: Dice) -> list[tuple[int, int, list[tuple[float, int]]]]:
    """(start, length, strokes) of each roll: mostly into the backbeat and at the ends of bars."""
    rolls = []
    for half in range(2 * num_bars):
        if dice.chance(drumming.roll_percent):
            length = dice.one((2, 4, 4))
            start = half * 8 + dice.one((4, 8 - length, 8 - length, 0))
            strokes_a_beat = dice.one(drumming.rolls)
            count = max(2, strokes_a_beat * length // 4)
            rolls.append((start, length, _ramp(length, count, dice.one(("up", "down", "flat")))))
    return rolls


def _ramp(length: int, count: int, shape: str) -> list[tuple[float, int]]:
    """(step, velocity) of `count` even strokes over `length` steps."""
    rise = [45 + 45 * i // (count - 1) for i in range(count)]
    velocities = {"up": rise, "down": rise[::-1], "flat": [70] * count}[shape]
    return [(length * i / count, velocity) for i, velocity in enumerate(velocities)]


def _roll(closed: Pattern, start: float, length: int, strokes: list[tuple[float, int]]) -> None:
    """Put a roll in place of what was there."""
    for step in [step for step in closed if start <= step < start + length]:
        del closed[step]
    closed.update({start + step: velocity for step, velocity in strokes})


# --------------------------------------------------------------------------------------------------- timing


def loosen(drums: dict[str, Pattern], drumming: Drumming, dice: Dice) -> dict[str, tuple[Hit, ...]]:
    """Strokes as hits: a voice of the style may drag a little behind the grid, and no two strokes are quite as loud."""
    hits = {}
    for voice, pattern in sorted(drums.items()):
        late = dice.between(*drumming.late.get(voice, (0, 0))) / STEP_PARTS
        hits[voice] = tuple(
            Hit(step + late, min(100, max(15, velocity + dice.between(-4, 4))) / 100)
            for step, velocity in sorted(pattern.items())
        )
    return hits
