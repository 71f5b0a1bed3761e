"""All instruments by name."""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.patches import Patch
from rapgen_plugins.beatmaker.presets import draw_settings
from rapgen_plugins.beatmaker.struck import STRUCK
from rapgen_plugins.beatmaker.sustained import SUSTAINED

INSTRUMENTS = {**STRUCK, **SUSTAINED}


def draw_patch(name: str, rng: np.random.Generator, *, held_out: bool) -> Patch:
    """A patch of the instrument, its settings drawn."""
    instrument = INSTRUMENTS[name]
    return instrument.build(draw_settings(instrument.ranges, rng, held_out=held_out), rng)
