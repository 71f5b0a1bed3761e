"""The next batch is made while the model works on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@contextmanager
def ahead(make: Callable[[int], T], numbers: Iterable[int]) -> Iterator[Iterator[T]]:
    """What `make` gives of each number, in order, one made ahead in a thread: `make` must be a pure function."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def made() -> Iterator[T]:
        remaining = iter(numbers)
        coming = pool.submit(make, next(remaining))
        for number in remaining:
            ready, coming = coming, pool.submit(make, number)
            yield ready.result()
        yield coming.result()

    try:
        yield made()
    finally:
        pool.shutdown(cancel_futures=True)


def pinned(batch: Any) -> Any:
    """The tensors of a batch in memory that a GPU can fetch from by itself."""
    return _mapped(batch, torch.Tensor.pin_memory)


def moved(batch: Any, device: torch.device) -> Any:
    """The tensors of a batch on a device; of pinned ones nobody waits for the copy."""
    return _mapped(batch, lambda x: x.to(device, non_blocking=x.is_pinned()))


def pieces(batch: Any, count: int) -> list[Any]:
    """A batch cut into `count` batches of rows, as equal as can be."""
    if count == 1:
        return [batch]

    def cut(number: int) -> Any:
        return _mapped(batch, lambda x: x.tensor_split(count)[number])

    return [cut(number) for number in range(count)]


def _mapped(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(batch, tuple):
        return tuple(_mapped(value, change) for value in batch)
    if isinstance(batch, dict):
        return {name: _mapped(value, change) for name, value in batch.items()}
    return change(batch)
