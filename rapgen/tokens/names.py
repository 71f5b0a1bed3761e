"""What stored streams are called."""

from __future__ import annotations

CODES, SEMANTIC = "codes", "semantic"


def aligned_name(conditioner: str, consumer: str) -> str:
    """Name of a frame-aligned conditioner's stream at the rate of `codes` or `semantic`."""
    return f"{conditioner}.{consumer}"
