"""A decoder step as an ONNX graph: from tokens to tokens, through a `TokenLM` with 8 bit weights, and its caches.

Written node by node in ONNX Runtime's own fused operators, so that a step is one call with nothing in between. Weights
are rounded to 8 bits in blocks of `BLOCK` inputs with a scale each; sums are of 32 bits, all else is fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rapgen.models.token_lm import TokenLM
from rapgen.models.transformer import Block

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import OrtValue

BLOCK = 32  # inputs of a product that share a scale
_MICROSOFT = "com.microsoft"
_OPSET, _IR_VERSION = 21, 10
_ZERO = 128  # what stands for 0 in unsigned 8 bits
_INT8_PRODUCTS = 4  # accuracy level: activations are rounded too, in the same blocks


def decoder_graph(model: TokenLM, *, is_quantized: bool = True) -> tuple[ModelProto, dict[str, OrtValue]]:
    """Graph and weights of one position, or of several whose tokens are of no matter, in B items of G passes.

    Inputs: before int64 [B, Q], the tokens of the step before, and offsets int64 [Q], where each codebook begins in the
    table, both without columns where x holds all; x f32 [R, S, width] with R = G * B, what stands beside; last int32
    [R], the index of the last position; length int32 [], positions in all; cos and sin f32 [room, head_dim / 2]; passes
    int64 [4], (G, B, Q, V); share f32 [G, 1, 1, 1] of each pass in the logits that are drawn from; top_k int64 [1];
    sharpness f32 [], one over the temperature; noise f32 [B, Q, V]; past_k0, past_v0, ... f32 [R, heads, room,
    head_dim]. Outputs: tokens int64 [B, Q]; logits f32 [R, 1, Q * V] after the last position; present_k0, ..., which
    are to be the same memory as past_k0, ...
    """
    graph = _Graph(is_quantized)
    net, target = model.transformer, model.target
    _declare(graph, model)
    blocks: Sequence[Block] = list(net.blocks)  # type: ignore[arg-type]
    residual = graph.embed(model.embed_target.table)
    x = graph.norm(residual, blocks[0].norm_attention)
    for layer, block in enumerate(blocks):
        x = graph.attention(graph.product(x, block.attention.qkv.weight), net.heads, layer)
        x, residual = graph.add_and_norm(residual, graph.product(x, block.attention.out.weight), block.norm_mlp)
        gate, up = (graph.product(x, half) for half in block.gate_up.weight.chunk(2))
        x = graph.product(graph.op("Mul", [graph.silu(gate), up]), block.down.weight)
        after = blocks[layer + 1].norm_attention if layer + 1 < len(blocks) else net.norm
        x, residual = graph.add_and_norm(residual, x, after)
    logits = graph.op("Identity", [graph.product(graph.last_position(x), model.heads())], ["logits"])
    graph.draw(logits)
    graph.gives("logits", np.float32, ["rows", 1, target.num_codebooks * target.codebook_size])
    graph.gives("tokens", np.int64, ["items", target.num_codebooks])
    return graph.model(), graph.weights


def _declare(graph: _Graph, model: TokenLM) -> None:
    """All inputs, and the caches that go out."""
    net, target = model.transformer, model.target
    head_dim = net.width // net.heads
    graph.takes("before", np.int64, ["items", "books"])
    graph.takes("offsets", np.int64, ["books"])
    graph.takes("x", np.float32, ["rows", "positions", net.width])
    graph.takes("last", np.int32, ["rows"])
    graph.takes("length", np.int32, [])
    graph.takes("passes", np.int64, [4])
    graph.takes("share", np.float32, ["passes", 1, 1, 1])
    graph.takes("top_k", np.int64, [1])
    graph.takes("sharpness", np.float32, [])
    graph.takes("noise", np.float32, ["items", target.num_codebooks, target.codebook_size])
    for name in ("cos", "sin"):
        graph.takes(name, np.float32, ["room", head_dim // 2])
    for layer in range(len(net.blocks)):
        for kind in "kv":
            graph.takes(f"past_{kind}{layer}", np.float32, ["rows", net.heads, "room", head_dim])
            graph.gives(f"present_{kind}{layer}", np.float32, ["rows", net.heads, "room", head_dim])


class _Graph:
    """Nodes in the order in which they were asked for, and the weights they read."""

    def __init__(self, is_quantized: bool) -> None:
        self.weights: dict[str, OrtValue] = {}
        self._is_quantized = is_quantized
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def takes(self, name: str, dtype: type[np.generic], shape: list[Any]) -> None:
        self._inputs.append(_value(name, dtype, shape))

    def gives(self, name: str, dtype: type[np.generic], shape: list[Any]) -> None:
        self._outputs.append(_value(name, dtype, shape))

    def op(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **options: Any) -> str:
        """Add a node; its first output."""
        from onnx import helper

        domain = _MICROSOFT if kind in _FUSED else ""
        outputs = outputs or [f"{kind}_{len(self._nodes)}"]
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **options))
        return outputs[0]

    def op_outputs(self, kind: str, inputs: list[str], count: int, **options: Any) -> list[str]:
        """Add a node of several outputs."""
        outputs = [f"{kind}_{len(self._nodes)}_{n}" for n in range(count)]
        self.op(kind, inputs, outputs, **options)
        return outputs

    def weight(self, values: np.ndarray) -> str:
        from onnxruntime import OrtValue

        name = f"weight_{len(self.weights)}"
        self.weights[name] = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values))
        return name

    def product(self, x: str, weight: torch.Tensor) -> str:
        """x [..., in] times a weight f32 [out, in]."""
        values = weight.detach().float().numpy()
        if not self._is_quantized:
            return self.op("MatMul", [x, self.weight(values.T)])
        codes, scales = quantize(values)
        sizes = {"N": values.shape[0], "K": values.shape[1], "bits": 8, "block_size": BLOCK}
        inputs = [x, self.weight(codes), self.weight(scales.reshape(-1))]
        return self.op("MatMulNBits", inputs, accuracy_level=_INT8_PRODUCTS, **sizes)

    def norm(self, x: str, norm: torch.nn.Module) -> str:
        weight = self.weight(_numpy(norm.weight))
        return self.op("SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=_EPSILON, stash_type=1)

    def add_and_norm(self, residual: str, x: str, norm: torch.nn.Module) -> tuple[str, str]:
        """The norm of the sum, and the sum."""
        weight, number = self.weight(_numpy(norm.weight)), len(self._nodes)
        outputs = [f"normed_{number}", "", "", f"residual_{number}"]
        self.op("SkipSimplifiedLayerNormalization", [residual, x, weight], outputs, epsilon=_EPSILON)
        return outputs[0], outputs[3]

    def attention(self, qkv: str, heads: int, layer: int) -> str:
        """Rotary, causal attention of x's positions to themselves and to all that the cache holds before them."""
        past, present = ([f"{when}_{kind}{layer}" for kind in "kv"] for when in ("past", "present"))
        inputs = [qkv, "", "", *past, "last", "length", "cos", "sin"]
        outputs = [f"attended_{layer}", *present]
        return self.op("GroupQueryAttention", inputs, outputs, num_heads=heads, kv_num_heads=heads, do_rotary=1)

    def silu(self, x: str) -> str:
        return self.op("QuickGelu", [x], alpha=1.0)  # x * sigmoid(alpha x)

    def last_position(self, x: str) -> str:
        """[R, S, width] -> [R, 1, width]."""
        return self.op("Slice", [x, self.ints(-1), self.ints(np.iinfo(np.int64).max), self.ints(1)])

    def embed(self, table: torch.Tensor) -> str:
        """x with the rows of the table for all codebooks' tokens before: f32 [R, S, width]."""
        books, rows, width = table.shape
        is_pad = self.op("Less", ["before", self.ints(0)])
        index = self.op("Add", [self.op("Where", [is_pad, self.ints(rows - 1), "before"]), "offsets"])
        found = self.op("Gather", [self.weight(_numpy(table).reshape(books * rows, width)), index])
        summed = self.op("ReduceSum", [found, self.ints(1)], keepdims=1)
        count, _ = self.op_outputs("Split", ["passes", self.ints(1, 3)], 2)
        return self.op("Add", ["x", self.op("Tile", [summed, self.op("Concat", [count, self.ints(1, 1)], axis=0)])])

    def draw(self, logits: str) -> None:
        """Tokens from logits, as `sampling.guide` and `sampling.draw` have it."""
        shared = self.op("Mul", [self.op("Reshape", [logits, "passes"]), "share"])
        guided = self.op("ReduceSum", [shared, self.ints(0)], keepdims=0)
        highest, _ = self.op_outputs("TopK", [guided, "top_k"], 2, sorted=0)
        least = self.op("ReduceMin", [highest, self.ints(-1)], keepdims=1)
        is_out = self.op("Less", [guided, least])
        lowest = self.op("Constant", [], value_float=float(np.finfo(np.float32).min))
        noisy = self.op("Add", [self.op("Mul", [guided, "sharpness"]), "noise"])
        self.op("ArgMax", [self.op("Where", [is_out, lowest, noisy])], ["tokens"], axis=-1, keepdims=0)

    def ints(self, *values: int) -> str:
        """A constant: int64 [n]."""
        return self.op("Constant", [], value_ints=list(values))

    def model(self) -> ModelProto:
        """The graph, its weights named but held outside of it."""
        from onnx import TensorProto, helper

        held = [
            TensorProto(
                name=name,
                dims=value.shape(),
                data_type=helper.np_dtype_to_tensor_dtype(value.numpy().dtype),
                data_location=TensorProto.EXTERNAL,
                external_data=[{"key": "location", "value": "memory"}],
            )
            for name, value in self.weights.items()
        ]
        graph = helper.make_graph(self._nodes, "decoder", self._inputs, self._outputs, held)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


_FUSED = {"GroupQueryAttention", "MatMulNBits", "QuickGelu", "SkipSimplifiedLayerNormalization"}
_EPSILON = float(torch.finfo(torch.float32).eps)  # that of torch's RMSNorm


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32 [out, in] -> uint8 [out, blocks, BLOCK], 128 for 0, and f32 [out, blocks]: the largest of a block is 127."""
    width = -(-weight.shape[1] // BLOCK) * BLOCK
    blocks = np.pad(weight, ((0, 0), (0, width - weight.shape[1]))).reshape(len(weight), -1, BLOCK)
    scales = np.maximum(np.abs(blocks).max(-1), 1e-12) / 127
    return (np.rint(blocks / scales[..., None]) + _ZERO).astype(np.uint8), scales


def _numpy(tensor: Any) -> np.ndarray:
    values: np.ndarray = tensor.detach().float().numpy()
    return values


def _value(name: str, dtype: type[np.generic], shape: list[Any]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
