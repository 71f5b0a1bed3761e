"""What runs the steps of a causal stage: ONNX Runtime with 8 bit weights on a CPU, torch and CUDA graphs on a GPU.

On a CPU heads of a width that is no multiple of 16 are left to torch too.

Both keep keys and values in memory that is allocated once, and give the logits of the model's plain forward pass: fp32
to 1e-4, 8 bits to `tests/test_engine.py`'s bound.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from rapgen.generation.torch_engine import TorchEngine
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Sampling

HEAD_MULTIPLE = 16  # ONNX Runtime's attention takes heads of a width that this divides


class Steps(Protocol):
    """Positions of B items, one after the other: B rows, or 2 B with guidance, conditional ones first."""

    logits: Tensor  # f32 [R, Q, V] after the last step

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        ...

    def step(self, before: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """Take a position and draw its tokens, int64 [B, Q], overwritten by the next step.

        From the tokens of the step before int64 [B, Q], what stands beside them f32 [R or 1, width], and Gumbel noise
        f32 [B, Q, V].
        """
        ...


class Engine(Protocol):
    """A model, ready to make steps."""

    def begin(self, items: int, room: int, sampling: Sampling) -> Steps:
        """Steps of so many items and up to `room` positions."""
        ...


def make_engine(model: TokenLM) -> Engine:
    """The engine for the device that a causal model is on."""
    net = model.transformer
    if net.norm.weight.device.type == "cpu" and net.width // net.heads % HEAD_MULTIPLE == 0:
        from rapgen.generation.onnx_engine import OnnxEngine

        return OnnxEngine(model)
    return TorchEngine(model)
