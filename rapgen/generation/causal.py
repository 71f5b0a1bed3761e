"""The decoder of `flat` and `delay`: one step after the other, each seeing all before it in its window."""

from __future__ import annotations

import torch
from torch import Tensor

from rapgen.generation.decoders import Decoder, Inputs, window_of
from rapgen.generation.engine import Engine, Steps
from rapgen.models.patterns import PAD, frames_of_steps, layout, steps_until
from rapgen.models.token_lm import TokenLM

_AT_ONCE = 128  # steps whose inputs and noise are computed ahead: a bound on memory


class CausalDecoder(Decoder):
    """Past the training crop it goes on in windows: a restart with what is known, then half a crop more."""

    def __init__(self, model: TokenLM, inputs: Inputs, *, engine: Engine, **options: object) -> None:
        super().__init__(model, inputs, **options)  # type: ignore[arg-type]
        self.engine = engine
        books = model.target.num_codebooks
        self.step = steps_until("flat", self.known_frames, books) if model.pattern == "flat" else self.known_frames
        self.window_start = self.window_end = 0
        self.steps: Steps | None = None
        self.is_stopped = False  # nobody waits for more

    @torch.inference_mode()
    def advance(self, until: int) -> None:
        """Know every codebook of the frames before `until`."""
        pattern, books = self.model.pattern, self.model.target.num_codebooks
        last = steps_until(pattern, min(until, self.frames), books)
        while self.step < last and not self.is_stopped:
            if self.steps is None or self.step >= self.window_end:
                self._open_window()
            self._run(min(last, self.window_end, self.step + _AT_ONCE))

    def _open_window(self) -> None:
        """Start at the window that holds the next step, with what is known before it."""
        self.window_start, self.window_end = window_of(self.model, self.crop, self.step)
        steps = torch.arange(self.window_start, self.step, device=self.codes.device)
        last = self.window_end if self.model.reads_whole_crops else max(self.window_start + 1, self.step)
        first, stop = self._frame_range(self.window_start, last)
        inputs = self.inputs(first, stop)
        x = self._prefix(inputs)
        room = x.shape[1] + self.window_end - self.window_start
        if len(steps):
            embedded = self._doubled(self.model.embed_steps(self._tokens(steps - 1)))
            x = torch.cat([x, embedded + self._aligned(inputs, steps, first)], 1)
        if self.steps is None:
            self.steps = self.engine.begin(len(self.keys), room, self.sampling)
        self.steps.restart(x)

    def _run(self, end: int) -> None:
        """Steps up to `end`, within the open window; everything that is known ahead is computed ahead."""
        assert self.steps is not None
        books = torch.arange(self.codes.shape[2], device=self.codes.device)
        steps = torch.arange(self.step, end, device=self.codes.device)
        first, stop = self._frame_range(self.step, end)
        aligned = self._aligned(self.inputs(first, stop), steps, first)
        frames = layout(self.model.pattern, steps, len(books))
        low = max(0, first - len(books) + 1)
        noise = self.noise(low, stop)[:, (frames - low).clamp(0, stop - low - 1), books]
        is_drawn = (frames >= self.known_frames) & (frames < self.frames)
        tokens = self._tokens(torch.arange(self.step - 1, end, device=self.codes.device))
        is_full = is_drawn.all(1).tolist()
        for at, (here, ahead) in enumerate(zip(aligned.unbind(1), noise.unbind(1), strict=True)):
            drawn = self.steps.step(tokens[:, at], here, ahead)
            tokens[:, at + 1] = drawn if is_full[at] else torch.where(is_drawn[at], drawn, tokens[:, at + 1])
        step, book = is_drawn.nonzero(as_tuple=True)
        self.codes[:, frames[step, book], book] = tokens[:, step + 1, book]
        self.step = end

    def _aligned(self, inputs: dict[str, Tensor], steps: Tensor, first: int) -> Tensor:
        """What frame-aligned streams add at each step: f32 [R, S, width], inputs being those from frame `first` on."""
        aligned = self.model.embed_aligned(inputs)
        if not isinstance(aligned, Tensor):
            return self.model.embed_target.table.new_zeros(1, len(steps), self.model.transformer.width)
        return aligned[:, frames_of_steps(self.model.pattern, steps, self.codes.shape[2]) - first]

    def _tokens(self, steps: Tensor) -> Tensor:
        """The tokens of steps, PAD where not known and before the window: int64 [S] -> int64 [B, S, Q]."""
        pattern, books = self.model.pattern, self.codes.shape[2]
        frames = layout(pattern, steps, books)
        first, _ = self._frame_range(self.window_start, self.window_start + 1)
        seen = (frames >= first) & (frames < self.frames) & (steps >= self.window_start)[:, None]
        picked = self.codes[:, frames.clamp(0, self.frames - 1), torch.arange(books, device=steps.device)]
        return torch.where(seen, picked, PAD)

    def _frame_range(self, start: int, end: int) -> tuple[int, int]:
        """Frames at which steps [start, end) read frame-aligned streams."""
        flat = self.model.pattern == "flat"
        books = self.codes.shape[2]
        return (start // books, -(-end // books)) if flat else (start, end)
