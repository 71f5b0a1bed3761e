"""How often training sees a clip: weights by style, tempo and uploader, so that nothing frequent swamps the rest.

A clip's weight is the product of one factor a trait: its style, its tempo in steps of 10 bpm, its uploader. A factor is
one over the square root of how many clips share the value, so that a style with a hundred times as many clips is seen
ten times as often; a value that is not known has the factor of the mean. Weights are then brought to a mean of 1 within
0.2 .. 5, so that no clip is lost and none is learnt by heart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MIN_WEIGHT, MAX_WEIGHT = 0.2, 5.0
TEMPO_STEP_BPM = 10
_HALVINGS = 100  # of the range in which the scale is sought: more than an f64 resolves


class Described(Protocol):
    """What balancing reads of a clip; None, or empty, where it is not known."""

    @property
    def style(self) -> str | None: ...
    @property
    def tempo_bpm(self) -> float | None: ...
    @property
    def uploader(self) -> str | None: ...


@dataclass(frozen=True)
class Share:
    """How much of what training sees has a value of a trait: 0 .. 1, with all weights 1 and with those given."""

    value: str
    before: float
    after: float


def balance(clips: Sequence[Described]) -> np.ndarray:
    """Weights f64 [N] of mean 1 within 0.2 .. 5; of two clips that differ in one trait the rarer weighs no less."""
    weights = np.ones(len(clips))
    for read in _TRAITS.values():
        weights *= _factors([read(clip) for clip in clips])
    return _scaled(weights)


def shares(clips: Sequence[Described], weights: Sequence[float] | np.ndarray) -> dict[str, list[Share]]:
    """By trait ("style", "tempo", "uploader"), the share of each known value, the largest first."""
    return {name: _shares([read(clip) for clip in clips], np.asarray(weights, float)) for name, read in _TRAITS.items()}


def _tempo(clip: Described) -> str:
    if clip.tempo_bpm is None:
        return ""
    low = int(clip.tempo_bpm // TEMPO_STEP_BPM) * TEMPO_STEP_BPM
    return f"{low}-{low + TEMPO_STEP_BPM - 1}"


_TRAITS: Mapping[str, Callable[[Described], str]] = {
    "style": lambda clip: clip.style or "",
    "tempo": _tempo,
    "uploader": lambda clip: clip.uploader or "",
}


def _factors(values: Sequence[str]) -> np.ndarray:
    """f64 [N]: by how much each value is rarer than the others, 1 where it is not known; their mean is 1."""
    counts = Counter(values)
    factors = np.array([counts[value] for value in values]) ** -0.5
    is_known = np.array([value != "" for value in values])
    return np.where(is_known, factors / factors[is_known].mean(), 1.0) if is_known.any() else np.ones(len(values))


def _scaled(weights: np.ndarray) -> np.ndarray:
    """Weights times the factor that makes their mean 1 within the limits."""
    if not len(weights):
        return weights
    low, high = MIN_WEIGHT / weights.max(), MAX_WEIGHT / weights.min()  # means 0.2 and 5
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        is_low = np.clip(middle * weights, MIN_WEIGHT, MAX_WEIGHT).mean() < 1
        low, high = (middle, high) if is_low else (low, middle)
    return np.clip(high * weights, MIN_WEIGHT, MAX_WEIGHT)


def _shares(values: Sequence[str], weights: np.ndarray) -> list[Share]:
    counts = Counter(value for value in values if value)
    seen: Counter[str] = Counter()
    for value, weight in zip(values, weights.tolist(), strict=True):
        seen[value] += weight
    known, total = sum(counts.values()), sum(seen[value] for value in counts)
    found = [Share(value, count / known, seen[value] / total) for value, count in counts.items()]
    return sorted(found, key=lambda share: (-share.before, share.value))
