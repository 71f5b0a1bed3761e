"""Whether a stage fits into memory, told before anything is computed, and how its batches go through it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from rapgen.distributed import gather_rows, world_size
from rapgen.errors import RapgenError
from rapgen.identities import Parts
from rapgen.memory import free_memory, main_memory
from rapgen.schema import Recipe, TokenStage, Training
from rapgen.training.estimate import training_memory

log = logging.getLogger(__name__)
_GPU_SHARE, _CPU_SHARE = 0.9, 0.8  # of all memory that training may take


@dataclass(frozen=True)
class Plan:
    """How batches go through a model; what is trained is the same, to rounding."""

    pieces: int = 1  # of rows, one after the other
    checkpointing: bool = False
    needed: int = 0  # bytes


def fit(recipe: Recipe, parts: Parts, stage: str) -> Plan:
    """How the batches of `stage` go through its model, so that training fits; it tells what training will take.

    By how much memory there is, not by what is free now, so that training which goes on does so alike. `parts` must
    not be computed with afterwards. Raises RapgenError where it cannot fit.
    """
    room, free, place = _device_memory()
    try:
        plan = _plan(recipe, parts, stage, room)
    except Exception as error:  # a stranger's module may do what needs values
        log.warning("%s: memory to train is not known (%s)", stage, " ".join(str(error).split())[:80])
        return Plan()
    told = f"{stage} takes {_gb(plan.needed)} to train"
    if plan.needed > room:
        raise RapgenError(f"{told} and may have {_gb(room)} of {place}; {_mends(getattr(recipe.stages, stage), stage)}")
    pieces, anew = gather_rows(torch.tensor([[plan.pieces, int(plan.checkpointing)]])).amax(0).tolist()  # alike in all
    told += f", {_gb(free)} are free"
    if pieces > 1 or anew:
        told += f"; batches go through in {pieces} pieces{' with checkpointing' * bool(anew)}, which trains the same"
    if plan.needed:
        log.log(logging.WARNING if plan.needed > free else logging.INFO, "%s", told)
    return Plan(pieces, bool(anew), plan.needed)


def _plan(recipe: Recipe, parts: Parts, stage: str, room: int) -> Plan:
    """The fewest pieces that fit; with checkpointing where not even one row does; one row where nothing does."""
    settings: Training = getattr(recipe.stages, stage)
    needed = _taken(recipe, parts, stage, settings.batch_size)
    if needed <= room or not isinstance(settings, TokenStage):
        return Plan(needed=needed)  # negatives of MULAN and codebooks of CODEC are those of a batch: it is never cut
    plan = _cut(recipe, parts, stage, settings, room, needed)
    if plan.needed <= room or settings.checkpointing != "auto":
        return plan
    changed = {stage: settings.model_copy(update={"checkpointing": True})}
    recipe = recipe.model_copy(update={"stages": recipe.stages.model_copy(update=changed)})
    cut = _cut(recipe, parts, stage, settings, room, _taken(recipe, parts, stage, settings.batch_size))
    return Plan(cut.pieces, True, cut.needed)


def _cut(recipe: Recipe, parts: Parts, stage: str, settings: Training, room: int, whole: int) -> Plan:
    """Memory grows by the row: by as much each, between one and all of them."""
    rows = settings.batch_size
    one = _taken(recipe, parts, stage, 1)
    needed = {n: one + (whole - one) * (-(-rows // n) - 1) // max(1, rows - 1) for n in range(1, rows + 1)}
    pieces = next((n for n, size in needed.items() if size <= room), rows)
    return Plan(pieces, needed=needed[pieces])


def _taken(recipe: Recipe, parts: Parts, stage: str, rows: int) -> int:
    """Bytes in this process; 0 where the stage comes trained."""
    settings: Training = getattr(recipe.stages, stage)
    memory = training_memory(recipe, parts, stage, on_gpu=torch.cuda.is_available(), rows=rows)
    is_sharded = isinstance(settings, TokenStage) and settings.sharded
    return 0 if memory is None else memory.total(world_size() if is_sharded else 1)


def _device_memory() -> tuple[int, int, str]:
    """Bytes that training may take on this process's device, bytes that are free, and what the device is called."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        room, place = round(_GPU_SHARE * total), torch.cuda.get_device_name()
    else:  # processes on CPUs share one machine's memory
        room, free = round(_CPU_SHARE * main_memory()) // world_size(), free_memory() // world_size()
        place = "this machine"
    return room, free, place


def _gb(size: int) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 1e11 else f"{size / 1e9:.3g} GB"


def _mends(settings: Training, stage: str) -> str:
    """What to change, from what costs least on."""
    key = f"stages.{stage}"
    if not isinstance(settings, TokenStage):
        why = "contrasts a batch as a whole" if stage == "mulan" else "moves its codebooks by the batch"
        return f"set {key}.batch_size (now {settings.batch_size}) or crop_s lower: {stage} {why}, which is never cut"
    mends = [f"{key}.checkpointing: auto"] if settings.checkpointing is False else []
    mends += [] if settings.sharded else [f"{key}.sharded: true on several GPUs"]
    return (
        f"that is for a row at a time; set {', '.join(mends)}{', or ' * bool(mends)}crop_s or the model's sizes lower"
    )
