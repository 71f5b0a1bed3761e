"""Settings of kits and patches: drawn from continuous ranges, of which a part is kept for the test split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Ranges = Mapping[str, tuple[float, float]]
Settings = dict[str, float]

HELD_OUT = (0.40, 0.55)  # of the range of a sound's first setting: heard in the test split alone


def draw_settings(ranges: Ranges, rng: np.random.Generator, *, held_out: bool) -> Settings:
    """A number within each range; the first one, what most tells two presets apart, from its own part of it."""
    shares = rng.random(len(ranges))
    low, high = HELD_OUT
    if held_out:
        shares[0] = low + (high - low) * shares[0]
    else:
        shares[0] *= 1 - (high - low)
        shares[0] += (high - low) * (shares[0] >= low)
    return {
        name: least + (most - least) * float(share)
        for (name, (least, most)), share in zip(ranges.items(), shares, strict=True)
    }
