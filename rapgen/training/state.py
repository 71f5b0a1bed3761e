"""What training holds and a checkpoint keeps: weights, their averages, the optimizer's moments, and how far it got."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rapgen.checkpoint import State, read_meta, read_state, save_checkpoint
from rapgen.distributed import is_main, sum_over_ranks, wait_for_all, world_size
from rapgen.errors import MismatchError, ModelError
from rapgen.identities import Parts, compare_all
from rapgen.training.sharding import local, placed_like, whole


@dataclass
class Progress:
    """What a checkpoint holds beside tensors."""

    step: int = 0
    best_loss: float = math.inf
    worse_in_a_row: int = 0
    valid: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def update_ema(ema: State, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters towards the model's."""
    now = dict(model.named_parameters())
    torch._foreach_lerp_([local(value) for value in ema.values()], [local(now[n].detach()) for n in ema], 1 - decay)


def averaged_state(model: nn.Module, ema: State) -> State:
    """The model's state with its parameters replaced by their averages; buffers are as they are."""
    return {name: ema.get(name, value).detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def averages(model: nn.Module, ema: State) -> Iterator[None]:
    """The model with its averaged parameters, while the block runs."""
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(averaged_state(model, ema))
    yield
    model.load_state_dict(trained)


def save(
    folder: Path,
    *,
    model: nn.Module,
    ema: State,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    meta: Mapping[str, Any],
) -> None:
    """Write a checkpoint; all processes must call, rank 0 writes. Tensors in it are whole, however they were spread."""
    names = {id(p): name for name, p in model.named_parameters()}
    moments = {f"{names[id(p)]}/{key}": value for p, state in optimizer.state.items() for key, value in state.items()}
    states = {"model": model.state_dict(), "ema": averaged_state(model, ema), "optimizer": moments}
    kept = {name: _on_main(state) for name, state in states.items()}
    if is_main():
        save_checkpoint(folder, progress.step, kept, {"progress": vars(progress), **meta})
    wait_for_all()


def _on_main(state: State) -> State:
    """Whole tensors, in rank 0 alone."""
    found: State = {}
    for name, value in state.items():
        one = whole(value.detach())  # by all, one at a time
        if is_main():
            found[name] = one.cpu()
    return found


def load_model(path: Path, model: nn.Module, parts: Parts) -> None:
    """Give a model, not yet spread, what a checkpoint holds. Raises MismatchError where it was made with others."""
    compare_all(read_meta(path)["identities"], parts, str(path))
    try:
        model.load_state_dict(read_state(path, "model"))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MismatchError(f"{path} does not fit the recipe's sizes: {reason}") from None


def load_rest(path: Path, *, model: nn.Module, ema: State, optimizer: torch.optim.Optimizer) -> Progress:
    """Averages and moments from a checkpoint, spread as the model's parameters are."""
    averaged, moments = read_state(path, "ema"), read_state(path, "optimizer")
    for name, parameter in model.named_parameters():
        ema[name] = placed_like(averaged[name], parameter)
        kept = {k.rpartition("/")[2]: v for k, v in moments.items() if k.rpartition("/")[0] == name}
        if kept:
            optimizer.state[parameter] = {key: placed_like(value, parameter) for key, value in kept.items()}
    return Progress(**read_meta(path)["progress"])


def check_same_step(step: int, folder: Path) -> None:
    """ModelError where the processes, on several machines, do not go on from one step."""
    if int(sum_over_ranks(torch.tensor(step))) != step * world_size():
        raise ModelError(f"processes see different checkpoints in {folder}; all machines must share the run's folder")
