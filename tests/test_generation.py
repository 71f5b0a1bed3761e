"""Generation: exact lengths, the same tokens however they are asked for, and bundles that equal their runs."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rapgen.audio.io import read_audio, write_wav
from rapgen.errors import AudioError, ModelError, PromptError, RapgenError
from rapgen.generation.audiolm import AudioLM, Opening, Piece
from rapgen.generation.causal import CausalDecoder
from rapgen.generation.export import export_bundle
from rapgen.generation.masked import pass_plan
from rapgen.generation.musiclm import Beat, MusicLM
from rapgen.generation.noise import gumbel
from rapgen.generation.prompts import length_samples
from rapgen.generation.sampling import draw, guide
from rapgen.generation.stages import Stages
from rapgen.interfaces import Groove, Prompt
from rapgen.models.patterns import PAD
from rapgen.parts import build_parts, load_parts, save_part
from rapgen.recipe import load_recipe, parse_recipe
from rapgen.schema import Sampling
from rapgen.tokens.streams import TOKEN_STAGES, make_model, stage_streams

RATE, HOP = 8000, 160
PROMPT = "boom bap, 90 bpm, F# minor"
TEXTS = (PROMPT, "trap, 140 bpm", "a slow lo-fi beat", "drill")


@pytest.fixture(scope="module")
def lm(tiny_run: Path) -> MusicLM:
    return MusicLM.load(tiny_run)


def pieces(lm: MusicLM, count: int = 1, seed: int = 0) -> list[Piece]:
    """Different prompts with different seeds."""
    return [Piece(lm.plan(Prompt(text=TEXTS[n % 4], duration_s=1, seed=seed + n), n), n) for n in range(count)]


def codes(lm: AudioLM, wanted: list[Piece], frames: int, **options: Any) -> Tensor:
    return torch.cat(list(lm.stream(wanted, frames, **{"sampling": lm.recipe.sampling, **options})), 1)


def same(a: Beat, b: Beat) -> bool:
    return a.audio.shape == b.audio.shape and np.allclose(a.audio, b.audio, atol=1e-5)


# ---------------------------------------------------------------------------------------------- length


@given(duration_s=st.floats(0.1, 4.0))
@settings(max_examples=6, deadline=None)
def test_a_beat_is_exactly_as_long_as_asked(lm: MusicLM, duration_s: float) -> None:
    """The crops are 3, 2 and 1 s; what is longer is made in windows."""
    (beat,) = lm.generate(PROMPT, duration_s=duration_s)
    assert beat.audio.shape == (1, round(duration_s * RATE))
    assert beat.audio.dtype == np.float32
    assert np.abs(beat.audio).max() <= 1
    assert beat.sample_rate == RATE


@given(tempo_bpm=st.integers(120, 220), bars=st.integers(1, 2))
@settings(max_examples=4, deadline=None)
def test_bars_last_exactly(lm: MusicLM, tempo_bpm: int, bars: int) -> None:
    (beat,) = lm.generate(f"trap, {tempo_bpm} bpm", bars=bars)
    assert beat.audio.shape[1] == round(bars * 4 * 60 / tempo_bpm * RATE)
    assert beat.prompt.groove.bars == bars


@pytest.mark.parametrize(("text", "bars", "samples"), [
    ("boom bap, 90 bpm", 8, round(8 * 4 * 60 / 90 * RATE)),
    ("boom bap, 90 bpm, 8 bars", None, round(8 * 4 * 60 / 90 * RATE)),
    ("boom bap, 90 bpm, 8 bars", 2, round(2 * 4 * 60 / 90 * RATE)),
    ("boom bap, 90 bpm", None, round(4 * 4 * 60 / 90 * RATE)),
])  # fmt: skip
def test_bars_are_those_asked_for_then_the_prompts_then_four(
    lm: MusicLM, text: str, bars: int | None, samples: int
) -> None:
    assert length_samples(lm.plan(Prompt(text, groove=Groove(bars=bars))), RATE) == samples


def test_progress_runs_to_the_end(lm: MusicLM) -> None:
    told: list[tuple[float, float]] = []
    lm.generate(PROMPT, duration_s=2.5, progress=lambda made, whole: told.append((made, whole)))
    assert [made for made, _ in told] == sorted(made for made, _ in told)
    assert len(told) >= 3
    assert told[-1][0] == pytest.approx(told[-1][1])
    assert told[-1][1] >= 2.5


# ------------------------------------------------------------------------------- blocks, batches, seeds


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_streaming_gives_the_same_tokens(lm: MusicLM, block: int) -> None:
    whole = codes(lm, pieces(lm, 2), 180)
    parts = list(lm.stream(pieces(lm, 2), 180, sampling=lm.recipe.sampling, block=block))
    assert [p.shape[1] for p in parts[:-1]] == [block] * (len(parts) - 1)
    assert torch.equal(torch.cat(parts, 1), whole)
    assert whole.shape == (2, 180, 4)
    assert whole.min() >= 0
    assert whole.max() < 64


def test_an_item_does_not_depend_on_its_batch(lm: MusicLM) -> None:
    batch = pieces(lm, 3)
    together = codes(lm, batch, 120)
    for row, piece in enumerate(batch):
        assert torch.equal(codes(lm, [piece], 120)[0], together[row])


@pytest.mark.parametrize("frames", [1, 11, 12, 13, 59])
def test_a_shorter_piece_is_the_start_of_a_longer_one(lm: MusicLM, frames: int) -> None:
    assert torch.equal(codes(lm, pieces(lm, 2), frames), codes(lm, pieces(lm, 2), 110)[:, :frames])


def test_beats_of_several_lengths_are_those_made_alone(lm: MusicLM) -> None:
    """A bar lasts what its tempo says, so the prompts of one batch end at different times."""
    lines = ["trap, 200 bpm", "trap, 137 bpm"]
    beats = lm.generate(lines, bars=1, num=2, seed=3)
    assert [b.prompt.text for b in beats] == [text for text in lines for _ in range(2)]
    assert [b.item for b in beats] == [0, 1] * 2
    for line, beat in zip(lines, beats[::2], strict=True):
        (alone,) = lm.generate(line, bars=1, seed=3)
        assert same(alone, beat)


def test_the_same_seed_makes_the_same_file(lm: MusicLM, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        lm.generate(PROMPT, duration_s=1, seed=seed)[0].save(tmp_path / f"{name}.wav")
    a, b, c = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert a == b
    assert a != c


def test_items_of_a_seed_differ(lm: MusicLM) -> None:
    first, second = lm.generate(PROMPT, duration_s=1, num=2)
    assert not same(first, second)
    (alone,) = lm.generate(PROMPT, duration_s=1, first_item=1)
    assert same(second, alone)


# --------------------------------------------------------------------------------------------- sampling


def test_without_temperature_the_seed_is_of_no_matter(lm: MusicLM) -> None:
    cold = {s: Sampling(temperature=0) for s in TOKEN_STAGES}
    sampling = lm.recipe.sampling.model_copy(update=cold)
    top = lm.recipe.sampling.model_copy(update={s: Sampling(top_k=1) for s in TOKEN_STAGES})
    (piece,) = pieces(lm)
    first = codes(lm, [piece], 60, sampling=sampling)
    assert torch.equal(codes(lm, [replace(piece, item=9)], 60, sampling=sampling), first)
    assert torch.equal(codes(lm, [piece], 60, sampling=top), first)


def test_guidance_of_1_is_none(lm: MusicLM) -> None:
    """As good as 1 goes the long way round, with unconditional rows, to the same tokens."""
    settled = {s: Sampling(guidance_scale=1) for s in TOKEN_STAGES}
    long_way = {s: Sampling(guidance_scale=1 + 1e-7) for s in TOKEN_STAGES}
    one, other = (lm.recipe.sampling.model_copy(update=u) for u in (settled, long_way))
    rows = [Stages(lm, pieces(lm, 2), 60, s, None)._inputs("semantic", 0, 5)["mulan"].shape[0] for s in (one, other)]
    assert rows == [2, 4]
    assert torch.equal(codes(lm, pieces(lm, 2), 60, sampling=one), codes(lm, pieces(lm, 2), 60, sampling=other))


def test_what_is_asked_for_changes_the_beat(lm: MusicLM) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"negative": "trap hats"},
        {"negative": "quiet piano"},
        {"guidance_scale": 4.0},
        {"temperature": 0.3},
        {"top_k": 2},
    ]
    beats = [lm.generate(PROMPT, duration_s=1, **{"guidance_scale": 3.0, **o})[0] for o in options]
    for a, b in itertools.combinations(beats, 2):
        assert not same(a, b)


@given(seed=st.integers(0, 2**70), start=st.integers(0, 5000), num=st.integers(1, 20), books=st.integers(1, 5))
def test_noise_is_a_function_of_the_place(seed: int, start: int, num: int, books: int) -> None:
    options: dict[str, Any] = {"seed": seed, "item": 1, "stage": "fine", "books": range(books), "size": 13}
    window = gumbel(start_frame=start, num_frames=num, **options)
    assert window.shape == (num, books, 13)
    assert window.dtype == torch.float32
    assert torch.isfinite(window).all()
    wider = gumbel(start_frame=max(0, start - 3), num_frames=num + 7, **options)
    assert torch.equal(wider[min(3, start) :][:num], window)
    assert torch.equal(gumbel(start_frame=start, num_frames=num, **{**options, "books": [books - 1]}), window[:, -1:])
    for change in ({"seed": seed + 1}, {"item": 2}, {"stage": "coarse"}):
        assert not torch.equal(gumbel(start_frame=start, num_frames=num, **{**options, **change}), window)


def test_noise_is_gumbel() -> None:
    noise = gumbel(seed=0, item=0, stage="fine", start_frame=0, num_frames=2000, books=range(4), size=64)
    assert noise.mean().item() == pytest.approx(0.57722, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.02)
    assert np.corrcoef(noise[:, 0].flatten(), noise[:, 1].flatten())[0, 1] == pytest.approx(0, abs=0.01)
    assert np.corrcoef(noise[1:].flatten(), noise[:-1].flatten())[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (1.0, 3), (2.0, 2)])
def test_tokens_are_drawn_as_the_logits_have_it(temperature: float, top_k: int) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])
    noise = gumbel(seed=1, item=0, stage="x", start_frame=0, num_frames=20_000, books=[0], size=5)[:, 0]
    drawn = draw(logits.expand(20_000, -1), noise, Sampling(temperature=temperature, top_k=top_k))
    least = logits.sort(descending=True).values[(top_k or 5) - 1]
    expected = torch.where(logits >= least, logits / temperature, -torch.inf).softmax(-1)
    assert torch.allclose(drawn.bincount(minlength=5) / 20_000, expected, atol=0.015)


def test_guidance_moves_away_from_the_unconditional() -> None:
    wanted, unwanted = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    both = torch.cat([wanted, unwanted])
    assert torch.equal(guide(wanted, 1), wanted)
    assert torch.equal(guide(both, 0), unwanted)
    assert torch.equal(guide(both, 2), torch.tensor([[2.0, -1.0]]))


@given(books=st.integers(1, 12), passes=st.integers(1, 20))
def test_every_codebook_is_filled_in_order(books: int, passes: int) -> None:
    plan = pass_plan(books, passes)
    assert len(plan) == passes
    filled = [q for numbers, share in plan if share == 1 for q in numbers]
    assert filled == list(range(books))
    shares = [share for _, share in plan]
    assert shares == sorted(shares)
    assert all(0 < share <= 1 for share in shares)


# ------------------------------------------------------------------------------------- prompts and plans


def test_the_tempo_of_the_prompt_is_reported(lm: MusicLM) -> None:
    (beat,) = lm.generate(PROMPT, duration_s=0.5)
    groove = beat.prompt.groove
    assert (groove.tempo_bpm, groove.key, groove.style) == (90, "F# minor", "boom bap")


def test_what_was_drawn_is_reported(lm: MusicLM) -> None:
    beats = [lm.generate("a beat", duration_s=0.1, seed=seed)[0] for seed in range(8)]
    grooves = [b.prompt.groove for b in beats]
    assert all(g.tempo_bpm and g.key and g.style for g in grooves)
    assert len({g.tempo_bpm for g in grooves}) > 2
    assert lm.generate("a beat", duration_s=0.1, seed=4)[0].prompt == beats[4].prompt
    (beat,) = lm.generate("a beat", bars=1, seed=5)
    assert beat.audio.shape[1] == round(4 * 60 / float(beat.prompt.groove.tempo_bpm or 0) * RATE)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "the prompt is empty"),
        (" \n\t ", {}, "the prompt is empty"),
        ("x" * 1001, {}, "has 1001 characters"),
        ("boom\x00bap", {}, "control characters"),
        ("boom bap", {"negative": ""}, "the negative prompt is empty"),
        ("boom bap, 900 bpm", {}, "900 bpm"),
        ([], {}, "there is no prompt"),
        ("boom bap", {"num": 0}, "0 beats"),
        ("boom bap", {"seed": -1}, "a seed of -1"),
        ("boom bap", {"duration_s": 0}, "a duration of 0 s"),
        ("boom bap", {"duration_s": -3}, "a duration of -3 s"),
        ("boom bap", {"duration_s": 601}, "a duration of 601 s"),
        ("boom bap", {"duration_s": float("nan")}, "a duration of nan s"),
        ("boom bap", {"duration_s": float("inf")}, "a duration of inf s"),
        ("boom bap", {"duration_s": 1, "bars": 1}, "not both"),
        ("boom bap", {"bars": 0}, "0 bars"),
        ("boom bap, 90 bpm", {"bars": 1000}, "1000 bars at 90 bpm last 2667 s"),
        ("boom bap", {"guidance_scale": float("nan")}, "guidance_scale is nan"),
        ("boom bap", {"temperature": -1}, "temperature is -1"),
        ("boom bap", {"top_k": -1}, "top_k is -1"),
    ],
)
def test_what_makes_no_sense_is_one_line(lm: MusicLM, text: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message) as raised:
        lm.generate(text, **options)
    assert "\n" not in str(raised.value)


@given(text=st.text(max_size=60))
@settings(max_examples=25, deadline=None)
def test_any_text_is_a_beat_or_one_line(lm: MusicLM, text: str) -> None:
    message = ""
    try:
        (beat,) = lm.generate(text, duration_s=0.1)
        assert beat.audio.shape[1] == RATE // 10
    except PromptError as error:
        message = str(error)
    assert "\n" not in message


def test_the_grid_is_exact_at_bar_40(lm: MusicLM) -> None:
    """At 90 bpm a bar is 21,333 1/3 samples: no frame starts with it, and no rounding may add up."""
    (piece,) = pieces(lm)
    stages = Stages(lm, [piece], 100, lm.recipe.sampling, None)
    for stage, hop in (("semantic", 320), ("coarse", HOP)):
        bar = Fraction(4 * 60 * RATE, 90)
        for number in (1, 39, 40, 41):
            start = math.floor(number * bar / hop) - 3
            grid = stages._inputs(stage, start, start + 8)["grid"]
            steps = [math.floor((start + n) * hop / (bar / 16)) for n in range(8)]
            assert grid[0, :, 0].tolist() == [s % 16 for s in steps]
            assert grid[0, :, 2].tolist() == [s // 16 % 8 for s in steps]
            assert (grid[1] == PAD).all()


# ----------------------------------------------------------------------------------------- going on from


@pytest.fixture(scope="module")
def recording(lm: MusicLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.503 s: 75 frames of the codec, 37 of the semantic tokenizer, and a bit."""
    path = tmp_path_factory.mktemp("audio") / "opening.wav"
    (beat,) = lm.generate("trap, 140 bpm", duration_s=1.503, seed=8)
    beat.save(path)
    return path


@pytest.mark.parametrize("block", [None, 9])
def test_an_opening_keeps_its_codes(lm: MusicLM, recording: Path, block: int | None) -> None:
    audio = torch.from_numpy(read_audio(recording)[0])[None]
    opening = lm.tokenize(audio.expand(2, -1, -1))
    assert opening.codes.shape == (2, 75, 4)
    assert opening.semantic.shape == (2, 37, 1)
    made = codes(lm, pieces(lm, 2), 130, opening=opening, block=block)
    assert torch.equal(made[:, :75], opening.codes)
    assert torch.equal(made, codes(lm, pieces(lm, 2), 130, opening=opening))
    assert not torch.equal(made[:, 75:], codes(lm, pieces(lm, 2), 130)[:, 75:])


def test_a_beat_goes_on_from_a_file(lm: MusicLM, recording: Path) -> None:
    (beat,) = lm.generate(PROMPT, duration_s=3, continue_from=recording)
    assert beat.audio.shape[1] == 3 * RATE
    whole_frames = read_audio(recording)[0][:, : 75 * HOP]
    again = lm.codec.decode(lm.codec.encode(torch.from_numpy(whole_frames)[None]))[0].clamp(-1, 1)
    assert np.allclose(beat.audio[:, : 75 * HOP], again, atol=1e-6)


def test_an_opening_of_another_rate_and_in_stereo(lm: MusicLM, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 44_100)).astype(np.float32)
    write_wav(tmp_path / "a.wav", noise, 44_100)
    (beat,) = lm.generate(PROMPT, duration_s=1.5, continue_from=tmp_path / "a.wav")
    assert beat.audio.shape == (1, 1.5 * RATE)


def test_an_opening_shorter_than_a_frame_is_none(lm: MusicLM, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.full((1, 5), 0.5, np.float32), RATE)
    beats = [lm.generate(PROMPT, duration_s=0.5, continue_from=p)[0] for p in (None, tmp_path / "a.wav")]
    assert same(*beats)


def test_bad_openings_are_one_line(lm: MusicLM, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="as long as the beat is to be"):
        lm.generate(PROMPT, duration_s=1, continue_from=recording)
    with pytest.raises(AudioError, match="no audio file"):
        lm.generate(PROMPT, continue_from=tmp_path / "none.wav")


# --------------------------------------------------------------------------------------- other patterns


def untrained(tree: dict[str, Any]) -> AudioLM:
    """An AudioLM with fresh weights, of parts that need no training."""
    torch.manual_seed(0)
    tree["conditioners"] = {name: {"use": name} for name in ("groove", "grid", "toy")}
    for stage in TOKEN_STAGES:
        tree["stages"][stage]["inputs"] = [n for n in tree["stages"][stage]["inputs"] if n != "mulan"]
    recipe = parse_recipe(tree, "test")
    parts = build_parts(recipe)
    models = {name: make_model(recipe, stage_streams(recipe, parts, name)).eval() for name in TOKEN_STAGES}
    return AudioLM(recipe, parts, models)


def watch_inputs(stages: Stages) -> None:
    """From now on fail where a stage reads what an earlier one has not made yet."""
    original = stages._tokens

    def checked(*arguments: Any) -> Tensor:
        tokens = original(*arguments)
        assert tokens.shape[1] == arguments[3] - arguments[2]
        assert (tokens != PAD).all(), f"{arguments} read too early"
        return tokens

    vars(stages)["_tokens"] = checked


@pytest.mark.parametrize("fine", ["flat", "masked"])
@pytest.mark.parametrize("coarse", ["flat", "delay"])
def test_every_pattern_streams_as_it_makes(toy_recipe: dict[str, Any], coarse: str, fine: str) -> None:
    """Over several windows of each stage, and with a FINE that reads semantics further ahead than COARSE."""
    stages = toy_recipe["stages"]
    stages["semantic"] |= {"pattern": "delay", "crop_s": 0.6}
    stages["coarse"] |= {"pattern": coarse, "crop_s": 0.5}
    stages["fine"] |= {"pattern": fine, "crop_s": 0.5, "inputs": ["coarse", "semantic"], "look_ahead": 5}
    lm, (piece,) = untrained(toy_recipe), [Piece(Prompt(PROMPT))]
    whole = codes(lm, [piece], 62)
    assert (whole != PAD).all()
    assert torch.equal(codes(lm, [piece], 62, block=9), whole)
    assert torch.equal(codes(lm, [piece], 33), whole[:, :33])
    inside = Stages(lm, [piece], 62, lm.recipe.sampling, None)
    watch_inputs(inside)
    for end in (1, 9, 40, 62):
        inside.advance_causal(end)
        inside.advance_fine(end)
    assert torch.equal(inside.codes(0, 62), whole)
    opening = Opening(torch.zeros(1, 10, 1, dtype=torch.int64), torch.ones(1, 21, 4, dtype=torch.int64))
    went_on = codes(lm, [piece], 62, opening=opening, block=9)
    assert torch.equal(went_on[:, :21], opening.codes)
    assert torch.equal(went_on, codes(lm, [piece], 62, opening=opening))


def test_a_chain_without_semantics(toy_recipe: dict[str, Any]) -> None:
    toy_recipe["stages"]["coarse"]["inputs"] = ["toy"]
    lm = untrained(toy_recipe)
    assert (codes(lm, [Piece(Prompt(PROMPT))], 30) != PAD).all()


def test_who_stops_listening_leaves_no_work_behind(lm: MusicLM) -> None:
    before = set(threading.enumerate())
    blocks = lm.stream(pieces(lm, 1), 10_000, sampling=lm.recipe.sampling, block=5_000)
    next(blocks)
    started = set(threading.enumerate()) - before
    blocks.close()
    assert started
    assert not any(thread.is_alive() for thread in started)


def test_what_fails_beside_is_told(lm: MusicLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: CausalDecoder, end: int) -> None:
        raise RuntimeError("no more")

    blocks = lm.stream(pieces(lm, 1), 100, sampling=lm.recipe.sampling, block=50)
    monkeypatch.setattr(CausalDecoder, "_run", fail)
    with pytest.raises(RuntimeError, match="no more"):
        list(blocks)


@pytest.mark.parametrize("pattern", ["flat", "masked"])
def test_stages_that_hear_nothing(toy_recipe: dict[str, Any], pattern: str) -> None:
    """AudioLM without conditions."""
    for name in ("semantic", "coarse", "fine"):
        toy_recipe["stages"][name]["inputs"] = []
    toy_recipe["stages"]["fine"]["pattern"] = pattern
    lm = untrained(toy_recipe)
    assert (codes(lm, [Piece(Prompt(PROMPT)), Piece(Prompt(PROMPT), 1)], 70) != PAD).all()


@pytest.mark.parametrize("block", [1, 5, 16, 100])
def test_playing_in_chunks_equals_decoding_the_whole(toy_recipe: dict[str, Any], block: int) -> None:
    """With a codec that hears frames to the left and to the right."""
    sizes = {"num_codebooks": 4, "codebook_size": 8, "width": 16, "latent_width": 16, "code_dim": 8}
    lm = untrained(toy_recipe | {"codec": {"use": "boombox", **sizes}})
    assert min(lm.codec.context_frames) > 0
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(8, (2, 60, 4), generator=random)
    chunks = list(lm.play(iter(tokens.split(block, 1))))
    assert torch.allclose(torch.cat(chunks, -1), lm.codec.decode(tokens), atol=1e-5)
    assert list(lm.play(iter([]))) == []


# ---------------------------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "toy"
    size = export_bundle(tiny_run, path)
    assert size == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_a_bundle_makes_what_its_run_makes(lm: MusicLM, bundle: Path, tmp_path: Path) -> None:
    (beat,) = lm.generate(PROMPT, duration_s=1)
    (again,) = MusicLM.load(bundle).generate(PROMPT, duration_s=1)
    assert np.array_equal(beat.audio, again.audio)
    export_bundle(bundle, tmp_path / "second")
    (third,) = MusicLM.load(tmp_path / "second").generate(PROMPT, duration_s=1)
    assert np.array_equal(beat.audio, third.audio)


def test_a_bundle_holds_no_more_than_it_needs(bundle: Path) -> None:
    files = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert files == {
        "recipe.yaml", "meta.json", "parts/mulan.safetensors", "parts/conditioners.groove.safetensors",
        "stages/semantic.safetensors", "stages/coarse.safetensors", "stages/fine.safetensors",
    }  # fmt: skip
    meta = json.loads((bundle / "meta.json").read_text())
    for identity in meta["identities"].values():
        assert identity["source_sha256"] == identity["state_sha256"]


def test_export_overwrites_nothing(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for path in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(RapgenError, match="exists; remove it or choose another place"):
            export_bundle(tiny_run, path)
    with pytest.raises(RapgenError, match="cannot write"):
        export_bundle(tiny_run, tmp_path / "full" / "file" / "bundle")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full"]
    (tmp_path / "empty").mkdir()
    assert export_bundle(tiny_run, tmp_path / "empty")


def test_an_unfinished_run_is_told(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("audio", "tokens", "fine"))
    for attempt in (MusicLM.load, lambda path: export_bundle(path, tmp_path / "bundle")):
        with pytest.raises(ModelError, match="has no trained fine; run `rapgen train fine`"):
            attempt(run)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "nowhere", "no-such-bundle", "../rapgen"):
        with pytest.raises(ModelError, match="no run or bundle"):
            MusicLM.load(name)


def flip(path: Path, place: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "stage": (lambda b: flip(b / "stages/coarse.safetensors"), r"coarse\.safetensors is damaged"),
    "part": (lambda b: flip(b / "parts/mulan.safetensors"), r"mulan\.safetensors is damaged"),
    "no meta": (lambda b: (b / "meta.json").unlink(), r"no readable meta\.json"),
    "meta": (lambda b: flip(b / "meta.json"), r"meta\.json"),
    "no stage": (lambda b: (b / "stages/fine.safetensors").unlink(), r"fine\.safetensors is missing or damaged"),
    "no part": (lambda b: (b / "parts/mulan.safetensors").unlink(), "has no trained mulan"),
    "torn": (lambda b: (b / "stages/semantic.safetensors").write_bytes(b"half"), r"semantic\.safetensors is missing"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_line(copy: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=message) as raised:
        MusicLM.load(copy)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["meta.json", "recipe.yaml"])
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_no_damage_is_a_traceback(bundle: Path, name: str, place: int, bit: int) -> None:
    content = (bundle / name).read_bytes()
    changed = bytearray(content)
    changed[place % len(content)] ^= 1 << bit
    (bundle / name).write_bytes(changed)
    try:
        MusicLM.load(bundle)
    except RapgenError:
        pass
    finally:
        (bundle / name).write_bytes(content)


def test_parts_of_another_model_do_not_fit(copy: Path) -> None:
    """A part that is whole, but not the one that the stages were trained with."""
    parts = load_parts(copy, load_recipe(copy / "recipe.yaml"))
    with torch.no_grad():
        parts["mulan"].component.quantizer.text_shift += 1
    save_part(copy, "mulan", parts["mulan"])
    with pytest.raises(ModelError, match=r"\(mulan\): state_sha256 was"):
        MusicLM.load(copy)
