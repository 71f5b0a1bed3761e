"""Beats on their way, about a second at a time: into files, or as they come into one file, a pipe, the loudspeaker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from rapgen.cli.files import check_output
from rapgen.errors import AudioError, PromptError

if TYPE_CHECKING:
    import numpy as np

    from rapgen.generation.take import Take

STDOUT = Path("-")
Report = Callable[[float], None]  # told the share of a take that is made


def check_stream(output: Path | None, *, num: int, is_folder: bool) -> None:
    """Find out, before the model is loaded, whether one beat can go where it is to go as it is made."""
    if num > 1 or is_folder:
        raise PromptError("--stream and -o - make one beat as you listen; leave out --num and --prompts")
    if output is None:
        from rapgen.cli.loudspeaker import check_loudspeaker

        check_loudspeaker()
    elif output != STDOUT:
        if output.exists() and not output.is_file():
            raise AudioError(f"{output} is no file that can grow; to write into a pipe: -o - > {output}")
        check_output(output)
    elif sys.stdout.isatty():
        raise AudioError("-o - writes a WAV to stdout, which is your terminal; pipe it: -o - | ffplay -")


def stream(take: Take, output: Path | None, report: Report) -> None:
    """One beat as it is made: into a file, a pipe or, where `output` is None, aloud."""
    told = _told(take, report)
    try:
        if output is None:
            from rapgen.cli.loudspeaker import play

            play(told, take)
        elif output == STDOUT:
            _pipe(told, take)
        else:
            _grow(told, take, output)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop) or f"stopped; {take.made_s:.1f} s were made") from None


def save(take: Take, paths: Sequence[Path], report: Report) -> None:
    """Each beat of a take into its file, which appears whole or not at all; none is held in memory."""
    from rapgen.audio.wav import WavWriter
    from rapgen.files import atomic

    with ExitStack() as stack:
        writers = []
        for path in paths:
            file = stack.enter_context(stack.enter_context(atomic(path)).open("wb"))
            writers.append(WavWriter(file, take.form))
        for rows in _told(take, report):
            for writer, row in zip(writers, rows, strict=True):
                writer.write(row)


def _grow(chunks: Iterator[list[np.ndarray]], take: Take, path: Path) -> None:
    """A file that can be played at any time; what was there goes when the first second is made."""
    from rapgen.audio.wav import growing_wav

    first = next(chunks)
    with growing_wav(path, take.form) as wav:
        try:
            for rows in chain([first], chunks):
                wav.write(rows[0])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; {path} holds the first {wav.duration_s:.1f} s") from None


def _pipe(chunks: Iterator[list[np.ndarray]], take: Take) -> None:
    """A WAV whose header says from the start how long it will be."""
    from rapgen.audio.wav import WavWriter

    wav = WavWriter(sys.stdout.buffer, take.form, num_samples=take.lengths[0])
    try:
        for rows in chunks:
            wav.write(rows[0])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it ends
        raise AudioError(f"who read the pipe has gone; {take.made_s:.1f} s were made") from None


def _told(take: Take, report: Report) -> Iterator[list[np.ndarray]]:
    for rows in take:
        report(take.made_s / take.duration_s)
        yield rows


@contextmanager
def bar(count: int) -> Iterator[Report]:
    """A bar on stderr; it is told how many of `count` beats are made."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from rapgen.cli.progress import Rate, console

    columns = (TextColumn("generating"), BarColumn(), TaskProgressColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as progress:
        task = progress.add_task("generating", total=count)
        yield lambda done: progress.update(task, completed=done)
