"""The conditioners of MusicLM: prefixes of MuLaN tokens, from audio in training and from text or audio in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import Field

from rapgen.errors import RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Annotations, Clip, Conditioner, Prompt, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

    from rapgen.models.mulan import MuLaNPart

Heard = TypeVar("Heard")
Weighed = dict[int, tuple[Heard, float]]  # by row


@hookimpl
def rapgen_components(register: Register) -> None:
    register("conditioner", "mulan", mulan)
    register("conditioner", "audio", audio)


def mulan(*, window_s: Annotated[float, Field(gt=0)] = 10.0) -> Conditioner:
    """Tokens of the run's MuLaN: of a clip's windows or of a prompt's words."""
    return MuLaNConditioner(window_s)


def audio(*, window_s: Annotated[float, Field(gt=0)] = 10.0) -> Conditioner:
    """Tokens of the run's MuLaN from audio alone: of a clip's windows or of the reference a prompt brings."""
    return AudioConditioner(window_s)


class MuLaNConditioner(Conditioner):
    """Words, and a reference clip in their stead or mixed with them by `like_weight`.

    Has its `spec` once it is bound to the run's MuLaN, whose state is not its own.
    """

    is_aligned = False
    hears = frozenset({"like"})

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s

    def bind(self, parts: Mapping[str, Any]) -> None:
        """Take parts["mulan"]; raises RecipeError where the recipe has none."""
        if parts.get("mulan") is None:
            raise RecipeError("the conditioner mulan needs a trained MuLaN: add `mulan:` to the recipe")
        self._part: MuLaNPart = parts["mulan"]
        self.spec: TokenSpec = self._part.quantizer.spec

    def views(self, clip: Clip) -> Sequence[Clip | Prompt]:
        """The windows that cover the clip, then each caption.

        The paper trains on audio's tokens alone (section 3.2), since it has no captions; where there are
        some, hearing their tokens too closes what is left of the gap between audio and text.
        """
        from rapgen.models.mulan import window_starts

        num_samples = clip.audio.shape[1]
        size = min(num_samples, round(self.window_s * clip.sample_rate))
        starts = window_starts(num_samples, size)
        bare = replace(clip, annotations=Annotations(), stems={}, midi=None)
        windows = [replace(bare, audio=clip.audio[:, start : start + size]) for start in starts]
        return [*windows, *(Prompt(text=caption) for caption in clip.annotations.captions)]

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> (int64 [B, Q], bool [B, Q] False where a prompt says nothing). Clips may have any rate."""
        import torch

        module, quantizer = self._part.module, self._part.quantizer
        texts, clips = self._heard(items)
        embedded = torch.zeros(len(items), quantizer.vq.dim, device=module.log_scale.device)
        with torch.no_grad():
            if texts:
                weights = torch.tensor([weight for _, weight in texts.values()], device=embedded.device)
                found = quantizer.among_audio(module.embed_text([text for text, _ in texts.values()]))
                embedded[list(texts)] += weights[:, None] * found
            for group in _by_length(clips, module.sample_rate).values():
                weights = torch.tensor([clips[row][1] for row in group], device=embedded.device)
                audio = torch.from_numpy(np.stack(list(group.values()))).to(embedded.device)
                embedded[list(group)] += weights[:, None] * module.embed_audio(audio)
            codes = quantizer.encode(embedded).cpu()
        valid = torch.zeros_like(codes, dtype=torch.bool)
        valid[[*texts, *clips]] = True
        return codes, valid

    def _heard(self, items: Sequence[Clip | Prompt]) -> tuple[Weighed[str], Weighed[Clip]]:
        """The texts and the clips that items bring, by row, each with its weight."""
        texts: Weighed[str] = {}
        clips: Weighed[Clip] = {}
        for row, item in enumerate(items):
            if isinstance(item, Clip):
                clips[row] = (item, 1.0)
                continue
            share = 0.0 if item.like is None else item.like_weight
            if item.like is not None and share > 0:
                clips[row] = (item.like, share)
            if item.text.strip() and share < 1:
                texts[row] = (item.text, 1 - share)
        return texts, clips


class AudioConditioner(MuLaNConditioner):
    """The sound of a reference alone; without one a prompt's tokens are not valid."""

    def views(self, clip: Clip) -> Sequence[Clip | Prompt]:
        """The windows that cover the clip (MusicLM, section 3.2)."""
        return [view for view in super().views(clip) if isinstance(view, Clip)]

    def _heard(self, items: Sequence[Clip | Prompt]) -> tuple[Weighed[str], Weighed[Clip]]:
        found = {row: item if isinstance(item, Clip) else item.like for row, item in enumerate(items)}
        return {}, {row: (clip, 1.0) for row, clip in found.items() if clip is not None}


def _by_length(clips: Weighed[Clip], sample_rate: int) -> dict[int, dict[int, np.ndarray]]:
    """Mono audio f32 [1, S] at `sample_rate` by row; rows of one length are embedded together."""
    from rapgen.audio.io import resample

    groups: dict[int, dict[int, np.ndarray]] = {}
    for row, (clip, _) in clips.items():
        mono = resample(clip.audio.mean(0, keepdims=True), clip.sample_rate, sample_rate)
        groups.setdefault(mono.shape[1], {})[row] = mono
    return groups
