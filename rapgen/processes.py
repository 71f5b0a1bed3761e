"""Work spread over all cores, and how processes that train together find each other."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from rapgen.errors import RapgenError

Answer = TypeVar("Answer")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
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


def workers_of_this_size() -> int:
    """How many processes as large as this one has been fit into half of the memory: one a core at most."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // 2 // own))


def spread(
    function: Callable[..., Answer],
    jobs: Iterable[tuple[Any, ...]],
    *,
    workers: int | None = None,
    lost: Callable[..., Answer] | None = None,
) -> Iterator[Answer]:
    """Call `function(*job)` for every job in `workers` processes, by default one a core; answers come as jobs end.

    Function, jobs and answers are pickled; a few jobs are taken ahead, no more. With one worker, or one job, and no
    `lost`, it is this process that works. A job whose process ends under it, even when it is tried again with no other
    beside it, is answered by `lost(*job)`; without `lost` that is a RapgenError.
    """
    queue = iter(jobs)
    if isinstance(jobs, Sequence):
        workers = min(workers or os.cpu_count() or 1, max(1, len(jobs)))
    workers = workers or os.cpu_count() or 1
    if workers == 1 and lost is None:
        yield from itertools.starmap(function, queue)
        return
    while True:  # a pool that a job has broken is of no more use
        broken: list[tuple[Any, ...]] = []
        with _pool(workers) as pool:
            yield from _answers(pool, function, queue, workers + 1, broken)
        if not broken:
            return
        for job in broken:
            yield _alone(function, job, lost)


def _answers(
    pool: ProcessPoolExecutor,
    function: Callable[..., Answer],
    queue: Iterator[tuple[Any, ...]],
    ahead: int,
    broken: list[tuple[Any, ...]],
) -> Iterator[Answer]:
    """Answers until the queue is empty, or until a process of the pool dies: `broken` then takes what was under way."""
    pending: dict[Future[Answer], tuple[Any, ...]] = {}
    while True:
        for job in itertools.islice(queue, 0 if broken else ahead - len(pending)):
            try:
                pending[pool.submit(function, *job)] = job
            except BrokenProcessPool:
                broken.append(job)
                break
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            job = pending.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                broken.append(job)
            else:
                yield future.result()


def _alone(function: Callable[..., Answer], job: tuple[Any, ...], lost: Callable[..., Answer] | None) -> Answer:
    """The answer of a process that has but this job."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, *job).result()
        except BrokenProcessPool:
            if lost is not None:
                return lost(*job)
            raise RapgenError("a worker process has ended at once; the machine may be out of memory") from None


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each, which end with this one."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # read when a process of the pool loads its libraries
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, by whatever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
