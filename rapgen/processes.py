"""Work spread over all cores, and how processes that train together find each other."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

Answer = TypeVar("Answer")
RENDEZVOUS = "RAPGEN_RENDEZVOUS"  # environment variable: where the processes of `--processes` meet


def is_launched() -> bool:
    """Whether a launcher, ours or another, has made this process one of several that train together."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def end_with_launcher() -> None:
    """From now on end this process and its children when our launcher is gone, by whatever: its end of stdin closes."""

    def follow() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def spread(function: Callable[..., Answer], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Answer]:
    """Call `function(*job)` for every job, in as many processes as there are cores; answers come as jobs end.

    Function, jobs and answers are pickled; where one process will do, it is this one.
    """
    workers = min(len(jobs), os.cpu_count() or 1)
    if workers <= 1:
        yield from itertools.starmap(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        queue = iter(jobs)
        pending: set[Future[Answer]] = set()
        while True:
            for job in itertools.islice(queue, workers + 1 - len(pending)):
                pending.add(pool.submit(function, *job))
            if not pending:
                return
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)
