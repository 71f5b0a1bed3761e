"""What may be asked of a beat, besides its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rapgen.audio.io import read_audio
from rapgen.audio.melody import read_melody
from rapgen.errors import PromptError
from rapgen.generation.prompts import check_length, check_text
from rapgen.groove import read_groove
from rapgen.interfaces import Clip, Melody, Prompt
from rapgen.schema import Samplings


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Length, seed, sampling and what to hear; PromptError for what makes no sense."""

    duration_s: float | None = None
    bars: int | None = None
    seed: int = 0
    negative: str | None = None
    guidance_scale: float | None = None  # this and the next two replace the recipe's, for SEMANTIC and COARSE
    temperature: float | None = None
    top_k: int | None = None
    continue_from: str | Path | None = None  # audio that opens the beat
    melody: str | Path | Melody | None = None  # to be followed
    transpose: bool = False  # the melody, to the prompt's key
    like: str | Path | Clip | None = None  # to sound like
    like_weight: float = 1.0  # of `like` against the words, 0 .. 1

    def __post_init__(self) -> None:
        check_length(self.duration_s, self.bars)
        if self.seed < 0:
            raise PromptError(f"a seed of {self.seed} cannot be used; give a whole number from 0 up")
        if not 0 <= self.like_weight <= 1:
            raise PromptError(f"a weight of {self.like_weight} cannot be used; give 0 (text alone) to 1 (sound alone)")
        if self.negative is not None:
            check_text(self.negative, "the negative prompt")
        for name, value in self._sampling().items():
            if not 0 <= value < 1e6:
                raise PromptError(f"{name} is {value}; give a number from 0 up and under a million")

    def prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """What is asked for in each of several lines, files read."""
        melody = read_melody(self.melody) if isinstance(self.melody, str | Path) else self.melody
        like = Clip(*read_audio(self.like)) if isinstance(self.like, str | Path) else self.like
        prompts = []
        for text in texts:
            line = check_text(text)
            groove = read_groove(line)
            prompt = Prompt(
                text=line,
                negative_text=check_text(self.negative) if self.negative is not None else None,
                duration_s=self.duration_s,
                seed=self.seed,
                groove=groove if self.bars is None else replace(groove, bars=self.bars),
                melody=melody,
                like=like,
                like_weight=self.like_weight,
            )
            prompts.append(prompt)
        if not prompts:
            raise PromptError('there is no prompt; write what you want to hear, like "boom bap, 90 bpm"')
        return prompts

    def sampling(self, recipe: Samplings) -> Samplings:
        """The recipe's with what is wished in its stead; PromptError for a negative prompt without guidance."""
        changed = {s: getattr(recipe, s).model_copy(update=self._sampling()) for s in ("semantic", "coarse")}
        sampling = recipe.model_copy(update=changed)
        if self.negative is not None and sampling.semantic.guidance_scale == sampling.coarse.guidance_scale == 1:
            raise PromptError("a negative prompt works through guidance; give a guidance scale over 1 with it")
        return sampling

    def _sampling(self) -> dict[str, float]:
        wished = {"guidance_scale": self.guidance_scale, "temperature": self.temperature, "top_k": self.top_k}
        return {name: value for name, value in wished.items() if value is not None}
