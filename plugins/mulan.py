"""The conditioner of MusicLM: a prefix of MuLaN tokens, from audio in training and from text in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rapgen.errors import RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Annotations, Clip, Conditioner, Prompt, TokenSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from rapgen.models.mulan import MuLaNPart


@hookimpl
def rapgen_components(register: Register) -> None:
    register("conditioner", "mulan", mulan)


def mulan(*, window_s: float = 10.0) -> Conditioner:
    """Tokens of the run's MuLaN: of a clip's windows or of a prompt's words."""
    if window_s <= 0:
        raise RecipeError(f"window_s must be over 0, got {window_s}")
    return MuLaNConditioner(window_s)


class MuLaNConditioner(Conditioner):
    """Has its `spec` once it is bound to the run's MuLaN, whose state is not its own."""

    is_aligned = False

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
        bare = replace(clip, annotations=Annotations(), stem=None)
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
        """B items -> (int64 [B, Q], bool [B, Q] False where a prompt says nothing).

        Clips may have any rate; those of one length are embedded together.
        """
        import torch

        from rapgen.audio.io import resample

        rate = self._part.module.sample_rate
        codes = torch.zeros(len(items), self.spec.num_codebooks, dtype=torch.int64)
        valid = torch.ones_like(codes, dtype=torch.bool)
        texts: dict[int, str] = {}
        clips: dict[int, dict[int, np.ndarray]] = {}  # by length
        for n, item in enumerate(items):
            if isinstance(item, Clip):
                audio = resample(item.audio.mean(0, keepdims=True), item.sample_rate, rate)
                clips.setdefault(audio.shape[1], {})[n] = audio
            elif item.text.strip():
                texts[n] = item.text
            else:
                valid[n] = False
        with torch.no_grad():
            if texts:
                codes[list(texts)] = self._encode_texts(list(texts.values())).cpu()
            for group in clips.values():
                codes[list(group)] = self._encode_clips(list(group.values())).cpu()
        return codes, valid

    def _encode_texts(self, texts: list[str]) -> Tensor:
        return self._part.quantizer.encode(self._part.module.embed_text(texts), is_text=True)

    def _encode_clips(self, clips: list[np.ndarray]) -> Tensor:
        import numpy as np
        import torch

        audio = torch.from_numpy(np.stack(clips))
        device = self._part.module.log_scale.device
        return self._part.quantizer.encode(self._part.module.embed_audio(audio.to(device)))
