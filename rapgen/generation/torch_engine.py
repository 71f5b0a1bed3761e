"""Steps in torch: on a GPU each is the replay of a CUDA graph, so that no kernel waits for Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rapgen.models.token_lm import TokenLM
from rapgen.models.transformer import FixedCache

SPAN = 256  # positions: attention reads the cache in whole spans, and each number of them is a graph of its own


class TorchEngine:
    """A model on its device."""

    def __init__(self, model: TokenLM) -> None:
        self.model = model
        self.heads = model.heads()

    def begin(self, rows: int, room: int) -> TorchSteps:
        """Steps of `rows` rows and up to `room` positions."""
        return TorchSteps(self, rows, room)


@dataclass(frozen=True)
class _Graph:
    """A captured call with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The call with other inputs; its output is overwritten by the next replay."""
        for own, value in zip(self.inputs, inputs, strict=True):
            own.copy_(value)
        self.graph.replay()
        return self.output


class TorchSteps:
    """Positions of a few rows, one after the other."""

    def __init__(self, engine: TorchEngine, rows: int, room: int) -> None:
        self._engine = engine
        self._net = engine.model.transformer
        self._room = room
        self._cache = FixedCache(**self._net.cache_sizes(rows, room))
        # Whole, and kept: graphs remember where it lies, and the model makes a longer one where it needs it.
        self._turns = self._net.turn_table(room, self._cache.position.device)
        self._graphs: dict[int, _Graph] = {}

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        self._cache.filled = 0
        self._cache.position.zero_()
        if x.shape[1]:
            self._net(x, cache=self._cache)
        self._cache.position.fill_(x.shape[1])

    def step(self, x: Tensor) -> Tensor:
        """Take one more position f32 [R, 1, width] -> logits f32 [R, Q, V] after it."""
        hidden = self._net(x, cache=self._cache)[:, 0]
        target = self._engine.model.target
        return F.linear(hidden, self._engine.heads).unflatten(1, (target.num_codebooks, target.codebook_size))

    def run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`function(*inputs)`, which calls `step` once: always the same function, inputs always of the same shapes."""
        filled = self._cache.filled
        self._cache.span = min(self._room, (filled // SPAN + 1) * SPAN)
        output = self._replay(function, inputs) if self._cache.position.is_cuda else function(*inputs)
        self._cache.filled = filled + 1
        self._cache.position += 1
        return output

    def _replay(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
        span = self._cache.span
        if span not in self._graphs:
            self._graphs[span] = _capture(function, inputs)
        return self._graphs[span].replay(inputs)


def _capture(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> _Graph:
    """A graph of a call. The call is made once before, as CUDA asks: twice at one position writes the same."""
    own = tuple(value.clone() for value in inputs)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function(*own)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(*own)
    return _Graph(graph, own, output)
