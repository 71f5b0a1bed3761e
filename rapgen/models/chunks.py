"""Long audio in pieces, so that the memory it takes does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator


def chunked(num_frames: int, size: int, context_frames: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """For every `size` frames: the frames to work on, context included, and those among them to keep."""
    left, right = context_frames
    for start in range(0, num_frames, size):
        stop = min(start + size, num_frames)
        first = max(0, start - left)
        yield slice(first, stop + right), slice(start - first, stop - first)
