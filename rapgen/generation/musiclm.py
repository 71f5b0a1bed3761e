"""MusicLM: a line of text to a beat (Agostinelli et al. 2023)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rapgen.audio.io import fit_channels, read_audio, write_wav
from rapgen.audio.melody import read_melody
from rapgen.errors import PromptError
from rapgen.generation.audiolm import AudioLM, Opening, Piece
from rapgen.generation.load import load_model
from rapgen.generation.melody import fill_groove, fit_melody
from rapgen.generation.prompts import check_length, check_text, length_samples
from rapgen.generation.threads import one_thread
from rapgen.groove import read_groove
from rapgen.identities import licences
from rapgen.interfaces import Clip, Melody, Prompt
from rapgen.parts import conditioners
from rapgen.schema import Samplings
from rapgen.tokens.batches import generator

Progress = Callable[[float, float], None]  # (seconds made, seconds in all)
_DEAF = {
    "melody": "the model '{name}' follows no melody; train one that does with --recipe melody and give it by --model",
    "like": "the model '{name}' cannot listen to audio; train one with the conditioner mulan or audio",
}


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


class MusicLM(AudioLM):
    """Generates from text."""

    @classmethod
    def load(cls, model: str | Path | None = None, *, device: str = "cpu") -> MusicLM:
        """Load a run or a bundle by path or name (None: the embedded one).

        Raises ModelError where it is missing, incomplete or damaged.
        """
        return cls(*load_model(model, device=device))

    def generate(
        self,
        text: str | Sequence[str],
        *,
        duration_s: float | None = None,
        bars: int | None = None,
        seed: int = 0,
        num: int = 1,
        first_item: int = 0,
        negative: str | None = None,
        guidance_scale: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        continue_from: str | Path | None = None,
        melody: str | Path | Melody | None = None,
        transpose: bool = False,
        like: str | Path | Clip | None = None,
        like_weight: float = 1.0,
        progress: Progress | None = None,
    ) -> list[Beat]:
        """Beats for one prompt or several, `num` of each, in order, numbered from `first_item` on.

        Without a length the bars that the prompt names count, else four. `guidance_scale`, `temperature` and
        `top_k` replace those of the recipe for SEMANTIC and COARSE. `continue_from` is a file whose sound opens
        the beat; the length is that of the whole. `melody` (a file, or notes) is followed, stretched to the beat's
        tempo and with `transpose` moved to its key; the beat sounds `like` a file or clip instead of the text, or as
        a mixture of both by `like_weight`, 0 .. 1. Raises PromptError for what makes no sense, or asks for more than
        the model can hear.
        """
        check_length(duration_s, bars)
        if seed < 0:
            raise PromptError(f"a seed of {seed} cannot be used; give a whole number from 0 up")
        if num < 1:
            raise PromptError(f"{num} beats cannot be made; ask for at least 1")
        if not 0 <= like_weight <= 1:
            raise PromptError(f"a weight of {like_weight} cannot be used; give 0 (text alone) to 1 (sound alone)")
        tune = read_melody(melody) if isinstance(melody, str | Path) else melody
        sound = Clip(*read_audio(like)) if isinstance(like, str | Path) else like
        self._check_hears("melody", tune)
        self._check_hears("like", sound)
        pieces = []
        for line in [text] if isinstance(text, str) else text:
            prompt = Prompt(
                text=check_text(line),
                negative_text=check_text(negative, "the negative prompt") if negative is not None else None,
                duration_s=duration_s,
                seed=seed,
                groove=read_groove(line),
                melody=tune,
                like=sound,
                like_weight=like_weight,
            )
            if bars is not None:
                prompt = replace(prompt, groove=replace(prompt.groove, bars=bars))
            items = range(first_item, first_item + num)
            pieces += [Piece(self.plan(prompt, item, transpose=transpose), item) for item in items]
        if not pieces:
            raise PromptError('there is no prompt; write what you want to hear, like "boom bap, 90 bpm"')
        sampling = change_sampling(self.recipe.sampling, guidance_scale, temperature, top_k)
        if negative is not None and sampling.semantic.guidance_scale == sampling.coarse.guidance_scale == 1:
            raise PromptError("a negative prompt works through guidance; give a guidance scale over 1 with it")
        opening = None if continue_from is None else self._opening(Path(continue_from), len(pieces))
        with one_thread():
            return self._render(pieces, sampling, opening, progress)

    def plan(self, prompt: Prompt, item: int = 0, *, transpose: bool = False) -> Prompt:
        """The prompt with its gaps filled by its melody and the model's conditioners, as its seed and item draw them.

        The melody is then made to fit: moved to the prompt's key with `transpose`, and stretched to its tempo.
        """
        if prompt.melody is not None:
            prompt = replace(prompt, groove=fill_groove(prompt.groove, prompt.melody, transpose=transpose))
        for name, conditioner in conditioners(self.parts).items():
            prompt = conditioner.plan(prompt, generator(prompt.seed, "plan", name, item))
        if prompt.melody is not None:
            prompt = replace(prompt, melody=fit_melody(prompt.melody, prompt.groove, transpose=transpose))
        return prompt

    def hears(self, field: str) -> bool:
        """Whether a stage of the model listens to a conditioner that can follow a field of the prompt."""
        known = conditioners(self.parts)
        heard = {name for streams in self.streams.values() for name in streams.inputs if name in known}
        return any(field in known[name].hears for name in heard)

    def _check_hears(self, field: str, value: object) -> None:
        if value is not None and not self.hears(field):
            raise PromptError(_DEAF[field].format(name=self.recipe.name))

    def _opening(self, path: Path, rows: int) -> Opening:
        rate = self.codec.spec.sample_rate
        audio, _ = read_audio(path, sample_rate=rate)
        fitted = torch.from_numpy(fit_channels(audio, self.codec.channels))[None]
        return self.tokenize(fitted.expand(rows, -1, -1))

    def _render(
        self, pieces: list[Piece], sampling: Samplings, opening: Opening | None, progress: Progress | None
    ) -> list[Beat]:
        rate, hop = self.codec.spec.sample_rate, self.codec.spec.hop_length
        lengths = [length_samples(p.prompt, rate) for p in pieces]
        _check_opening(opening, min(lengths), hop)
        # What the codec hears on the right of the last frame, so that a beat ends alike whatever is made beside it.
        frames = -(-max(lengths) // hop) + self.codec.context_frames[1]
        segment = getattr(self.codec, "segment_frames", 1)
        frames = -(-frames // segment) * segment
        started = time.perf_counter()
        second = max(1, rate // hop)
        chunks: list[Tensor] = []
        made = 0
        for chunk in self.play(self.stream(pieces, frames, sampling=sampling, block=second, opening=opening)):
            chunks.append(chunk)
            made += chunk.shape[-1]
            if progress is not None:
                progress(made / rate, frames * hop / rate)
        audio = torch.cat(chunks, -1).cpu().numpy()
        elapsed = time.perf_counter() - started
        per_frame = self.codec.spec.num_codebooks + hop / rate * self.streams["semantic"].target.frame_rate
        tokens = len(pieces) * frames * per_frame
        return [
            Beat(
                audio=np.clip(audio[row, :, :length], -1, 1),
                sample_rate=rate,
                prompt=piece.prompt,
                item=piece.item,
                tokens_per_s=tokens / elapsed,
                real_time_factor=sum(lengths) / rate / elapsed,
                licences=licences(self.parts),
            )
            for row, (piece, length) in enumerate(zip(pieces, lengths, strict=True))
        ]


def _check_opening(opening: Opening | None, length: int, hop: int) -> None:
    """PromptError where an opening leaves nothing to make."""
    if opening is not None and opening.codes.shape[1] * hop >= length:
        raise PromptError("the audio to go on from is as long as the beat is to be; ask for a longer beat")


def change_sampling(
    sampling: Samplings, guidance_scale: float | None, temperature: float | None, top_k: int | None
) -> Samplings:
    """The recipe's sampling with what was asked for in SEMANTIC and COARSE; PromptError out of range."""
    asked = {"guidance_scale": guidance_scale, "temperature": temperature, "top_k": top_k}
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        if not 0 <= value < 1e6:
            raise PromptError(f"{name} is {value}; give a number from 0 up")
    changed = {s: getattr(sampling, s).model_copy(update=given) for s in ("semantic", "coarse")}
    return sampling.model_copy(update=changed)
