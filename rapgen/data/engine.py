"""Where jobs run: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rapgen.errors import RapgenError
from rapgen.processes import spread

Answer = TypeVar("Answer")
ENGINES = ("local", "ray")


def run_jobs(
    function: Callable[..., Answer],
    jobs: Iterable[tuple[Any, ...]],
    *,
    engine: str = "local",
    workers: int | None = None,
    lost: Callable[..., Answer] | None = None,
) -> Iterator[Answer]:
    """Call `function(*job)` for every job; answers come as jobs end, in any order.

    What a job answers whose process died under it is `lost(*job)`. Raises RapgenError for an engine nobody knows.
    """
    if engine == "ray":
        from rapgen.data.ray_engine import run_on_ray

        return run_on_ray(function, jobs, workers=workers, lost=lost)
    if engine != "local":
        raise RapgenError(f"there is no engine '{engine}'; use {' or '.join(ENGINES)}")
    return spread(function, jobs, workers=workers, lost=lost)
