"""FINE's decoder under `masked`: block by block in a few passes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rapgen.generation.decoders import Decoder, Inputs
from rapgen.generation.sampling import draw, guide
from rapgen.models.patterns import PAD
from rapgen.models.token_lm import TokenLM
from rapgen.models.transformer import KVCache


class MaskedDecoder(Decoder):
    """`masked`: block by block in a few passes, each block seeing the blocks before it (SoundStorm, section 3.3)."""

    def __init__(self, model: TokenLM, inputs: Inputs, *, passes: int, **options: object) -> None:
        super().__init__(model, inputs, **options)  # type: ignore[arg-type]
        self.plan = pass_plan(model.target.num_codebooks, passes)
        self.block = model.block_frames
        self.done = 0

    @torch.inference_mode()
    def advance(self, until: int) -> None:
        """Know every codebook of the frames before `until`, and of the rest of its block."""
        while self.done < until:
            end = self.done + self.block
            if end > self.known_frames:
                self._fill(max(self.done, self.known_frames), end)
            self.done = end

    def _fill(self, start: int, end: int) -> None:
        """The frames of a block, with a cache of those before it: they do not see it, so they are computed once."""
        cache, aligned = self._before(start, end)
        tokens = self.codes[:, start:end].clone()
        for number, (books, share) in enumerate(self.plan):
            x = self._doubled(self.model.embed_steps(tokens)) + aligned
            hidden = self.model.transformer(x, causal=False, cache=cache)
            cache.filled -= end - start
            noise = self.noise(start, end, books=books, name=f"/{number}")
            for column, book in enumerate(books):
                logits = guide(self.model.logits(hidden, book), self.sampling.guidance_scale)
                drawn = draw(logits, noise[:, :, column], self.sampling)
                fresh = tokens[..., book] == PAD
                keep = fresh & _most_certain(logits, drawn, fresh, share)
                tokens[..., book] = torch.where(keep, drawn, tokens[..., book])
        self.codes[:, start:end] = tokens

    def _before(self, start: int, end: int) -> tuple[KVCache, Tensor | float]:
        """Keys and values of all that a block sees before it, and what frame-aligned streams add to its own frames."""
        first = max(0, end - self.crop)
        inputs = self.inputs(first, end)
        prefix, aligned = self._prefix(inputs), self.model.embed_aligned(inputs)
        x = self._doubled(self.model.embed_steps(self.codes[:, first:start]))
        if isinstance(aligned, Tensor):
            x, aligned = x + aligned[:, : start - first], aligned[:, start - first :]
        x = torch.cat([prefix, x], 1)
        cache = self.model.transformer.make_cache(x.shape[0], prefix.shape[1] + end - first)
        if x.shape[1]:
            begins = torch.full((1,), start - first, device=x.device)
            self.model.transformer(x, mask=self.model.block_mask(begins, prefix.shape[1], start - first), cache=cache)
        return cache, aligned


def pass_plan(num_codebooks: int, passes: int) -> list[tuple[range, float]]:
    """Which codebooks each pass fills, and the share of the block known after it.

    A pass a codebook; spare passes go to the first codebook by a cosine schedule, missing ones are saved by
    filling later codebooks together.
    """
    if passes < num_codebooks:
        bounds = np.round(np.linspace(0, num_codebooks, passes + 1)).astype(int)
        return [(range(a, b), 1.0) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
    extra = passes - num_codebooks
    shares = [1 - float(np.cos(np.pi / 2 * (n + 1) / (extra + 1))) for n in range(extra)]
    return [(range(0, 1), s) for s in shares] + [(range(q, q + 1), 1.0) for q in range(num_codebooks)]


def _most_certain(logits: Tensor, drawn: Tensor, fresh: Tensor, share: float) -> Tensor:
    """The most probable of the drawn tokens, so that `share` of the frames are known: bool [B, F]."""
    if share >= 1:
        return torch.ones_like(fresh)
    frames = fresh.shape[1]
    certainty = logits.log_softmax(-1).gather(-1, drawn[..., None])[..., 0]
    certainty = torch.where(fresh, certainty, torch.inf)  # what is known stays known
    count = max(1, round(share * frames))
    return certainty >= certainty.topk(count, 1).values[:, -1:]
