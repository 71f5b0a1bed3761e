"""How much memory training a stage will take: one step of it at full size, on tensors that have shapes but no storage.

Nothing is computed and nothing allocated, so the figures of a model for eight GPUs are had on a laptop, and they hold
for any module, a stranger's too: what lives at the step's peak is counted, not derived.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rapgen.audio.mel import LogMel
from rapgen.identities import Parts
from rapgen.interfaces import Trainable
from rapgen.schema import Recipe, TokenStage, Training
from rapgen.tokens.streams import StageStreams, crop_frames, make_model, stage_streams
from rapgen.training.micro import Arguments
from rapgen.training.stages import codec_crop

_COPIES = 5  # of each trained value in fp32: itself, its gradient, its average and AdamW's two moments


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes in each process."""

    held: int  # from step to step; what a sharded stage divides among its processes
    step: int  # more at the peak of a step: activations, and what makes gradients of them

    def total(self, processes: int = 1) -> int:
        """With `held` divided among processes."""
        return self.held // processes + self.step


def training_memory(
    recipe: Recipe, parts: Parts, stage: str, *, on_gpu: bool, rows: int | None = None
) -> Memory | None:
    """What `stage` will take in training, with batches of `rows` where given; None: it comes trained.

    A text encoder that is tuned within MULAN is not counted. On a GPU attention is fused whether or not it drops out;
    on a CPU, not where it drops out. What depends on data is taken at its most. `parts` must not be computed with
    afterwards: modules may have kept tensors without storage.
    """
    settings: Training = getattr(recipe.stages, stage)
    if rows is not None:
        settings = settings.model_copy(update={"batch_size": rows})
    if isinstance(settings, TokenStage):
        streams = stage_streams(recipe, parts, stage)
        with torch.device("meta"):
            held = _held(make_model(recipe, streams))
        return Memory(held, _token_step(recipe, streams, settings, on_gpu))
    if not isinstance(parts[stage].component, Trainable):
        return None
    module = parts[stage].component.module
    for each in module.modules():
        if isinstance(each, LogMel):
            each.make_filters()  # not in the step, where they would have no values
    step = _step(lambda: (module, _audio_batch(parts, stage, settings)), settings, on_gpu=on_gpu)
    return Memory(_held(module), step)


def _held(model: nn.Module) -> int:
    values = [*model.parameters(), *model.buffers()]
    return sum(v.nbytes * (_COPIES if v.requires_grad else 1) for v in values)


def _token_step(recipe: Recipe, streams: StageStreams, settings: TokenStage, on_gpu: bool) -> int:
    """Layers are alike, so what two take more than one, every further one takes."""
    # Of a row under `masked`, one codebook is predicted.
    mask_share = 1 / streams.target.num_codebooks if settings.pattern == "masked" else 1.0

    def take(layers: int) -> int:
        sizes = settings.model.model_copy(update={"layers": layers})
        changed = recipe.stages.model_copy(update={streams.stage: settings.model_copy(update={"model": sizes})})
        smaller = recipe.model_copy(update={"stages": changed})

        def make() -> tuple[nn.Module, Arguments]:
            return make_model(smaller, streams), (example_batch(streams, settings),)

        return _step(make, settings, on_gpu=on_gpu, mask_share=mask_share)

    one = take(1)
    return one + (settings.model.layers - 1) * (take(2) - one) if settings.model.layers > 1 else one


def _step(
    make: Callable[[], tuple[nn.Module, Arguments]], settings: Training, *, on_gpu: bool, mask_share: float = 1.0
) -> int:
    """Bytes at the peak of one step of a module on a batch, beyond the module's own."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        model, batch = make()
        state: dict[str, Tensor] = {
            n: fakes.from_tensor(v) for n, v in [*model.named_parameters(), *model.named_buffers()]
        }
        model.train()
        with _fused_attention(on_gpu), _Counter(mask_share) as counter:
            functional_call(_Step(model, settings), {f"model.{name}": value for name, value in state.items()}, batch)
    return counter.peak


class _Step(nn.Module):
    """Both passes as one call: what checkpointing computes anew is to find the same parameters."""

    def __init__(self, model: nn.Module, settings: Training) -> None:
        super().__init__()
        self.model, self._settings = model, settings

    def forward(self, *batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, self._settings.precision == "bf16"):
            loss, _ = self.model(*batch)
        loss.backward()


def example_batch(streams: StageStreams, settings: TokenStage) -> dict[str, Tensor]:
    """Zeros in the shapes of `tokens.streams.batch`."""
    frames = crop_frames(settings, streams.target)
    new = functools.partial(torch.zeros, dtype=torch.int64)
    batch = {"target": new(settings.batch_size, frames, streams.target.num_codebooks)}
    for name, stream in streams.inputs.items():
        length: tuple[int, ...] = (frames,)
        if name == "semantic":
            length = streams.semantic_read(np.arange(frames)).shape[:-1]
        elif stream.is_condition and stream.is_prefix:
            length = ()
        batch[name] = new(settings.batch_size, *length, stream.spec.num_codebooks)
    return batch


def _audio_batch(parts: Parts, stage: str, settings: Training) -> Arguments:
    """Shaped as CODEC and MULAN draw it."""
    codec = parts["codec"].component
    if stage == "codec":
        return (torch.zeros(settings.batch_size, codec.channels, codec_crop(settings, codec.spec)),)
    audio = torch.zeros(settings.batch_size, codec.channels, round(settings.crop_s * codec.spec.sample_rate))
    return audio, torch.zeros(settings.batch_size, parts["text_encoder"].component.dim)


@contextmanager
def _fused_attention(on_gpu: bool) -> Iterator[None]:
    """Attention as a GPU computes it: without its matrix, dropout or not. Here only shapes matter.

    Replaced where it is looked up: a mode of torch would not reach what checkpointing computes in the backward pass.
    """
    own = F.scaled_dot_product_attention

    def fused(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        return own(query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa)

    if on_gpu:
        F.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        F.scaled_dot_product_attention = own


class _Counter(TorchDispatchMode):
    """Bytes of the tensors that live, and the most there were; answers for what only data could tell."""

    def __init__(self, mask_share: float) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._mask_share = mask_share  # of a mask that is true
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = _DATA_DEPENDENT.get(func)
        out = answer(self._mask_share, *args, **(kwargs or {})) if answer else func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._seen:
            self._seen[key] = weakref.ref(storage, lambda _: self._forget(key, size))
            self.live += size
            self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        del self._seen[key]
        self.live -= size


def _item(mask_share: float, x: Tensor) -> bool | int:
    """Yes to every question; 1 where a number is asked for."""
    return x.dtype == torch.bool or 1


def _index(mask_share: float, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """A mask picks its share of what it could."""
    taken: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            taken += [index.new_zeros(_picked(mask_share, index), dtype=torch.int64)] * index.dim()
        else:
            taken.append(index)
    return torch.ops.aten.index.Tensor(x, taken)


def _nonzero(mask_share: float, x: Tensor) -> Tensor:
    return x.new_zeros(_picked(mask_share, x), x.dim(), dtype=torch.int64)


def _bincount(mask_share: float, x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    return x.new_zeros(max(1, minlength))


def _picked(mask_share: float, mask: Tensor) -> int:
    return max(1, round(mask_share * mask.numel()))


_DATA_DEPENDENT: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._local_scalar_dense.default: _item,
    torch.ops.aten.index.Tensor: _index,
    torch.ops.aten.nonzero.default: _nonzero,
    torch.ops.aten.bincount.default: _bincount,
}
