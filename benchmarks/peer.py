"""audiolm-pytorch made to import and run today, its three transformers with random weights, and what they take.

Its torchaudio refuses a newer torch, fairseq does not install on Python 3.11, and building a transformer asks a hub
for T5's sizes. None of these is used here, so stand-ins do. It draws from the most probable tenth.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.integrate import simpson

from rapgen.audio._torchaudio import load_torchaudio

POSITIONS = 5  # in a piece, at which its growing cost is measured
PRIMED = 1  # steps at each that fill the cache
TIMED = {"semantic": 10, "coarse": 2, "fine": 1}  # and those after it: tokens of semantics, frames of codes


@dataclass(frozen=True)
class Sizes:
    """Of all three transformers and of what they predict."""

    width: int
    layers: int
    heads: int
    codebook_size: int
    coarse: int  # codebooks
    fine: int


class Peer:
    """SEMANTIC, COARSE and FINE of audiolm-pytorch, without text."""

    def __init__(self, sizes: Sizes) -> None:
        package = load_package()
        self.sizes = sizes
        same = {"dim": sizes.width, "depth": sizes.layers, "heads": sizes.heads}
        books = {"num_coarse_quantizers": sizes.coarse, "codebook_size": sizes.codebook_size}
        semantic = package.SemanticTransformer(num_semantic_tokens=sizes.codebook_size, **same)
        coarse = package.CoarseTransformer(num_semantic_tokens=sizes.codebook_size, **books, **same)
        fine = package.FineTransformer(num_fine_quantizers=sizes.fine, **books, **same)
        with torch.no_grad():  # it would stop at its end token, which is now never among the most probable
            semantic.to_logits.weight[-1] = 0
            semantic.to_logits.bias[-1] = -1e4
        codec = small_codec(package, sizes)  # it is asked for its number of codebooks
        self._wrappers = {
            "semantic": package.SemanticTransformerWrapper(transformer=semantic, unique_consecutive=False),
            "coarse": package.CoarseTransformerWrapper(transformer=coarse, codec=codec, unique_consecutive=False),
            "fine": package.FineTransformerWrapper(transformer=fine, codec=codec),
        }
        self._optimizers = {name: package.optimizer.get_optimizer(w.parameters()) for name, w in self._wrappers.items()}

    def tokens(self, *shape: int) -> torch.Tensor:
        """Random ones."""
        return torch.randint(self.sizes.codebook_size, shape)

    def generation_s(self, stage: str, frames: int, semantic_frames: int) -> float:
        """Seconds to make so many frames (of semantics, or of codes) in one piece, batch 1.

        Every step costs more than the one before, so steps are measured at a few places of the piece and integrated.
        """
        count = semantic_frames if stage == "semantic" else frames
        places = np.linspace(0, count - PRIMED - TIMED[stage], POSITIONS).round().astype(int)
        costs = [self._step_s(stage, int(place), frames, semantic_frames) for place in places]
        return float(simpson(costs, x=places)) / (places[-1] - places[0]) * count

    def _step_s(self, stage: str, place: int, frames: int, semantic_frames: int) -> float:
        """Seconds of a step that follows `place` others."""
        wrapper, sizes = self._wrappers[stage], self.sizes
        given: dict[str, Any] = {
            "semantic": lambda: {"prime_ids": self.tokens(1, place), "max_length": semantic_frames},
            "coarse": lambda: {
                "semantic_token_ids": self.tokens(1, semantic_frames),
                "prime_coarse_token_ids": self.tokens(1, place * sizes.coarse),
                "max_time_steps": frames,
            },
            "fine": lambda: {
                "coarse_token_ids": self.tokens(1, frames, sizes.coarse),
                "prime_fine_token_ids": self.tokens(1, place * sizes.fine),
            },
        }[stage]()
        with watched(PRIMED + TIMED[stage]) as marks:
            wrapper.generate(**given)
        return (marks[-1] - marks[PRIMED]) / TIMED[stage]

    def training_step_s(self, stage: str, rows: int, frames: int, semantic_frames: int) -> float:
        """Seconds of a step of its trainer: loss, gradients, clipping and AdamW."""
        wrapper, optimizer, sizes = self._wrappers[stage].train(), self._optimizers[stage], self.sizes
        coarse, fine = self.tokens(rows, frames, sizes.coarse), self.tokens(rows, frames, sizes.fine)
        semantic = self.tokens(rows, semantic_frames)
        given = {
            "semantic": {"semantic_token_ids": semantic},
            "coarse": {"semantic_token_ids": semantic, "coarse_token_ids": coarse},
            "fine": {"coarse_token_ids": coarse, "fine_token_ids": fine},
        }[stage]
        start = time.perf_counter()
        wrapper(**given, return_loss=True).backward()
        torch.nn.utils.clip_grad_norm_(wrapper.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start


def load_package() -> types.ModuleType:
    """audiolm-pytorch with stand-ins for what it imports and does not need here."""
    load_torchaudio()
    import accelerate  # noqa: F401  both look for what follows when they are imported, and must not find it
    import transformers

    for name in ("fairseq", "wandb"):
        sys.modules.setdefault(name, types.ModuleType(name))
    with contextlib.redirect_stdout(io.StringIO()):
        import audiolm_pytorch
        from audiolm_pytorch.t5 import DEFAULT_T5_NAME, T5_CONFIGS
    T5_CONFIGS[DEFAULT_T5_NAME] = {"config": transformers.T5Config(d_model=768)}
    return audiolm_pytorch


def small_codec(package: types.ModuleType, sizes: Sizes) -> torch.nn.Module:
    """A SoundStream with the codebooks that the transformers predict."""
    return package.SoundStream(
        codebook_size=sizes.codebook_size,
        rq_num_quantizers=sizes.coarse + sizes.fine,
        channels=8,
        strides=(2, 4),
        channel_mults=(2, 4),
        codebook_dim=32,
        attn_depth=1,
    )


@contextlib.contextmanager
def watched(steps: int) -> Iterator[list[float]]:
    """When each step of its loop begins, and its last one ends; the loop is left after so many."""
    from audiolm_pytorch import audiolm_pytorch as module

    marks: list[float] = []

    def watch(loop: Iterable[int], desc: str) -> Iterator[int]:
        for step in itertools.islice(loop, steps):
            marks.append(time.perf_counter())
            yield step
        marks.append(time.perf_counter())

    bar: Callable[..., Iterable[int]] = module.tqdm
    module.tqdm = watch
    try:
        yield marks
    finally:
        module.tqdm = bar
