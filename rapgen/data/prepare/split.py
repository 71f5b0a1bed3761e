"""Which split a track is in: told by its name alone, so that it never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

SPLITS = ("train", "valid", "test")
_SHARES = {"valid": 0.02, "test": 0.02}  # the rest is for training


def draw_split(track: str, seed: int) -> str:
    """The split that a track's name falls in."""
    place = _place(track, seed)
    for split, share in _SHARES.items():
        if place < share:
            return split
        place -= share
    return "train"


def assign_splits(tracks: Iterable[str], before: Mapping[str, str], seed: int) -> dict[str, str]:
    """The split of every track. Those that have one `before` keep it.

    One at least is for training and, where there are two tracks or more, one for validation: if none fell there, the
    new one that came nearest.
    """
    drawn = {track: before.get(track) or draw_split(track, seed) for track in tracks}
    new = sorted((track for track in drawn if track not in before), key=lambda track: _place(track, seed))
    if new and "train" not in drawn.values():
        drawn[new.pop()] = "train"
    if new and "valid" not in drawn.values():
        drawn[new[0]] = "valid"
    return drawn


def _place(track: str, seed: int) -> float:
    """A number in 0 .. 1 that a track's name makes."""
    return int.from_bytes(hashlib.sha256(f"{seed} {track}".encode()).digest()[:7]) / 2**56
