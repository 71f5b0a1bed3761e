from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rapgen_plugins.boombox as boombox_module
from rapgen.interfaces import Trainable
from rapgen.models.kmeans import kmeans, nearest
from rapgen.models.rvq import ResidualVQ
from rapgen.models.spectral_loss import si_sdr
from rapgen_plugins.boombox import BoomboxCodec, boombox

HOP = 960


def tiny_codec(seed: int = 0, hop_length: Literal[480, 960] = HOP) -> BoomboxCodec:
    """A codec of a few thousand weights whose codebooks have seen some audio."""
    torch.manual_seed(seed)
    codec = boombox(num_codebooks=3, codebook_size=16, width=16, latent_width=16, code_dim=8, hop_length=hop_length)
    assert isinstance(codec, BoomboxCodec)
    codec.module(drums(4, 24_000))
    return codec


def drums(batch: int, samples: int) -> torch.Tensor:
    """f32 [batch, 1, samples] of decaying tones and noise, each item another."""
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(samples) / 24_000
    decay = torch.exp(-(time % 0.25) / 0.05)
    pitch_hz = 50 + 100 * torch.rand(batch, 1, generator=generator)
    noise = torch.randn(batch, samples, generator=generator)
    return (decay * (0.6 * torch.sin(2 * torch.pi * pitch_hz * time) + 0.05 * noise)).unsqueeze(1)


@pytest.fixture(scope="module", params=[HOP, 480])
def codec(request: pytest.FixtureRequest) -> BoomboxCodec:
    return tiny_codec(hop_length=request.param)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 5 * HOP), batch=st.integers(1, 3))
def test_lengths_are_exact_and_codes_in_range(codec: BoomboxCodec, samples: int, batch: int) -> None:
    codes = codec.encode(drums(batch, samples))
    hop = codec.spec.hop_length
    assert hop
    frames = -(-samples // hop)
    assert codes.shape == (batch, frames, 3)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < codec.spec.codebook_size
    audio = codec.decode(codes)
    assert audio.shape == (batch, 1, frames * hop)
    assert audio.dtype == torch.float32
    assert audio.isfinite().all()


@settings(max_examples=5, deadline=None)
@given(chunk_frames=st.integers(1, 60))
def test_chunks_equal_the_whole(codec: BoomboxCodec, chunk_frames: int) -> None:
    audio = drums(2, 50 * HOP - 7)
    whole_codes = codec.module.encode(audio)
    whole_audio = codec.module.decode(whole_codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boombox_module, "_CHUNK_FRAMES", chunk_frames)
        assert (codec.encode(audio) == whole_codes).float().mean() > 0.99
        torch.testing.assert_close(codec.decode(whole_codes), whole_audio, atol=1e-4, rtol=1e-3)


def test_context_is_no_larger_than_what_is_heard(codec: BoomboxCodec) -> None:
    left, right = codec.context_frames
    codes = torch.zeros(1, 61, 3, dtype=torch.int64)
    changed = codes.clone()
    changed[:, 30] = 1
    difference = (codec.decode(codes) - codec.decode(changed)).abs().reshape(61, -1).amax(1)
    heard = (difference > 0).nonzero().squeeze(1)
    assert 30 - right <= heard.min() <= 30 - right + 1
    assert 30 + left - 1 <= heard.max() <= 30 + left


def test_state_round_trip_gives_the_same_codes(codec: BoomboxCodec) -> None:
    other = tiny_codec(seed=1, hop_length=codec.spec.hop_length)
    audio = drums(2, 9000)
    other.load_state({name: value.clone() for name, value in codec.state().items()})
    assert torch.equal(other.encode(audio), codec.encode(audio))
    assert torch.equal(other.decode(codec.encode(audio)), codec.decode(codec.encode(audio)))


def test_works_with_weights_rounded_to_half_precision() -> None:
    codec = tiny_codec()
    rounded = {n: v.half() if v.is_floating_point() else v for n, v in codec.state().items()}
    codec.load_state(rounded)
    assert codec.decode(codec.encode(drums(1, 24_000))).isfinite().all()
    for name, value in codec.state().items():
        assert torch.equal(value, rounded[name].to(value.dtype)), name


def test_state_of_other_sizes_is_refused(codec: BoomboxCodec) -> None:
    with pytest.raises(ValueError, match="boombox"):
        boombox(width=32).load_state(codec.state())


@pytest.mark.parametrize("shape", [(1, 2, 960), (1, 960), (1, 1, 0)])
def test_only_mono_audio_is_encoded(codec: BoomboxCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mono"):
        codec.encode(torch.zeros(shape))


def test_training_is_deterministic() -> None:
    def trained() -> dict[str, torch.Tensor]:
        codec = tiny_codec()
        codec.module(drums(4, 12_000))[0].backward()
        grads = {f"{n}.grad": p.grad for n, p in codec.module.named_parameters() if p.grad is not None}
        return codec.state() | grads

    first, second = trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("autocast", [False, True])
def test_overfits_one_batch(autocast: bool) -> None:
    torch.manual_seed(0)
    codec = boombox(num_codebooks=2, codebook_size=16, width=16, latent_width=16, code_dim=8)
    assert isinstance(codec, Trainable)
    optimizer = torch.optim.Adam(codec.module.parameters(), lr=5e-3)
    audio = drums(2, 9600)
    losses = []
    for _ in range(25):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss, logs = codec.module(audio)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert loss.dtype == torch.float32
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.isfinite(value) for value in logs.values())


def test_validation_moves_no_codebook(codec: BoomboxCodec) -> None:
    before = codec.module.quantizer.codebooks.clone()
    codec.module.eval()
    codec.module(drums(2, 9600))
    codec.module.train()
    assert torch.equal(before, codec.module.quantizer.codebooks)


# ------------------------------------------------------------------------------------------ quantizers


def test_more_codebooks_come_nearer() -> None:
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    quantizer = ResidualVQ(dim=8, codebook_size=32, num_codebooks=5)
    quantizer.fit(x, seed=0)
    codes = quantizer.encode(x)
    errors = [(quantizer.decode(codes[:, :q]) - x).square().mean() for q in range(1, 6)]
    assert all(more < 0.9 * fewer for fewer, more in pairwise(errors))


def test_first_batch_starts_the_codebooks_with_all_codes_in_use() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=4, codebook_size=64, num_codebooks=2)
    x = torch.randn(8, 100, 4)
    _, codes, _ = quantizer(x)
    assert quantizer.is_started
    assert codes[..., 0].unique().numel() == 64


def test_dead_codes_are_revived() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=4, codebook_size=32, num_codebooks=1, decay=0.8)
    quantizer(torch.randn(500, 4))
    for _ in range(60):
        quantizer(torch.randn(500, 4) + 50)
    assert quantizer.encode(torch.randn(2000, 4) + 50).unique().numel() == 32
    assert quantizer.perplexity().item() > 16


def test_quantizer_passes_gradients_and_shapes() -> None:
    quantizer = ResidualVQ(dim=4, codebook_size=8, num_codebooks=3)
    x = torch.randn(2, 5, 7, 4, requires_grad=True)
    quantized, codes, commitment = quantizer(x)
    quantized.sum().backward()
    assert quantized.shape == x.shape
    assert codes.shape == (2, 5, 7, 3)
    assert commitment.shape == ()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), k=st.integers(1, 20), seed=st.integers(0, 99))
def test_kmeans_gives_k_finite_centroids_whatever_the_rows(rows: int, k: int, seed: int) -> None:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)).round()
    centroids = kmeans(x, k, seed=seed)
    assert centroids.shape == (k, 3)
    assert centroids.isfinite().all()
    assert torch.equal(centroids, kmeans(x, k, seed=seed))


def test_kmeans_finds_separate_clusters() -> None:
    centres = 100 * torch.eye(5)
    x = centres.repeat_interleave(50, 0) + torch.randn(250, 5, generator=torch.Generator().manual_seed(0))
    distance, labels = nearest(x, kmeans(x, 5, seed=3))
    assert labels.unique().numel() == 5
    assert distance.max() < 40


def test_si_sdr_ignores_scale() -> None:
    target = drums(1, 4800)[:, 0]
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(2))
    noisy = target + 0.1 * target.std() * noise
    torch.testing.assert_close(si_sdr(0.3 * noisy, target), si_sdr(noisy, target), atol=1e-2, rtol=1e-3)
    assert 18 < si_sdr(noisy, target).item() < 22
