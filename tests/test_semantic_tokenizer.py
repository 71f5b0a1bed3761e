"""rhythm-kmeans: exact lengths, the same tokens again, in chunks and after a round trip; drums decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.errors import ModelError, RecipeError
from rapgen.interfaces import Clip, Fittable, SemanticTokenizer
from rapgen_plugins.rhythm_kmeans import rhythm_kmeans

RATE, HOP, SIZE = 24_000, 1920, 16


def drums(*, duration_s: float = 4.0, shift_s: float = 0.0, seed: int = 0) -> torch.Tensor:
    """f32 [1, 1, S]: a kick and a hat in turn every quarter of a second over a soft chord."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(duration_s * RATE)) / RATE
    kick = np.sin(2 * np.pi * 60 * time[: RATE // 10])
    audio = 0.05 * sum(np.sin(2 * np.pi * hz * time) for hz in (220.0, 277.2, 329.6))
    for n, start_s in enumerate(np.arange(shift_s, duration_s - 0.1, 0.25)):
        start = round(start_s * RATE)
        decay = np.exp(-np.arange(RATE // 10) / 400)
        tone = kick if n % 2 == 0 else rng.normal(size=RATE // 10)
        audio[start : start + RATE // 10] += 0.5 * tone * decay
    return torch.from_numpy(audio.astype(np.float32))[None, None]


def fitted(*, seed: int = 0) -> SemanticTokenizer:
    tokenizer = rhythm_kmeans(codebook_size=SIZE)
    assert isinstance(tokenizer, Fittable)
    clips = [Clip(drums(shift_s=0.01 * n, seed=n)[0].numpy(), RATE) for n in range(8)]
    tokenizer.fit(iter(clips), seed=seed)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> SemanticTokenizer:
    return fitted()


@given(num_samples=st.integers(1, 4 * HOP + 1), batch=st.integers(1, 2), channels=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_any_length_gives_one_token_a_started_frame(
    tokenizer: SemanticTokenizer, num_samples: int, batch: int, channels: int
) -> None:
    codes = tokenizer.encode(torch.randn(batch, channels, num_samples))
    assert codes.shape == (batch, -(-num_samples // HOP), 1)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < SIZE


def test_many_clusters_are_used(tokenizer: SemanticTokenizer) -> None:
    assert len(tokenizer.encode(drums(duration_s=8.0)).unique()) > SIZE // 4


def test_fitting_and_encoding_repeat(tokenizer: SemanticTokenizer) -> None:
    again = fitted()
    assert all(torch.equal(again.state()[name], tensor) for name, tensor in tokenizer.state().items())
    assert torch.equal(again.encode(drums()), tokenizer.encode(drums()))
    assert not torch.equal(fitted(seed=1).state()["centroids"], tokenizer.state()["centroids"])


@given(first=st.integers(2, 20), frames=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_two_frames_of_context_make_a_chunk_equal_the_whole(
    tokenizer: SemanticTokenizer, first: int, frames: int
) -> None:
    audio = drums()
    whole = tokenizer.encode(audio)[:, first : first + frames]
    chunk = tokenizer.encode(audio[..., (first - 2) * HOP : (first + frames + 2) * HOP])
    assert torch.equal(chunk[:, 2 : 2 + frames], whole)


def test_drums_moved_within_a_frame_change_tokens(tokenizer: SemanticTokenizer) -> None:
    straight, late = tokenizer.encode(drums()), tokenizer.encode(drums(shift_s=0.04))
    assert (straight != late).float().mean() > 0.3


def test_a_little_noise_changes_few_tokens(tokenizer: SemanticTokenizer) -> None:
    noisy = drums() + 1e-4 * torch.randn(drums().shape, generator=torch.Generator().manual_seed(0))
    assert (tokenizer.encode(drums()) != tokenizer.encode(noisy)).float().mean() < 0.1


def test_state_round_trip(tokenizer: SemanticTokenizer) -> None:
    other = rhythm_kmeans(codebook_size=SIZE)
    other.load_state(tokenizer.state())
    assert torch.equal(other.encode(drums()), tokenizer.encode(drums()))
    with pytest.raises(ValueError, match="centroids"):
        rhythm_kmeans(codebook_size=SIZE + 1).load_state(tokenizer.state())


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ModelError, match="rapgen semantic fit"):
        rhythm_kmeans().encode(drums())
    with pytest.raises(RecipeError, match="hop_length"):
        rhythm_kmeans(hop_length=1921)
    with pytest.raises(ModelError, match="no clips"):
        rhythm_kmeans().fit([], seed=0)  # type: ignore[attr-defined]


def test_clips_of_another_rate_are_resampled() -> None:
    tokenizer = rhythm_kmeans(codebook_size=2)
    tokenizer.fit([Clip(np.zeros((1, 44100), np.float32), 44100)], seed=0)  # type: ignore[attr-defined]
    assert tokenizer.encode(torch.zeros(1, 1, 24000)).shape == (1, 13, 1)
