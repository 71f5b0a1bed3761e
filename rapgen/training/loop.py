"""The one training loop. It never names a stage: a stage brings a model, batches by number, and settings."""

from __future__ import annotations

import functools
import logging
import math
import platform
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import nn

from rapgen.checkpoint import State, latest_checkpoint
from rapgen.distributed import means_over_ranks, rank, world_size
from rapgen.errors import ModelError, is_out_of_memory
from rapgen.identities import Parts, identities
from rapgen.memory import keep_freed_memory
from rapgen.schema import Training
from rapgen.training.ahead import ahead, pinned
from rapgen.training.micro import Arguments, Micro
from rapgen.training.sharding import spread, whole
from rapgen.training.speed import Work, make_meter
from rapgen.training.state import Progress, averages, check_same_step, load_model, load_rest, save, update_ema

log = logging.getLogger(__name__)
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
    sharded: bool = False  # whether each of several processes holds a share of the model, not all of it
    skips_parameters: bool = False  # whether a step may leave some without a gradient; to allow for it costs a little
    work: Work | None = None  # of a row, for figures of speed


def train(stage: Stage, folder: Path, *, seed: int, watch: Watch, pieces: int = 1) -> Progress:
    """Train a stage to its last step, going on from the newest checkpoint in `folder`.

    Processes that train together take their batches in turn, each of `batch_size` rows; a batch goes through the model
    in `pieces`. A resumed run equals an unbroken one bit for bit (same machine, torch, threads and processes): batches
    and noise are functions of the step, everything else is in the checkpoint. Raises MismatchError where the
    checkpoint was made with other parts, ModelError where the loss is not a number, in any process, or memory is out.
    """
    settings = stage.settings
    keep_freed_memory()
    path = latest_checkpoint(folder)
    if path is not None:
        load_model(path, stage.model, stage.parts)
    model, accelerator = spread(stage.model, settings, sharded=stage.sharded, skips_parameters=stage.skips_parameters)
    device = accelerator.device  # Accelerate's mixed precision is one for the whole process, ours is a stage's
    in_bf16 = computes_in_bf16(settings, device)
    autocast = functools.partial(torch.autocast, device.type, torch.bfloat16, in_bf16)
    optimizer = make_optimizer(stage.model, settings)
    ema = {name: p.detach().clone() for name, p in stage.model.named_parameters()}
    progress = Progress()
    if path is not None:
        progress = load_rest(path, model=stage.model, ema=ema, optimizer=optimizer)
    check_same_step(progress.step, folder)
    meta = {"identities": identities(stage.parts), "recipe_sha256": stage.recipe_sha256}
    micro = Micro(model, accelerator, autocast, settings.accumulate, pieces)
    meter = make_meter(stage.work, settings, device, in_bf16=in_bf16)

    with ahead(_on_the_way(stage.batch, device), _numbers(settings, progress.step)) as batches:
        while progress.step < settings.steps and not _is_stale(settings, progress):
            step = progress.step
            set_seed(step_seed(seed, stage.name, step, rank()))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
            model.train()
            with _memory_told(stage.name):
                figures = micro.gradients(batches)
                norm = nn.utils.clip_grad_norm_(stage.model.parameters(), settings.clip_norm)
                told = means_over_ranks(figures | {"grad_norm": whole(norm)})  # waits for the device
                _check(told["loss"], stage.name, step)
                optimizer.step()
                optimizer.zero_grad()
            update_ema(ema, stage.model, min(settings.ema_decay, (1 + step) / (10 + step)))
            progress.step = step = step + 1
            watch("train", step, told | meter.step())
            is_end = step == settings.steps
            if is_end or step % settings.valid_every == 0:
                _validate(stage, ema, micro, seed, progress)
                watch("valid", step, progress.valid)
            if is_end or step % settings.checkpoint_every == 0 or _is_stale(settings, progress):
                save(folder, model=stage.model, ema=ema, optimizer=optimizer, progress=progress, meta=meta)
            meter.start()
    return progress


def _numbers(settings: Training, step: int) -> Iterator[int]:
    """The batches of this process from a step on, in the order in which they are taken."""
    first, end = step * settings.accumulate, settings.steps * settings.accumulate
    return (micro * world_size() + rank() for micro in range(first, end))


def _on_the_way(batch: Callable[[int], Arguments], device: torch.device) -> Callable[[int], Arguments]:
    return (lambda number: pinned(batch(number))) if device.type == "cuda" else batch


@contextmanager
def _memory_told(stage: str) -> Iterator[None]:
    """ModelError in one line where there is not enough memory for a step, on a GPU or not."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"{stage}: out of memory in a step; set stages.{stage}.batch_size lower (accumulate higher in its place), "
            "or for a token stage checkpointing: true"
        ) from error


def computes_in_bf16(settings: Training, device: torch.device) -> bool:
    """Whether to autocast to bf16, as the settings ask: not on a CPU without it, where it is many times slower."""
    if settings.precision != "bf16" or device.type != "cpu" or not _lacks_bf16():
        return settings.precision == "bf16"
    log.warning("this CPU has no bf16 and would emulate it; training in fp32")
    return False


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


# ------------------------------------------------------------------------------------------- details


def _lacks_bf16() -> bool:
    """Whether this is an x86 CPU before AVX-512: on an EPYC with AVX2, products of 256 columns ran 38 times slower."""
    return platform.machine() in ("x86_64", "AMD64") and "AVX512" not in torch.backends.cpu.get_cpu_capability()


def _check(loss: float, stage: str, step: int) -> None:
    if not math.isfinite(loss):
        raise ModelError(f"{stage}: the loss is {loss} at step {step}; lower the learning rate")


def _is_stale(settings: Training, progress: Progress) -> bool:
    return settings.patience is not None and progress.worse_in_a_row >= settings.patience


@torch.no_grad()
def _validate(stage: Stage, ema: State, micro: Micro, seed: int, progress: Progress) -> None:
    """Mean figures over the validation batches with the averaged weights, the same noise every time.

    Every process goes through all of them, and all decide by the same figures.
    """
    sums: dict[str, list[float]] = {}
    with averages(stage.model, ema):
        stage.model.eval()
        set_seed(step_seed(seed, stage.name, -1))
        for batch in stage.valid_batches():
            for name, value in means_over_ranks(micro.figures(stage.model, batch)).items():
                sums.setdefault(name, []).append(value)
    progress.valid = {name: sum(values) / len(values) for name, values in sums.items()}
    is_better = progress.valid["loss"] < progress.best_loss
    progress.best_loss = min(progress.best_loss, progress.valid["loss"])
    progress.worse_in_a_row = 0 if is_better else progress.worse_in_a_row + 1
