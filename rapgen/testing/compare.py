"""How outputs are compared; each raises AssertionError with how far they are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rapgen.testing.case import Case


def same(first: Tensor, second: Tensor, what: str) -> None:
    """Equal to the bit."""
    assert first.shape == second.shape, f"{what}: {list(first.shape)} and {list(second.shape)}"
    differing = int((first != second).sum())
    assert not differing, f"{what}: {differing} of {first.numel()} values differ"


def same_tokens(case: Case, first: Tensor, second: Tensor, what: str) -> None:
    """Equal but for a share of tokens that the case allows."""
    assert first.shape == second.shape, f"{what}: {list(first.shape)} and {list(second.shape)}"
    share = float((first == second).float().mean()) if first.numel() else 1.0
    assert share >= case.agreement, f"{what}: {share:.2%} of the tokens agree, should be {case.agreement:.2%}"


def close(case: Case, first: Tensor, second: Tensor, what: str) -> None:
    """As near to each other as the case asks, in parts of the largest value."""
    assert first.shape == second.shape, f"{what}: {list(first.shape)} and {list(second.shape)}"
    if first.numel():
        largest = max(float(first.abs().max()), torch.finfo(torch.float32).tiny)
        apart = float((first - second).abs().max()) / largest
        assert apart <= case.tolerance, f"{what}: {apart:.2g} of the largest apart, should be {case.tolerance:.2g}"
