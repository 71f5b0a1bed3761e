"""MuLaN: towers, losses, quantizer, conditioner, and the text encoder that feeds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rapgen.audio._torchaudio import load_torchaudio
from rapgen.audio.mel import LogMel
from rapgen.errors import ModelError, PluginError, RecipeError
from rapgen.interfaces import Annotations, Clip, Prompt, TextEncoder
from rapgen.models.mulan import MuLaNEmbedQuantizer, MuLaNPart, build_mulan, window_starts
from rapgen.registry import build
from rapgen_plugins.minilm import minilm
from rapgen_plugins.mulan import mulan

RATE = 24_000
TEXTS = [
    "boom bap, 90 bpm",
    "trap beat at 140 bpm in F# minor",
    "lo-fi",
    "drill 142bpm C# minor",
    "jazz",
    "snow",
]


def part(*, loss: str = "softmax", seed: int = 0, text_encoder: TextEncoder | None = None) -> MuLaNPart:
    torch.manual_seed(seed)
    return build_mulan(
        text_encoder=text_encoder or minilm(),
        dim=16,
        width=32,
        layers=1,
        heads=2,
        crop_s=0.5,
        loss=loss,
        codebook_size=8,
        num_codebooks=3,
    )


def tones(count: int, *, duration_s: float = 0.5) -> Tensor:
    """f32 [count, 1, S], each a tone of its own."""
    hz = 110.0 * 2 ** torch.arange(count).view(-1, 1, 1)
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(round(duration_s * RATE)) / RATE)


def unit(count: int, *, seed: int, dim: int = 16) -> Tensor:
    vectors = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


# ------------------------------------------------------------------------------------------ log-mel


def test_log_mel_has_no_state_and_finite_silence() -> None:
    mel = LogMel(sample_rate=RATE, n_fft=512, hop_length=240, num_mels=16)
    silent = mel(torch.zeros(2, 1, 2400))
    assert silent.shape == (2, 16, 11)
    assert silent.isfinite().all()
    assert not mel.state_dict()
    assert -1 < mel(tones(1) / 0.3).max() < 0.5


def test_torchaudio_loads_whatever_torch_it_stands_beside() -> None:
    assert load_torchaudio().functional is load_torchaudio().functional


# --------------------------------------------------------------------------------------------- text


def test_minilm_agrees_with_transformers() -> None:
    load_torchaudio()  # transformers imports it unguarded
    transformers = pytest.importorskip("transformers")
    encoder = minilm()
    folder = encoder._folder  # type: ignore[attr-defined]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch)[0]
    vectors, mask = encoder.encode(TEXTS)
    assert torch.equal(mask, batch["attention_mask"].bool())
    torch.testing.assert_close(vectors[mask], expected[mask], atol=1e-4, rtol=1e-4)


def test_minilm_is_frozen_and_neither_trained_nor_saved_with_mulan() -> None:
    encoder = minilm()
    built = part(text_encoder=encoder)
    before = {name: tensor.clone() for name, tensor in encoder.state().items()}
    num_parameters = sum(p.numel() for p in built.module.parameters())
    assert num_parameters < sum(tensor.numel() for tensor in before.values()) / 10
    assert not any(tensor.requires_grad for tensor in encoder.state().values())
    built.module(tones(3), built.module.encode_text(TEXTS[:3]))[0].backward()
    encoder.load_state(before)
    before["norm.bias"] += 1
    with pytest.raises(ValueError, match="other weights"):
        encoder.load_state(before)


def test_minilm_without_its_files_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="path"):
        minilm(path=tmp_path)


# -------------------------------------------------------------------------------------------- model


@given(num_samples=st.integers(1, 10_000), window=st.integers(100, 3_000))
@settings(max_examples=50, deadline=None)
def test_windows_just_cover_the_audio(num_samples: int, window: int) -> None:
    starts = window_starts(num_samples, window)
    assert starts[0] == 0
    assert len(starts) == max(1, -(-num_samples // window))
    assert starts[-1] == max(0, num_samples - window)
    assert all(0 < b - a <= window for a, b in pairwise(starts))


@given(num_samples=st.integers(1, 40_000))
@settings(max_examples=10, deadline=None)
def test_audio_of_any_length_is_embedded_on_the_sphere(num_samples: int) -> None:
    embedding = part(text_encoder=Words()).module.embed_audio(torch.randn(2, 1, num_samples))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_an_untrained_model_guesses() -> None:
    torch.manual_seed(0)
    module = build_mulan(text_encoder=Words()).module
    _, logs = module(tones(6), module.encode_text(TEXTS))
    assert abs(logs["loss_minus_log_batch"]) < 0.3


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_one_batch_is_learned(loss: str) -> None:
    module = part(loss=loss, text_encoder=Words()).module
    audio, features = tones(6), module.encode_text(TEXTS)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    _, start = module(audio, features)
    for _ in range(60):
        optimizer.zero_grad()
        module(audio, features)[0].backward()
        optimizer.step()
    _, logs = module(audio, features)
    assert logs["recall@1 a2t"] == logs["recall@1 t2a"] == logs["recall@5 a2t"] == logs["recall@5 t2a"] == 1
    assert logs["loss_minus_log_batch"] < start["loss_minus_log_batch"] - 0.5


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_clips_of_one_caption_do_not_push_each_other_away(loss: str) -> None:
    module = part(loss=loss, text_encoder=Words()).module
    features = module.encode_text(["one caption"] * 4)
    value, logs = module(tones(4), features + 1e-6 * torch.randn_like(features))
    value.backward()
    assert logs["loss_minus_log_batch"].abs() < 1e-4
    if loss == "softmax":  # no negatives are left, so nothing is to be learned
        assert value.abs() < 1e-4
        assert all(p.grad is None or p.grad.abs().max() < 1e-4 for p in module.parameters())


def test_a_collapsed_model_recalls_nothing() -> None:
    module = part(text_encoder=Words()).module
    _, logs = module(torch.zeros(6, 1, 12_000), module.encode_text(TEXTS))
    assert logs["recall@1 t2a"] == 0


def test_the_whole_part_survives_a_round_trip() -> None:
    first, second = part(text_encoder=Words()), part(text_encoder=Words(), seed=1)
    first.fit_quantizer(unit(64, seed=0), seed=0, text_embeddings=unit(64, seed=1) + 0.5)
    second.load_state(first.state())
    embeddings = second.module.embed_text(TEXTS)
    assert torch.equal(embeddings, first.module.embed_text(TEXTS))
    codes = [each.quantizer.encode(each.quantizer.among_audio(embeddings)) for each in (first, second)]
    assert torch.equal(*codes)
    with pytest.raises(ValueError, match="MuLaN"):
        second.load_state({})


def test_settings_are_checked() -> None:
    with pytest.raises(RecipeError, match="heads"):
        build_mulan(text_encoder=Words(), width=30, heads=4)
    with pytest.raises(RecipeError, match="loss"):
        build_mulan(text_encoder=Words(), loss="hinge")


# ---------------------------------------------------------------------------------------- quantizer


def fitted_quantizer(*, gap: float) -> MuLaNEmbedQuantizer:
    quantizer = MuLaNEmbedQuantizer(dim=16, codebook_size=16, num_codebooks=4)
    quantizer.fit(unit(512, seed=0), seed=0, text_embeddings=unit(512, seed=0) + gap)
    return quantizer


def test_quantizer_uses_its_codes_and_each_codebook_helps() -> None:
    quantizer, embeddings = fitted_quantizer(gap=0.0), unit(512, seed=0)
    codes = quantizer.encode(embeddings)
    assert codes.shape == (512, 4)
    assert all(len(codes[:, q].unique()) >= 14 for q in range(4))
    errors = [(quantizer.vq.decode(codes[:, :q]) - embeddings).square().sum(1).mean() for q in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


def test_text_across_the_gap_gets_the_tokens_of_its_audio() -> None:
    quantizer, embeddings = fitted_quantizer(gap=0.7), unit(64, seed=0)
    agreement = quantizer.encode(quantizer.among_audio(embeddings + 0.7)) == quantizer.encode(embeddings)
    assert agreement.float().mean() > 0.99


def test_quantizer_must_be_fitted() -> None:
    with pytest.raises(ModelError, match="rapgen mulan train"):
        MuLaNEmbedQuantizer(dim=16, codebook_size=8, num_codebooks=2).encode(unit(1, seed=0))


# -------------------------------------------------------------------------------------- conditioner


def clip(num_samples: int, *, sample_rate: int = RATE) -> Clip:
    audio = np.random.default_rng(0).normal(0, 0.1, (2, num_samples)).astype(np.float32)
    return Clip(audio, sample_rate, Annotations(captions=("boom bap, 90 bpm", "dusty")))


def test_conditioner_answers_clips_and_prompts_in_their_order() -> None:
    trained = part(text_encoder=Words())
    trained.fit_quantizer(unit(64, seed=0), seed=0)
    conditioner = mulan(window_s=0.5)
    conditioner.bind({"mulan": trained})
    assert conditioner.spec.is_prefix
    items = [
        Prompt("trap"),
        clip(12_000),
        Prompt(" "),
        clip(30_000),
        clip(12_000, sample_rate=48_000),
        Prompt("jazz"),
    ]
    codes, valid = conditioner.encode(items)
    assert codes.shape == valid.shape == (6, 3)
    assert valid.all(1).tolist() == [True, True, False, True, True, True]
    assert valid.any(1).tolist() == valid.all(1).tolist()
    alone = torch.cat([conditioner.encode([item])[0] for item in items])
    assert torch.equal(codes, alone)


def test_views_are_windows_then_captions() -> None:
    views = mulan(window_s=0.5).views(clip(30_000))
    lengths = [view.audio.shape[1] for view in views if isinstance(view, Clip)]
    assert lengths == [12_000] * 3
    assert [view.text for view in views if isinstance(view, Prompt)] == ["boom bap, 90 bpm", "dusty"]
    assert [view.audio.shape[1] for view in mulan().views(clip(500)) if isinstance(view, Clip)] == [500]


def test_conditioner_needs_mulan() -> None:
    with pytest.raises(RecipeError, match="mulan"):
        mulan().bind({})
    with pytest.raises(RecipeError, match="window_s"):
        build("conditioner", {"use": "mulan", "window_s": 0})


class Words(TextEncoder):
    """A cheap text encoder: letters are one-hot."""

    dim = 128

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        length = max(len(text) for text in texts)
        vectors, mask = (
            torch.zeros(len(texts), length, self.dim),
            torch.zeros(len(texts), length, dtype=torch.bool),
        )
        for n, text in enumerate(texts):
            ids = [ord(letter) % self.dim for letter in text]
            vectors[n, range(len(ids)), ids] = 1
            mask[n, : len(ids)] = True
        return vectors, mask
