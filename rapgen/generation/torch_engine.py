"""Steps in torch: on a GPU each is the replay of a CUDA graph, so that no kernel waits for Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rapgen.generation.sampling import draw, guide
from rapgen.models.token_lm import TokenLM
from rapgen.models.transformer import FixedCache
from rapgen.schema import Sampling

SPAN = 256  # positions: attention reads the cache in whole spans, and each number of them is a graph of its own


class TorchEngine:
    """A model on its device."""

    def __init__(self, model: TokenLM) -> None:
        self.model = model
        self.heads = model.heads()

    def begin(self, items: int, room: int, sampling: Sampling) -> TorchSteps:
        """Steps of so many items and up to `room` positions."""
        return TorchSteps(self, items, room, sampling)


@dataclass(frozen=True)
class _Graph:
    """A captured call with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor
    turns: Tensor  # the rotary table, which the graph reads where it lies, also when the model has a longer one

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The call with other inputs; its output is overwritten by the next replay."""
        for own, value in zip(self.inputs, inputs, strict=True):
            own.copy_(value)
        self.graph.replay()
        return self.output


class TorchSteps:
    """Positions of a few items, one after the other."""

    def __init__(self, engine: TorchEngine, items: int, room: int, sampling: Sampling) -> None:
        self._model, self._heads, self._sampling, self._room = engine.model, engine.heads, sampling, room
        self._net, target = engine.model.transformer, engine.model.target
        self._rows = items * (1 if sampling.guidance_scale == 1 else 2)
        self._cache = FixedCache(**self._net.cache_sizes(self._rows, room))
        self._device = self._cache.position.device
        self.logits = self._heads.new_zeros(self._rows, target.num_codebooks, target.codebook_size)
        self._graphs: dict[int, _Graph] = {}

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        self._cache.filled = 0
        self._cache.position.zero_()
        if x.shape[1]:
            self._net(x, cache=self._cache)
        self._cache.position.fill_(x.shape[1])

    def step(self, before: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """Take a position and draw its tokens, int64 [B, Q], overwritten by the next step; see `Steps`."""
        filled = self._cache.filled
        self._cache.span = min(self._room, (filled // SPAN + 1) * SPAN)
        tokens = (self._replay if self._heads.is_cuda else self._draw)(before, x, noise)
        self._cache.filled = filled + 1
        self._cache.position += 1
        return tokens

    def _draw(self, before: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """What a graph holds: all of a step but moving on."""
        embedded = self._model.embed_steps(before)
        x = embedded.repeat(self._rows // len(before), 1) + x
        hidden = self._net(x[:, None], cache=self._cache)[:, 0]
        self.logits.copy_(F.linear(hidden, self._heads).view_as(self.logits))
        return draw(guide(self.logits, self._sampling.guidance_scale), noise, self._sampling)

    def _replay(self, *inputs: Tensor) -> Tensor:
        span = self._cache.span
        if span not in self._graphs:
            # Grown now: a graph cannot. The call before the capture asks for a position, that within it for one more.
            turns = self._net.turn_table(self._room + 1, self._device)
            with torch.cuda.device(self._device):
                self._graphs[span] = _capture(self._draw, inputs, turns)
        return self._graphs[span].replay(inputs)


def _capture(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], turns: Tensor) -> _Graph:
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
    return _Graph(graph, own, output, turns)
