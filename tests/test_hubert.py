"""hubert: exact lengths, tokens that neither batch nor piece changes, clusters that belong to one transformer."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from checkpoints import AUDIO_KINDS, LAYERS, change_config, save_audio, save_text
from conftest import train_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from rapgen import MusicLM
from rapgen.cli.app import make_app
from rapgen.errors import MismatchError, ModelError, PluginError
from rapgen.generation.export import export_bundle
from rapgen.identities import full, half
from rapgen.interfaces import Clip, Fittable, SemanticTokenizer
from rapgen.models.transformers_checkpoint import quiet_transformers
from rapgen.registry import build, lasting_options

HOP = 320
SIZE = 8
WINDOW, CONTEXT = 500, 125  # frames of 10 s and 2.5 s at 16 kHz


def node(path: Path, kind: str = "hubert", **options: Any) -> dict[str, Any]:
    rate = 24_000 if kind == "mert" else 16_000
    return {"use": "hubert", "path": str(path), "layer": 2, "codebook_size": SIZE, "sample_rate": rate} | options


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fitted(path: Path, kind: str = "hubert", *, seed: int = 0, **options: Any) -> SemanticTokenizer:
    tokenizer: SemanticTokenizer = build("semantic", node(path, kind, **options))
    assert isinstance(tokenizer, Fittable)
    tokenizer.fit((Clip(noise(1, 16_000, seed=n).numpy(), 16_000) for n in range(4)), seed=seed)
    return tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind."""
    return {kind: save_audio(tmp_path_factory.mktemp(kind), kind) for kind in AUDIO_KINDS}


@pytest.fixture(scope="module")
def tokenizers(folders: dict[str, Path]) -> dict[str, SemanticTokenizer]:
    return {kind: fitted(path, kind) for kind, path in folders.items()}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint to break."""
    return shutil.copytree(folders["hubert"], tmp_path / "hubert")


# ------------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize("kind", AUDIO_KINDS)
def test_any_length_gives_one_token_a_started_frame(tokenizers: dict[str, SemanticTokenizer], kind: str) -> None:
    @given(num_samples=st.integers(1, 5 * HOP + 1), batch=st.integers(1, 2), channels=st.integers(1, 2))
    @settings(max_examples=12)
    def check(num_samples: int, batch: int, channels: int) -> None:
        codes = tokenizers[kind].encode(noise(batch, channels, num_samples))
        assert codes.shape == (batch, -(-num_samples // HOP), 1)
        assert codes.dtype == torch.int64
        assert codes.min() >= 0
        assert codes.max() < SIZE

    check()


@pytest.mark.parametrize("kind", AUDIO_KINDS)
def test_features_are_the_hidden_state_that_transformers_gives(folders: dict[str, Path], kind: str) -> None:
    """Of a stretch of one window, whose ends are padded so that each frame hears as much before as after it."""
    tokenizer = build("semantic", node(folders[kind], kind))
    audio = noise(1, 20 * HOP + 7)
    (features,) = tokenizer._windows(audio)
    size = 560 if kind == "w2v-bert" else 400
    before = (size - HOP) // 2
    heard = torch.nn.functional.pad(audio[0], (before, 21 * HOP - audio.shape[1] + size - HOP - before))
    with quiet_transformers():
        import transformers

        family = {"mert": "Hubert", "hubert-large": "Hubert", "hubert": "Hubert", "wavlm": "WavLM"}.get(kind)
        name = family or {"wav2vec2": "Wav2Vec2", "w2v-bert": "Wav2Vec2Bert"}[kind]
        model = getattr(transformers, f"{name}Model").from_pretrained(folders[kind]).eval()
        inputs = transformers.AutoFeatureExtractor.from_pretrained(folders[kind])(
            heard.numpy(), sampling_rate=tokenizer.spec.sample_rate, return_tensors="pt"
        )
        with torch.no_grad():
            expected = model(inputs[model.main_input_name], output_hidden_states=True).hidden_states[2][0]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_the_batch_changes_nothing(tokenizers: dict[str, SemanticTokenizer]) -> None:
    for tokenizer in tokenizers.values():
        audio = noise(3, 2, 3 * HOP + 11)
        together = tokenizer.encode(audio)
        assert torch.equal(together, torch.cat([tokenizer.encode(one[None]) for one in audio]))
        assert torch.equal(together, tokenizer.encode(audio))


@pytest.mark.parametrize("kind", ["hubert", "w2v-bert"])
def test_a_piece_from_a_whole_window_on_has_the_wholes_tokens(
    tokenizers: dict[str, SemanticTokenizer], kind: str
) -> None:
    """From its second window to the last that is followed by 2.5 s and a frame, whatever comes after."""
    audio = noise(1, 1, (3 * WINDOW + 200) * HOP)
    whole = tokenizers[kind].encode(audio)
    assert whole.shape == (1, 3 * WINDOW + 200, 1)
    piece = tokenizers[kind].encode(audio[..., WINDOW * HOP : (3 * WINDOW + CONTEXT + 1) * HOP])
    assert torch.equal(piece[:, WINDOW : 2 * WINDOW], whole[:, 2 * WINDOW : 3 * WINDOW])
    cut = tokenizers[kind].encode(audio[..., : (WINDOW + CONTEXT + 1) * HOP])
    assert torch.equal(cut[:, :WINDOW], whole[:, :WINDOW])


def test_what_is_heard_does_not_grow_with_the_audio(folders: dict[str, Path]) -> None:
    tokenizer = build("semantic", node(folders["hubert"]))
    heard: list[int] = []
    tokenizer._features()._model.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0].shape[-1]))
    sizes = [len(window) for window in tokenizer._windows(noise(1, 1300 * HOP))]
    assert sizes == [WINDOW, WINDOW, 300]
    assert max(heard) == (WINDOW + 2 * CONTEXT) * HOP + 80


# ------------------------------------------------------------------------------------------ fit and state


def test_fitting_repeats_and_survives_shipping(folders: dict[str, Path], tokenizers: dict[str, Any]) -> None:
    one, audio = tokenizers["hubert"], noise(1, 1, 16_000)
    again = fitted(folders["hubert"])
    assert all(torch.equal(again.state()[name], value) for name, value in one.state().items())
    assert not torch.equal(fitted(folders["hubert"], seed=1).state()["centroids"], one.state()["centroids"])
    shipped, other = full(half(one.state())), build("semantic", node(folders["hubert"]))
    other.load_state(shipped)
    assert set(shipped) == {"centroids", "mean", "std", "weights_sha256"}
    assert sum(value.numel() for value in shipped.values()) < 1000  # the transformer is not stored
    assert other.encode(audio).shape == (1, 50, 1)
    assert other.encode(audio).unique().numel() > 2
    with pytest.raises(ValueError, match="centroids"):
        build("semantic", node(folders["hubert"], codebook_size=9)).load_state(shipped)


def test_clusters_belong_to_one_transformer_whatever_holds_it(
    folders: dict[str, Path], copied: Path, tmp_path: Path, tokenizers: dict[str, Any]
) -> None:
    state, audio = tokenizers["hubert"].state(), noise(1, 1, 5000)
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    same = build("semantic", node(copied))
    same.load_state(state)
    assert torch.equal(same.encode(audio), tokenizers["hubert"].encode(audio))

    other = build("semantic", node(save_audio(tmp_path / "other", seed=1)))
    other.load_state(state)  # nothing is read before it is used
    with pytest.raises(MismatchError, match=r"semantic 'hubert': .*other holds other weights than those its clusters"):
        other.encode(audio)


def test_a_place_is_no_part_of_what_it_is(folders: dict[str, Path]) -> None:
    options = lasting_options("semantic", node(folders["hubert"]))
    assert "path" not in options
    assert options["model"] == "facebook/hubert-base-ls960"


def test_layers_differ_and_those_above_are_not_read(folders: dict[str, Path], copied: Path) -> None:
    audio = noise(1, 1, 5000)
    first, second = (next(build("semantic", node(copied, layer=n))._windows(audio[0])) for n in (1, 2))
    assert (first - second).abs().max() > 0.1
    weights = load_file(copied / "model.safetensors")
    assert any(name.startswith("encoder.layers.2") for name in weights)
    kept = {name: value for name, value in weights.items() if not name.startswith("encoder.layers.2")}
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(fitted(copied).encode(audio), fitted(folders["hubert"]).encode(audio))


def test_the_licence_is_that_of_the_card(copied: Path) -> None:
    assert build("semantic", node(copied)).licence is None
    (copied / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags: [music]\n---\n# A model\n")
    assert build("semantic", node(copied)).licence == "cc-by-nc-4.0"
    for broken in ("", "---", "---\n[\n---", "---\ntags: x\n---"):
        (copied / "README.md").write_text(broken)
        assert build("semantic", node(copied)).licence is None
    assert build("semantic", {"use": "hubert"}).licence == "see the model card of facebook/hubert-base-ls960"


# ------------------------------------------------------------------------------------------------ errors


class Code:
    """A pickle of it runs a command where it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pickles_ran",)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Code()}, folder / "pytorch_model.bin")


BREAKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no checkpoint": (shutil.rmtree, "no config.json in .*set `path`"),
    "torn config": (lambda f: (f / "config.json").write_text("{"), "config.json is damaged"),
    "config of nonsense": (lambda f: change_config(f, hidden_size="x"), "is damaged.*hidden_size"),
    "torn preprocessor": (lambda f: (f / "preprocessor_config.json").write_text("{"), "is damaged"),
    "no preprocessor": (lambda f: (f / "preprocessor_config.json").unlink(), "no preprocessor_config.json in"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
    "truncated": (truncate, "is damaged or no weights file.*fetch it anew"),
    "code": (pickled, "is a pickle that holds more than tensors"),
    "another size": (lambda f: change_config(f, hidden_size=32), "lack .* of the tensors that its config.json asks"),
    "another kind": (lambda f: change_config(f, model_type="bert"), "is a 'bert'; it takes one of hubert, mert_model"),
    "a MERT of its own": (
        lambda f: change_config(f, model_type="mert_model", feature_extractor_cqt=True),
        "feature_extractor_cqt, which needs code of its own",
    ),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS)
def test_a_broken_checkpoint_is_told_in_one_line(
    copied: Path, change: Callable[[Path], Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    change(copied)
    with pytest.raises(PluginError, match=f"^semantic 'hubert': .*{message}") as raised:
        fitted(copied)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "pickles_ran").exists()


def test_another_models_weights_are_told(copied: Path, tmp_path: Path) -> None:
    shutil.copy(save_text(tmp_path / "bert") / "model.safetensors", copied)
    with pytest.raises(PluginError, match=r"lack .* they are not whole or another model's"):
        fitted(copied)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": LAYERS + 1}, f"has {LAYERS} layers, not {LAYERS + 1}; set `layer` to 1 .. {LAYERS}"),
        ({"sample_rate": 24_000}, "has a sample_rate of 16000 and the recipe says 24000; set `sample_rate: 16000`"),
        ({"hop_length": 640}, "has a hop_length of 320 and the recipe says 640; set `hop_length: 320`"),
    ],
)
def test_options_that_do_not_fit_the_checkpoint(folders: dict[str, Path], options: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        fitted(folders["hubert"], **options)


def test_what_is_not_fitted_says_so(folders: dict[str, Path]) -> None:
    tokenizer = build("semantic", node(folders["hubert"]))
    assert tokenizer.state() == {}
    with pytest.raises(ModelError, match="semantic 'hubert' is not fitted: run `rapgen semantic fit`"):
        tokenizer.encode(noise(1, 1, 1000))
    with pytest.raises(ModelError, match="semantic 'hubert' got no clips to learn from"):
        tokenizer.fit([], seed=0)


def test_without_transformers_the_extra_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"needs the package 'transformers': pip install 'rapgen\[hubert\]'"):
        build("semantic", node(folders["hubert"]))


# --------------------------------------------------------------------------------------------- in a run


def rapgen(*arguments: object) -> Any:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments])


def test_a_run_trains_generates_and_is_exported_with_it(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path
) -> None:
    kept = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    toy_recipe["semantic"] = node(kept)
    for stage in toy_recipe["stages"].values():
        stage["steps"] = 2
    run = tmp_path / "run"
    train_toy(run, toy_recipe)
    assert (run / "parts" / "semantic.safetensors").stat().st_size < 10_000
    beat = MusicLM.load(run).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    assert np.isfinite(beat.audio).all()
    export_bundle(run, tmp_path / "bundle")

    shutil.rmtree(kept)  # tokens are written by the model: the transformer is needed to read audio alone
    again = MusicLM.load(tmp_path / "bundle").generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    assert np.array_equal(again.audio, beat.audio)


@pytest.mark.parametrize("use", ["hubert", "rhythm-kmeans"])
def test_semantic_fit_makes_the_part_that_training_uses(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path, use: str
) -> None:
    toy_recipe["semantic"] = node(folders["hubert"]) if use == "hubert" else {"use": use, "codebook_size": SIZE}
    for stage in toy_recipe["stages"].values():
        stage["steps"] = 2
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(toy_recipe))
    run = tmp_path / "run"
    first = rapgen("semantic", "fit", "--recipe", recipe, "--run", run)
    assert first.exit_code == 0, first.output
    assert first.stdout == f"fitted {use} in {run}\n"
    part = (run / "parts" / "semantic.safetensors").read_bytes()
    second = rapgen("semantic", "fit", "--run", run)
    assert second.stdout == f"was fitted before: {use} in {run}\n"
    train_toy(tmp_path / "other", toy_recipe, ("mulan", "semantic"))
    assert (tmp_path / "other" / "parts" / "semantic.safetensors").read_bytes() == part


def test_semantic_fit_says_where_there_is_nothing_to_learn(tiny_run: Path) -> None:
    result = rapgen("semantic", "fit", "--run", tiny_run)
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: semantic 'toy' learns nothing from clips; there is nothing to fit"


def test_recipes_are_shown_without_the_checkpoint(toy_recipe: dict[str, Any], tmp_path: Path) -> None:
    toy_recipe["semantic"] = {"use": "hubert", "model": "nobody/knows-it"}
    toy_recipe["text_encoder"] = {"use": "hf", "model": "nobody/knows-it", "fine_tune": True}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(toy_recipe))
    result = rapgen("recipes", "show", tmp_path / "recipe.yaml")
    assert result.exit_code == 0, result.output
    assert "1 codebook of 500, 50 frames/s" in result.stdout
