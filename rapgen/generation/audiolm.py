"""AudioLM: semantic, then coarse, then fine tokens, and the codec; one block schedule, streaming or not.

AudioLM (Borsos et al. 2022, section III) goes from semantics to codes without text; MusicLM puts conditions in
front (section 3.2). Both are this class: without conditions it is AudioLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rapgen.audio.rate import to_rate
from rapgen.generation.causal import CausalDecoder
from rapgen.generation.decoders import frames_read
from rapgen.generation.engine import Engine, make_engine
from rapgen.generation.masked import MaskedDecoder
from rapgen.groove import read_groove
from rapgen.identities import Parts
from rapgen.interfaces import Prompt
from rapgen.models.patterns import PAD
from rapgen.models.token_lm import TokenLM
from rapgen.parts import conditioners
from rapgen.schema import Recipe, Samplings
from rapgen.tokens.streams import StageStreams, crop_frames, stage_streams
from rapgen.tokens.tokenize import padded

Decoder = CausalDecoder | MaskedDecoder


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


class AudioLM:
    """The three token stages of a run and the codec that plays what they make."""

    def __init__(self, recipe: Recipe, parts: Parts, models: Mapping[str, TokenLM]) -> None:
        self.recipe, self.parts, self.models = recipe, parts, models
        self.codec = parts["codec"].component
        self.streams = {name: stage_streams(recipe, parts, name) for name in models}
        self._engines: dict[str, Engine] = {}

    def engine(self, stage: str) -> Engine:
        """What runs the steps of a causal stage; made when it is first needed."""
        if stage not in self._engines:
            self._engines[stage] = make_engine(self.models[stage])
        return self._engines[stage]

    def stream(
        self,
        pieces: Sequence[Piece],
        frames: int,
        *,
        sampling: Samplings,
        block: int | None = None,
        opening: Opening | None = None,
    ) -> Iterator[Tensor]:
        """Codec tokens int64 [B, n, Q], `block` frames at a time (None: all at once), `frames` in all.

        The tokens depend neither on `block`, nor on what else is in the batch, nor on how many frames follow.
        """
        stages = _Stages(self, pieces, frames, sampling, opening)
        size = block or frames
        ends = [min(start + size, frames) for start in range(0, frames, size)]
        for start, end in zip(range(0, frames, size), _ahead(stages.advance_causal, ends, self._device), strict=True):
            stages.advance_fine(end)
            yield stages.codes(start, end)

    @property
    def _device(self) -> torch.device:
        return self.models["coarse"].embed_target.table.device

    @torch.inference_mode()
    def play(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        """Codec tokens in blocks -> audio f32 [B, C, n * hop], each segment once its right context is known."""
        right = self.codec.context_frames[1]
        codes: Tensor | None = None
        played = 0
        for block in blocks:
            codes = block if codes is None else torch.cat([codes, block], 1)
            ready = self._segments(codes.shape[1] - right)
            if ready > played:
                yield self._decode(codes, played, ready)
                played = ready
        if codes is not None and codes.shape[1] > played:
            yield self._decode(codes, played, codes.shape[1])

    def _segments(self, frames: int) -> int:
        """The frames of whole segments among the first `frames`."""
        segment = getattr(self.codec, "segment_frames", 1)
        return max(0, frames) // segment * segment

    def _decode(self, codes: Tensor, start: int, end: int) -> Tensor:
        left, right = self.codec.context_frames
        hop = self.codec.spec.hop_length
        first = self._segments(start - left)
        audio: Tensor = self.codec.decode(codes[:, first : end + right])
        return audio[..., (start - first) * hop : (end - first) * hop]

    @torch.inference_mode()
    def tokenize(self, audio: Tensor) -> Opening:
        """Tokens of audio f32 [B, C, S] at the codec's rate, for a piece that goes on from it: whole frames only."""
        semantic = self.parts["semantic"].component
        audio = audio.to(self._device)
        own = to_rate(audio, self.codec.spec.sample_rate, semantic.spec.sample_rate)
        tokens = semantic.encode(own)[:, : own.shape[-1] // semantic.spec.hop_length]
        return Opening(tokens, self.codec.encode(audio)[:, : audio.shape[-1] // self.codec.spec.hop_length])


def _ahead(work: Callable[[int], None], ends: Sequence[int], device: torch.device) -> Iterator[int]:
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


class _Stages:
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

    def _decoder(self, name: str, frames: int, known: Tensor | None) -> Decoder:
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
