"""Which split a family of tracks, the sections of one upload, is in: told by its name, so that it never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

_SHARES = {"valid": 0.02, "test": 0.02}  # the rest is for training


def draw_split(family: str, seed: int) -> str:
    """The split that a family's name falls in."""
    place = _place(family, seed)
    for split, share in _SHARES.items():
        if place < share:
            return split
        place -= share
    return "train"


def assign_splits(families: Iterable[str], before: Mapping[str, str], seed: int) -> dict[str, str]:
    """The split of every family. Those that have one `before` keep it.

    One at least is for training and, where there are two or more, one for validation: if none fell there, the
    new one that came nearest.
    """
    drawn = {family: before.get(family) or draw_split(family, seed) for family in families}
    new = sorted((family for family in drawn if family not in before), key=lambda family: _place(family, seed))
    if new and "train" not in drawn.values():
        drawn[new.pop()] = "train"
    spare = new if list(drawn.values()).count("train") > 1 else [family for family in new if drawn[family] == "test"]
    if spare and "valid" not in drawn.values():
        drawn[spare[0]] = "valid"
    return drawn


def _place(family: str, seed: int) -> float:
    """A number in 0 .. 1 that a name makes."""
    return int.from_bytes(hashlib.sha256(f"{seed} {family}".encode()).digest()[:7]) / 2**56
