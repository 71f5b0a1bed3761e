"""How many threads a generation works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's CPU operations, the former number afterwards.

    Products of a few rows gain nothing from a second thread (2.2 times real time with one and with two), and threads
    that share a core wait for each other at every product: two, held to one core, made 13 tokens a second, not 700.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
