"""The conditioners that tell musical facts: `groove`, a prefix, and `grid`, aligned with frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.errors import PromptError, RecipeError
from rapgen.groove import FEELS, KEYS, STYLES
from rapgen.interfaces import Annotations, Clip, Conditioner, Fittable, Groove, Prompt, TokenSpec
from rapgen_plugins.grid import grid
from rapgen_plugins.groove import groove

SPEC = TokenSpec(codebook_size=1024, num_codebooks=4, sample_rate=24_000, hop_length=480)
SILENCE = np.zeros((1, 24_000), dtype=np.float32)


def clip(facts: Groove = Groove(), beats_s: tuple[float, ...] = (), first_beat: int = 0) -> Clip:
    return Clip(SILENCE, 24_000, Annotations(groove=facts, beats_s=beats_s, first_beat=first_beat))


TRAP = Groove(tempo_bpm=140, key="F# minor", style="trap", feel="half")
BOOM_BAP = Groove(tempo_bpm=90, key="A minor", style="boom bap", feel="straight")


def fitted(*facts: Groove) -> Conditioner:
    conditioner = groove()
    assert isinstance(conditioner, Fittable)
    conditioner.fit((clip(fact) for fact in facts), seed=0)
    return conditioner


def plan(conditioner: Conditioner, text: str, *, seed: int = 0, facts: Groove = Groove()) -> Groove:
    return conditioner.plan(Prompt(text, groove=facts), np.random.default_rng(seed)).groove


# ----------------------------------------------------------------------------------------------------- groove


def test_groove_tokens_of_clips_and_prompts_agree() -> None:
    conditioner = groove()
    codes, valid = conditioner.encode([clip(TRAP), Prompt("", groove=TRAP), Prompt("")])
    assert conditioner.spec.is_prefix
    assert not conditioner.is_aligned
    assert codes.shape == valid.shape == (3, conditioner.spec.num_codebooks)
    assert (codes.dtype, valid.dtype) == (torch.int64, torch.bool)
    assert codes[0].tolist() == codes[1].tolist() == [45, KEYS.index("F# minor"), 1, FEELS.index("half"), 0]
    assert valid.tolist() == [[True, True, True, True, False]] * 2 + [[False] * 5]
    assert [tensor.shape for tensor in conditioner.encode([])] == [(0, 5), (0, 5)]


@given(tempo_bpm=st.floats(1, 1000), bars=st.integers(1, 10_000), key=st.sampled_from(KEYS))
@settings(max_examples=30)
def test_groove_tokens_stay_within_the_codebook(tempo_bpm: float, bars: int, key: str) -> None:
    conditioner = groove(tempo_step_bpm=5)
    codes, valid = conditioner.encode([Prompt("", groove=Groove(tempo_bpm=tempo_bpm, key=key, bars=bars))])
    assert 0 <= int(codes.min()) <= int(codes.max()) < conditioner.spec.codebook_size
    assert valid[0].tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("conditioner", [groove(), fitted(TRAP, BOOM_BAP), fitted(Groove()), fitted()])
def test_plan_is_complete_and_deterministic(conditioner: Conditioner) -> None:
    for text in ("", "something nice", "140 bpm", "jazz rap", "in C", "double time"):
        planned = plan(conditioner, text)
        assert planned == plan(conditioner, text)
        assert None not in (planned.tempo_bpm, planned.key, planned.style, planned.feel)
        assert planned.bars is None


def test_plan_keeps_fields_over_text_over_draws() -> None:
    conditioner = fitted(TRAP)
    planned = plan(conditioner, "boom bap, 93 bpm, in C, 8 bars", facts=Groove(tempo_bpm=71, feel="double"))
    assert planned == Groove(tempo_bpm=71, key="C major", style="boom bap", feel="double", bars=8)


def test_plan_changes_the_groove_alone() -> None:
    prompt = Prompt("trap", negative_text="vocals", duration_s=8, seed=3)
    planned = fitted(TRAP).plan(prompt, np.random.default_rng(0))
    assert planned == replace(prompt, groove=TRAP)


def test_plan_refuses_an_impossible_tempo() -> None:
    with pytest.raises(PromptError, match="900"):
        plan(groove(), "900 bpm")


@given(seed=st.integers(0, 2**32), text=st.sampled_from(["trap", "", "drums, please"]))
@settings(max_examples=20)
def test_plan_draws_only_what_was_seen(seed: int, text: str) -> None:
    assert plan(fitted(TRAP), text, seed=seed) == TRAP


def test_plan_draws_as_often_as_was_seen() -> None:
    conditioner = fitted(TRAP, BOOM_BAP, BOOM_BAP, BOOM_BAP)
    drawn = [plan(conditioner, "", seed=seed) for seed in range(200)]
    assert set(drawn) == {TRAP, BOOM_BAP}
    assert 0.65 < drawn.count(BOOM_BAP) / len(drawn) < 0.85


@pytest.mark.parametrize(("tempo_bpm", "style"), [(88, "boom bap"), (60, "boom bap"), (137, "trap"), (180, "trap")])
def test_plan_draws_the_style_of_a_tempo(tempo_bpm: float, style: str) -> None:
    conditioner = fitted(TRAP, *[BOOM_BAP] * 20)
    assert {plan(conditioner, f"{tempo_bpm} bpm", seed=seed).style for seed in range(20)} == {style}


def test_unseen_facts_are_kept_but_not_told() -> None:
    conditioner = fitted(TRAP)
    prompt = conditioner.plan(Prompt("drill in C"), np.random.default_rng(0))
    assert prompt.groove == Groove(tempo_bpm=140, key="C major", style="drill", feel="half")
    _, valid = conditioner.encode([prompt])
    assert valid[0].tolist() == [True, False, False, True, False]


def test_clips_without_a_style_still_tell_tempo_and_key() -> None:
    planned = plan(fitted(Groove(tempo_bpm=100, key="D minor")), "trap")
    assert planned == Groove(tempo_bpm=100, key="D minor", style="trap", feel="straight")


def test_groove_state_round_trip() -> None:
    conditioner, other = fitted(TRAP, BOOM_BAP), groove()
    other.load_state(conditioner.state())
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in conditioner.state().items())
    assert [plan(other, "", seed=seed) for seed in range(9)] == [plan(conditioner, "", seed=seed) for seed in range(9)]
    with pytest.raises(KeyError):
        other.load_state({})
    with pytest.raises(ValueError, match="counts"):
        groove(styles=["trap"]).load_state(conditioner.state())


@pytest.mark.parametrize(
    "options", [{"styles": []}, {"styles": ["a", "a"]}, {"tempo_min_bpm": 300}, {"tempo_step_bpm": 0}]
)
def test_groove_refuses_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        groove(**options)


def test_styles_are_an_option() -> None:
    conditioner = groove(styles=["bounce", *STYLES])
    _, valid = conditioner.encode([Prompt("", groove=Groove(style="bounce")), Prompt("", groove=Groove(style="polka"))])
    assert valid[:, 2].tolist() == [True, False]


# ------------------------------------------------------------------------------------------------------- grid

prompts = st.floats(40, 220).map(lambda tempo_bpm: Prompt("", groove=Groove(tempo_bpm=tempo_bpm)))
beaten_clips = st.builds(
    lambda start_s, periods_s, first_beat: clip(
        beats_s=tuple(start_s + np.cumsum([0.0, *periods_s])), first_beat=first_beat
    ),
    st.floats(0, 2),
    st.lists(st.floats(0.3, 1.0), min_size=1, max_size=20),
    st.integers(0, 31),
)
specs = st.sampled_from([SPEC, replace(SPEC, sample_rate=44_100, hop_length=512), replace(SPEC, hop_length=1920)])


@given(item=prompts | beaten_clips, spec=specs, start=st.integers(0, 20_000), split=st.integers(0, 60))
@settings(max_examples=60)
def test_windows_agree(item: Prompt | Clip, spec: TokenSpec, start: int, split: int) -> None:
    conditioner = grid()
    whole, valid = conditioner.encode([item], spec=spec, start_frame=start, num_frames=60)
    parts = [
        conditioner.encode([item], spec=spec, start_frame=start, num_frames=split)[0],
        conditioner.encode([item], spec=spec, start_frame=start + split, num_frames=60 - split)[0],
    ]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert bool(valid.all())
    assert bool((whole >= 0).all())
    assert bool((whole < torch.tensor([16, 16, 8])).all())


def test_grid_shape() -> None:
    conditioner = grid(steps_per_beat=6, phase_bins=4, bars_per_phrase=2)
    assert conditioner.is_aligned
    assert (conditioner.spec.codebook_size, conditioner.spec.num_codebooks) == (24, 3)
    codes, valid = conditioner.encode([Prompt("")] * 2, spec=SPEC, num_frames=5)
    assert codes.shape == valid.shape == (2, 5, 3)
    assert (codes.dtype, valid.dtype) == (torch.int64, torch.bool)
    assert not valid.any()


def test_a_bar_counts_its_steps() -> None:
    spec = replace(SPEC, hop_length=3000)  # a sixteenth at 120 bpm
    codes, _ = grid().encode([Prompt("", groove=Groove(tempo_bpm=120))], spec=spec, num_frames=16 * 9)
    assert codes[0, :, 0].tolist() == list(range(16)) * 9
    assert codes[0, :, 1].tolist() == [0] * 144
    assert codes[0, ::16, 2].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0]


def test_phase_runs_through_the_step() -> None:
    spec = replace(SPEC, hop_length=375)  # an eighth of a sixteenth at 120 bpm
    codes, _ = grid().encode([Prompt("", groove=Groove(tempo_bpm=120))], spec=spec, num_frames=16)
    assert codes[0, :, 1].tolist() == list(range(0, 16, 2)) * 2


@pytest.mark.parametrize("bar", [0, 1, 39, 40, 41, 4000])
def test_bars_at_90_bpm_start_exactly(bar: int) -> None:
    frame = bar * 64_000 // 250  # a bar is 64,000 samples
    spec = replace(SPEC, hop_length=250)  # a phase bin
    codes, _ = grid().encode([Prompt("", groove=Groove(tempo_bpm=90))], spec=spec, start_frame=frame - 1, num_frames=2)
    assert codes[0].tolist() == [[15, 15, (bar - 1) % 8], [0, 0, bar % 8]]


@given(tempo_bpm=st.integers(40, 220), first_beat=st.integers(0, 31), offset_frames=st.integers(0, 40))
@settings(max_examples=60)
def test_a_frame_on_a_beat_opens_it(tempo_bpm: int, first_beat: int, offset_frames: int) -> None:
    spec = TokenSpec(1024, 1, sample_rate=60 * tempo_bpm, hop_length=60)  # 60 frames a beat at any tempo
    beats_s = tuple(round((offset_frames + 60 * beat) / tempo_bpm, 6) for beat in range(200))
    item = clip(Groove(tempo_bpm=tempo_bpm), beats_s, first_beat)
    codes, _ = grid().encode([item], spec=spec, start_frame=offset_frames, num_frames=60 * 200)
    numbers = first_beat + torch.arange(200)
    opened = torch.stack([4 * (numbers % 4), torch.zeros_like(numbers), numbers // 4 % 8], dim=-1)
    assert torch.equal(codes[0, ::60], opened)


def test_before_the_first_beat_the_grid_runs_on_backwards() -> None:
    item = clip(beats_s=(1.0, 1.5, 2.0), first_beat=0)
    codes, _ = grid().encode([item], spec=replace(SPEC, hop_length=12_000), num_frames=6)
    assert codes[0].tolist() == [[8, 0, 7], [12, 0, 7], [0, 0, 0], [4, 0, 0], [8, 0, 0], [12, 0, 0]]


def test_one_beat_and_a_tempo_are_enough() -> None:
    items = [clip(Groove(tempo_bpm=120), (0.5,), 5), clip(beats_s=(0.5,)), clip(Groove(tempo_bpm=120))]
    codes, valid = grid().encode(items, spec=replace(SPEC, hop_length=12_000), num_frames=3)
    assert codes[0].tolist() == [[0, 0, 1], [4, 0, 1], [8, 0, 1]]
    assert valid[:, 0, 0].tolist() == [True, False, False]


def test_grid_refuses_what_it_cannot_do() -> None:
    with pytest.raises(RecipeError):
        grid(phase_bins=0)
    with pytest.raises(ValueError, match="spec"):
        grid().encode([Prompt("")], num_frames=3)
