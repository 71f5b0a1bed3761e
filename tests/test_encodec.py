"""The codec `encodec` on the package's own network with random weights: lengths, chunks, streams, levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rapgen_plugins.encodec as encodec_module
from rapgen.errors import RecipeError
from rapgen.generation.audiolm import AudioLM
from rapgen.identities import Part
from rapgen.recipe import parse_recipe
from rapgen_plugins.encodec import Encodec24, Encodec48, encodec

HOP, SECOND = 320, 48_000


def music(batch: int, channels: int, samples: int, rate: int) -> Tensor:
    """f32 [batch, channels, samples] of kicks and noise, every item and channel another."""
    generator = torch.Generator().manual_seed(1)
    time_s = torch.arange(samples) / rate
    pitch_hz = 50 + 100 * torch.rand(batch, channels, 1, generator=generator)
    noise = torch.randn(batch, channels, samples, generator=generator)
    return torch.exp(-(time_s % 0.5) / 0.1) * 0.6 * torch.sin(2 * torch.pi * pitch_hz * time_s) + 0.02 * noise


@pytest.fixture(scope="module")
def mono() -> Encodec24:
    codec = encodec(weights="random")
    assert isinstance(codec, Encodec24)
    return codec


@pytest.fixture(scope="module")
def stereo() -> Encodec48:
    codec = encodec(sample_rate=48_000, weights="random")
    assert isinstance(codec, Encodec48)
    return codec


@pytest.mark.parametrize(
    ("rate", "bandwidth", "books"),
    [(24_000, 1.5, 2), (24_000, 6, 8), (24_000, 24, 32), (48_000, 3, 3), (48_000, 24, 17)],
)
def test_the_spec_follows_from_the_options_alone(rate: int, bandwidth: float, books: int) -> None:
    codec = encodec(sample_rate=rate, bandwidth_kbps=bandwidth)  # of the hub, and nothing is fetched
    assert (codec.spec.sample_rate, codec.spec.hop_length, codec.channels) == (rate, HOP, rate // 24_000)
    assert (codec.spec.num_codebooks, codec.spec.codebook_size) == (books, 1024)


def test_a_bandwidth_that_is_not_there_is_told() -> None:
    with pytest.raises(RecipeError, match=r"bandwidth_kbps is 1.5; at 48000 Hz there are 3, 6, 12, 24"):
        encodec(sample_rate=48_000, bandwidth_kbps=1.5)


def test_options_are_checked_with_the_recipe(toy_recipe: dict[str, Any]) -> None:
    toy_recipe["codec"] = {"use": "encodec", "sample_rate": 44_100}
    with pytest.raises(RecipeError, match=r"codec: codec 'encodec': option 'sample_rate': .*24000 or 48000"):
        parse_recipe(toy_recipe, "toy")


@given(samples=st.integers(1, 6 * HOP), batch=st.integers(1, 2))
@settings(max_examples=8)
def test_lengths_are_exact_and_codes_in_range(mono: Encodec24, stereo: Encodec48, samples: int, batch: int) -> None:
    for codec in (mono, stereo):
        codes = codec.encode(music(batch, codec.channels, samples, codec.sample_rate))
        frames = -(-samples // HOP)
        assert codes.shape == (batch, frames, codec.spec.num_codebooks)
        assert codes.dtype == torch.int64
        assert 0 <= codes.min() <= codes.max() < codec.spec.codebook_size
        audio = codec.decode(codes)
        assert audio.shape == (batch, codec.channels, frames * HOP)
        assert audio.dtype == torch.float32
        assert audio.isfinite().all()


def test_random_weights_are_of_use(mono: Encodec24, stereo: Encodec48) -> None:
    """Or the bounds below would say nothing: codes differ, and sound has a usual loudness."""
    for codec in (mono, stereo):
        codes = codec.encode(music(1, codec.channels, codec.sample_rate, codec.sample_rate))
        assert all(codes[0, :, book].unique().numel() > 20 for book in range(codec.channels - 1, codes.shape[2]))
        assert 0.01 < codec.decode(codes).std() < 1


@pytest.mark.parametrize("shape", [(1, 2, 960), (1, 960), (1, 1, 0)])
def test_other_shapes_are_refused(mono: Encodec24, stereo: Encodec48, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"encodec encodes audio \[B, 1, S\]"):
        mono.encode(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"encodec encodes audio \[B, 2, S\]"):
        stereo.encode(torch.zeros(1, 1, 960))
    with pytest.raises(ValueError, match=r"decodes codes \[B, F, 1\.\.8\]"):
        mono.decode(torch.zeros(1, 4, 9, dtype=torch.int64))


def test_the_first_codebooks_are_enough_to_decode(mono: Encodec24, stereo: Encodec48) -> None:
    for codec in (mono, stereo):
        codes = codec.encode(music(1, codec.channels, 4000, codec.sample_rate))
        for books in range(1, codec.spec.num_codebooks):
            assert codec.decode(codes[..., :books]).shape == (1, codec.channels, 13 * HOP)
    assert not stereo.decode(codes[..., :1]).any()  # levels of nothing


def test_an_item_does_not_depend_on_its_batch(mono: Encodec24, stereo: Encodec48) -> None:
    for codec in (mono, stereo):
        audio = music(3, codec.channels, 9000, codec.sample_rate)
        codes = codec.encode(audio)
        assert (codec.encode(audio[1:2]) == codes[1:2]).float().mean() > 0.99
        torch.testing.assert_close(codec.decode(codes[1:2]), codec.decode(codes)[1:2], atol=1e-4, rtol=1e-3)


# ---------------------------------------------------------------------------------------------- 24 kHz


@pytest.fixture(scope="module")
def long(mono: Encodec24) -> tuple[Tensor, Tensor, Tensor]:
    """Audio, codes and sound of 200 frames at once: more than the context."""
    audio = music(1, 1, 200 * HOP - 7, 24_000)
    codes = mono.encode(audio)
    return audio, codes, mono.decode(codes)


def test_it_is_the_packages_codec(mono: Encodec24) -> None:
    audio = music(2, 1, 40 * HOP, 24_000)
    mono.net.set_target_bandwidth(6.0)
    with torch.no_grad():
        ((codes, _),) = mono.net.encode(audio)
        sound = mono.net.decode([(codes, None)])
    assert (mono.encode(audio) == codes.transpose(1, 2)).float().mean() > 0.999
    torch.testing.assert_close(mono.decode(codes.transpose(1, 2)), sound, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("chunk_frames", [1, 7, 29])
def test_chunks_equal_the_whole(mono: Encodec24, chunk_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = music(1, 1, 30 * HOP - 7, 24_000)
    codes = mono.encode(audio)
    sound = mono.decode(codes)
    monkeypatch.setattr(encodec_module, "_CHUNK_FRAMES", chunk_frames)
    assert (mono.encode(audio) == codes).float().mean() > 0.999
    torch.testing.assert_close(mono.decode(codes), sound, atol=1e-4, rtol=0)


@given(start=st.integers(0, 170), length=st.integers(1, 30))
@settings(max_examples=5)
def test_context_is_enough_apart_from_the_beginning(
    mono: Encodec24, long: tuple[Tensor, Tensor, Tensor], start: int, length: int
) -> None:
    audio, codes, sound = long
    left, right = mono.context_frames
    first, last = max(0, start - left), start + length + right
    heard = mono.encode(audio[..., first * HOP : last * HOP])[:, start - first :][:, :length]
    assert (heard == codes[:, start : start + length]).float().mean() > 0.99
    played = mono.decode(codes[:, first:last])[..., (start - first) * HOP :][..., : length * HOP]
    torch.testing.assert_close(played, sound[..., start * HOP : (start + length) * HOP], atol=1e-4, rtol=0)


def test_nothing_is_heard_ahead_of_the_context(mono: Encodec24, long: tuple[Tensor, Tensor, Tensor]) -> None:
    """The model is causal; only its beginning mirrors what follows."""
    _, codes, sound = long
    for place, earliest in ((150, 150), (6, 0)):
        changed = codes.clone()
        changed[:, place] = (changed[:, place] + 7) % 1024
        heard = (mono.decode(changed) - sound).abs().reshape(-1, HOP).amax(1).nonzero()
        assert heard.min() == earliest


def test_codebooks_are_the_vectors_behind_the_codes(mono: Encodec24) -> None:
    assert mono.codebooks.shape == (8, 1024, 128)
    codes = torch.randint(0, 1024, (1, 5, 8), generator=torch.Generator().manual_seed(0))
    vectors = mono.codebooks[torch.arange(8), codes].sum(2)
    torch.testing.assert_close(vectors.transpose(1, 2), mono.net.quantizer.decode(codes.permute(2, 0, 1)))


# ---------------------------------------------------------------------------------------------- 48 kHz


def test_levels_carry_the_loudness(stereo: Encodec48) -> None:
    audio = music(1, 2, SECOND, SECOND)
    louder = stereo.encode(audio)
    softer = stereo.encode(audio / 10)
    assert (louder[..., 0] - softer[..., 0]).unique().tolist() == [40]  # half decibels
    assert (louder[..., 1:] == softer[..., 1:]).float().mean() > 0.99
    ratio = stereo.decode(louder).std() / stereo.decode(softer).std()
    torch.testing.assert_close(ratio, torch.tensor(10.0), atol=0, rtol=0.02)


def test_a_level_is_said_in_every_frame_of_its_second(stereo: Encodec48) -> None:
    audio = torch.cat([music(1, 2, SECOND, SECOND) * gain for gain in (1, 0.1, 0.0)], -1)[..., :-1234]
    levels = stereo.encode(audio)[0, :, 0]
    per_second = [part.unique().tolist() for part in levels.split(150)]
    assert [len(found) for found in per_second] == [1, 1, 1]
    assert per_second[2] == [0]  # silence
    assert stereo.decode(stereo.encode(audio))[..., 2 * SECOND :].abs().max() < 1e-4


def test_a_stray_level_does_no_harm(stereo: Encodec48) -> None:
    codes = stereo.encode(music(1, 2, SECOND, SECOND))
    strayed = codes.clone()
    strayed[:, 3:60, 0] = 1023
    assert torch.equal(stereo.decode(strayed), stereo.decode(codes))
    strayed[..., 0] = 1023  # no level at all
    assert stereo.decode(strayed).isfinite().all()
    assert stereo.decode(strayed).std() < 10


def test_seconds_are_independent(stereo: Encodec48) -> None:
    audio = music(1, 2, 2 * SECOND + 999, SECOND)
    codes = stereo.encode(audio)
    sound = stereo.decode(codes)
    for start in (0, 1, 2):
        frames = slice(150 * start, 150 * (start + 1))
        heard = stereo.encode(audio[..., SECOND * start : SECOND * (start + 1)])
        assert (heard == codes[:, frames]).float().mean() > 0.999
        played = stereo.decode(codes[:, frames])
        torch.testing.assert_close(played, sound[..., SECOND * start : SECOND * (start + 1)], atol=1e-4, rtol=0)


def test_it_is_the_packages_codec_within_a_second(stereo: Encodec48) -> None:
    """But for the level, which the package gives as a number."""
    audio = music(1, 2, SECOND, SECOND)
    stereo.net.set_target_bandwidth(6.0)
    with torch.no_grad():
        ((codes, scale), *_) = stereo.net.encode(audio)
        sound = stereo.net.decode([(codes, scale)])
    own = stereo.encode(audio)
    assert (own[..., 1:] == codes.transpose(1, 2)).float().mean() > 0.9  # a level is rounded, by 3 % at most
    ours = stereo.decode(torch.cat([own[..., :1], codes.transpose(1, 2)], -1))
    torch.testing.assert_close(ours / ours.std(), sound / sound.std(), atol=1e-3, rtol=0)
    assert abs(20 * torch.log10(ours.std() / sound.std())) < 0.26


# ------------------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("block", [1, 40, 150, 199])
@pytest.mark.parametrize("name", ["mono", "stereo"])
def test_streamed_equals_offline(
    name: str, block: int, request: pytest.FixtureRequest, toy_recipe: dict[str, Any]
) -> None:
    codec = request.getfixturevalue(name)
    frames = 310 if codec.channels == 2 else 60
    codes = torch.randint(0, 1024, (1, frames, codec.spec.num_codebooks), generator=torch.Generator().manual_seed(0))
    if codec.channels == 2:
        codes[..., 0] = 180 + torch.arange(frames) // 150
    if block == 1:
        codes = codes[:, :20]

    def blocks() -> Iterator[Tensor]:
        yield from codes.split(block, 1)

    lm = AudioLM(parse_recipe(toy_recipe, "toy"), {"codec": Part("codec", "encodec", codec, {})}, {})
    played = list(lm.play(blocks()))
    assert all(piece.shape[-1] % (HOP * getattr(codec, "segment_frames", 1)) == 0 for piece in played[:-1])
    torch.testing.assert_close(torch.cat(played, -1), codec.decode(codes), atol=1e-4, rtol=0)
