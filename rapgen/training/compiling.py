"""`compiled`: blocks of the transformer as fused kernels, where that pays."""

from __future__ import annotations

import logging
import time

import torch
from torch import nn

from rapgen.models.transformer import Transformer
from rapgen.schema import TokenStage, Training

log = logging.getLogger(__name__)


def compile_blocks(model: nn.Module, settings: Training, device: torch.device) -> None:
    """Compile a token stage's blocks in place, on a GPU unless `compiled` says otherwise; names in its state stay.

    One block's code serves all of them. Where there is no compiler a warning says so, and blocks run as they are.
    """
    if not isinstance(settings, TokenStage) or settings.compiled is False:
        return
    if settings.compiled == "auto" and device.type != "cuda":
        return
    if (problem := _cannot_compile(device)) is not None:
        log.warning("training goes on without torch.compile, which fails here (%s)", problem)
        return
    for transformer in (m for m in model.modules() if isinstance(m, Transformer)):
        for block in transformer.blocks:
            block.compile()


def _cannot_compile(device: torch.device) -> str | None:
    """Why nothing can be compiled: most often no C++ compiler. Found out by a small product."""
    try:
        size = 64 + time.time_ns() % 2**20  # of its own each time: what was compiled before, and kept, says nothing
        torch.compile(lambda x: x.sin() * x + 1)(torch.ones(size, device=device))
    except Exception as error:  # inductor's, triton's and the compiler's own have no common kind
        return " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return None
