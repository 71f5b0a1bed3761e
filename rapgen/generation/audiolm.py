"""AudioLM: semantic, then coarse, then fine tokens, and the codec; one block schedule, streaming or not.

AudioLM (Borsos et al. 2022, section III) goes from semantics to codes without text; MusicLM puts conditions in
front (section 3.2). Both are this class: without conditions it is AudioLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from rapgen.audio.rate import to_rate
from rapgen.generation.engine import Engine, make_engine
from rapgen.generation.stages import Opening, Piece, Stages, ahead
from rapgen.identities import Parts
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Recipe, Samplings
from rapgen.tokens.streams import stage_streams


class AudioLM:
    """The three token stages of a run and the codec that plays what they make."""

    def __init__(self, recipe: Recipe, parts: Parts, models: Mapping[str, TokenLM]) -> None:
        self.recipe, self.parts, self.models = recipe, parts, models
        self.codec = parts["codec"].component
        self.streams = {name: stage_streams(recipe, parts, name) for name in models}
        self._engines: dict[str, Engine] = {}

    def engine(self, stage: str) -> Engine:
        """What runs the steps of a causal stage; made when it is first asked for."""
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
        stages = Stages(self, pieces, frames, sampling, opening)
        size = block or frames
        ends = [min(start + size, frames) for start in range(0, frames, size)]
        try:
            for start, end in zip(
                range(0, frames, size), ahead(stages.advance_causal, ends, self._device), strict=True
            ):
                stages.advance_fine(end)
                yield stages.codes(start, end)
        finally:
            stages.stop()

    @property
    def _device(self) -> torch.device:
        return self.models["coarse"].embed_target.table.device

    def play(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        """Codec tokens in blocks -> audio f32 [B, C, n * hop], each segment once its right context is known.

        Holds no more tokens than what is still to be played needs on its left.
        """
        left, right = self.codec.context_frames
        hop = self.codec.spec.hop_length
        codes: Tensor | None = None
        first = played = 0  # the frame that `codes` begin with, and the one to play next

        @torch.inference_mode()
        def decode(end: int) -> Tensor:
            assert codes is not None
            audio: Tensor = self.codec.decode(codes[:, : end + right - first])
            return audio[..., (played - first) * hop : (end - first) * hop]

        for block in blocks:
            codes = block if codes is None else torch.cat([codes, block], 1)
            ready = self._segments(first + codes.shape[1] - right)
            if ready > played:
                yield decode(ready)
                played = ready
                kept = self._segments(played - left)
                first, codes = kept, codes[:, kept - first :]
        if codes is not None and first + codes.shape[1] > played:
            yield decode(first + codes.shape[1])

    @property
    def segment_frames(self) -> int:
        """Frames that the codec decodes together, counted from the start."""
        return int(getattr(self.codec, "segment_frames", 1))

    def _segments(self, frames: int) -> int:
        """The frames of whole segments among the first `frames`."""
        return max(0, frames) // self.segment_frames * self.segment_frames

    @torch.inference_mode()
    def tokenize(self, audio: Tensor) -> Opening:
        """Tokens of audio f32 [B, C, S] at the codec's rate, for a piece that goes on from it: whole frames only."""
        semantic = self.parts["semantic"].component
        audio = audio.to(self._device)
        own = to_rate(audio, self.codec.spec.sample_rate, semantic.spec.sample_rate)
        tokens = semantic.encode(own)[:, : own.shape[-1] // semantic.spec.hop_length]
        return Opening(tokens, self.codec.encode(audio)[:, : audio.shape[-1] // self.codec.spec.hop_length])
