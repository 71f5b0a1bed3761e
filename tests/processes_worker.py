"""What tests/test_processes.py has two processes do in one go: `python processes_worker.py FOLDER`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from conftest import Quiet
from safetensors.torch import save_file
from test_training import Line, line_stage

from rapgen.distributed import main_first, rank, sum_over_ranks, together
from rapgen.errors import ModelError
from rapgen.models.rvq import ResidualVQ
from rapgen.training.loop import train
from rapgen.training.pipeline import train_stages
from rapgen.training.run import open_run

VECTORS, VQ_STEPS = 64, 12


def main(folder: Path) -> None:
    """Train the runs that were laid out in `folder`, and a few things smaller than a run."""
    with together():
        quantize(folder / f"vq{rank()}.safetensors")
        small_stages(folder)
        for run, stages in json.loads((folder / "todo.json").read_text()).items():
            train_run(folder / run, stages)


def train_run(folder: Path, stages: Sequence[str]) -> None:
    report = Quiet()
    for stage in stages:
        train_stages(open_run(folder), (stage,), report)
    (folder / f"figures{rank()}.json").write_text(json.dumps(report.figures))


def quantize(path: Path) -> None:
    """Codebooks after a few batches of which each process has its share; the vectors move away, so that codes die."""
    vq = ResidualVQ(dim=4, codebook_size=16, num_codebooks=2, decay=0.5)
    share = VECTORS // int(sum_over_ranks(torch.tensor(1)))
    for step in range(VQ_STEPS):
        torch.manual_seed(step + 1000 * rank())
        vq(vectors(step)[rank() * share :][:share])
    save_file(dict(vq.state_dict()), path)


def vectors(step: int) -> torch.Tensor:
    """f32 [VECTORS, 4]: the whole batch of a step."""
    away = 50.0 * (step >= VQ_STEPS // 2)
    return torch.randn(VECTORS, 4, generator=torch.Generator().manual_seed(step)) + away


class Partial(Line):
    """A line, and a parameter that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = torch.nn.Parameter(torch.ones(2, 2))


def small_stages(folder: Path) -> None:
    """Batches that are accumulated; a parameter that is never used; a loss that is no number in one process alone."""
    train_line(folder / "line", batch_size=2, accumulate=2, checkpoint_every=10)
    half_way = "step_00000010"
    with main_first():
        if not (folder / "line again").exists():
            shutil.copytree(folder / "line" / half_way, folder / "line again" / half_way)
    train_line(folder / "line again", batch_size=2, accumulate=2, checkpoint_every=10)
    stage = replace(line_stage(batch_size=4, weight_decay=0.1), model=Partial(), skips_parameters=True)
    train(stage, folder / "partial", seed=0, watch=lambda *step: None)
    stage = line_stage(batch_size=4)

    def broken(number: int) -> tuple[torch.Tensor]:
        return (stage.batch(number)[0] * (torch.nan if number == 7 else 1.0),)  # of rank 1, at step 3

    try:
        train(replace(stage, batch=broken), folder / "broken", seed=0, watch=lambda *step: None)
    except ModelError as error:
        (folder / f"broken{rank()}.txt").write_text(str(error))


def train_line(folder: Path, **changes: Any) -> None:
    train(line_stage(**changes), folder, seed=0, watch=lambda *step: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
