"""The decoders of one generation, each fed by the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rapgen.generation.causal import CausalDecoder
from rapgen.generation.decoders import frames_read
from rapgen.generation.masked import MaskedDecoder
from rapgen.groove import read_groove
from rapgen.interfaces import Prompt
from rapgen.models.patterns import PAD
from rapgen.parts import conditioners, padded
from rapgen.schema import Samplings
from rapgen.tokens.streams import StageStreams, crop_frames

if TYPE_CHECKING:
    from rapgen.generation.audiolm import AudioLM


@dataclass(frozen=True)
class Piece:
    """One item of a batch to generate."""

    prompt: Prompt
    item: int = 0  # its number among those of one seed


@dataclass(frozen=True)
class Opening:
    """Tokens that a piece begins with."""

    semantic: Tensor  # int64 [B, F, 1]
    codes: Tensor  # int64 [B, F, Q]


def ahead(work: Callable[[int], None], ends: Sequence[int], device: torch.device) -> Iterator[int]:
    """Each of `ends` once the work up to it is done; on a CPU the next is done meanwhile, on another core.

    Not on a GPU: its graphs must be captured while nothing else is asked of it.
    """
    if device.type != "cpu":
        for end in ends:
            work(end)
            yield end
        return
    with ThreadPoolExecutor(1, "decoder") as pool:
        coming = pool.submit(work, ends[0])
        for end, after in zip(ends, [*ends[1:], None], strict=True):
            coming.result()
            if after is not None:
                coming = pool.submit(work, after)
            yield end


class Stages:
    """The decoders of one generation, each fed by the one before it."""

    def __init__(
        self, lm: AudioLM, pieces: Sequence[Piece], frames: int, sampling: Samplings, opening: Opening | None
    ) -> None:
        self.lm = lm
        self.prompts = [p.prompt for p in pieces]
        self.sampling = sampling
        self.keys = [(p.prompt.seed, p.item) for p in pieces]
        books = lm.recipe.stages.coarse.num_codebooks
        fine, coarse, semantic = self._reach(frames)
        known: dict[str, Tensor | None] = {"semantic": None, "coarse": None, "fine": None}
        if opening is not None:
            known = {
                "semantic": opening.semantic,
                "coarse": opening.codes[..., :books],
                "fine": opening.codes[..., books:],
            }
        self.conditions = {n: self._conditions(s) for n, s in lm.streams.items()}
        self.semantic = self._decoder("semantic", semantic, known["semantic"])
        self.coarse = self._decoder("coarse", coarse, known["coarse"])
        self.fine = self._decoder("fine", fine, known["fine"])

    def advance_causal(self, end: int) -> None:
        """Know all that FINE needs to know the frames before `end`."""
        fine, _, semantic = self._reach(end)
        self.semantic.advance(semantic)
        self.coarse.advance(fine)

    def advance_fine(self, end: int) -> None:
        """Know all codes of the frames before `end`."""
        self.fine.advance(end)

    def stop(self) -> None:
        """Let a thread that makes steps end soon."""
        for decoder in (self.semantic, self.coarse):
            if isinstance(decoder, CausalDecoder):
                decoder.is_stopped = True

    def codes(self, start: int, end: int) -> Tensor:
        """int64 [B, end - start, Q] over all codebooks."""
        return torch.cat([self.coarse.codes[:, start:end], self.fine.codes[:, start:end]], -1)

    def _reach(self, end: int) -> tuple[int, int, int]:
        """The frames up to which FINE, COARSE and SEMANTIC are involved in knowing all codes before `end`.

        A stage may read further than it predicts: to the end of a block, as far as its last codebook lags, or all of
        the window that stands before its steps.
        """
        fine = self._frames_read("fine", end)
        coarse = self._frames_read("coarse", fine)
        readers = {"coarse": coarse, "fine": fine}
        semantic = [
            int(streams.semantic_frames(np.array(readers[name] - 1))) + 1 + streams.look_ahead
            for name, streams in self.lm.streams.items()
            if "semantic" in streams.inputs
        ]
        return fine, coarse, max(semantic, default=0)

    def _frames_read(self, name: str, until: int) -> int:
        model = self.lm.models[name]
        return frames_read(model, until, crop_frames(getattr(self.lm.recipe.stages, name), model.target))

    def _decoder(self, name: str, frames: int, known: Tensor | None) -> CausalDecoder | MaskedDecoder:
        settings = getattr(self.lm.recipe.stages, name)
        model = self.lm.models[name]
        options = {
            "stage": name,
            "frames": frames,
            "crop": crop_frames(settings, model.target),
            "sampling": getattr(self.sampling, name),
            "keys": self.keys,
            "known": known,
        }

        def inputs(start: int, end: int) -> dict[str, Tensor]:
            return self._inputs(name, start, end)

        if model.pattern == "masked":
            return MaskedDecoder(model, inputs, passes=settings.passes, **options)
        return CausalDecoder(model, inputs, engine=self.lm.engine(name), **options)

    def _conditions(self, streams: StageStreams) -> dict[str, tuple[Tensor, Tensor]]:
        """Prefixes of the conditional and of the unconditional pass, by name."""
        known = conditioners(self.lm.parts)
        negative = [
            Prompt(text=p.negative_text, groove=read_groove(p.negative_text)) if p.negative_text else None
            for p in self.prompts
        ]
        found = {}
        for name, stream in streams.inputs.items():
            if stream.is_condition and stream.is_prefix:
                wanted = padded(known[name], self.prompts)
                unwanted = torch.full_like(wanted, PAD)
                for row, prompt in enumerate(negative):
                    if prompt is not None:
                        unwanted[row] = padded(known[name], [prompt])[0]
                found[name] = (wanted, unwanted)
        return found

    def _inputs(self, stage: str, start: int, end: int) -> dict[str, Tensor]:
        """All input streams of a stage for frames [start, end); unconditional rows behind under guidance."""
        streams = self.lm.streams[stage]
        device = self.lm.models[stage].embed_target.table.device
        is_guided = getattr(self.sampling, stage).guidance_scale != 1
        rows: dict[str, Tensor] = {}
        for name, stream in streams.inputs.items():
            if name in self.conditions[stage]:
                wanted, unwanted = self.conditions[stage][name]
            elif stream.is_condition:
                component = conditioners(self.lm.parts)[name]
                wanted = padded(component, self.prompts, streams.target, end - start, start)
                unwanted = torch.full_like(wanted, PAD)
            else:
                wanted = unwanted = self._tokens(name, streams, start, end)
            rows[name] = (torch.cat([wanted, unwanted]) if is_guided else wanted).to(device)
        return rows

    def _tokens(self, name: str, streams: StageStreams, start: int, end: int) -> Tensor:
        """What an earlier stage made for frames [start, end), PAD past its end: int64 [B, frames, columns]."""
        if name == "coarse":
            return self.coarse.codes[:, start:end]
        made = self.semantic.codes[..., 0]
        index = torch.from_numpy(streams.semantic_read(np.arange(start, end))).to(made.device)
        return torch.where(index < made.shape[1], made[:, index.clamp(max=made.shape[1] - 1)], PAD)
