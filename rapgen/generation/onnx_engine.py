"""Steps on a CPU: one call of ONNX Runtime each, reading and writing memory that was given to it once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from rapgen.generation.graph import decoder_graph
from rapgen.generation.threads import threads_of_a_step
from rapgen.models.token_lm import TokenLM


class OnnxEngine:
    """A model's graph with packed weights; see `decoder_graph`."""

    def __init__(self, model: TokenLM, *, is_quantized: bool = True) -> None:
        graph, weights = decoder_graph(model, is_quantized=is_quantized)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads_of_a_step(sum(w.numpy().nbytes for w in weights.values()))
        options.log_severity_level = 3
        options.add_external_initializers(list(weights), list(weights.values()))
        self.session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.model = model
        self._weights = weights  # the session reads them where they are

    def begin(self, rows: int, room: int) -> OnnxSteps:
        """Steps of `rows` rows and up to `room` positions."""
        return OnnxSteps(self, rows, room)


class OnnxSteps:
    """Positions of a few rows, one after the other."""

    def __init__(self, engine: OnnxEngine, rows: int, room: int) -> None:
        net, target = engine.model.transformer, engine.model.target
        self._session = engine.session
        self._x = torch.empty(rows, 1, net.width)
        self._last = np.zeros(rows, np.int32)
        self._length = np.zeros((), np.int32)
        self._logits = torch.empty(rows, target.num_codebooks, target.codebook_size)
        turns = net.turn_table(room, torch.device("cpu"))[:room]
        self._cos, self._sin = turns[:, 0].contiguous(), turns[:, 1].contiguous()
        shape = (len(net.blocks), 2, rows, net.heads, room, net.width // net.heads)
        self._store = torch.zeros(shape)
        self._one = self._bind()
        self._one.bind_input("x", "cpu", 0, np.float32, tuple(self._x.shape), self._x.data_ptr())

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        self._last[:], self._length[...] = x.shape[1] - 1, x.shape[1]
        if x.shape[1]:
            many = self._bind()
            many.bind_cpu_input("x", x.contiguous().numpy())
            self._session.run_with_iobinding(many)

    def step(self, x: Tensor) -> Tensor:
        """Take one more position f32 [R, 1, width] -> logits f32 [R, Q, V] after it; overwritten by the next step."""
        self._x.copy_(x)
        self._last += 1
        self._length += 1
        self._session.run_with_iobinding(self._one)
        return self._logits

    def run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`function(*inputs)`."""
        return function(*inputs)

    def _bind(self) -> onnxruntime.IOBinding:
        """All inputs and outputs but x."""
        binding = self._session.io_binding()
        for name, array in (("last", self._last), ("length", self._length)):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, tensor in (("cos", self._cos), ("sin", self._sin)):
            binding.bind_input(name, "cpu", 0, np.float32, tuple(tensor.shape), tensor.data_ptr())
        for layer, kinds in enumerate(self._store):
            for kind, part in zip("kv", kinds, strict=True):
                place = ("cpu", 0, np.float32, tuple(part.shape), part.data_ptr())
                binding.bind_input(f"past_{kind}{layer}", *place)
                binding.bind_output(f"present_{kind}{layer}", *place)
        rows, books, size = self._logits.shape
        binding.bind_output("logits", "cpu", 0, np.float32, (rows, 1, books * size), self._logits.data_ptr())
        return binding
