"""FINE's decoder under `masked`: block by block in a few passes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rapgen.generation.decoders import Decoder, Inputs
from rapgen.generation.sampling import draw, guide
from rapgen.models.patterns import PAD
from rapgen.models.token_lm import TokenLM


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
        first = max(0, end - self.crop)
        inputs = self.inputs(first, end)
        block = slice(start - first, end - first)
        tokens = self.codes[:, first:end].clone()
        for number, (books, share) in enumerate(self.plan):
            rows = torch.cat([tokens, tokens]) if self.sampling.guidance_scale != 1 else tokens
            hidden = self.model.masked_hidden(rows, inputs)[:, block]
            noise = self.noise(start, end, books=books, name=f"/{number}")
            for column, book in enumerate(books):
                logits = guide(self.model.logits(hidden, book), self.sampling.guidance_scale)
                drawn = draw(logits, noise[:, :, column], self.sampling)
                fresh = tokens[:, block, book] == PAD
                keep = fresh & _most_certain(logits, drawn, fresh, share)
                tokens[:, block, book] = torch.where(keep, drawn, tokens[:, block, book])
        self.codes[:, start:end] = tokens[:, block]


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
