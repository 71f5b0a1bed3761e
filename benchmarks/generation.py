"""The shipped model at work: times real time, time to first audio, memory, and what a command costs beside decoding.

    python benchmarks/generation.py                          # a few minutes; beats of 8, 30, 60 and 600 s
    python benchmarks/generation.py --durations 8 30 60      # quicker
    python benchmarks/generation.py --model runs/mine

In this process, with the model loaded: beats of 30 s by `MusicLM.generate`, all stages and codec, the recipe's own
guidance. First audio is there when the first second or so has been decoded. Then the command `rapgen generate` in fresh
processes, one for each duration: its peak memory, seconds of work for a second of sound, and for the shortest beat
everything that is not decoding, from Python's start to its exit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import harness

from rapgen import MusicLM

PROMPT = "boom bap, 90 bpm"
KIB = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss


@dataclass(frozen=True)
class Command:
    """A run of `rapgen generate` in a process of its own."""

    duration_s: float
    took_s: float  # start to exit
    decoding_s: float
    peak_bytes: int

    @property
    def outside_s(self) -> float:
        """All but decoding: imports, loading, planning, writing."""
        return self.took_s - self.decoding_s


def main() -> None:
    """Print the figures."""
    parser = harness.parser(__doc__, runs=3)
    parser.add_argument("--model", help="a run or bundle by path or name; the shipped one if left out")
    parser.add_argument("--seconds", type=float, default=30.0, help="of sound, with the model loaded (30)")
    parser.add_argument("--durations", type=float, nargs="+", default=[8, 30, 60, 600], help="of the command's beats")
    options = parser.parse_args()
    harness.print_machine()
    figures = loaded(options) | commands(options)
    harness.finish(options, figures)


def loaded(options: argparse.Namespace) -> dict[str, float]:
    """Times real time and time to first audio of a model that is loaded."""
    model = MusicLM.load(options.model)
    model.generate(PROMPT, duration_s=min(2.0, options.seconds))  # what is allocated once
    made = [beat(model, options.seconds, seed) for seed in range(options.runs)]
    took_s, first_s = (statistics.median(each) for each in zip(*made, strict=True))
    print(f"{options.seconds / took_s:.2f} x real time, {options.seconds:g} s, model loaded, all stages and codec")
    print(f"{first_s:.2f} s to first audio")
    return {"real_time": options.seconds / took_s, "first_audio_s": first_s}


def beat(model: MusicLM, duration_s: float, seed: int) -> tuple[float, float]:
    """Seconds to a whole beat, and to the first of its sound."""
    heard: list[float] = []
    start = time.perf_counter()
    model.generate(
        PROMPT, duration_s=duration_s, seed=seed, progress=lambda made, all: heard.append(time.perf_counter())
    )
    return time.perf_counter() - start, heard[0] - start


def commands(options: argparse.Namespace) -> dict[str, float]:
    """Memory and time of the command by duration, and what its shortest costs beside decoding."""
    durations = sorted(options.durations)
    shortest = [command(options.model, durations[0]) for _ in range(options.runs)]
    runs = [shortest[0], *(command(options.model, duration) for duration in durations[1:])]
    for run in runs:
        print(
            f"rapgen generate --duration {run.duration_s:g}: {run.peak_bytes / 2**20:.0f} MiB at most, "
            f"{1000 * run.decoding_s / run.duration_s:.0f} ms of decoding for a second"
        )
    outside_s = statistics.median(run.outside_s for run in shortest)
    print(f"{outside_s:.2f} s outside of decoding, {durations[0]:g} s of sound, import to exit")
    figures = {f"peak_mib_{run.duration_s:g}": run.peak_bytes / 2**20 for run in runs} | {"outside_s": outside_s}
    if len(runs) > 1:
        base, longest = runs[1] if len(runs) > 2 else runs[0], runs[-1]
        figures["growth"] = (longest.decoding_s / longest.duration_s) / (base.decoding_s / base.duration_s)
        figures["memory_growth"] = longest.peak_bytes / base.peak_bytes
        print(
            f"from {base.duration_s:g} to {longest.duration_s:g} s: a second costs {figures['growth']:.2f} x the time, "
            f"a beat {figures['memory_growth']:.2f} x the memory"
        )
    return figures


def command(model: str | None, duration_s: float) -> Command:
    """Run `rapgen generate`; raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        arguments = [sys.executable, "-m", "rapgen", "generate", PROMPT, "--duration", f"{duration_s:g}", "--json"]
        arguments += ["-o", str(Path(folder) / "out.wav"), *(["--model", model] if model else [])]
        start = time.perf_counter()
        with told.open("w") as output:
            process = subprocess.Popen(arguments, stdout=output)
            _, status, used = os.wait4(process.pid, 0)
        took_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, arguments)
        row = json.loads(told.read_text())
    return Command(duration_s, took_s, row["duration_s"] / row["real_time_factor"], used.ru_maxrss * KIB)


if __name__ == "__main__":
    main()
