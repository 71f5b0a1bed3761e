"""Bars on stderr, and TensorBoard's files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from rapgen.training.loop import Watch

_LOG_EVERY = 10  # steps between training figures in TensorBoard's files
_LINE_EVERY_S = 5.0  # between lines of training where no bar can move
_SPEED_OVER_S = 600.0  # clips come a shard at a time, minutes apart

_TOLD = ("loss", "accuracy", "mel_distance", "si_sdr_db", "recall@1 t2a")
_SPEEDS = {"tokens_per_s": "tokens/s", "audio_s_per_s": "s of audio/s"}


@cache
def console() -> Console:
    """Where bars, warnings and remarks go: stderr, so that stdout holds results alone."""
    return Console(stderr=True, highlight=False)


@contextmanager
def bars(logs: Path | None = None) -> Iterator[Bars]:
    """A reporter for long work; training's figures go to `logs/<stage>` too."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        Rate(),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack, Progress(*columns, console=console(), speed_estimate_period=_SPEED_OVER_S) as progress:
        try:
            yield Bars(progress, logs, stack)
        finally:
            for task in progress.tasks:  # work that never began has nothing to show beside the error that kept it
                progress.update(task.id, visible=task.total is not None)


class Bars:
    """A `Reporter`: one bar a piece of work, one line a validation."""

    def __init__(self, progress: Progress, logs: Path | None, stack: ExitStack) -> None:
        self._progress, self._logs, self._stack = progress, logs, stack
        self._last_line_s = time.monotonic()

    def work(self, name: str) -> Callable[[int, int], None]:
        """Start a piece of work; the answer is called with (done, total)."""
        task = self._progress.add_task(name, total=None, figures="")
        has_begun = False

        def report(done: int, total: int) -> None:
            nonlocal has_begun
            if not has_begun:  # what an earlier start has done is no speed of this one
                self._progress.reset(task, total=total, completed=done)
                has_begun = True
            self._progress.update(task, total=total, completed=done)

        return report

    def training(self, stage: str, steps: int) -> Watch:
        """Start a stage; the answer is called with ("train" or "valid", step, figures)."""
        report = self.work(stage)
        task = self._progress.task_ids[-1]
        writer: Any = None

        def watch(kind: str, step: int, figures: dict[str, float]) -> None:
            nonlocal writer
            if writer is None:
                writer = self._writer(stage, step)
            if kind == "train":
                report(step, steps)
                self._progress.update(task, figures=_told(figures))
                self._line(f"{stage} step {step}/{steps}: {_told(figures)}")
            else:
                self._progress.console.print(f"{stage} step {step}/{steps} valid: {_told(figures)}", markup=False)
            if kind == "valid" or step % _LOG_EVERY == 0:
                for name, value in figures.items():
                    writer.add_scalar(f"{kind}/{name}", value, step)

        return watch

    def _line(self, text: str) -> None:
        """What the bar tells, every few seconds, for a file or a pipe."""
        now = time.monotonic()
        if not self._progress.console.is_terminal and now - self._last_line_s >= _LINE_EVERY_S:
            self._progress.console.print(text, markup=False, soft_wrap=True)
            self._last_line_s = now

    def _writer(self, stage: str, step: int) -> Any:
        """TensorBoard's writer of a stage; what an earlier start wrote from `step` on is dropped."""
        from torch.utils.tensorboard import SummaryWriter

        assert self._logs is not None
        return self._stack.enter_context(SummaryWriter(str(self._logs / stage), purge_step=step))


class Silence:
    """A `Reporter` that tells nothing: that of all processes but the first."""

    def work(self, name: str) -> Callable[[int, int], None]:
        """Start a piece of work, told by another."""
        return lambda done, total: None

    def training(self, stage: str, steps: int) -> Watch:
        """Start a stage, told by another."""
        return lambda kind, step, figures: None


class Rate(ProgressColumn):
    """Steps, clips or beats a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "")


def _told(figures: dict[str, float]) -> str:
    """The figures that say most, in one line."""
    told = [f"{name} {figures[name]:.3g}" for name in figures if name in _TOLD]
    told += [f"{_rounded(figures[name])} {unit}" for name, unit in _SPEEDS.items() if name in figures]
    told += [f"MFU {figures[name]:.0%}" for name in figures if name == "mfu"]
    return ", ".join(told)


def _rounded(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
