"""The one training loop. It never names a stage: a stage brings a model, batches by number, and settings."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from rapgen.checkpoint import State, latest_checkpoint, read_meta, read_state, save_checkpoint
from rapgen.errors import MismatchError, ModelError
from rapgen.memory import keep_freed_memory
from rapgen.parts import Parts, compare_all, identities
from rapgen.schema import Training

Arguments = tuple[Any, ...]
Watch = Callable[[str, int, dict[str, float]], None]  # ("train" or "valid", step, figures)


@dataclass(frozen=True)
class Stage:
    """What the loop needs to know. `model(*batch(n))` gives a loss f32 [] and figures to log."""

    name: str
    settings: Training
    model: nn.Module
    batch: Callable[[int], Arguments]  # batch number -> CPU tensors; a pure function
    valid_batches: Callable[[], Iterable[Arguments]]
    parts: Parts = field(default_factory=dict)  # those it depends on; their identities go into checkpoints
    recipe_sha256: str = ""


@dataclass
class Progress:
    """What a checkpoint holds beside tensors."""

    step: int = 0
    best_loss: float = math.inf
    worse_in_a_row: int = 0
    valid: dict[str, float] = field(default_factory=dict)


def train(stage: Stage, folder: Path, *, seed: int, watch: Watch) -> Progress:
    """Train a stage to its last step, going on from the newest checkpoint in `folder`.

    A resumed run equals an unbroken one bit for bit (same machine, torch, threads and processes): batches and
    noise are functions of the step, everything else is in the checkpoint. Raises MismatchError where the
    checkpoint was made with other parts, ModelError where the loss is not a number.
    """
    settings = stage.settings
    keep_freed_memory()
    accelerator = Accelerator()  # its mixed precision is one for the whole process, ours is a stage's
    autocast = functools.partial(torch.autocast, accelerator.device.type, torch.bfloat16, settings.precision == "bf16")
    optimizer = make_optimizer(stage.model, settings)
    ema = {name: p.detach().clone() for name, p in stage.model.named_parameters()}
    progress = _resume(stage, folder, optimizer, ema)
    model, optimizer = accelerator.prepare(stage.model, optimizer)
    ema = {name: value.to(accelerator.device) for name, value in ema.items()}

    while progress.step < settings.steps and not _is_stale(settings, progress):
        step = progress.step
        set_seed(step_seed(seed, stage.name, step, accelerator.process_index))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        model.train()
        for micro in range(settings.accumulate):
            number = (step * settings.accumulate + micro) * accelerator.num_processes + accelerator.process_index
            with autocast():
                loss, figures = model(*_to(stage.batch(number), accelerator.device))
            if not torch.isfinite(loss):
                raise ModelError(f"{stage.name}: the loss is {loss.item()} at step {step}; lower the learning rate")
            accelerator.backward(loss / settings.accumulate)
        norm = accelerator.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        update_ema(ema, stage.model, min(settings.ema_decay, (1 + step) / (10 + step)))
        progress.step = step = step + 1
        watch("train", step, {"loss": loss.item(), "grad_norm": float(norm)} | _floats(figures))
        is_last = step == settings.steps
        if is_last or step % settings.valid_every == 0:
            with autocast():
                _validate(stage, ema, accelerator.device, seed, progress)
            watch("valid", step, progress.valid)
        if is_last or step % settings.checkpoint_every == 0 or _is_stale(settings, progress):
            if accelerator.is_main_process:
                _save(stage, folder, optimizer, ema, progress)
            accelerator.wait_for_everyone()
    return progress


def learning_rate(settings: Training, step: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * min(1.0, done)))


def step_seed(seed: int, stage: str, step: int, rank: int = 0) -> int:
    """The seed of all noise in one step of one process."""
    return zlib.crc32(f"{seed}/{stage}/{step}/{rank}".encode())


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def update_ema(ema: State, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters towards the model's."""
    now = dict(model.named_parameters())
    torch._foreach_lerp_(list(ema.values()), [now[n].detach() for n in ema], 1 - decay)


def averaged_state(model: nn.Module, ema: State) -> State:
    """The model's state with its parameters replaced by their averages; buffers are as they are."""
    return {name: ema.get(name, value).detach().clone() for name, value in model.state_dict().items()}


# ------------------------------------------------------------------------------------------- details


def _is_stale(settings: Training, progress: Progress) -> bool:
    return settings.patience is not None and progress.worse_in_a_row >= settings.patience


@torch.no_grad()
def _validate(stage: Stage, ema: State, device: torch.device, seed: int, progress: Progress) -> None:
    """Mean figures over the validation batches with the averaged weights, the same noise every time."""
    model = stage.model
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(averaged_state(model, ema))
    model.eval()
    set_seed(step_seed(seed, stage.name, -1))
    sums: dict[str, list[float]] = {}
    for batch in stage.valid_batches():
        loss, figures = model(*_to(batch, device))
        for name, value in ({"loss": float(loss)} | _floats(figures)).items():
            sums.setdefault(name, []).append(value)
    model.load_state_dict(trained)
    progress.valid = {name: sum(values) / len(values) for name, values in sums.items()}
    is_better = progress.valid["loss"] < progress.best_loss
    progress.best_loss = min(progress.best_loss, progress.valid["loss"])
    progress.worse_in_a_row = 0 if is_better else progress.worse_in_a_row + 1


def _save(stage: Stage, folder: Path, optimizer: Any, ema: State, progress: Progress) -> None:
    names = {id(p): name for name, p in stage.model.named_parameters()}
    moments = {
        f"{names[id(p)]}/{key}": value for p, state in optimizer.optimizer.state.items() for key, value in state.items()
    }
    states = {
        "model": stage.model.state_dict(),
        "ema": averaged_state(stage.model, ema),
        "optimizer": moments,
    }
    meta = {
        "progress": vars(progress),
        "identities": identities(stage.parts),
        "recipe_sha256": stage.recipe_sha256,
    }
    save_checkpoint(folder, progress.step, states, meta)


def _resume(stage: Stage, folder: Path, optimizer: torch.optim.Optimizer, ema: State) -> Progress:
    path = latest_checkpoint(folder)
    if path is None:
        return Progress()
    meta = read_meta(path)
    compare_all(meta["identities"], stage.parts, str(path))
    _load(stage.model, read_state(path, "model"), path)
    ema.update({n: v for n, v in read_state(path, "ema").items() if n in ema})
    moments = read_state(path, "optimizer")
    for name, parameter in stage.model.named_parameters():
        kept = {k.rpartition("/")[2]: v for k, v in moments.items() if k.rpartition("/")[0] == name}
        if kept:
            optimizer.state[parameter] = kept
    return Progress(**meta["progress"])


def _load(model: nn.Module, state: State, path: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MismatchError(f"{path} does not fit the recipe's sizes: {reason}") from None


def _to(batch: Arguments, device: torch.device) -> Arguments:
    return tuple(_move(value, device) for value in batch)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {k: _move(v, device) for k, v in value.items()}
    return value.to(device, non_blocking=True)


def _floats(figures: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}
