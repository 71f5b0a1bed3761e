"""What a patch is: an instrument with its settings made up, ready to play notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rapgen_plugins.beatmaker.presets import Ranges, Settings
from rapgen_plugins.beatmaker.synth import TOP_HZ, Floats, Signal

Play = Callable[[float, float, int], Signal]  # (frequency in Hz, velocity 0 .. 1, samples) -> float32 [2, samples]


@dataclass(frozen=True)
class Patch:
    """Plays notes whose tone follows the velocity, but not their level; they are let go of by whoever places them."""

    play: Play
    release_s: float  # how a note dies once it is let go
    tremolo_hz: float = 0.0
    tremolo: float = 0.0  # 0 .. 1, from side to side


@dataclass(frozen=True)
class Instrument:
    """How a patch is made: ranges of its settings (of the first the test split has a part to itself), and the maker."""

    ranges: Ranges
    build: Callable[[Settings, np.random.Generator], Patch]


def harmonics(freq_hz: float, most: int = 40) -> Floats:
    """1, 2, 3 ... as long as they stay under TOP_HZ, and no more than `most`."""
    return np.arange(1.0, max(1, min(most, TOP_HZ // freq_hz)) + 1)


def even_energy(level: Floats) -> Floats:
    """Scale the levels [..., K] of partials so that their sum has a mean square of a half."""
    return level / np.sqrt((level**2).sum(axis=-1, keepdims=True).mean())
