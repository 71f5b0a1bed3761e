"""hf: the vectors that transformers gives, frozen; and an encoder that trains within MULAN and comes along."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import DIM, TEXT_KINDS, change_config, save_audio, save_text
from conftest import train_toy
from safetensors.torch import load_file, save_file

from rapgen import MusicLM
from rapgen.checkpoint import latest_checkpoint, read_meta, read_state
from rapgen.errors import MismatchError, ModelError, PluginError
from rapgen.generation.export import export_bundle
from rapgen.generation.load import load_model
from rapgen.identities import full, half
from rapgen.interfaces import TextEncoder, TunableTextEncoder
from rapgen.models.transformers_checkpoint import quiet_transformers
from rapgen.parts import build_parts, load_parts, part_path
from rapgen.recipe import load_recipe, parse_recipe
from rapgen.registry import build, lasting_options
from rapgen.tokens.shards import Shards
from rapgen.training.captions import captions
from rapgen.training.run import Run
from rapgen.training.stages import make_stage
from rapgen_plugins.minilm import minilm

TEXTS = ["boom bap, 90 bpm", "trap", "", "dark drill beat at 142 bpm in c# minor " * 20]


def node(path: Path, **options: Any) -> dict[str, Any]:
    return {"use": "hf", "path": str(path), "dim": DIM} | options


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_text(tmp_path_factory.mktemp(kind), kind) for kind in TEXT_KINDS}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A BERT to break."""
    return shutil.copytree(folders["bert"], tmp_path / "bert")


def test_vectors_are_those_that_transformers_gives(folders: dict[str, Path]) -> None:
    for kind, folder in folders.items():
        with quiet_transformers():
            import transformers

            name = {"bert": "BertModel", "t5": "T5EncoderModel", "roberta": "RobertaModel"}[kind]
            model = getattr(transformers, name).from_pretrained(folder).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        batch = tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        vectors, mask = build("text_encoder", node(folder)).encode(TEXTS[:3])
        assert torch.equal(mask, batch["attention_mask"].bool())
        torch.testing.assert_close(vectors[mask], expected[mask], atol=2e-2, rtol=0)  # ours are rounded to fp16
        rounded = model.half().float()
        with torch.no_grad():
            expected = rounded(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        torch.testing.assert_close(vectors[mask], expected[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_long_texts_are_cut_to_what_the_model_has_places_for(folders: dict[str, Path], kind: str) -> None:
    vectors, mask = build("text_encoder", node(folders[kind])).encode(TEXTS)
    assert vectors.shape[:2] == mask.shape
    assert 20 < mask.shape[1] <= 256
    assert vectors.isfinite().all()


def test_a_real_bert_is_the_one_that_minilm_runs() -> None:
    folder = minilm()._folder  # type: ignore[attr-defined]
    encoder = build("text_encoder", {"use": "hf", "path": str(folder), "dim": 384})
    ours, mask = encoder.encode(TEXTS)
    theirs, same = minilm().encode(TEXTS)
    assert torch.equal(mask, same)
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-2, rtol=0)  # ours are rounded to fp16


def test_the_hubs_weights_are_known_by_their_hash(
    folders: dict[str, Path], copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    def from_hub(folder: Path, model: str) -> TextEncoder:
        fill_cache(tmp_path / "cache", folder, model)
        found: TextEncoder = build("text_encoder", {"use": "hf", "model": model, "dim": DIM})
        return found

    encoder, state = from_hub(folders["bert"], "a/one"), from_hub(copied, "a/same").state()
    assert encoder.is_external  # type: ignore[attr-defined]
    assert not isinstance(encoder, TunableTextEncoder)
    assert sum(value.numel() for value in state.values()) == 32
    encoder.load_state(state)
    words = json.loads((copied / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["trap"], vocabulary["jazz"] = vocabulary["jazz"], vocabulary["trap"]
    (copied / "tokenizer.json").write_text(json.dumps(words))
    for name, other in {"a/weights": save_text(tmp_path / "other", seed=1), "a/words": copied}.items():
        with pytest.raises(ValueError, match="other weights than those in"):
            encoder.load_state(from_hub(other, name).state())
    assert lasting_options("text_encoder", node(copied)).keys() == {"model", "dim", "fine_tune"}


# ------------------------------------------------------------------------------------------ the hub


def fill_cache(cache: Path, folder: Path, model: str) -> None:
    """What a download leaves behind."""
    repository = cache / f"models--{model.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))


def test_what_the_hub_gave_once_is_used_without_network(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    fill_cache(tmp_path / "cache", copied, "somebody/tiny")
    encoder = build("text_encoder", {"use": "hf", "model": "somebody/tiny", "dim": DIM})
    assert torch.equal(encoder.encode(TEXTS)[0], build("text_encoder", node(copied)).encode(TEXTS)[0])


def test_a_cache_that_is_not_whole_is_no_model(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copied / "model.safetensors").rename(copied / "model-00001-of-00002.safetensors")
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    fill_cache(tmp_path / "cache", copied, "somebody/tiny")
    with pytest.raises(PluginError, match="cannot be fetched"):
        build("text_encoder", {"use": "hf", "model": "somebody/tiny", "dim": DIM}).encode(["a"])


def no_network(*args: Any, **kwargs: Any) -> None:
    raise ConnectionError("Name or service not known")


@pytest.mark.parametrize("role", ["text_encoder", "semantic"])
def test_without_network_the_option_for_a_path_is_named(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    name = {"text_encoder": "hf", "semantic": "hubert"}[role]
    component = build(role, {"use": name, "model": "nobody/knows-it"})
    component.licence  # noqa: B018 - asks no network either
    start = time.monotonic()
    with pytest.raises(
        PluginError, match=r"\(nobody/knows-it\): .* with no network, set `path` to a local path"
    ) as error:
        component.state() if role == "text_encoder" else component._features()
    assert f"{role} '{name}'" in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 20


def test_an_id_that_is_none_is_told() -> None:
    with pytest.raises(PluginError, match=r"\(a/b/c\): its weights cannot be fetched"):
        build("text_encoder", {"use": "hf", "model": "a/b/c"}).encode(["a"])


# ------------------------------------------------------------------------------------------------ errors


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def drop_tensors(folder: Path) -> None:
    kept = {n: v for n, v in load_file(folder / "model.safetensors").items() if "layer.1" not in n}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


BREAKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no checkpoint": (shutil.rmtree, "no config.json in .*set `path`"),
    "config of nonsense": (lambda f: change_config(f, hidden_size="x"), "config.json is damaged.*hidden_size"),
    "unknown kind": (lambda f: change_config(f, model_type="mystery"), "is a 'mystery', which is no text encoder"),
    "truncated": (truncate, "is damaged or no weights file"),
    "incomplete": (drop_tensors, "lack 16 of the tensors that its config.json asks for"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json in .* with all its files"),
    "torn tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "is damaged"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS)
def test_a_broken_checkpoint_is_told_in_one_line(copied: Path, change: Callable[[Path], Any], message: str) -> None:
    change(copied)
    with pytest.raises(PluginError, match=f"^text_encoder 'hf': .*{message}") as raised:
        build("text_encoder", node(copied)).encode(["a"])
    assert "\n" not in str(raised.value)


def test_models_that_read_no_text_are_told(tmp_path: Path) -> None:
    with quiet_transformers():
        import transformers

        sizes = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        picture = transformers.ViTConfig(**sizes, image_size=32, patch_size=16)
        transformers.ViTModel(picture).save_pretrained(tmp_path / "vit")
    for folder, kind in ((tmp_path / "vit", "vit"), (save_audio(tmp_path / "hubert"), "hubert")):
        with pytest.raises(PluginError, match=f"its checkpoint is a '{kind}', which is no text encoder"):
            build("text_encoder", node(folder)).encode(["a"])


def test_another_width_is_told(folders: dict[str, Path]) -> None:
    with pytest.raises(PluginError, match="has vectors of 16 and the recipe says 768; set `dim: 16`"):
        build("text_encoder", node(folders["bert"], dim=768)).encode(["a"])


def test_without_transformers_the_extra_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"needs the package 'transformers': pip install 'rapgen\[hf\]'"):
        build("text_encoder", node(folders["bert"]))


# ------------------------------------------------------------------------------------------ fine-tuning


def short(tree: dict[str, Any], text_encoder: dict[str, Any], *, steps: int = 2) -> dict[str, Any]:
    tree["text_encoder"] = text_encoder
    for stage in tree["stages"].values():
        stage["steps"] = 2
    tree["stages"]["mulan"] |= {"steps": steps, "checkpoint_every": 2, "valid_every": 2}
    return tree


def embed(encoder: TextEncoder) -> torch.Tensor:
    return encoder.encode(TEXTS[:2])[0]


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_a_run_with_a_frozen_encoder(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    run = tmp_path / "run"
    train_toy(run, short(toy_recipe, node(folders[kind])))
    assert not part_path(run, "text_encoder").exists()
    beat = MusicLM.load(run).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    assert np.isfinite(beat.audio).all()
    identity = read_meta(latest_checkpoint(run / "coarse"))["identities"]["text_encoder"]  # type: ignore[arg-type]
    other = load_recipe(run / "recipe.yaml", [f"text_encoder.path={save_text(tmp_path / 'other', kind, seed=1)}"])
    assert load_parts(run, other)["text_encoder"].identity().state_sha256 != identity["state_sha256"]


def test_a_folders_weights_come_along(
    folders: dict[str, Path], copied: Path, toy_recipe: dict[str, Any], tmp_path: Path
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    train_toy(run, short(toy_recipe, node(copied)))
    beat = MusicLM.load(run).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    export_bundle(run, bundle)
    shutil.rmtree(copied)
    again = MusicLM.load(bundle).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    assert np.array_equal(again.audio, beat.audio)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_tuned_encoder_learns_and_comes_along(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    before = build("text_encoder", node(folder))
    vectors = embed(before)
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    train_toy(run, short(toy_recipe, node(folder, fine_tune=True), steps=4))
    parts = load_parts(run, load_recipe(run / "recipe.yaml"))
    tuned = parts["text_encoder"].component
    assert (embed(tuned) - vectors).abs().max() > 1e-2
    weights = {name: value for name, value in tuned.state().items() if name.startswith("model.")}
    assert all(torch.equal(value, value.half().float()) for value in weights.values())
    assert not any(p.requires_grad for p in tuned._load()[0].parameters())
    module = parts["mulan"].component.module
    assert not any("text" in name and "text_tower" not in name for name in module.state_dict())

    beat = MusicLM.load(run).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    export_bundle(run, bundle)
    shutil.rmtree(folder)  # the bundle has all of it: weights, config and tokenizer
    _, shipped, _ = load_model(bundle)
    assert torch.equal(embed(shipped["text_encoder"].component), embed(tuned))
    with torch.no_grad():
        ours, theirs = (p["mulan"].component.module.embed_text(TEXTS[:2]) for p in (parts, shipped))
    assert torch.equal(ours, theirs)
    again = MusicLM.load(bundle).generate("boom bap, 90 bpm", duration_s=1.0, seed=1)[0]
    assert np.array_equal(again.audio, beat.audio)


def test_a_resumed_tuning_equals_an_unbroken_one(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path
) -> None:
    tree = short(toy_recipe, node(folders["bert"], fine_tune=True), steps=4)
    train_toy(tmp_path / "unbroken", tree, ("mulan",))
    shutil.copytree(tmp_path / "unbroken", tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "mulan" / "step_00000004")
    shutil.rmtree(tmp_path / "broken" / "parts")
    train_toy(tmp_path / "broken", tree, ("mulan",))
    ours, theirs = (latest_checkpoint(tmp_path / name / "mulan") for name in ("unbroken", "broken"))
    assert ours is not None
    assert theirs is not None
    assert read_meta(ours) == read_meta(theirs)
    for name in ("model", "ema", "optimizer"):
        one, other = read_state(ours, name), read_state(theirs, name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    assert any(key.startswith("text_module.") for key in read_state(ours, "model"))
    for key in ("mulan", "text_encoder"):
        files = [part_path(tmp_path / name, key).read_bytes() for name in ("unbroken", "broken")]
        assert files[0] == files[1]

    tree["text_encoder"]["fine_tune"] = False
    with pytest.raises(MismatchError, match="option 'fine_tune' was True when it was made and is False now"):
        train_toy(tmp_path / "broken", tree, ("mulan",))


def test_a_run_that_lost_its_tuned_encoder_says_what_makes_it(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path
) -> None:
    tree = short(toy_recipe, node(folders["bert"], fine_tune=True))
    train_toy(tmp_path, tree, ("mulan",))
    part_path(tmp_path, "text_encoder").unlink()
    with pytest.raises(ModelError, match="has no trained text_encoder; run `rapgen train mulan`"):
        train_toy(tmp_path, tree, ("semantic",))


def test_texts_that_clips_share_are_encoded_once(
    folders: dict[str, Path], toy_recipe: dict[str, Any], tmp_path: Path
) -> None:
    """So that clips which share a caption are not pushed apart."""

    tree = short(toy_recipe, node(folders["bert"], fine_tune=True))
    train_toy(tmp_path, tree, ("mulan",))
    run = Run(tmp_path, parse_recipe(tree, "toy.yaml"))
    texts, _, _ = captions(Shards(run.audio("train")))
    assert texts == sorted(texts, key=lambda text: (len(text), text))  # in this process as in any other
    stage = make_stage(run, "mulan", build_parts(run.recipe))
    audio, ids, mask, text = stage.batch(0)
    assert len(audio) == len(text) == 8
    assert len(ids) == len(text.unique()) <= 8
    assert len({tuple(row) for row in ids.tolist()}) == len(ids)
    assert mask.any(0).all()  # no column that pads all
    stage.model.train()
    assert not stage.model.text_module.training  # type: ignore[union-attr]
    one, other = (stage.model(audio, ids, mask, text)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_a_tuned_state_needs_no_checkpoint(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        trained = build("text_encoder", node(folder, fine_tune=True))
        bare = build("text_encoder", {"use": "hf", "model": "nobody/knows-it", "dim": DIM, "fine_tune": True})
        bare.load_state(full(half(trained.state())))
        trained.load_state(full(half(trained.state())))
        assert torch.equal(embed(bare), embed(trained))
        assert all(torch.equal(value, trained.state()[name]) for name, value in bare.state().items())
    wide = build("text_encoder", {"use": "hf", "dim": 2 * DIM, "fine_tune": True})
    with pytest.raises(ValueError, match="vectors of 16, not 32"):
        wide.load_state(trained.state())
