"""The transformer: a cache changes speed and nothing else; positions count by their distance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rapgen.models.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(width=32, layers=3, heads=4).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(prefix=st.integers(1, 12), steps=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_cached_steps_equal_the_full_pass(model: Transformer, prefix: int, steps: int, seed: int) -> None:
    x = noise(2, prefix + steps, 32, seed=seed)
    cache = model.make_cache(2, prefix + steps + 3)
    parts = [model(x[:, :prefix], cache=cache)]
    parts += [model(x[:, n : n + 1], cache=cache) for n in range(prefix, prefix + steps)]
    assert cache.filled == prefix + steps
    assert torch.allclose(torch.cat(parts, 1), model(x), atol=1e-4)


@torch.no_grad()
def test_positions_past_the_first_table_are_right(model: Transformer) -> None:
    fresh = Transformer(width=32, layers=3, heads=4).eval()
    fresh.load_state_dict(model.state_dict())
    x = noise(1, 1100, 32)
    cache = fresh.make_cache(1, 1100)
    parts = [fresh(x[:, :1020], cache=cache)]
    parts += [fresh(x[:, n : n + 1], cache=cache) for n in range(1020, 1100)]
    assert torch.allclose(torch.cat(parts, 1), model(x), atol=1e-4)


@torch.no_grad()
def test_causal_looks_back_only(model: Transformer) -> None:
    x = noise(1, 10, 32)
    y = x.clone()
    y[:, 6] += 1
    moved = (model(x) - model(y)).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False] * 6 + [True] * 4
    assert ((model(x, causal=False) - model(y, causal=False)).abs().amax(-1) > 1e-6).all()


@torch.no_grad()
def test_only_distances_count(model: Transformer) -> None:
    """The same positions further on give the same result: rotary attention knows no absolute place."""
    attention, turns = model.blocks[0].attention, model.turn_table(600, torch.device("cpu"))
    x = noise(1, 20, 32)
    here = attention(x, turns[:20], True, None, 0)
    for start in (1, 37, 500):
        assert torch.allclose(attention(x, turns[start : start + 20], True, None, 0), here, atol=1e-4)
    assert not torch.allclose(attention(x, turns[:20] * 0 + turns[:1], True, None, 0), here, atol=1e-4)


@torch.no_grad()
def test_rows_of_a_batch_are_apart(model: Transformer) -> None:
    x = noise(3, 9, 32)
    assert torch.allclose(model(x)[1:2], model(x[1:2]), atol=1e-5)


def test_theturn_table_is_neither_saved_nor_trained(model: Transformer) -> None:
    model(noise(1, 4, 32))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_dropout_is_for_training() -> None:
    torch.manual_seed(0)
    model = Transformer(width=32, layers=2, heads=2, dropout=0.5)
    x = noise(1, 5, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
