"""Drum patterns: one phrase of eight bars, drawn from a style's chances. Steps are 16ths of the grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rapgen_plugins.beatmaker.styles import Drumming

STEPS_PER_BEAT = 4
STEPS_PER_BAR = 16
BARS_PER_PHRASE = 8
STEPS_PER_PHRASE = STEPS_PER_BAR * BARS_PER_PHRASE

FEELS = ("half", "straight", "double")

HATS = {
    "8ths": (0, 2, 4, 6, 8, 10, 12, 14),
    "16ths": tuple(range(16)),
    "skip": (0, 2, 4, 6, 7, 8, 10, 12, 14, 15),
    "332": (0, 3, 6, 8, 11, 14),
    "gallop": (0, 3, 4, 7, 8, 11, 12, 15),
}


class Hit(NamedTuple):
    """One stroke."""

    step: float  # from the start of the phrase
    velocity: float


Drums = dict[str, list[Hit]]  # hits of each voice


def draw_drums(drumming: Drumming, *, feel: str, usual_feel: str, rng: np.random.Generator) -> Drums:
    """One phrase of drums: a pattern of one or two bars, repeated, with fills.

    `feel` slows the pattern of kick and snare down or speeds it up by two against the grid; hats stay.
    """
    speed = 2.0 ** (FEELS.index(feel) - FEELS.index(usual_feel))
    drums = _hats(drumming, feel, rng)
    kicks, backbeats, ghosts = (_stretch(hits, speed) for hits in _backbone(drumming, rng))
    drums["kick"] = kicks
    for voice in drumming.backbeat_voices[rng.integers(len(drumming.backbeat_voices))]:
        drums[voice] = list(backbeats)
    drums[drumming.ghost_voice] = drums.get(drumming.ghost_voice, []) + ghosts
    _add_colour(drums, rng)
    _add_fill(drums, STEPS_PER_PHRASE, rng)
    if rng.random() < 0.5:
        _add_fill(drums, STEPS_PER_PHRASE // 2, rng)
    return drums


def _backbone(drumming: Drumming, rng: np.random.Generator) -> tuple[list[Hit], list[Hit], list[Hit]]:
    """Kicks, backbeats and ghost notes at the style's usual speed."""
    pattern_bars = int(rng.choice([1, 2, 2]))
    chances = np.tile(drumming.kick, pattern_bars)
    kicks = np.flatnonzero(rng.random(len(chances)) < chances)
    kick_velocities = np.where(kicks % STEPS_PER_BAR == 0, 1.0, rng.uniform(0.75, 1.0))
    ghosts = np.flatnonzero(rng.random(len(chances)) < np.tile(drumming.ghosts, pattern_bars))
    loud = rng.uniform(0.25, 0.5) if min(drumming.backbeat) < 8 else rng.uniform(0.5, 0.85)
    repeat = range(0, STEPS_PER_PHRASE, len(chances))
    bars = range(0, STEPS_PER_PHRASE, STEPS_PER_BAR)
    return (
        [Hit(at + float(k), float(v)) for at in repeat for k, v in zip(kicks, kick_velocities, strict=True)],
        [Hit(float(at + step), 1.0) for at in bars for step in drumming.backbeat],
        [Hit(at + float(g), loud) for at in repeat for g in ghosts],
    )


def _stretch(hits: list[Hit], speed: float) -> list[Hit]:
    """Play a phrase `speed` times as fast, as often as it fits, on the 16th grid."""
    rounds = max(1, int(speed))
    moved = {(hit.step + at * STEPS_PER_PHRASE) // speed: hit.velocity for at in range(rounds) for hit in hits}
    return [Hit(step, velocity) for step, velocity in sorted(moved.items()) if step < STEPS_PER_PHRASE]


def _hats(drumming: Drumming, feel: str, rng: np.random.Generator) -> Drums:
    """Closed and open hats over two bars, repeated."""
    name = "16ths" if feel == "double" else drumming.hats[rng.integers(len(drumming.hats))]
    steps = [float(bar * STEPS_PER_BAR + step) for bar in range(2) for step in HATS[name]]
    accent, weak = rng.uniform(0.85, 1.0), rng.uniform(0.35, 0.75)
    closed = {s: accent if s % 4 == 0 else weak if s % 2 else (accent + weak) / 2 for s in steps}
    for beat in range(0, 2 * STEPS_PER_BAR, 4):
        if rng.random() < drumming.roll_chance / 2:
            _roll(closed, float(beat), rng)
    opened = []
    for bar in range(2):
        if rng.random() < drumming.open_hat_chance:
            step = float(bar * STEPS_PER_BAR + rng.choice([2, 6, 10, 14]))
            closed.pop(step, None)
            opened.append(Hit(step, weak))
    repeat = range(0, STEPS_PER_PHRASE, 2 * STEPS_PER_BAR)
    return {
        "hat": [Hit(at + step, velocity) for at in repeat for step, velocity in sorted(closed.items())],
        "open hat": [Hit(at + hit.step, hit.velocity) for at in repeat for hit in opened],
    }


def _roll(closed: dict[float, float], start: float, rng: np.random.Generator) -> None:
    """Put 32nds or triplets in place of what a beat, or half of one, had."""
    length = float(rng.choice([2.0, 4.0]))
    count = int(length * rng.choice([1.5, 2.0]))
    for step in [step for step in closed if start <= step < start + length]:
        del closed[step]
    rise = np.linspace(0.45, 0.9, count)[:: int(rng.choice([-1, 1]))]
    closed.update({start + i * length / count: float(rise[i]) for i in range(count)})


def _add_colour(drums: Drums, rng: np.random.Generator) -> None:
    """Crash, shaker and percussion, each in some of the beats."""
    if rng.random() < 0.3:
        drums["crash"] = [Hit(0.0, rng.uniform(0.3, 0.6))]
    if rng.random() < 0.2:
        stride = int(rng.choice([1, 2]))
        drums["shaker"] = [Hit(float(s), 0.4 + 0.4 * (s % 4 == 2)) for s in range(0, STEPS_PER_PHRASE, stride)]
    if rng.random() < 0.35:
        steps = rng.choice([3, 5, 6, 7, 11, 13, 14, 19, 22, 23, 27, 29, 30], size=3, replace=False)
        repeat = range(0, STEPS_PER_PHRASE, 2 * STEPS_PER_BAR)
        drums["perc"] = [Hit(float(at + step), rng.uniform(0.4, 0.9)) for at in repeat for step in sorted(steps)]


def _add_fill(drums: Drums, end: int, rng: np.random.Generator) -> None:
    """Change the last beats before `end`: a snare run, no kick, or no hats."""
    kind = rng.choice(["run", "no kick", "no hats", "none"])
    silent = {"no kick": "kick", "no hats": "hat"}.get(str(kind))
    if silent:
        drums[silent] = [hit for hit in drums[silent] if not end - 8 < hit.step < end]
    if kind == "run":
        voice = "snare" if "snare" in drums else "clap"
        taken = {hit.step for hit in drums.get(voice, [])}
        steps = [step for step in range(end - int(rng.choice([2, 3, 4])), end) if step not in taken]
        drums[voice] = drums.get(voice, []) + [Hit(float(s), 0.9 - 0.12 * (end - s)) for s in steps]
