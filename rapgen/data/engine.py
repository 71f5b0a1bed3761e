"""Where jobs run: in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rapgen.errors import RapgenError
from rapgen.processes import spread

Answer = TypeVar("Answer")


def run_jobs(
    function: Callable[..., Answer],
    jobs: Iterable[tuple[Any, ...]],
    *,
    engine: str,
    workers: int | None,
    lost: Callable[..., Answer],
) -> Iterator[Answer]:
    """Call `function(*job)` for every job; answers come as jobs end, in any order.

    What a job answers whose process died under it is `lost(*job)`. Raises RapgenError for an engine nobody knows.
    """
    if engine != "local":
        raise RapgenError(f"there is no engine '{engine}'; use local")
    return spread(function, jobs, workers=workers, lost=lost)
