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


class Means:
    """Losses and figures of several batches as one: counted by their tokens where they tell them, else alike."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def add(self, loss: Tensor, figures: dict[str, Tensor]) -> Tensor:
        """The batch's weight, f32 [], in units of the first's: of one batch exactly 1."""
        tokens = figures.get(TOKENS, loss.new_ones(()))
        self._first = tokens if self._first is None else self._first
        weight = tokens / self._first
        for name, value in ({"loss": loss} | figures).items():
            if name != TOKENS:
                self._sums[name] = self._sums.get(name, 0.0) + value.detach() * weight
                self._weights[name] = self._weights.get(name, 0.0) + weight
        return weight

    @property
    def weight(self) -> Tensor:
        """That of all batches, f32 []."""
        return self._weights["loss"]

    def figures(self) -> dict[str, Tensor]:
        """ "loss" and the rest, each f32 [] on the device."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}


class Micro:
    """A model, and how batches go through it: how they are cut changes nothing but rounding and what drops out."""

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
        """Leave the gradients of the next step in the parameters; its loss and figures."""
        means = Means()
        for micro in range(self._accumulate):
            for number, piece in enumerate(pieces(next(batches), self._pieces)):
                is_last = (micro, number) == (self._accumulate - 1, self._pieces - 1)
                with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                    loss, figures = self._forward(self._model, piece)
                    (loss * means.add(loss, figures)).backward()
        if self._accumulate * self._pieces > 1:
            found = [p.grad for p in self._model.parameters() if p.grad is not None]
            torch._foreach_div_([local(grad) for grad in found], means.weight)
        return means.figures()

    @torch.no_grad()
    def figures(self, model: nn.Module, batch: Arguments) -> dict[str, Tensor]:
        """Loss and figures of a batch of validation."""
        means = Means()
        for piece in pieces(batch, self._pieces):
            means.add(*self._forward(model, piece))
        return means.figures()

    def _forward(self, model: nn.Module, piece: Arguments) -> tuple[Tensor, dict[str, Tensor]]:
        with self._autocast():
            found: tuple[Tensor, dict[str, Tensor]] = model(*moved(piece, self._accelerator.device))
        return found
