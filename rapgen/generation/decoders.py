"""The token stages at work: each knows its tokens up to some frame and can be asked to know more.

What a decoder makes depends on absolute frames alone, so asking in small steps (streaming) or at once (offline)
gives the same tokens. Past the training crop it goes on in windows of the crop's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rapgen.generation.noise import gumbel
from rapgen.generation.sampling import draw, guide
from rapgen.models.patterns import PAD, frames_of_steps, layout, steps_until
from rapgen.models.token_lm import TokenLM
from rapgen.models.transformer import KVCache
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


class _Decoder:
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

    def noise(self, start: int, end: int, name: str = "") -> Tensor:
        """f32 [B, end - start, Q, V] for absolute frames; an item is keyed by its seed and number."""
        target = self.model.target
        rows = [
            gumbel(
                seed=seed,
                item=item,
                stage=self.stage + name,
                start_frame=start,
                num_frames=end - start,
                num_codebooks=target.num_codebooks,
                size=target.codebook_size,
            )
            for seed, item in self.keys
        ]
        return torch.stack(rows).to(self.codes.device)


class CausalDecoder(_Decoder):
    """`flat` and `delay`: one step after the other through a KV cache."""

    def __init__(self, model: TokenLM, inputs: Inputs, **options: object) -> None:
        super().__init__(model, inputs, **options)  # type: ignore[arg-type]
        books = model.target.num_codebooks
        self.step = steps_until("flat", self.known_frames, books) if model.pattern == "flat" else self.known_frames
        self.window_start = self.window_end = 0
        self.cache: KVCache | None = None

    @torch.inference_mode()
    def advance(self, until: int) -> None:
        """Know every codebook of the frames before `until`."""
        pattern, books = self.model.pattern, self.model.target.num_codebooks
        last = steps_until(pattern, min(until, self.frames), books)
        while self.step < last:
            if self.cache is None or self.step >= self.window_end:
                self._open_window()
            self._run(min(last, self.window_end))

    def _open_window(self) -> None:
        """Start a cache at the window that holds the next step, filled with what is known before it."""
        self.window_start, self.window_end = window_of(self.model, self.crop, self.step)
        steps = torch.arange(self.window_start, self.step, device=self.codes.device)
        last = self.window_end if self.model.reads_whole_crops else max(self.window_start + 1, self.step)
        first, stop = self._frame_range(self.window_start, last)
        inputs = self.inputs(first, stop)
        x = self._doubled(self.model.embed_prefix(inputs))
        if len(steps):
            aligned = self.model.embed_aligned(inputs)
            embedded = self._doubled(self.model.embed_steps(self._tokens_before(steps)))
            if isinstance(aligned, Tensor):
                where = frames_of_steps(self.model.pattern, steps, self.codes.shape[2]) - first
                embedded = embedded + aligned[:, where]
            x = torch.cat([x, embedded], 1)
        room = x.shape[1] - len(steps) + self.window_end - self.window_start
        self.cache = self.model.transformer.make_cache(x.shape[0], room)
        if x.shape[1]:
            self.model.hidden(x, self.cache)

    def _run(self, end: int) -> None:
        """Steps up to `end`, within the open window; everything that is known ahead is computed ahead."""
        pattern, books = self.model.pattern, self.codes.shape[2]
        steps = torch.arange(self.step, end, device=self.codes.device)
        first, stop = self._frame_range(self.step, end)
        aligned = self.model.embed_aligned(self.inputs(first, stop))
        if isinstance(aligned, Tensor):
            aligned = aligned[:, frames_of_steps(pattern, steps, books) - first]
        targets = layout(pattern, steps, books).tolist()
        low = max(0, first - books + 1)
        noise = self.noise(low, stop)
        for offset, frames in enumerate(targets):
            x = self._doubled(self.model.embed_steps(self._tokens_before(steps[offset : offset + 1])))
            if isinstance(aligned, Tensor):
                x = x + aligned[:, offset : offset + 1]
            hidden = self.model.hidden(x, self.cache)[:, -1]
            for book, frame in enumerate(frames):
                if self.known_frames <= frame < self.frames:
                    logits = guide(self.model.logits(hidden, book), self.sampling.guidance_scale)
                    self.codes[:, frame, book] = draw(logits, noise[:, frame - low, book], self.sampling)
            self.step += 1

    def _tokens_before(self, steps: Tensor) -> Tensor:
        """What each step is fed: the tokens of the step before it, PAD before the window. int64 [B, S, Q]."""
        pattern, books = self.model.pattern, self.codes.shape[2]
        frames = layout(pattern, steps - 1, books)
        first, _ = self._frame_range(self.window_start, self.window_start + 1)
        seen = (frames >= first) & (frames < self.frames) & (steps > self.window_start)[:, None]
        picked = self.codes[:, frames.clamp(0, self.frames - 1), torch.arange(books, device=steps.device)]
        return torch.where(seen, picked, PAD)

    def _frame_range(self, start: int, end: int) -> tuple[int, int]:
        """Frames at which steps [start, end) read frame-aligned streams."""
        flat = self.model.pattern == "flat"
        books = self.codes.shape[2]
        return (start // books, -(-end // books)) if flat else (start, end)

    def _doubled(self, x: Tensor) -> Tensor:
        """Both passes of guidance are fed the same tokens."""
        rows = len(self.keys) * (1 if self.sampling.guidance_scale == 1 else 2)
        return x if x.shape[0] == rows else torch.cat([x, x])


class MaskedDecoder(_Decoder):
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
            noise = self.noise(start, end, f"/{number}")
            for book in books:
                logits = guide(self.model.logits(hidden, book), self.sampling.guidance_scale)
                drawn = draw(logits, noise[:, :, book], self.sampling)
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
