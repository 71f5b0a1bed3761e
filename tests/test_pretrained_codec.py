"""Weights of the codecs `encodec` and `dac`: where they come from, what is wrong with them, how they travel."""

from __future__ import annotations

import copy
import shutil
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import _TOY_RECIPE, train_toy
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

import rapgen_plugins.dac as dac_module
from rapgen.audio._torchaudio import load_torchaudio
from rapgen.cli.app import make_app
from rapgen.errors import MismatchError, PluginError
from rapgen.generation.export import export_bundle
from rapgen.generation.musiclm import MusicLM
from rapgen.identities import Part, full, half, state_sha256
from rapgen.models.pretrained_codec import PretrainedCodec
from rapgen.registry import build

load_torchaudio()
NODES: dict[str, dict[str, Any]] = {
    "encodec": {"use": "encodec", "bandwidth_kbps": 3.0},
    "dac": {"use": "dac", "sample_rate": 16_000, "num_codebooks": 4},
}
NAMES = sorted(NODES)


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dac_module, "_WIDTHS", {"encoder_dim": 8, "decoder_dim": 64})
        yield


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and empty caches."""

    def download(url: str, *_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def made(name: str, **options: Any) -> PretrainedCodec:
    codec = build("codec", {**NODES[name], **options})
    assert isinstance(codec, PretrainedCodec)
    return codec


def sound(seed: int = 0, samples: int = 6000) -> Tensor:
    return 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def originals(narrow: None) -> dict[str, Any]:
    """The packages' own networks, initialised, weight normalisation and all."""
    from dac.model import DAC
    from encodec.model import EncodecModel

    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encodec: nn.Module = EncodecModel.encodec_model_24khz(pretrained=False)
        dac = DAC(8, [2, 4, 5, 8], None, 64, [8, 5, 4, 2], n_codebooks=12, sample_rate=16_000)
    for layer in encodec.quantizer.vq.layers:
        layer.codebook.normal_()
    for network in (encodec, dac):
        with torch.no_grad():
            for value in network.parameters():
                value.mul_(1.5)
    return {"encodec": encodec.eval(), "dac": dac.eval()}


def save_as_published(network: Any, path: Path) -> None:
    """As the packages' authors saved theirs."""
    if hasattr(network, "save"):
        network.save(str(path), package=False)
    else:
        torch.save(network.state_dict(), path)


# ------------------------------------------------------------------------------------------- random weights


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_are_the_same_every_time_and_disturb_nothing(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = made(name, weights="random")
    codes = first.encode(sound())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    second = made(name, weights="random")
    assert torch.equal(second.encode(sound()), codes)
    assert state_sha256(first.state()) == state_sha256(second.state())
    assert torch.equal(first.decode(codes), second.decode(codes))


# ------------------------------------------------------------------------------------------- files and hubs


@pytest.mark.parametrize("kind", ["published", "safetensors", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_are_read_from_a_path(name: str, kind: str, originals: dict[str, Any], tmp_path: Path) -> None:
    """Those of the authors' form, those with weight normalisation in safetensors, and rapgen's own state."""
    path = tmp_path / ("w.pth" if kind == "published" else "w.safetensors")
    save_as_published(originals[name], tmp_path / "w.pth")
    if kind == "safetensors":
        save_file({n: v.contiguous() for n, v in originals[name].state_dict().items()}, path)
    elif kind == "plain":
        save_file(half(made(name, weights=tmp_path / "w.pth").state()), path)
    codec = made(name, weights=path)
    with torch.no_grad():
        theirs, ours = originals[name].encoder(sound()[..., :5760]), codec.net.encoder(sound()[..., :5760])
    assert (theirs - ours).abs().max() < 0.01 * theirs.abs().max()  # of rounding to fp16
    assert theirs.std() > 0
    assert all(torch.equal(v, v.half().float()) for v in codec.state().values())
    assert not any("weight_g" in n or n.endswith("cluster_size") for n in codec.state())


@pytest.mark.parametrize("name", NAMES)
def test_the_hubs_file_is_kept_where_the_package_keeps_it(
    name: str, originals: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(url: str, place: str, *, hash_prefix: str | None) -> None:
        asked.append(url)
        assert (hash_prefix is None) == (name == "dac")
        save_as_published(originals[name], Path(place))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    first = made(name).encode(sound())
    assert torch.equal(made(name).encode(sound()), first)  # from the cache
    (kept,) = [p for p in tmp_path.rglob("*.*th") if p.is_file()]
    expected = {
        "encodec": ("https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th", "torch/hub/checkpoints"),
        "dac": (
            "https://github.com/descriptinc/descript-audio-codec/releases/download/0.0.5/weights_16khz.pth",
            "home/.cache/descript/dac",
        ),
    }[name]
    assert (asked, str(kept.parent.relative_to(tmp_path))) == ([expected[0]], expected[1])
    assert torch.equal(made(name, weights=kept).encode(sound()), first)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_caches_are_those_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the packages would fetch themselves is found, whatever their next version calls it."""
    import dac.utils
    from encodec.model import ROOT_URL, EncodecModel

    places: list[str] = []
    monkeypatch.setattr(Path, "exists", lambda path: places.append(str(path)) or True)
    for rate, khz in ((16_000, "16khz"), (24_000, "24khz"), (44_100, "44khz")):
        codec = made("dac", sample_rate=rate)
        assert dac.utils.download(model_type=khz) == codec._cache()
        assert codec.url in vars(dac.utils)["__MODEL_URLS__"].values()
    asked: list[str] = []
    monkeypatch.setattr(EncodecModel, "_get_pretrained", lambda name, *_: asked.append(ROOT_URL + name) or {})
    for rate, make in ((24_000, EncodecModel.encodec_model_24khz), (48_000, EncodecModel.encodec_model_48khz)):
        with pytest.raises(RuntimeError, match="Missing key"):
            make()
        assert asked[-1] == made("encodec", sample_rate=rate).url


def fails_in_one_line(codec: PretrainedCodec, *told: str) -> None:
    with pytest.raises(PluginError) as raised:
        codec.encode(torch.zeros(1, codec.channels, 320))
    message = str(raised.value)
    assert message.startswith(f"codec '{codec.name}'")
    assert "\n" not in message
    for words in told:
        assert words in message


@pytest.mark.parametrize("name", NAMES)
def test_no_network_is_told_with_the_option_that_helps(name: str) -> None:
    codec = made(name)
    fails_in_one_line(codec, "no route to host", "set `weights` to a local path", f"bring the file to {codec._cache()}")
    assert not codec._cache().exists()


class Touch:
    """What a pickle can do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_one_line(name: str, originals: dict[str, Any], tmp_path: Path) -> None:
    fails_in_one_line(made(name, weights=tmp_path / "none.th"), "there is no weights file", "none.th")

    path = tmp_path / "code.th"
    torch.save({"weight": Touch(tmp_path / "touched")}, path)
    fails_in_one_line(made(name, weights=path), "code.th", "could run code", "give a safetensors file")
    assert not (tmp_path / "touched").exists()

    path = tmp_path / "whole.th"
    save_as_published(originals[name], path)
    for keep in (0, 10, 100_000):
        torn = tmp_path / "torn.th"
        torn.write_bytes(path.read_bytes()[:keep])
        fails_in_one_line(made(name, weights=torn), "torn.th", "damaged", "fetch it anew")

    path = tmp_path / "list.th"
    torch.save([torch.zeros(3)], path)
    fails_in_one_line(made(name, weights=path), "another model's weights", "is missing")
    torch.save({0: torch.zeros(3), "x.weight_g": torch.zeros(2, 1), "x.weight_v": torch.zeros(3, 1), "y": "z"}, path)
    fails_in_one_line(made(name, weights=path), "another model's weights")

    plain = made(name, weights=tmp_path / "whole.th").state()
    first = next(iter(plain))
    path = tmp_path / "huge.safetensors"
    save_file({**plain, first: plain[first] * 0 + 1e9}, path)
    fails_in_one_line(made(name, weights=path), f"'{first}' does not fit fp16", "fetch it anew")


def test_another_models_file_is_told(originals: dict[str, Any], tmp_path: Path) -> None:
    for name, network in originals.items():
        save_as_published(network, tmp_path / f"{name}.th")
    encodec, dac = tmp_path / "encodec.th", tmp_path / "dac.th"
    wrong = {
        "the other codec": made("dac", weights=encodec),
        "another rate": made("encodec", weights=encodec, sample_rate=48_000),
        "more codebooks": made("dac", weights=dac, sample_rate=24_000),
        "other strides": made("dac", weights=dac, sample_rate=44_100),
    }
    for codec in wrong.values():
        fails_in_one_line(codec, "holds another model's weights ('", "give the file of this one")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rapgen.models.pretrained_codec.find_spec", lambda package: None)
    with pytest.raises(
        PluginError, match=rf"codec '{name}' needs the package '{name}': pip install 'rapgen\[{name}\]'"
    ):
        made(name)


# ------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("name", NAMES)
def test_a_state_comes_back_and_freezing_changes_nothing(name: str, originals: dict[str, Any], tmp_path: Path) -> None:
    save_as_published(originals[name], tmp_path / "w.pth")
    codec = made(name, weights=tmp_path / "w.pth")
    codes = codec.encode(sound())
    state = {n: v.clone() for n, v in codec.state().items()}
    other = made(name)  # of the hub, which is not asked
    other.load_state(full(half(state)))
    assert torch.equal(other.encode(sound()), codes)
    assert torch.equal(other.decode(codes), codec.decode(codes))
    assert Part("codec", name, other, {}).identity() == Part("codec", name, codec, {}).identity()
    state.popitem()
    with pytest.raises(ValueError, match=rf"not the state of {name} with these options: '.*' is missing"):
        other.load_state(state)


def test_weights_read_while_playing_can_be_replaced() -> None:
    """Those made under inference mode could not be."""
    codec = made("encodec", weights="random")
    with torch.inference_mode():
        codec.encode(sound())
    codec.load_state(full(half(codec.state())))
    assert not any(value.is_inference() for value in codec.state().values())


def test_nothing_is_fetched_to_look_at_a_recipe(toy_recipe: dict[str, Any], tmp_path: Path) -> None:
    toy_recipe["codec"] = NODES["encodec"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(toy_recipe))
    for command in ("validate", "show"):
        done = CliRunner().invoke(make_app(), ["recipes", command, str(path)])
        assert done.exit_code == 0, done.output
    assert "codec: comes trained, 14.85 M parameters; tokens: 4 codebooks of 1024, 75 frames/s, 3 kbps" in done.output


# ------------------------------------------------------------------------------------------ runs and bundles


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose codec is EnCodec with random weights."""
    tree = copy.deepcopy(_TOY_RECIPE)
    tree["codec"] = {**NODES["encodec"], "weights": "random"}
    for split in ("train", "valid"):
        tree["data"][split] |= {"num_clips": 2, "duration_s": 2.0}
    for settings in tree["stages"].values():
        settings |= {"steps": 2, "batch_size": 2, "crop_s": 1.0}
    folder = tmp_path_factory.mktemp("encodec") / "run"
    train_toy(folder, tree)
    return folder


def beat(model: Path) -> np.ndarray:
    return MusicLM.load(model).generate("trap, 140 bpm", duration_s=0.2)[0].audio


def with_weights(run: Path, weights: str, folder: Path) -> Path:
    """A copy of a run whose recipe takes the codec's weights from elsewhere."""
    shutil.copytree(run, folder)
    tree = yaml.safe_load((folder / "recipe.yaml").read_text())
    tree["codec"]["weights"] = weights
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tree))
    return folder


def test_a_bundle_with_random_weights_makes_them_anew(run: Path, tmp_path: Path) -> None:
    export_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle/parts/codec.safetensors").exists()
    assert yaml.safe_load((tmp_path / "bundle/recipe.yaml").read_text())["codec"]["weights"] == "random"
    assert np.array_equal(beat(tmp_path / "bundle"), beat(run))


def test_a_bundle_holds_weights_that_were_given_by_a_path(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_file(half(made("encodec", weights="random").state()), weights)
    mine = with_weights(run, str(weights), tmp_path / "run")
    export_bundle(mine, tmp_path / "bundle")
    assert str(tmp_path) not in (tmp_path / "bundle/recipe.yaml").read_text()
    expected = beat(run)
    weights.unlink()
    assert np.array_equal(beat(tmp_path / "bundle"), expected)
    export_bundle(tmp_path / "bundle", tmp_path / "again")
    assert np.array_equal(beat(tmp_path / "again"), expected)
    with pytest.raises(PluginError, match=r"codec 'encodec': there is no weights file .*w\.safetensors"):
        MusicLM.load(mine)


def test_a_bundle_without_the_hubs_weights_says_so(run: Path, tmp_path: Path) -> None:
    place = made("encodec")._cache()
    place.parent.mkdir(parents=True)
    torch.save(made("encodec", weights="random").state(), place)
    export_bundle(with_weights(run, "hub", tmp_path / "run"), tmp_path / "bundle")
    assert not (tmp_path / "bundle/parts/codec.safetensors").exists()
    assert np.array_equal(beat(tmp_path / "bundle"), beat(run))
    place.unlink()
    with pytest.raises(PluginError, match=rf"codec 'encodec': its weights cannot be fetched .* the file to {place}"):
        MusicLM.load(tmp_path / "bundle")
    state = made("encodec", weights="random").state()
    state["decoder.model.0.conv.conv.bias"] = state["decoder.model.0.conv.conv.bias"] + 1
    torch.save(state, place)
    with pytest.raises(MismatchError, match=r"\(codec\): state_sha256 was .* when it was made"):
        MusicLM.load(tmp_path / "bundle")


def test_a_codec_that_comes_trained_is_not_trained(run: Path) -> None:
    assert not (run / "codec").exists()
    done = CliRunner().invoke(make_app(), ["codec", "train", "--run", str(run)])
    assert done.exit_code == 2
    assert done.stderr.endswith("error: codec 'encodec' comes trained; there is nothing to train\n")
