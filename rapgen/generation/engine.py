"""What runs the steps of a causal stage: ONNX Runtime with 8 bit weights on a CPU, torch and CUDA graphs on a GPU.

Both keep keys and values in memory that is allocated once, and give the logits of the model's plain forward pass: fp32
to 1e-4, 8 bits to `tests/test_engine.py`'s bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from rapgen.models.token_lm import TokenLM


class Steps(Protocol):
    """Positions of R rows, one after the other."""

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        ...

    def step(self, x: Tensor) -> Tensor:
        """Take one more position f32 [R, 1, width] -> logits f32 [R, Q, V] after it; overwritten by the next step."""
        ...

    def run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`function(*inputs)`, which calls `step` once: always the same function, inputs always of the same shapes."""
        ...


class Engine(Protocol):
    """A model, ready to make steps."""

    def begin(self, rows: int, room: int) -> Steps:
        """Steps of `rows` rows and up to `room` positions."""
        ...


def make_engine(model: TokenLM) -> Engine:
    """The engine for the device that a causal model is on."""
    device = model.embed_target.table.device
    if device.type == "cpu":
        from rapgen.generation.onnx_engine import OnnxEngine

        return OnnxEngine(model)
    from rapgen.generation.torch_engine import TorchEngine

    return TorchEngine(model)
