"""Steps on a CPU: one call of ONNX Runtime each, reading and writing memory that was given to it once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from rapgen.generation.graph import decoder_graph
from rapgen.generation.threads import threads_of_a_step
from rapgen.models.patterns import PAD
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Sampling


class OnnxEngine:
    """A model's graph with packed weights; see `decoder_graph`."""

    def __init__(self, model: TokenLM, *, is_quantized: bool = True) -> None:
        graph, weights = decoder_graph(model, is_quantized=is_quantized)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads_of_a_step(step_bytes(model, weights))
        options.log_severity_level = 3
        options.add_external_initializers(list(weights), list(weights.values()))
        self.session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.model = model
        self._weights = weights  # the session reads them where they are

    def begin(self, items: int, room: int, sampling: Sampling) -> OnnxSteps:
        """Steps of so many items and up to `room` positions."""
        return OnnxSteps(self, items, room, sampling)


def step_bytes(model: TokenLM, weights: Mapping[str, onnxruntime.OrtValue]) -> int:
    """Bytes of the weights of a graph that a step reads: all but the table, of which it reads a row a codebook."""
    return sum(w.numpy().nbytes for w in weights.values()) - model.embed_target.table.nbytes


class OnnxSteps:
    """Positions of a few items, one after the other."""

    def __init__(self, engine: OnnxEngine, items: int, room: int, sampling: Sampling) -> None:
        net, target = engine.model.transformer, engine.model.target
        books, size = target.num_codebooks, target.codebook_size
        scale = sampling.guidance_scale
        share = [1.0] if scale == 1 else [scale, 1 - scale]
        rows = items * len(share)
        top_k = sampling.top_k if 0 < sampling.top_k < size else size
        if sampling.temperature == 0:
            top_k = 1
        turns = net.turn_table(room, torch.device("cpu"))[:room]
        self._session = engine.session
        self._read = {
            "before": torch.full((items, books), PAD),
            "offsets": torch.arange(books) * (size + 1),
            "x": torch.zeros(rows, 1, net.width),
            "last": torch.zeros(rows, dtype=torch.int32),
            "length": torch.zeros((), dtype=torch.int32),
            "cos": turns[:, 0].contiguous(),
            "sin": turns[:, 1].contiguous(),
            "passes": torch.tensor([len(share), items, books, size]),
            "share": torch.tensor(share).view(-1, 1, 1, 1),
            "top_k": torch.tensor([top_k]),
            "sharpness": torch.tensor(1 / (sampling.temperature or 1.0)),
            "noise": torch.zeros(items, books, size),
        }
        self._before, self._x, self._noise = (self._read[name] for name in ("before", "x", "noise"))
        self._last, self._length = (self._read[name].numpy() for name in ("last", "length"))
        self._tokens = torch.zeros(items, books, dtype=torch.int64)
        self.logits = torch.zeros(rows, books, size)
        self._store = torch.zeros(len(net.blocks), 2, rows, net.heads, room, net.width // net.heads)
        self._step = self._bind()

    def restart(self, x: Tensor) -> None:
        """Forget all positions, then take f32 [R, P, width], P from 0 up."""
        self._last[:], self._length[...] = x.shape[1] - 1, x.shape[1]
        if x.shape[1]:
            # Held by a name until it has run: only addresses are bound.
            read = {"x": x.contiguous(), "before": self._before[:, :0].contiguous(), "offsets": torch.arange(0)}
            self._session.run_with_iobinding(self._bind(**read))

    def step(self, before: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """Take a position and draw its tokens, int64 [B, Q], overwritten by the next step; see `Steps`."""
        self._before.copy_(before)
        self._x[:, 0] = x
        self._noise.copy_(noise)
        self._last += 1
        self._length += 1
        self._session.run_with_iobinding(self._step)
        return self._tokens

    def _bind(self, **changed: Tensor) -> onnxruntime.IOBinding:
        """What the session reads and where it writes, by address."""
        binding = self._session.io_binding()
        for name, tensor in (self._read | changed).items():
            binding.bind_input(name, *_place(tensor))
        for layer, kinds in enumerate(self._store):
            for kind, part in zip("kv", kinds, strict=True):
                binding.bind_input(f"past_{kind}{layer}", *_place(part))
                binding.bind_output(f"present_{kind}{layer}", *_place(part))
        binding.bind_output("tokens", *_place(self._tokens))
        binding.bind_output("logits", *_place(self.logits.flatten(1).unsqueeze(1)))
        return binding


def _place(tensor: Tensor) -> tuple[str, int, type[np.generic], tuple[int, ...], int]:
    """A tensor as ONNX Runtime is told of it: device, its number, type, shape and address."""
    return "cpu", 0, tensor.numpy().dtype.type, tuple(tensor.shape), tensor.data_ptr()
