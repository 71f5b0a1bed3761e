"""The conditioner `melody`: the pitch class of the tune at every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import LEAD, Clip, Conditioner, Melody, Prompt, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

REST = 12  # after the twelve pitch classes, C first


@hookimpl
def rapgen_components(register: Register) -> None:
    register("conditioner", "melody", melody)


def melody() -> Conditioner:
    """Tells every frame the pitch class of the tune, or that it rests; needs the extra `melody` to train."""
    return MelodyConditioner()


class MelodyConditioner(Conditioner):
    """Frame-aligned stream of one codebook: twelve pitch classes and the rest.

    A clip's tune is tracked in its stem where it has one, else in the whole of it; a prompt's is the melody it brings
    (rapgen.audio.melody). Without a melody a prompt's tokens are not valid: the model is free.
    """

    is_aligned = True
    hears = frozenset({"melody"})
    spec = TokenSpec(codebook_size=13, num_codebooks=1)

    def __init__(self) -> None:
        self._last: tuple[Clip, Melody] | None = None  # each clip is asked for at several frame rates in a row

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> int64 [B, num_frames, 1] and bool [B, num_frames, 1], at the middle of the frames of `spec`.

        Raises ValueError where `spec` has no frames.
        """
        import torch

        from rapgen.audio.frames import frame_times_s
        from rapgen.audio.melody import pitch_classes

        times_s = frame_times_s(spec, start_frame, num_frames, at=0.5)
        codes = np.full((len(items), num_frames, 1), REST, dtype=np.int64)
        valid = np.zeros(codes.shape, dtype=bool)
        for row, item in enumerate(items):
            tune = self._tracked(item) if isinstance(item, Clip) else item.melody
            if tune is not None:
                heard = pitch_classes(tune, times_s)
                codes[row, :, 0], valid[row] = np.where(heard < 0, REST, heard), True
        return torch.from_numpy(codes), torch.from_numpy(valid)

    def _tracked(self, clip: Clip) -> Melody:
        from rapgen.audio.melody import track_melody

        if self._last is None or self._last[0] is not clip:
            audio = clip.stems.get(LEAD, clip.audio)
            self._last = (clip, Melody(track_melody(audio, clip.sample_rate)))
        return self._last[1]
