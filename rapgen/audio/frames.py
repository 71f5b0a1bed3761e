"""When the frames of a stream are."""

from __future__ import annotations

import numpy as np

from rapgen.interfaces import TokenSpec


def frame_times_s(spec: TokenSpec | None, start_frame: int, num_frames: int, *, at: float = 0.0) -> np.ndarray:
    """Seconds of frames from `start_frame` on, float64 [F], by absolute samples, so that any two windows agree.

    `at` is the place within a frame: 0 is where it begins, 0.5 its middle. Raises ValueError where `spec` has none.
    """
    if spec is None or spec.hop_length is None or spec.sample_rate is None:
        raise ValueError("pass the consumer's frame-aligned spec")
    frames = np.arange(start_frame, start_frame + num_frames, dtype=np.int64)
    return (frames + at) * spec.hop_length / spec.sample_rate
