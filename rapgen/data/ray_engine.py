"""Jobs on a Ray cluster, through Ray Data: where a node dies, its jobs are done again by others."""

from __future__ import annotations

import io
import itertools
import logging
import os
import pickle
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from typing import Any, TypeVar

from rapgen.errors import PluginError, RapgenError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
_AT_ONCE = 4096  # jobs that Ray holds in memory
_TRIES = 3  # that a job gets beyond the first, where the process or the node it is on ends
_ANSWER_S = 10
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # environment variable: 0 has a cluster of one machine stay on loopback


def run_on_ray(
    function: Callable[..., Answer],
    jobs: Iterable[tuple[Any, ...]],
    *,
    workers: int | None,
    lost: Callable[..., Answer] | None,
) -> Iterator[Answer]:
    """Call `function(*job)` for every job on the cluster at RAY_ADDRESS, or on one that is started for this machine.

    At most `workers` at a time, by default one a core; answers come as jobs end. A job is done again, elsewhere, where
    its node dies before it has told. One under which its process dies again and again is answered by `lost(*job)`.
    Raises what a job raises, RapgenError where there is no cluster, PluginError without the package.
    """
    queue = iter(jobs)
    batch = list(itertools.islice(queue, _AT_ONCE))
    if not batch:
        return
    ray = _connected()
    with redirect_stdout(_Remarks(sys.stdout)):  # Ray tells of processes that end, on stdout
        while batch:
            untold = dict(enumerate(batch))
            for number, answer in _answers(ray, function, batch, workers):
                if untold.pop(number, None) is not None:
                    yield answer
            for job in untold.values():
                if lost is None:
                    raise RapgenError("a job's process ends whenever it is tried; its machine may be out of memory")
                yield lost(*job)
            batch = list(itertools.islice(queue, _AT_ONCE))


def _answers(
    ray: Any, function: Callable[..., Answer], jobs: list[tuple[Any, ...]], workers: int | None
) -> Iterator[tuple[int, Answer]]:
    """Numbers and answers of jobs; those whose processes die are left out."""
    rows = [{"number": number, "job": ray.cloudpickle.dumps((function, job))} for number, job in enumerate(jobs)]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))  # a block, which is done or not, is a job
    try:
        with warnings.catch_warnings(action="ignore"):  # the way to say how often goes away with Ray 2.64
            answers = data.map(_worker(os.getcwd()), num_cpus=1, max_retries=_TRIES, concurrency=workers)
        for row in answers.iter_rows():
            answer, error = pickle.loads(row["answer"])
            if error is not None:
                raise _mended(error)
            yield row["number"], answer
    except ray.exceptions.RayError as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise RapgenError(f"the Ray cluster has failed ({reason}); run the same command to go on") from error


def _worker(folder: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What a node does with a job. It travels as it stands, so that a node without rapgen can say so."""

    def work(row: dict[str, Any]) -> dict[str, Any]:
        import os
        import pickle
        import traceback

        if os.path.isdir(folder):  # paths of the first machine mean the same on one that shares it
            os.chdir(folder)
        try:
            function, job = pickle.loads(row["job"])
            answer = pickle.dumps((function(*job), None))
        except Exception as error:
            error.add_note(traceback.format_exc())
            try:
                answer = pickle.dumps((None, error))
            except Exception:  # it holds what cannot travel
                answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
        return {"number": row["number"], "answer": answer}

    return work


def _mended(error: Exception) -> Exception:
    if isinstance(error, ModuleNotFoundError):
        return RapgenError(f"a node of the Ray cluster has no '{error.name}'; install there what is installed here")
    return error


class _Remarks(io.TextIOBase):
    """Standard output, but what a thread of Ray's prints is logged, each time its first line."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        """Print, or log."""
        if not threading.current_thread().name.startswith("ray_"):
            return int(self._stdout.write(text))
        if line := text.strip().partition("\n")[0]:
            log.info("%s", line)
        return len(text)

    def flush(self) -> None:
        """Bring out what has been printed."""
        self._stdout.flush()


def _connected() -> Any:
    """Ray, connected until this process ends, since that takes seconds. Nothing is sent to Ray's makers."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise PluginError("--engine ray needs Ray: pip install 'rapgen[ray]'") from None
    if not ray.is_initialized():
        _knock(address)
        start: dict[str, Any] = {} if address else {"include_dashboard": False}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **start)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise RapgenError(f"cannot use the Ray cluster at {address or 'this machine'} ({reason})") from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False  # our own reporter tells
    context.max_errored_blocks = -1  # a job whose process ends is no end of the others
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray


def _knock(address: str | None) -> None:
    """RapgenError where nothing listens at a cluster's address, which Ray itself takes minutes to find out."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        reason = error.strerror or error
        raise RapgenError(f"no Ray cluster answers at {address} ({reason}); check RAY_ADDRESS") from None
