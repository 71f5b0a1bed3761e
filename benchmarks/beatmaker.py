"""How fast the beatmaker is: seconds of audio a second of one core, by style, composing and rendering apart.

Run: OMP_NUM_THREADS=1 python benchmarks/beatmaker.py [--num 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from rapgen_plugins.beatmaker.arrangement import arrange
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.render import render
from rapgen_plugins.beatmaker.styles import STYLES

Result = TypeVar("Result")

SHAPES = {"20 s": 20.0, "whole loops": None}


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` gives, and the seconds of processor time it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def measure(style: str, duration_s: float | None, seed: int) -> tuple[float, float, float]:
    """Seconds of audio, of composing and of rendering (stems included) of one beat."""
    notes, sound = np.random.SeedSequence(seed).spawn(2)
    dice = Dice(notes)
    song, composing_s = timed(lambda: arrange(STYLES[style], dice, duration_s=duration_s, bars=None, split="train"))
    _, rendering_s = timed(lambda: render(song, np.random.Generator(np.random.Philox(sound))))
    return song.clock.duration_s, composing_s, rendering_s


def main() -> None:
    """Print a table for clips of 20 s and one for whole loops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=5, help="beats a style")
    num = parser.parse_args().num
    measure("trap", 4.0, 0)
    for shape, duration_s in SHAPES.items():
        print(
            f"{shape:12} {'all':>8} {'composing':>10} {'rendering':>10}   (median over {num} beats, x real time a core)"
        )
        every = []
        for style in STYLES:
            costs = [measure(style, duration_s, seed) for seed in range(num)]
            every += costs
            _row(style, costs)
        _row("all styles", every)
        audio_s, work_s = sum(cost[0] for cost in every), sum(cost[1] + cost[2] for cost in every)
        print(f"{'in sum':12} {audio_s / work_s:8.1f}")


def _row(name: str, costs: list[tuple[float, float, float]]) -> None:
    sums = ((1, 2), (1,), (2,))
    cells = [statistics.median(cost[0] / sum(cost[part] for part in parts) for cost in costs) for parts in sums]
    print(f"{name:12} {cells[0]:8.1f} {cells[1]:10.0f} {cells[2]:10.1f}")


if __name__ == "__main__":
    main()
