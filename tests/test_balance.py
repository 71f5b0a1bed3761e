"""Sampling weights by style, tempo and uploader."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapgen.audio.metadata import Row
from rapgen.data.balance import MAX_WEIGHT, MIN_WEIGHT, balance, shares
from rapgen.data.report import ClipFacts

CLIP = ClipFacts(duration_s=10)
some_clips = st.lists(
    st.builds(
        ClipFacts,
        duration_s=st.just(10.0),
        style=st.sampled_from([None, "trap", "drill", "phonk"]),
        tempo_bpm=st.sampled_from([None, 72.0, 79.9, 90.0, 141.0]),
        uploader=st.sampled_from(["", "a", "b", "c", "d"]),
    ),
    max_size=60,
)


def repeated(**counts: int) -> list[ClipFacts]:
    """Clips of styles, so many of each."""
    return [replace(CLIP, style=style) for style, count in counts.items() for _ in range(count)]


@given(some_clips)
def test_weights_have_mean_1_within_limits(clips: Sequence[ClipFacts]) -> None:
    weights = balance(clips)
    assert (weights.shape, weights.dtype) == ((len(clips),), np.float64)
    assert ((weights >= MIN_WEIGHT) & (weights <= MAX_WEIGHT)).all()
    if clips:
        assert weights.mean() == pytest.approx(1, abs=1e-12)


@given(some_clips)
def test_of_clips_that_differ_in_one_trait_the_rarer_weighs_no_less(clips: Sequence[ClipFacts]) -> None:
    weights = balance(clips)
    for trait in ("style", "uploader"):
        values = [getattr(clip, trait) for clip in clips]
        for one, weight in zip(clips, weights, strict=True):
            for other, other_weight in zip(clips, weights, strict=True):
                ours, theirs = getattr(one, trait), getattr(other, trait)
                are_alike = replace(one, **{trait: theirs}) == other
                if ours and theirs and are_alike and values.count(ours) <= values.count(theirs):
                    assert weight >= other_weight - 1e-12


@given(some_clips, st.integers(0, 99))
def test_a_clip_weighs_the_same_wherever_it_stands(clips: list[ClipFacts], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(clips))
    assert balance([clips[n] for n in order]) == pytest.approx(balance(clips)[order])


def test_a_balanced_set_is_left_alone() -> None:
    clips = [
        replace(CLIP, style=style, tempo_bpm=tempo_bpm, uploader=uploader)
        for style in ("trap", "drill")
        for tempo_bpm in (85.0, 143.0)
        for uploader in ("a", "b", "c")
    ]
    assert balance(clips) == pytest.approx(np.ones(12))
    assert balance([CLIP] * 3) == pytest.approx(np.ones(3))


def test_what_is_a_hundred_times_as_frequent_is_seen_ten_times_as_often() -> None:
    clips = repeated(trap=100, phonk=1)
    trap, phonk = shares(clips, balance(clips))["style"]
    assert (trap.value, phonk.value) == ("trap", "phonk")
    assert trap.before / phonk.before == pytest.approx(100)
    assert balance(clips)[-1] == MAX_WEIGHT  # it would be 9.2
    clips = repeated(trap=90, drill=10)
    trap, drill = shares(clips, balance(clips))["style"]
    assert trap.after / drill.after == pytest.approx(3)


def test_one_uploader_does_not_swamp() -> None:
    clips = [replace(CLIP, uploader="mill")] * 300 + [replace(CLIP, uploader=f"u{n}") for n in range(100)]
    mill = shares(clips, balance(clips))["uploader"][0]
    assert mill.before == 0.75
    assert mill.after < 0.2


def test_what_is_not_known_is_neither_raised_nor_lowered() -> None:
    clips = [*repeated(trap=8, drill=8), *[CLIP] * 80]
    assert balance(clips) == pytest.approx(np.ones(96))


def test_rows_of_metadata_are_weighed_too() -> None:
    rows = [Row(file_name="a.flac", style="trap"), Row(file_name="b.flac", style="trap"), Row(file_name="c.flac")]
    assert balance(rows) == pytest.approx(np.ones(3))


@given(some_clips)
def test_shares_add_up(clips: Sequence[ClipFacts]) -> None:
    for found in shares(clips, balance(clips)).values():
        assert sum(share.before for share in found) == pytest.approx(1 if found else 0)
        assert sum(share.after for share in found) == pytest.approx(1 if found else 0)


def test_a_hundred_thousand_clips_take_no_time() -> None:
    kinds = [replace(CLIP, style=f"s{n % 10}", tempo_bpm=60.0 + n % 100, uploader=f"u{n % 997}") for n in range(1000)]
    start_s = time.perf_counter()
    assert balance(kinds * 100).mean() == pytest.approx(1)
    assert time.perf_counter() - start_s < 5
