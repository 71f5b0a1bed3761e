"""What the benchmarks of speed share: turns, medians, ratios, what they ran on, and how fast memory is read."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
READ_AT_ONCE = 512 * 2**20  # bytes: far over any cache

T = TypeVar("T")
Work = Callable[[], object]


def parser(doc: str | None, *, runs: int) -> argparse.ArgumentParser:
    """The command line that all have, to which each may add."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=int, default=runs, help=f"runs of each, in turn ({runs}); medians are shown")
    made.add_argument("--json", type=Path, help="write the figures to this file too")
    return made


def finish(options: argparse.Namespace, figures: Mapping[str, float]) -> None:
    """Write the figures where they were asked for."""
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


# ------------------------------------------------------------------------------------------------------ time


def seconds(work: Work) -> float:
    """What one run takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(contenders: Mapping[str, Callable[[], T]], runs: int) -> dict[str, list[T]]:
    """What all give, measured in turn, `runs` times over, so that what else the machine does falls on all of them."""
    given: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, measure in contenders.items():
            given[name].append(measure())
    return given


def ratio(slow: Iterable[float], fast: Iterable[float]) -> float:
    """How many times as long the one takes as the other: the median over their runs, turn by turn."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def best_threads(trial: Work) -> int:
    """One or two threads, whichever does a short form of the work faster."""
    trial()  # what is loaded and allocated once
    took = {threads: seconds(with_threads(trial, threads)) for threads in thread_counts()}
    return min(took, key=lambda threads: took[threads])


def thread_counts() -> list[int]:
    """One and two, where there are two cores."""
    return sorted({1, min(2, os.cpu_count() or 1)})


def with_threads(work: Callable[[], T], threads: int) -> Callable[[], T]:
    """The work, done with that many threads of torch."""

    def run() -> T:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return work()
        finally:
            torch.set_num_threads(before)

    return run


# --------------------------------------------------------------------------------------------------- machine


def print_machine(*packages: str) -> None:
    """What it runs on, in two lines: the machine, and the versions of torch, rapgen and the packages compared."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    cache = f"{cache_bytes() / 2**20:.0f} MiB of last cache"
    print(f"{cpu_name()}, {cores} cores, {cache}, {platform.system()}, load {load:.1f}")
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "rapgen", *packages))
    print(f"Python {platform.python_version()}, {', '.join(versions)}", flush=True)


def cpu_name() -> str:
    """The processor's name, as Linux knows it, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cache_bytes() -> int:
    """Bytes of the last cache before memory, 0 where the system does not say."""
    sizes = [path.read_text().strip() for path in sorted(CACHES.glob("index*/size"))]
    return max((int(size.removesuffix("K")) * 1024 for size in sizes), default=0)


def read_bandwidth(threads: int, *, size: int = READ_AT_ONCE, runs: int = 5) -> float:
    """Bytes a second that a plain sum streams from memory: the best of several, over whole numbers and over floats."""
    buffer = torch.ones(size // 8, dtype=torch.int64)
    sums = (buffer.sum, buffer.view(torch.float32).sum)
    return size / min(seconds(with_threads(work, threads)) for _ in range(runs) for work in sums)
