"""Gradients of a step from its micro-batches, each in as many pieces as memory asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rapgen.models.token_lm import TOKENS
from rapgen.training.ahead import moved, pieces
from rapgen.training.sharding import local

Arguments = tuple[Any, ...]


class Micro:
    """A model, and how a step's batches go through it.

    A loss that is a mean over tokens (`TOKENS` among its figures) counts by their number, others alike: how a step is
    cut changes nothing but rounding and, where the model drops out, which of its values are dropped.
    """

    def __init__(
        self,
        model: nn.Module,
        accelerator: Accelerator,
        autocast: Callable[[], AbstractContextManager[Any]],
        accumulate: int,
        pieces: int,
    ) -> None:
        self._model, self._accelerator, self._autocast = model, accelerator, autocast
        self._accumulate, self._pieces = accumulate, pieces

    def gradients(self, batches: Iterator[Arguments]) -> dict[str, Tensor]:
        """Leave the gradients of the next step in the parameters; its loss and figures, f32 [] on the device."""
        device = self._accelerator.device
        sums: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        first = None
        for micro in range(self._accumulate):
            for number, piece in enumerate(pieces(next(batches), self._pieces)):
                is_last = (micro, number) == (self._accumulate - 1, self._pieces - 1)
                with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                    with self._autocast():
                        loss, figures = self._model(*moved(piece, device))
                    tokens = figures.pop(TOKENS, loss.new_ones(()))
                    first = tokens if first is None else first
                    weight = tokens / first  # in units of the first: of one micro-batch exactly 1
                    (loss * weight).backward()
                for name, value in ({"loss": loss} | figures).items():
                    sums[name] = sums.get(name, 0.0) + value.detach() * weight
                    weights[name] = weights.get(name, 0.0) + weight
        if self._accumulate * self._pieces > 1:
            found = [p.grad for p in self._model.parameters() if p.grad is not None]
            torch._foreach_div_([local(grad) for grad in found], weights["loss"])
        return {name: total / weights[name] for name, total in sums.items()}
