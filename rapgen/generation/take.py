"""Beats in the making: their sound as it comes, or whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rapgen.audio.io import write_wav
from rapgen.audio.wav import WavFormat
from rapgen.errors import PromptError
from rapgen.generation.audiolm import AudioLM, Opening, Piece
from rapgen.generation.need import check_memory
from rapgen.generation.prompts import length_samples
from rapgen.generation.threads import one_thread
from rapgen.identities import licences
from rapgen.interfaces import Prompt
from rapgen.schema import Samplings

Progress = Callable[[float, float], None]  # (seconds made, seconds in all)


@dataclass(frozen=True)
class Beat:
    """What was made, and from what."""

    audio: np.ndarray  # float32 [channels, samples]
    sample_rate: int  # Hz
    prompt: Prompt  # with what was drawn to fill its gaps
    item: int  # its number among those of one prompt
    tokens_per_s: float  # of the batch it was made in
    real_time_factor: float  # seconds of audio a second of work, of the batch
    licences: Mapping[str, str] = field(default_factory=dict)  # of weights that somebody else made, by part

    def save(self, path: str | Path) -> None:
        """Write a 16 bit WAV with the licences it was made under, whole or not at all."""
        write_wav(path, self.audio, self.sample_rate, licences=self.licences)


class Take:
    """One batch of beats, made while it is iterated over, once.

    Raises PromptError, before anything is made, where an opening leaves nothing to make.
    """

    def __init__(self, lm: AudioLM, pieces: list[Piece], sampling: Samplings, opening: Opening | None) -> None:
        self._lm, self._sampling, self._opening = lm, sampling, opening
        self.pieces = pieces
        self.sample_rate: int = lm.codec.spec.sample_rate
        self.form = WavFormat(lm.codec.channels, self.sample_rate, licences(lm.parts))
        self.lengths = [length_samples(p.prompt, self.sample_rate) for p in pieces]
        self.made = 0  # samples of the longest
        self.elapsed_s = 0.0  # waited for what is made; what is done with it does not count
        hop = lm.codec.spec.hop_length
        if opening is not None and opening.codes.shape[1] * hop >= min(self.lengths):
            raise PromptError("the audio to go on from is as long as the beat is to be; ask for a longer beat")
        # What the codec hears on the right of the last frame, so that a beat ends alike whatever is made beside it.
        frames = -(-max(self.lengths) // hop) + lm.codec.context_frames[1]
        self._frames = -(-frames // lm.segment_frames) * lm.segment_frames

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """What has come of each beat, f32 [C, n]: about a second, n = 0 once it is whole."""
        chunks = self._chunks()
        while True:
            started = time.perf_counter()
            with one_thread():  # not while others work with what has come
                chunk = next(chunks, None)
            self.elapsed_s += time.perf_counter() - started
            if chunk is None:
                return
            before, self.made = self.made, min(self.made + chunk.shape[-1], max(self.lengths))
            yield [row[:, : max(0, length - before)] for row, length in zip(chunk, self.lengths, strict=True)]

    def _chunks(self) -> Iterator[np.ndarray]:
        """f32 [B, C, n], within -1 .. 1."""
        second = max(1, self.sample_rate // self._lm.codec.spec.hop_length)
        tokens = self._lm.stream(
            self.pieces, self._frames, sampling=self._sampling, block=second, opening=self._opening
        )
        for chunk in self._lm.play(tokens):
            yield np.clip(chunk.cpu().numpy(), -1, 1)

    @property
    def made_s(self) -> float:
        """How much of the longest beat is made."""
        return self.made / self.sample_rate

    @property
    def duration_s(self) -> float:
        """How long the longest beat will be."""
        return max(self.lengths) / self.sample_rate

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all beats a second of work; of the whole, once it is made."""
        codec, semantic = self._lm.codec.spec, self._lm.streams["semantic"].target
        per_frame = codec.num_codebooks + codec.hop_length / self.sample_rate * semantic.frame_rate
        return float(len(self.pieces) * self._frames * per_frame / self.elapsed_s)

    @property
    def real_time_factor(self) -> float:
        """Seconds of all beats a second of work; of the whole, once it is made."""
        return sum(self.lengths) / self.sample_rate / self.elapsed_s

    def beats(self, progress: Progress | None = None) -> list[Beat]:
        """All beats, made to their ends. Raises PromptError where memory does not hold them."""
        check_memory(self._lm, self._sampling, beats=len(self.pieces), samples=max(self.lengths))
        chunks: list[list[np.ndarray]] = []
        for rows in self:
            chunks.append(rows)
            if progress is not None:
                progress(self.made_s, self.duration_s)
        return [
            Beat(
                audio=np.concatenate([rows[row] for rows in chunks], -1),
                sample_rate=self.sample_rate,
                prompt=piece.prompt,
                item=piece.item,
                tokens_per_s=self.tokens_per_s,
                real_time_factor=self.real_time_factor,
                licences=self.form.licences,
            )
            for row, piece in enumerate(self.pieces)
        ]
