"""Rules of conditioners, prefixes and frame-aligned streams alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rapgen.interfaces import Clip, Prompt, TokenSpec
from rapgen.testing.case import Case, Rule
from rapgen.testing.compare import same, same_tokens
from rapgen.testing.examples import SPECS, clips, prompts

_FRAMES = 60


def tokens(
    conditioner: Any, items: Sequence[Clip | Prompt], spec: TokenSpec = SPECS[0], start: int = 0, frames: int = _FRAMES
) -> Tensor:
    """Tokens with -1 where they are not valid, asked for as the stages ask for them."""
    if conditioner.is_aligned:
        codes, valid = conditioner.encode(items, spec=spec, start_frame=start, num_frames=frames)
    else:
        codes, valid = conditioner.encode(items)
    return torch.where(valid, codes, -1)


def _items(conditioner: Any) -> list[Clip | Prompt]:
    """Clips, prompts as they are written, and prompts as they are planned."""
    planned = [conditioner.plan(prompt, np.random.default_rng(0)) for prompt in prompts()]
    return [*clips(), *prompts(), *planned]


@Rule
def any_item(case: Case) -> None:
    """Any clip or prompt is encoded, in a batch or alone, and so is an empty list."""
    items = _items(case.component)
    tokens(case.component, items)  # its guard looks at shapes, dtypes and ids
    for item in items:
        tokens(case.component, [item])
    tokens(case.component, [])


@Rule
def items_repeat(case: Case) -> None:
    """The same items give the same tokens each time."""
    items = _items(case.component)
    same(tokens(case.component, items), tokens(case.component, items), "tokens of the same items")


@Rule
def items_alone_or_together(case: Case) -> None:
    """An item's tokens do not depend on what else is in the batch."""
    items = _items(case.component)
    together = tokens(case.component, items)
    alone = torch.cat([tokens(case.component, [item]) for item in items])
    same_tokens(case, together, alone, "items together and alone")


@Rule
def plans_repeat(case: Case) -> None:
    """`plan` draws from its generator alone and keeps what the prompt says."""
    for prompt in prompts():
        first, again = (case.component.plan(prompt, np.random.default_rng(3)) for _ in range(2))
        assert first == again, f"{first} and {again}"
        for name in ("text", "negative_text", "duration_s", "seed"):
            was, now = getattr(prompt, name), getattr(first, name)
            assert was == now, f"{name} was {was!r} and became {now!r}"
        for field in fields(prompt.groove):
            was, now = getattr(prompt.groove, field.name), getattr(first.groove, field.name)
            assert was is None or was == now, f"groove.{field.name} was {was!r} and became {now!r}"


@Rule
def views_are_encoded(case: Case) -> None:
    """Each view of a clip can be encoded, and the same clip has the same views each time."""
    for clip in clips():
        views = case.component.views(clip)
        first = tokens(case.component, views)
        same(first, tokens(case.component, case.component.views(clip)), "the views of the same clip")


@Rule
def windows_agree(case: Case) -> None:
    """Any two windows of a frame-aligned stream agree where they overlap, at any rate."""
    if not case.component.is_aligned:
        return
    items = _items(case.component)
    for spec in SPECS:
        whole = tokens(case.component, items, spec)
        for start, frames in ((0, 25), (20, _FRAMES - 20), (_FRAMES - 1, 1), (7, 0)):
            part = tokens(case.component, items, spec, start, frames)
            same_tokens(case, whole[:, start : start + frames], part, f"{frames} frames from {start}")


@Rule
def windows_past_the_end(case: Case) -> None:
    """A frame-aligned stream answers far past the end of a clip too."""
    if case.component.is_aligned:
        tokens(case.component, _items(case.component), start=100_000, frames=10)


CONDITIONER_RULES = (
    any_item,
    items_repeat,
    items_alone_or_together,
    plans_repeat,
    views_are_encoded,
    windows_agree,
    windows_past_the_end,
)
