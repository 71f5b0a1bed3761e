"""What the decoders of the token stages share: each knows its tokens up to some frame and can be asked to know more.

What a decoder makes depends on absolute frames alone, so asking in small steps (streaming) or at once (offline)
gives the same tokens. Past the training crop it goes on in windows of the crop's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rapgen.generation.noise import gumbel
from rapgen.models.patterns import PAD, steps_until
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Sampling

Inputs = Callable[[int, int], dict[str, Tensor]]
"""(first frame, end frame) -> every input stream for those frames, [R, ...]: B rows, or 2 B under guidance."""


def frames_read(model: TokenLM, until: int, crop: int) -> int:
    """The frame up to which a stage reads its inputs, and must have room, to know its own before `until`."""
    books = model.target.num_codebooks
    if model.pattern == "masked":
        return -(-until // model.block_frames) * model.block_frames
    if model.reads_whole_crops:
        _, end = window_of(model, crop, steps_until(model.pattern, until, books) - 1)
        return end // books if model.pattern == "flat" else end
    return until if model.pattern == "flat" else steps_until("delay", until, books)


def window_of(model: TokenLM, crop: int, step: int) -> tuple[int, int]:
    """First step and end of the window that `step` is made in: windows of `crop` frames, each half a crop on."""
    books = model.target.num_codebooks if model.pattern == "flat" else 1
    window, stride = crop * books, crop // 2 * books
    number = max(0, step - window) // stride + (step >= window)
    return number * stride, number * stride + window


class Decoder:
    """Codes int64 [B, F, Q], PAD where not known yet, and the noise they are drawn with."""

    def __init__(
        self,
        model: TokenLM,
        inputs: Inputs,
        *,
        stage: str,
        frames: int,
        crop: int,
        sampling: Sampling,
        keys: Sequence[tuple[int, int]],
        known: Tensor | None = None,
    ) -> None:
        self.model, self.inputs, self.stage, self.sampling = model, inputs, stage, sampling
        self.frames, self.crop, self.keys = frames, crop, keys
        device = model.embed_target.table.device
        self.codes = torch.full((len(keys), frames, model.target.num_codebooks), PAD, device=device)
        self.known_frames = 0
        if known is not None:
            self.known_frames = min(frames, known.shape[1])
            self.codes[:, : self.known_frames] = known[:, : self.known_frames]

    def noise(self, start: int, end: int, *, books: Sequence[int] | None = None, name: str = "") -> Tensor:
        """f32 [B, end - start, books, V] for absolute frames (None: all books); keyed by an item's seed and number."""
        target = self.model.target
        rows = [
            gumbel(
                seed=seed,
                item=item,
                stage=self.stage + name,
                start_frame=start,
                num_frames=end - start,
                books=range(target.num_codebooks) if books is None else books,
                size=target.codebook_size,
            )
            for seed, item in self.keys
        ]
        return torch.stack(rows).to(self.codes.device)

    @property
    def rows(self) -> int:
        """Rows of a pass: one an item, or two under guidance."""
        return len(self.keys) * (1 if self.sampling.guidance_scale == 1 else 2)

    def _prefix(self, inputs: dict[str, Tensor]) -> Tensor:
        """What stands before the first step: f32 [R, P, width]; nothing where the stage has no inputs."""
        if not inputs:
            return self.model.embed_target.table.new_zeros(self.rows, 0, self.model.transformer.width)
        return self._doubled(self.model.embed_prefix(inputs))

    def _doubled(self, x: Tensor) -> Tensor:
        """Both passes of guidance are fed the same tokens."""
        return x if x.shape[0] == self.rows else torch.cat([x, x])
