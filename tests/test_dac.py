"""The codec `dac` on the package's own network with random weights, narrower than the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rapgen_plugins.dac as dac_module
from rapgen.errors import RecipeError
from rapgen.recipe import parse_recipe
from rapgen_plugins.dac import DacCodec, context_frames, dac

RATES = (16_000, 24_000, 44_100)


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dac_module, "_WIDTHS", {"encoder_dim": 8, "decoder_dim": 64})
        yield


@pytest.fixture(scope="module")
def codecs(narrow: None) -> dict[int, DacCodec]:
    """One for each rate."""
    return {rate: DacCodec(rate, 4, "random") for rate in RATES}


def music(batch: int, samples: int) -> Tensor:
    """f32 [batch, 1, samples] of decaying tones and noise, each item another."""
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(samples) / 20_000
    pitch_hz = 50 + 100 * torch.rand(batch, 1, generator=generator)
    noise = torch.randn(batch, samples, generator=generator)
    return (torch.exp(-(time % 0.25) / 0.1) * 0.6 * torch.sin(6.28 * pitch_hz * time) + 0.02 * noise).unsqueeze(1)


@pytest.mark.parametrize(("rate", "hop", "books"), [(16_000, 320, 12), (24_000, 320, 32), (44_100, 512, 9)])
def test_the_spec_follows_from_the_options_alone(rate: int, hop: int, books: int) -> None:
    codec = dac(sample_rate=rate)  # of the hub, and nothing is fetched
    assert (codec.spec.sample_rate, codec.spec.hop_length, codec.channels) == (rate, hop, 1)
    assert (codec.spec.num_codebooks, codec.spec.codebook_size) == (books, 1024)
    assert dac(sample_rate=rate, num_codebooks=2).spec.num_codebooks == 2
    with pytest.raises(RecipeError, match=rf"num_codebooks is {books + 1}; at {rate} Hz there are {books}"):
        dac(sample_rate=rate, num_codebooks=books + 1)


def test_options_are_checked_with_the_recipe(toy_recipe: dict[str, Any]) -> None:
    toy_recipe["codec"] = {"use": "dac", "sample_rate": 48_000, "num_codebooks": 0}
    with pytest.raises(RecipeError) as raised:
        parse_recipe(toy_recipe, "toy")
    assert "option 'sample_rate': Input should be 16000, 24000 or 44100" in str(raised.value)
    assert "option 'num_codebooks': Input should be greater than or equal to 1" in str(raised.value)


@given(rate=st.sampled_from(RATES), samples=st.integers(1, 4000), batch=st.integers(1, 2))
@settings(max_examples=15)
def test_lengths_are_exact_and_codes_in_range(codecs: dict[int, DacCodec], rate: int, samples: int, batch: int) -> None:
    codec = codecs[rate]
    codes = codec.encode(music(batch, samples))
    hop = codec.spec.hop_length or 0
    frames = -(-samples // hop)
    assert codes.shape == (batch, frames, 4)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < 1024
    audio = codec.decode(codes)
    assert audio.shape == (batch, 1, frames * hop)
    assert audio.dtype == torch.float32
    assert audio.isfinite().all()


def test_random_weights_are_of_use(codecs: dict[int, DacCodec]) -> None:
    """Or the bounds below would say nothing: codes differ, and there is sound."""
    for codec in codecs.values():
        codes = codec.encode(music(1, 30_000))
        assert all(codes[0, :, book].unique().numel() > 20 for book in range(4))
        assert 0.005 < codec.decode(codes).std() < 1


@pytest.mark.parametrize("rate", RATES)
def test_it_is_the_packages_codec(codecs: dict[int, DacCodec], rate: int) -> None:
    codec = codecs[rate]
    audio = music(2, 20 * (codec.spec.hop_length or 0))
    with torch.no_grad():
        codes = codec.net.encode(audio, n_quantizers=4)[1]
        sound = codec.net.decode(codec.net.quantizer.from_codes(codes)[0])
    assert (codec.encode(audio) == codes.transpose(1, 2)).float().mean() > 0.999
    ours = codec.decode(codes.transpose(1, 2))
    torch.testing.assert_close(ours[..., : sound.shape[-1]], sound, atol=1e-4, rtol=0)
    assert ours.shape[-1] - sound.shape[-1] == {16_000: 8, 24_000: 8, 44_100: 0}[rate]
    assert not ours[..., sound.shape[-1] :].any()


@pytest.mark.parametrize("chunk_frames", [3, 29])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_chunks_equal_the_whole(
    codecs: dict[int, DacCodec], rate: int, chunk_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = codecs[rate]
    audio = music(1, 30 * (codec.spec.hop_length or 0) - 7)
    codes = codec.encode(audio)
    sound = codec.decode(codes)
    monkeypatch.setattr(dac_module, "_CHUNK_FRAMES", chunk_frames)
    assert (codec.encode(audio) == codes).float().mean() > 0.999
    torch.testing.assert_close(codec.decode(codes), sound, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rate", RATES)
def test_context_is_what_is_heard_and_no_more(codecs: dict[int, DacCodec], rate: int) -> None:
    codec = codecs[rate]
    left, right = codec.context_frames
    codes = torch.zeros(1, 61, 4, dtype=torch.int64)
    changed = codes.clone()
    changed[:, 30] = 1
    difference = (codec.decode(codes) - codec.decode(changed)).abs().reshape(61, -1).amax(1)
    heard = difference.nonzero().squeeze(1)
    assert (heard.min(), heard.max()) == (30 - right, 30 + left)
    hop = codec.spec.hop_length or 0
    audio = music(1, 61 * hop)
    other = audio.clone()
    other[..., 30 * hop : 31 * hop] += 0.5
    with torch.no_grad():
        moved = (codec.net.encoder(audio) - codec.net.encoder(other)).abs().amax((0, 1)).nonzero()
    assert 30 - right <= moved.min() < 30 < moved.max() <= 30 + left


def test_the_context_of_one_stride_by_hand() -> None:
    """Frame 0 of the decoder is samples 0 .. 1, from the last convolution back to the first.

    Kernel 7: -3 .. 4; units of dilation 9, 3, 1: -42 .. 43; upsampling by 2, 4 wide, 1 trimmed: -22 .. 22; kernel 7:
    -25 .. 25. The encoder hears less.
    """
    assert context_frames((2,)) == (25, 25)


def test_an_item_does_not_depend_on_its_batch(codecs: dict[int, DacCodec]) -> None:
    audio = music(3, 9000)
    codes = codecs[16_000].encode(audio)
    assert (codecs[16_000].encode(audio[1:2]) == codes[1:2]).float().mean() > 0.99
    sound = codecs[16_000].decode(codes)
    torch.testing.assert_close(codecs[16_000].decode(codes[1:2]), sound[1:2], atol=1e-4, rtol=0)


def test_fewer_codebooks_are_the_first_of_more(codecs: dict[int, DacCodec]) -> None:
    audio = music(1, 9000)
    codes = codecs[16_000].encode(audio)
    two = DacCodec(16_000, 2, "random")
    assert torch.equal(two.encode(audio), codes[..., :2])
    assert torch.equal(two.decode(codes[..., :2]), codecs[16_000].decode(codes[..., :2]))


def test_codebooks_are_the_vectors_behind_the_codes(codecs: dict[int, DacCodec]) -> None:
    codec = codecs[16_000]
    assert codec.codebooks.shape == (4, 1024, 8)
    codes = torch.randint(0, 1024, (1, 5, 4), generator=torch.Generator().manual_seed(0))
    vectors = codec.codebooks[torch.arange(4), codes]
    found = codec.net.quantizer.from_codes(codes.transpose(1, 2))[1]
    torch.testing.assert_close(vectors.flatten(2).transpose(1, 2), found)


@pytest.mark.parametrize("shape", [(1, 2, 960), (1, 960), (1, 1, 0)])
def test_only_mono_audio_is_encoded(codecs: dict[int, DacCodec], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"dac encodes audio \[B, 1, S\]"):
        codecs[16_000].encode(torch.zeros(shape))
