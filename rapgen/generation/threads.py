"""How many threads a generation works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's CPU operations, the former number afterwards.

    Products of a few rows gain nothing from a second thread (2.2 times real time with one and with two), and where
    another program holds its core each of them waits: then two threads were measured a hundred times slower than one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
