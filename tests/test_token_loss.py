"""The training loss of token stages against a plain reading of its definition, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rapgen.interfaces import TokenSpec
from rapgen.models.patterns import PAD, frames_of_steps, lay_out, layout
from rapgen.models.token_lm import Batch, Input, TokenLM

BOOKS, SIZE, FRAMES, ROWS = 3, 11, 7, 4
CODES = TokenSpec(SIZE, BOOKS, 8000, 160)


def make(pattern: str) -> tuple[TokenLM, Batch]:
    torch.manual_seed(0)
    inputs = {
        "tags": Input(TokenSpec(5, 2), is_prefix=True, is_condition=True),
        "grid": Input(TokenSpec(6, 2, 8000, 160), is_prefix=False, is_condition=True),
    }
    model = TokenLM(target=CODES, inputs=inputs, pattern=pattern, width=16, layers=2, heads=2, block_frames=2)
    target = torch.randint(PAD, SIZE, (ROWS, FRAMES, BOOKS))
    target[0, 4:] = PAD  # a clip that is shorter than the crop
    return model, {
        "target": target,
        "tags": torch.randint(PAD, 5, (ROWS, 2)),
        "grid": torch.randint(PAD, 6, (ROWS, FRAMES, 2)),
    }


def mean(found: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Cross-entropy a token, from pairs of logits [V] and a token."""
    known = [(logits, token) for logits, token in found if token != PAD]
    return F.cross_entropy(torch.stack([lg for lg, _ in known]), torch.stack([token for _, token in known]))


def causal_reference(model: TokenLM, batch: Batch) -> Tensor:
    """Step by step: each sees all codebooks' tokens of the step before it, or PAD."""
    codes, pattern = batch["target"], model.pattern
    steps = torch.arange(FRAMES * BOOKS if pattern == "flat" else FRAMES)
    tokens, where = lay_out(pattern, codes, len(steps)), layout(pattern, steps, BOOKS)
    before = torch.cat([torch.full((ROWS, 1, BOOKS), PAD), tokens[:, :-1]], 1)
    prefix, aligned = model.embed_prefix(batch), model.embed_aligned(batch)
    x = torch.cat([prefix, model.embed_steps(before) + aligned[:, frames_of_steps(pattern, steps, BOOKS)]], 1)
    hidden = model.transformer(x)[:, prefix.shape[1] :]
    places = [(b, s, q) for b in range(ROWS) for s in range(len(steps)) for q in range(BOOKS) if where[s, q] >= 0]
    return mean([(model.logits(hidden[b, s], q), tokens[b, s, q]) for b, s, q in places])


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_causal_loss_is_the_mean_over_all_steps_and_codebooks(pattern: str) -> None:
    model, batch = make(pattern)
    compare(model, model(batch)[0], causal_reference(model, batch))


@pytest.mark.parametrize("level", range(BOOKS))
def test_masked_loss_is_the_mean_over_what_is_hidden_at_the_level(level: int) -> None:
    model, batch = make("masked")
    chance = torch.full((ROWS, model.num_chances(FRAMES)), 0.5)
    start, at, share, is_first = 3, (level + 0.5) / BOOKS, 0.5, 0.1  # the first pass: all from `start` on is hidden
    chance[:, 3:7] = torch.tensor([(start + 0.5) / (FRAMES - 1), at, share, is_first])
    codes, hidden = batch["target"], batch["target"].clone()
    hidden[:, start:, level:] = PAD
    state = model.masked_hidden(hidden, batch, torch.full((ROWS,), start))
    places = [(b, f) for b in range(ROWS) for f in range(start, FRAMES)]
    expected = mean([(model.logits(state[b, f], level), codes[b, f, level]) for b, f in places])
    compare(model, model(batch, chance)[0], expected)


def compare(model: TokenLM, loss: Tensor, expected: Tensor) -> None:
    assert torch.allclose(loss, expected, atol=1e-5)
    ours, theirs = (torch.autograd.grad(each, list(model.parameters())) for each in (loss, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
