"""The conditioner `grid`: the place in the bar of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rapgen.errors import RecipeError
from rapgen.groove import BEATS_A_BAR
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Clip, Conditioner, Prompt, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING_BEATS = 1e-5  # above the rounding of annotations and below a sample, so that a beat owns its frame


@hookimpl
def rapgen_components(register: Register) -> None:
    register("conditioner", "grid", grid)


def grid(*, steps_per_beat: int = 4, phase_bins: int = 16, bars_per_phrase: int = 8) -> Conditioner:
    """Tells every frame its step in the bar, its phase within the step and its bar in the phrase."""
    if min(steps_per_beat, phase_bins, bars_per_phrase) < 1:
        raise RecipeError("grid: steps_per_beat, phase_bins and bars_per_phrase must be 1 or more")
    return GridConditioner(steps_per_beat, phase_bins, bars_per_phrase)


class GridConditioner(Conditioner):
    """Frame-aligned stream of three codebooks: step in the bar, phase within the step, bar in the phrase.

    A clip's grid comes from its annotated beats; a prompt's runs at its tempo from the start of a phrase at
    time 0. Where neither is known, tokens are not valid.
    """

    is_aligned = True

    def __init__(self, steps_per_beat: int, phase_bins: int, bars_per_phrase: int) -> None:
        self._steps_per_beat = steps_per_beat
        self._sizes = (BEATS_A_BAR * steps_per_beat, phase_bins, bars_per_phrase)
        self.spec = TokenSpec(codebook_size=max(self._sizes), num_codebooks=len(self._sizes))

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> int64 [B, num_frames, 3] and bool [B, num_frames, 3], at the frames of `spec`.

        Raises ValueError where `spec` has no frames.
        """
        import torch

        from rapgen.audio.frames import frame_times_s

        times_s = frame_times_s(spec, start_frame, num_frames)
        codes = np.zeros((len(items), num_frames, len(self._sizes)), dtype=np.int64)
        valid = np.zeros(codes.shape, dtype=bool)
        for index, item in enumerate(items):
            beats = _clip_beats(item, times_s) if isinstance(item, Clip) else _prompt_beats(item, times_s)
            if beats is not None:
                codes[index], valid[index] = self._tokens(beats), True
        return torch.from_numpy(codes), torch.from_numpy(valid)

    def _tokens(self, beats: np.ndarray) -> np.ndarray:
        """Positions in beats, float64 [F] -> int64 [F, 3]."""
        steps_per_bar, phase_bins, bars_per_phrase = self._sizes
        ticks = np.floor((beats + ROUNDING_BEATS) * self._steps_per_beat * phase_bins).astype(np.int64)
        steps, phase = np.divmod(ticks, phase_bins)
        bars, step = np.divmod(steps, steps_per_bar)
        return np.stack([step, phase, bars % bars_per_phrase], axis=-1)


def _prompt_beats(prompt: Prompt, times_s: np.ndarray) -> np.ndarray | None:
    """Positions in beats from the start of a phrase at time 0, float64 [F]."""
    tempo_bpm = prompt.groove.tempo_bpm
    return None if tempo_bpm is None else times_s * tempo_bpm / 60


def _clip_beats(clip: Clip, times_s: np.ndarray) -> np.ndarray | None:
    """Positions in beats between the annotated ones and, at the outermost tempos, beyond, float64 [F]."""
    annotations, tempo_bpm = clip.annotations, clip.annotations.groove.tempo_bpm
    beats_s = np.asarray(annotations.beats_s, dtype=np.float64)
    if beats_s.size == 1 and tempo_bpm is not None:
        beats_s = np.append(beats_s, beats_s + 60 / tempo_bpm)
    if beats_s.size < 2:
        return None
    before = np.minimum(times_s - beats_s[0], 0) / (beats_s[1] - beats_s[0])
    after = np.maximum(times_s - beats_s[-1], 0) / (beats_s[-1] - beats_s[-2])
    return annotations.first_beat + np.interp(times_s, beats_s, np.arange(beats_s.size)) + before + after
