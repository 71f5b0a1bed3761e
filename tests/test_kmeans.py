"""k-means for tokenizers: an even draw in one pass, and clusters that ship."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rapgen.errors import ModelError
from rapgen.identities import full, half
from rapgen.models.kmeans import Clusters, draw_rows


@given(cuts=st.lists(st.integers(0, 300), max_size=6), count=st.integers(1, 120), seed=st.integers(0, 99))
def test_how_rows_are_cut_into_batches_changes_nothing(cuts: list[int], count: int, seed: int) -> None:
    rows = torch.arange(300.0).unsqueeze(1)
    places = [0, *sorted(cuts), 300]
    batches = [rows[a:b] for a, b in pairwise(places)]
    drawn = draw_rows(iter(batches), count, seed=seed)
    assert torch.equal(drawn, draw_rows([rows], count, seed=seed))
    assert drawn.shape == (count, 1)
    assert len(drawn.unique()) == count


def test_every_row_has_the_same_chance() -> None:
    rows = torch.arange(40.0).unsqueeze(1)
    drawn = torch.cat([draw_rows(rows.split(7), 10, seed=seed) for seed in range(400)])
    share = torch.bincount(drawn.flatten().long(), minlength=40) / 400
    assert (share - 0.25).abs().max() < 0.1


def test_few_rows_are_held_at_a_time() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    def batches() -> Iterator[torch.Tensor]:
        for _ in range(50):
            batch = torch.zeros(10, 1)
            seen.append(weakref.ref(batch))
            yield batch
            assert sum(each() is not None for each in seen) <= 5

    draw_rows(batches(), 20, seed=0)
    assert len(seen) == 50


def test_dimensions_count_alike_unless_weighed() -> None:
    """Two groups apart in a small dimension, amid noise in a large one."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(200) % 2
    rows = torch.stack([0.01 * group, torch.randn(200, generator=generator) * 1000], 1)
    weighed = Clusters("x", 2, weights=torch.tensor([1.0, 0.01]))
    weighed.fit([rows], seed=0)
    tokens = weighed.tokens(rows)
    assert torch.equal(tokens == tokens[0], group == group[0])
    shipped = Clusters("x", 2, weights=torch.tensor([1.0, 0.01]))
    shipped.load_state(full(half(weighed.state())))
    assert torch.equal(shipped.tokens(rows), tokens)


def test_a_dimension_that_never_moves_ships() -> None:
    clusters = Clusters("x", 2)
    clusters.fit([torch.tensor([[0.0, 5.0], [1.0, 5.0]])], seed=0)
    clusters.load_state(full(half(clusters.state())))
    assert clusters.tokens(torch.tensor([[0.0, 5.0], [1.0, 5.0]])).unique().numel() == 2


def test_errors_name_the_component() -> None:
    with pytest.raises(ModelError, match=r"^who got no clips to learn from"):
        Clusters("who", 2).fit([], seed=0)
    with pytest.raises(ModelError, match=r"^who is not fitted"):
        Clusters("who", 2).tokens(torch.zeros(1, 2))
