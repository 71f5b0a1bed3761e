"""How many threads a generation works with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's CPU operations, the former number afterwards.

    Small operations gain little from a second thread, and threads that share a core wait for each other at every one:
    two, held to one core, made 13 tokens a second, not 700.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_SMALL_STEP = 8e6  # bytes: a step that reads less ends soon after a second thread has woken


def threads_of_a_step(weight_bytes: int) -> int:
    """Threads for steps that read all of a model's weights: one for a small model, all cores for a large one.

    Of 8 bit weights with guidance, 256 x 6 made 1,480 steps a second with one thread and 1,980 with two, 512 x 6 380
    and 560; the second core is worth more to FINE and the codec, which work beside a small model.
    """
    return 1 if weight_bytes < _SMALL_STEP else _cores()


def _cores() -> int:
    """Threads that may compute: as OMP_NUM_THREADS says (its first number), else cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
