"""Processes that train one model together: which one this is, and what they tell each other. Alone, all is identity."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from rapgen.errors import LostError, RapgenError
from rapgen.processes import RENDEZVOUS, end_with_launcher, is_launched

_PATIENCE = datetime.timedelta(days=30)  # one may prepare data for long; whether one died, the launcher sees


@contextmanager
def together() -> Iterator[None]:
    """Be one of the processes that a launcher has started (RANK, WORLD_SIZE), while the block runs.

    gloo between CPUs, NCCL between GPUs. Raises RapgenError where there are too few GPUs, LostError where another
    process has ended.
    """
    if not is_launched() or dist.is_initialized():
        yield
        return
    count, local_rank = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0"))
    if RENDEZVOUS in os.environ:
        end_with_launcher()
    has_gpus = torch.cuda.is_available()
    if has_gpus:
        if local_rank >= torch.cuda.device_count():
            raise RapgenError(
                f"{count} processes need as many GPUs and there are {torch.cuda.device_count()}; "
                "ask for fewer, or set CUDA_VISIBLE_DEVICES= to train on the CPU"
            )
        torch.cuda.set_device(local_rank)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpus else "gloo",
            init_method=os.environ.get(RENDEZVOUS, "env://"),
            rank=int(os.environ["RANK"]),
            world_size=count,
            timeout=_PATIENCE,
        )
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostError(
                f"rank {os.environ['RANK']} cannot reach the others, or one of them has ended "
                f"({_first_words(error)}); run the same command to go on from the last checkpoint"
            ) from error
        raise
    dist.destroy_process_group()  # not after an error: the others may no longer answer


def _first_words(error: BaseException) -> str:
    """What an error says, without the places in torch's sources that gloo puts first."""
    return " ".join(re.sub(r"\[\S+?:\d+\]", "", str(error)).split())[:100].rstrip(". ")


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the process that writes files and tells of progress."""
    return rank() == 0


def wait_for_all() -> None:
    """Go on when all processes are here."""
    sum_over_ranks(torch.zeros(1))


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in rank 0, then in the others, which find its work done."""
    if not is_main():
        wait_for_all()
    yield
    if is_main():
        wait_for_all()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of all processes' tensors, bit for bit the same in each; no gradient."""
    if world_size() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


def means_over_ranks(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean over the processes of each f32 []; all have figures of the same names."""
    table = torch.stack([value.detach().float() for value in figures.values()])
    return dict(zip(figures, (sum_over_ranks(table) / world_size()).tolist(), strict=True))


def from_main(x: Tensor) -> Tensor:
    """Rank 0's tensor, in all processes."""
    if world_size() == 1:
        return x
    given = x.detach().clone()
    dist.broadcast(given, src=0)
    return given


def gather_rows(x: Tensor) -> Tensor:
    """All processes' rows in the order of their ranks: [B, ...] -> [world_size * B, ...], with gradient."""
    if world_size() == 1:
        return x
    gathered: Tensor = _GatherRows.apply(x)
    return gathered


class _GatherRows(torch.autograd.Function):
    """Gather forward; backward each process gets its rows' gradients from all (torch's own is deprecated)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0]).chunk(world_size())[rank()]
