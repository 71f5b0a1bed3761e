"""Fills: what happens in the last beats before a new stretch begins."""

from __future__ import annotations

from collections.abc import Callable

from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.patterns import Pattern

HATS = ("hat", "open hat", "ride", "shaker", "tambourine")
Drums = dict[str, Pattern]
BASS_STOP = "bass stop"


def _silence(drums: Drums, voices: tuple[str, ...] | None, start: float, end: float) -> None:
    for voice, hits in drums.items():
        if voices is None or voice in voices:
            for step in [step for step in hits if start <= step < end]:
                del hits[step]


def _strokes(drums: Drums, voice: str, start: int, end: int, count: int) -> None:
    """Even strokes that grow louder."""
    hits = drums.setdefault(voice, {})
    for i in range(count):
        hits[start + (end - start) * i / count] = 50 + 45 * i // count


def _backbeat_voice(drums: Drums) -> str:
    return next((voice for voice in ("snare", "clap", "rim") if drums.get(voice)), "snare")


def _kick_out(drums: Drums, end: int, dice: Dice) -> None:
    _silence(drums, ("kick",), end - dice.one((6, 8, 14)), end)


def _hats_out(drums: Drums, end: int, dice: Dice) -> None:
    _silence(drums, HATS, end - dice.one((4, 8)), end)


def _run(drums: Drums, end: int, dice: Dice) -> None:
    length = dice.one((2, 3, 4))
    _strokes(drums, _backbeat_voice(drums), end - length, end, length)


def _double(drums: Drums, end: int, dice: Dice) -> None:
    hits = drums.setdefault(_backbeat_voice(drums), {})
    for back, velocity in dice.one((((2, 85), (1, 60)), ((3, 80), (2, 60)), ((6, 60), (3, 85), (2, 70)))):
        hits[float(end - back)] = velocity


def _roll(drums: Drums, end: int, dice: Dice) -> None:
    length = dice.one((2, 4))
    _strokes(drums, _backbeat_voice(drums), end - length, end, length * dice.one((2, 2, 3)))


def _clap_roll(drums: Drums, end: int, dice: Dice) -> None:
    length = dice.one((4, 4, 8))
    _strokes(drums, "clap", end - length, end, length * dice.one((1, 1, 2)))


def _toms(drums: Drums, end: int, dice: Dice) -> None:
    length = dice.one((4, 6, 8))
    _silence(drums, HATS, end - length, end)
    _strokes(drums, "tom", end - length, end, dice.one((length, length // 2)))


def _stop(drums: Drums, end: int, dice: Dice) -> None:
    _silence(drums, None, end - dice.one((2, 4)), end)


def _drop(drums: Drums, end: int, dice: Dice) -> None:
    _silence(drums, None, end - 8, end)


def _none(drums: Drums, end: int, dice: Dice) -> None:
    """The drums play on."""


FILLS: dict[str, Callable[[Drums, int, Dice], None]] = {
    "kick out": _kick_out,
    "hats out": _hats_out,
    "run": _run,
    "double snare": _double,
    "roll": _roll,
    "clap roll": _clap_roll,
    "toms": _toms,
    "stop": _stop,
    "drop": _drop,
    BASS_STOP: _none,  # the bass does
}
