"""`--processes`: one command as several processes of this machine, that end together and fail in one line.

torch's own launcher would listen on every network interface and say a failure in pages; this one lets its processes
meet in a file and connect over the loopback interface alone. torchrun and `accelerate launch` work as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from rapgen.errors import LostError, RapgenError
from rapgen.files import write_json
from rapgen.processes import RENDEZVOUS

_ERRORS = "RAPGEN_ERRORS"  # the folder where a process that was launched here leaves its last words
_USERS = 2  # the exit status of an error that a user can mend
_POLL_S = 0.05
_GRACE_S = 5.0  # between asking a process to end and ending it


def launch(command: Sequence[str], processes: int) -> None:
    """Run `command` in as many processes at once; where one fails, end all, say why in one line and exit."""
    with tempfile.TemporaryDirectory(prefix="rapgen-") as name:
        folder = Path(name)
        with _ending_well(), _started(command, processes, folder) as workers:
            while any(worker.poll() is None for worker in workers):
                failed = _root_cause(workers, folder)
                if failed is not None:
                    break
                time.sleep(_POLL_S)
            else:
                failed = _root_cause(workers, folder)
    if failed is not None:
        message, status = failed
        typer.echo(message, err=True)
        raise typer.Exit(status)


@contextmanager
def _ending_well() -> Iterator[None]:
    """Within the block SIGTERM is an exception, so that what was begun is ended and removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_word(error: BaseException, message: str, status: int) -> bool:
    """Leave an error to the launcher, which tells only one; False where this process is its own."""
    if _ERRORS not in os.environ:
        return False
    kind = "lost" if isinstance(error, LostError) else ""  # whoever was lost says more
    with suppress(RapgenError):  # the launcher is gone: nobody is there to be told
        write_json(Path(os.environ[_ERRORS]) / f"{kind}{os.environ['RANK']}.json", [message, status])
    return True


@contextmanager
def _started(command: Sequence[str], processes: int, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes, each in a session of its own with the children it makes; none outlives the block."""
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            output = None if rank == 0 or "--debug" in command else subprocess.DEVNULL
            workers += [
                subprocess.Popen(
                    command,
                    env=_environment(rank, processes, folder),
                    stdin=subprocess.PIPE,  # closes when this process ends, however it does
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            ]
        yield workers
    finally:
        _end(workers)


def _environment(rank: int, processes: int, folder: Path) -> dict[str, str]:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    defaults = {
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # its warnings are of what is meant, and come from every process
    }
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    meeting = {RENDEZVOUS: f"file://{folder / 'rendezvous'}", _ERRORS: str(folder)}
    return defaults | dict(os.environ) | {name: str(value) for name, value in ranks.items()} | meeting


def _root_cause(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> tuple[str, int] | None:
    """The line and exit status of the process whose end made the others end; None where none has failed.

    What a user can mend comes first, then a death without a word; the words of those that only lost touch come last.
    """
    failed = {rank: worker.returncode for rank, worker in enumerate(workers) if worker.poll()}
    if not failed:
        return None
    words = _words(folder, "[0-9]")
    lost = {} if any(code < 0 for code in failed.values()) else _words(folder, "lost")
    for message, status in words.values():
        if status == _USERS:
            return message, status
    for rank, code in failed.items():
        if code < 0 and rank not in words:
            why = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
            return _line(rank, len(workers), f"was ended by {signal.Signals(-code).name}{why}"), 1
    for message, status in [*words.values(), *lost.values()]:
        return message, status
    rank, code = next(iter(failed.items()))
    return _line(rank, len(workers), f"ended with status {code}"), 1


def _words(folder: Path, kind: str) -> dict[int, tuple[str, int]]:
    """The line and exit status that each process of a kind has left, by its rank."""
    found = sorted(folder.glob(f"{kind}*.json"))
    return {int(path.stem.removeprefix("lost")): tuple(json.loads(path.read_text())) for path in found}


def _line(rank: int, processes: int, how: str) -> str:
    return f"error: rank {rank} of {processes} processes {how}; run the same command to go on from the last checkpoint"


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs, and what a process that failed has left running."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        for worker in workers:
            if worker.returncode != 0:
                with suppress(OSError):
                    os.killpg(worker.pid, how)
        deadline = time.monotonic() + _GRACE_S
        for worker in workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, deadline - time.monotonic()))
    for worker in workers:
        if worker.stdin is not None:
            worker.stdin.close()
