"""What may be asked for, and how long it lasts."""

from __future__ import annotations

import unicodedata

from rapgen.errors import PromptError
from rapgen.groove import BEATS_A_BAR
from rapgen.interfaces import Prompt

MAX_CHARACTERS = 1000
MAX_DURATION_S = 600.0
MAX_BARS = 1000
MIN_DURATION_S = 0.1
DEFAULT_BARS = 4


def check_text(text: str, what: str = "the prompt") -> str:
    """The text in one line; PromptError where it is empty, far too long, or holds control characters."""
    line = " ".join(text.split())
    if not line:
        raise PromptError(f'{what} is empty; write what you want to hear, like "boom bap, 90 bpm"')
    if len(line) > MAX_CHARACTERS:
        raise PromptError(f"{what} has {len(line)} characters; keep it under {MAX_CHARACTERS}")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in line):
        raise PromptError(f"{what} holds control characters; write plain text")
    return line


def check_length(duration_s: float | None, bars: int | None) -> None:
    """PromptError where a length is no length, or both are given."""
    if duration_s is not None and bars is not None:
        raise PromptError("give a duration or a number of bars, not both")
    if duration_s is not None and not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise PromptError(
            f"a duration of {duration_s:g} s cannot be made; ask for {MIN_DURATION_S:g} to {MAX_DURATION_S:g} s"
        )
    if bars is not None and not 1 <= bars <= MAX_BARS:
        raise PromptError(f"{bars} bars cannot be made; ask for 1 to {MAX_BARS}")


def length_samples(prompt: Prompt, sample_rate: int) -> int:
    """Exact length of a planned prompt in samples: its duration, or its bars at its tempo.

    Raises PromptError where the bars last too long, or no tempo is known to count them by.
    """
    if prompt.duration_s is not None:
        return round(prompt.duration_s * sample_rate)
    tempo, bars = prompt.groove.tempo_bpm, prompt.groove.bars or DEFAULT_BARS
    if tempo is None:
        raise PromptError("this model knows no tempo to count bars by; give a duration")
    seconds = bars * BEATS_A_BAR * 60 / tempo
    if seconds > MAX_DURATION_S:
        raise PromptError(f"{bars} bars at {tempo:g} bpm last {seconds:.0f} s; the most is {MAX_DURATION_S:g} s")
    return round(seconds * sample_rate)
