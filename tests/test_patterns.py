"""Token patterns: every token once, and each codebook sees what the pattern says and nothing more."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rapgen.generation.causal import CausalDecoder
from rapgen.generation.engine import make_engine
from rapgen.interfaces import TokenSpec
from rapgen.models.patterns import PAD, frames_of_steps, lay_out, layout, steps_until
from rapgen.models.token_lm import Input, TokenLM
from rapgen.schema import Sampling

FRAMES, BOOKS, SIZE = 6, 3, 8
sizes = {"frames": st.integers(1, 20), "books": st.integers(1, 6)}


@pytest.mark.parametrize("pattern", ["flat", "delay", "masked"])
@given(**sizes)
def test_every_token_is_predicted_once(pattern: str, frames: int, books: int) -> None:
    steps = steps_until(pattern, frames, books)
    where = layout(pattern, torch.arange(steps), books)
    pairs = [(f, q) for row in where.tolist() for q, f in enumerate(row) if 0 <= f < frames]
    assert sorted(pairs) == [(f, q) for f in range(frames) for q in range(books)]
    if pattern != "masked":  # one step fewer and a token would be missing
        assert (where[-1] >= 0).any()
        assert where[-1, -1] == frames - 1


@pytest.mark.parametrize("pattern", ["flat", "delay", "masked"])
@given(**sizes, extra=st.integers(0, 5), seed=st.integers(0, 99))
def test_lay_out_can_be_undone(pattern: str, frames: int, books: int, extra: int, seed: int) -> None:
    codes = torch.randint(SIZE, (2, frames, books), generator=torch.Generator().manual_seed(seed))
    steps = steps_until(pattern, frames, books) + extra
    laid = lay_out(pattern, codes, steps)
    assert laid.shape == (2, steps, books)
    where = layout(pattern, torch.arange(steps), books)
    undone = torch.full_like(codes, PAD)
    for q in range(books):
        known = (where[:, q] >= 0) & (where[:, q] < frames)
        undone[:, where[known, q], q] = laid[:, known, q]
        assert (laid[:, ~known, q] == PAD).all()
    assert torch.equal(undone, codes)


@given(**sizes)
def test_no_tokens_take_no_steps(frames: int, books: int) -> None:
    assert {steps_until(p, 0, books) for p in ("flat", "delay", "masked")} == {0}
    assert steps_until("delay", frames, books) <= steps_until("flat", frames, books)


def test_a_step_reads_streams_at_its_frame() -> None:
    steps = torch.arange(6)
    assert frames_of_steps("flat", steps, 3).tolist() == [0, 0, 0, 1, 1, 1]
    assert frames_of_steps("delay", steps, 3).tolist() == list(range(6))


# ---------------------------------------------------------------------------------- what a codebook sees


def make_model(pattern: str) -> TokenLM:
    torch.manual_seed(0)
    inputs = {
        "prefix": Input(TokenSpec(SIZE, 2), is_prefix=True, is_condition=True),
        "aligned": Input(TokenSpec(SIZE, 1, 100, 1), is_prefix=False, is_condition=False),
    }
    target = TokenSpec(SIZE, BOOKS, 100, 1)
    return TokenLM(target=target, inputs=inputs, pattern=pattern, width=32, layers=2, heads=2).eval()


def make_batch(frames: int = FRAMES) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {
        "target": torch.randint(SIZE, (1, frames, BOOKS), generator=random),
        "prefix": torch.randint(SIZE, (1, 2), generator=random),
        "aligned": torch.randint(SIZE, (1, frames, 1), generator=random),
    }


@torch.no_grad()
def predictions(model: TokenLM, batch: dict[str, Tensor]) -> Tensor:
    """Logits of every token from all that its pattern lets it see: f32 [F, Q, V]."""
    codes, books = batch["target"], batch["target"].shape[2]
    frames = codes.shape[1]
    if model.pattern == "masked":
        hidden = model.masked_hidden(codes, batch)[0]
        return torch.stack([model.logits(hidden, q) for q in range(books)], 1)
    steps = torch.arange(steps_until(model.pattern, frames, books))
    before = lay_out(model.pattern, codes, len(steps))[:, :-1]
    x = model.embed_steps(torch.nn.functional.pad(before, (0, 0, 1, 0), value=PAD))
    aligned = model.embed_aligned(batch)
    assert isinstance(aligned, Tensor)
    x = x + aligned[:, frames_of_steps(model.pattern, steps, books).clamp(max=aligned.shape[1] - 1)]
    prefix = model.embed_prefix(batch)
    hidden = model.hidden(torch.cat([prefix, x], 1))[0, prefix.shape[1] :]
    found = torch.zeros(frames, books, SIZE)
    for step, row in enumerate(layout(model.pattern, steps, books).tolist()):
        for q, frame in enumerate(row):
            if 0 <= frame < frames:
                found[frame, q] = model.logits(hidden[step], q)
    return found


def seen_by(pattern: str, stream: str, frame: int, book: int) -> set[tuple[int, int]]:
    """The (frame, codebook) whose logits change when one token of a stream does."""
    model, batch = make_model(pattern), make_batch()
    plain = predictions(model, batch)
    changed = {name: tokens.clone() for name, tokens in batch.items()}
    changed[stream][0, frame, book] = (changed[stream][0, frame, book] + 1) % SIZE
    moved = (predictions(model, changed) - plain).abs().amax(-1) > 1e-6
    return {(f, q) for f, q in moved.nonzero().tolist()}


EVERY = [(f, q) for f in range(FRAMES) for q in range(BOOKS)]


@pytest.mark.parametrize(("frame", "book"), EVERY)
def test_flat_sees_exactly_the_tokens_before(frame: int, book: int) -> None:
    assert seen_by("flat", "target", frame, book) == {pair for pair in EVERY if pair > (frame, book)}


@pytest.mark.parametrize(("frame", "book"), EVERY)
def test_delay_sees_frames_up_to_its_step_less_one(frame: int, book: int) -> None:
    """Codebook q of frame f is predicted at step f + q, from tokens of steps before that."""
    assert seen_by("delay", "target", frame, book) == {(f, q) for f, q in EVERY if f + q > frame + book}


@pytest.mark.parametrize("frame", range(FRAMES - 1))
def test_aligned_streams_are_seen_from_their_frame_on(frame: int) -> None:
    assert seen_by("flat", "aligned", frame, 0) == {(f, q) for f, q in EVERY if f >= frame}
    assert seen_by("delay", "aligned", frame, 0) == {(f, q) for f, q in EVERY if f + q >= frame}


@pytest.mark.parametrize(("frame", "book"), [(0, 0), (3, 1), (5, 2)])
def test_masked_sees_everything(frame: int, book: int) -> None:
    assert seen_by("masked", "target", frame, book) == set(EVERY)
    assert seen_by("masked", "aligned", frame, 0) == set(EVERY)


@pytest.mark.parametrize("pattern", ["flat", "delay", "masked"])
def test_prefixes_are_seen_by_all(pattern: str) -> None:
    model, batch = make_model(pattern), make_batch()
    other = batch | {"prefix": (batch["prefix"] + 1) % SIZE}
    assert ((predictions(model, other) - predictions(model, batch)).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("known", [FRAMES, 4])
@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_the_loss_is_that_of_these_predictions(pattern: str, known: int) -> None:
    """Of all tokens but PAD, and under `delay` but those that come after the crop's last step."""
    model, batch = make_model(pattern), make_batch()
    batch["target"][:, known:] = PAD
    logits, tokens = predictions(model, batch), batch["target"][0]
    kept = torch.tensor([[pattern == "flat" or f + q < FRAMES for q in range(BOOKS)] for f in range(FRAMES)])
    kept &= tokens != PAD
    with torch.no_grad():
        loss, figures = model(batch)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits[kept], tokens[kept]).item(), rel=1e-5)
    assert figures["accuracy"].item() == pytest.approx((logits[kept].argmax(-1) == tokens[kept]).float().mean().item())


@pytest.mark.parametrize("guidance_scale", [1.0, 1.7])
@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_decoding_with_a_cache_follows_the_full_pass(pattern: str, guidance_scale: float) -> None:
    """At temperature 0 each token is the most likely one given those before it."""
    model, batch = make_model(pattern), make_batch(FRAMES + BOOKS - 1)
    without = {name: torch.full_like(tokens, PAD) if name == "prefix" else tokens for name, tokens in batch.items()}

    def inputs(start: int, end: int) -> dict[str, Tensor]:
        both = [batch] if guidance_scale == 1 else [batch, without]
        return {
            "prefix": torch.cat([b["prefix"] for b in both]),
            "aligned": torch.cat([b["aligned"][:, start:end] for b in both]),
        }

    sampling = Sampling(temperature=0, guidance_scale=guidance_scale)
    decoder = CausalDecoder(
        model, inputs, engine=make_engine(model), stage="coarse", frames=FRAMES, crop=3 * FRAMES, sampling=sampling, keys=[(0, 0)]
    )
    for until in (1, 2, 5, FRAMES):
        decoder.advance(until)
        assert (decoder.codes[:, :until] != PAD).all()
    wanted, unwanted = (predictions(model, b | {"target": decoder.codes}) for b in (batch, without))
    assert torch.equal((unwanted + guidance_scale * (wanted - unwanted)).argmax(-1), decoder.codes[0])
