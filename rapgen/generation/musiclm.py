"""MusicLM: a line of text to a beat (Agostinelli et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rapgen.audio.io import fit_channels, read_audio
from rapgen.errors import PromptError
from rapgen.generation.audiolm import AudioLM, Opening, Piece
from rapgen.generation.load import load_model
from rapgen.generation.melody import fill_groove, fit_melody
from rapgen.generation.need import check_memory
from rapgen.generation.take import Beat, Progress, Take
from rapgen.generation.wishes import Wishes
from rapgen.interfaces import Clip, Melody, Prompt
from rapgen.parts import conditioners
from rapgen.tokens.batches import generator

_DEAF = {
    "melody": "the model '{name}' follows no melody; train one that does with --recipe melody and give it by --model",
    "like": "the model '{name}' cannot listen to audio; train one with the conditioner mulan or audio",
}


class MusicLM(AudioLM):
    """Generates from text."""

    @classmethod
    def load(cls, model: str | Path | None = None, *, device: str = "cpu") -> MusicLM:
        """Load a run or a bundle by path or name (None: the embedded one), ready to make sound at once.

        Raises ModelError where it is missing, incomplete or damaged, RapgenError where there is no such device.
        """
        lm = cls(*load_model(model, device=device))
        for stage, token_lm in lm.models.items():
            if token_lm.pattern != "masked":
                lm.engine(stage)
        return lm

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
        wishes = Wishes(
            duration_s=duration_s,
            bars=bars,
            seed=seed,
            negative=negative,
            guidance_scale=guidance_scale,
            temperature=temperature,
            top_k=top_k,
            continue_from=continue_from,
            melody=melody,
            transpose=transpose,
            like=like,
            like_weight=like_weight,
        )
        texts = [text] if isinstance(text, str) else text
        return self.begin(texts, wishes, items=range(first_item, first_item + num)).beats(progress)

    def stream_audio(
        self,
        text: str,
        *,
        duration_s: float | None = None,
        bars: int | None = None,
        seed: int = 0,
        item: int = 0,
        negative: str | None = None,
        guidance_scale: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        continue_from: str | Path | None = None,
        melody: str | Path | Melody | None = None,
        transpose: bool = False,
        like: str | Path | Clip | None = None,
        like_weight: float = 1.0,
    ) -> Iterator[np.ndarray]:
        """One beat as it is made: f32 [C, n] at `sample_rate`, about a second at a time.

        Asks and raises as `generate` does, and gives the very samples of its beat with that seed and number.
        """
        wishes = Wishes(
            duration_s=duration_s,
            bars=bars,
            seed=seed,
            negative=negative,
            guidance_scale=guidance_scale,
            temperature=temperature,
            top_k=top_k,
            continue_from=continue_from,
            melody=melody,
            transpose=transpose,
            like=like,
            like_weight=like_weight,
        )
        take = self.begin([text], wishes, items=range(item, item + 1))
        return (rows[0] for rows in take)

    def begin(self, texts: Sequence[str], wishes: Wishes, *, items: range = range(1)) -> Take:
        """Beats of all numbers in `items` for each text, about to be made; PromptError as of `generate`."""
        if not items or items.start < 0:
            raise PromptError(f"{len(items)} beats from number {items.start} on cannot be made; ask for at least 1")
        prompts = wishes.prompts(texts)
        self._check_hears("melody", prompts[0].melody)
        self._check_hears("like", prompts[0].like)
        sampling = wishes.sampling(self.recipe.sampling)
        check_memory(self, sampling, beats=len(prompts) * len(items))
        pieces = [Piece(self.plan(p, item, transpose=wishes.transpose), item) for p in prompts for item in items]
        opening = None if wishes.continue_from is None else self._opening(Path(wishes.continue_from), len(pieces))
        return Take(self, pieces, sampling, opening)

    @property
    def sample_rate(self) -> int:
        """Of all it makes, in Hz."""
        return int(self.codec.spec.sample_rate)

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
