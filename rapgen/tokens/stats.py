"""What a run's audio shards hold, in figures."""

from __future__ import annotations

from pathlib import Path

from rapgen.data.stats import Stats, describe
from rapgen.tokens.collect import AUDIO
from rapgen.tokens.shards import Shards


def describe_shards(folder: Path) -> Stats:
    """Figures of a folder of audio shards (`run/audio/train`); ModelError where there are none or they are damaged."""
    shards = Shards(folder)
    durations_s = shards.lengths(AUDIO) / shards.meta["sample_rate"]
    return describe(zip(durations_s.tolist(), shards.annotations, strict=True))
