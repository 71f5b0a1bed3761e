"""Text encoders in transformers' format: BERT, the encoder of T5, and others; as they are, or trained within MULAN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rapgen.errors import PluginError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import TextEncoder

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor, nn

    from rapgen.models.transformers_checkpoint import Checkpoint, TextModel

_MAX_TOKENS = 256
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
_MODEL = "model."  # prefix of the weights' names in a fine-tuned encoder's state


@hookimpl
def rapgen_components(register: Register) -> None:
    register("text_encoder", "hf", hf)


def hf(
    *,
    model: str = "google-bert/bert-base-uncased",
    path: Path | None = None,
    dim: Annotated[int, Field(ge=1)] = 768,
    fine_tune: bool = False,
) -> TextEncoder:
    """BERT, T5's encoder or another text encoder in transformers' format, frozen or fine-tuned within MULAN.

    `model` is its hub id; `path` is a folder that holds it, for where there is no network. `dim` is the width of its
    vectors, told here so that a recipe can be read without it; it is checked when the weights are first used.
    """
    from rapgen.models.transformers_checkpoint import Checkpoint

    checkpoint = Checkpoint("text_encoder 'hf'", model, path and path.expanduser(), _VOCABULARIES)
    return (TunedEncoder if fine_tune else FrozenEncoder)(checkpoint, dim)


class FrozenEncoder(TextEncoder):
    """Vectors of the last layer.

    The hub's weights stay there (`is_external`): a run knows them by their hash. A folder's travel in bundles, with
    their config and tokenizer. All are rounded to fp16, the precision parts ship in.
    """

    def __init__(self, checkpoint: Checkpoint, dim: int) -> None:
        self.dim = dim
        self._checkpoint = checkpoint
        self._device: torch.device | str = "cpu"
        self._loaded: tuple[TextModel, Tokenizer] | None = None
        self._config: dict[str, Any] | None = None  # of a state that was loaded
        self._sha256: Tensor | None = None

    @property
    def is_external(self) -> bool:
        """Whether the weights can be had again without being stored."""
        return self._config is None and self._checkpoint.path is None

    @property
    def licence(self) -> str | None:
        """The licence of the weights."""
        return self._checkpoint.licence

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (f32 [B, L, dim], bool [B, L]); texts are cut at 256 tokens, or what the model has places for."""
        import torch

        ids, mask = (t.to(self._device) for t in self.tokenize(texts))
        with torch.no_grad():
            return self._load()[0](ids, mask), mask

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (int64 [B, L], bool [B, L] True where a token stands)."""
        import torch

        words = self._load()[1].encode_batch(list(texts))
        mask = torch.tensor([word.attention_mask for word in words])
        return torch.tensor([word.ids for word in words]), mask.bool()

    def state(self) -> dict[str, Tensor]:
        """`weights_sha256` uint8 [32] over weights and vocabulary; of weights that travel, all that is needed."""
        from rapgen.models.transformers_checkpoint import weights_sha256

        if not self.is_external:
            return self._whole_state()
        if self._sha256 is None:
            model, tokenizer = self._load()
            self._sha256 = weights_sha256(model, json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
        return {"weights_sha256": self._sha256}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Weights that travelled need no checkpoint. KeyError, ValueError or RuntimeError where they do not fit."""
        if "config" in state:
            self._load_whole_state(state)
        elif not state["weights_sha256"].equal(self.state()["weights_sha256"]):
            raise ValueError(f"other weights than those in {self._checkpoint.folder}")

    def to(self, device: torch.device | str) -> None:
        """Move the weights, now or when they are read."""
        self._device = device
        if self._loaded is not None:
            self._loaded[0].to(device)

    def _load(self) -> tuple[TextModel, Tokenizer]:
        if self._loaded is None:
            model = _read_model(self._checkpoint)
            if model.dim != self.dim:
                raise PluginError(
                    f"{self._checkpoint.who}: {self._checkpoint.folder} has vectors of {model.dim} and the recipe says "
                    f"{self.dim}; set `dim: {model.dim}`"
                )
            model.half().float()  # the precision parts ship in, wherever they come from
            model.to(self._device).requires_grad_(False)
            self._loaded = model, _read_tokenizer(self._checkpoint, model)
        return self._loaded

    def _whole_state(self) -> dict[str, Tensor]:
        """The weights, and `config` and `tokenizer` as the bytes of their JSON."""
        model, tokenizer = self._load()
        weights = {_MODEL + name: value for name, value in model.state_dict().items()}
        config = json.dumps(self._config or self._checkpoint.config, sort_keys=True)
        return weights | {"config": _to_bytes(config), "tokenizer": _to_bytes(tokenizer.to_str())}

    def _load_whole_state(self, state: Mapping[str, Tensor]) -> None:
        from tokenizers import Tokenizer

        config = json.loads(_to_text(state["config"]))
        model = self._loaded[0] if self._loaded else _new_model(self._checkpoint.who, config)
        if model.dim != self.dim:
            raise ValueError(f"vectors of {model.dim}, not {self.dim}")
        model.load_state_dict({n.removeprefix(_MODEL): v for n, v in state.items() if n.startswith(_MODEL)})
        model.to(self._device).eval().requires_grad_(False)
        self._loaded, self._config = (model, Tokenizer.from_str(_to_text(state["tokenizer"]))), config


class TunedEncoder(FrozenEncoder):
    """Starts from a checkpoint and trains with MuLaN; what comes out is a part of the run, tokenizer included."""

    is_external = False

    def text_module(self) -> nn.Module:
        """What is trained: `module(ids int64 [B, L], mask bool [B, L])` gives f32 [B, L, dim]."""
        return self._load()[0].requires_grad_(True)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Needs no checkpoint. Raises KeyError, ValueError or RuntimeError where `state` is no encoder's."""
        self._load_whole_state(state)


def _read_model(checkpoint: Checkpoint) -> TextModel:
    from rapgen.models.transformers_checkpoint import TextModel
    from rapgen.weights import reading

    with reading(checkpoint.who, checkpoint.folder / "config.json"):
        config, model_class = _classes(checkpoint.who, checkpoint.config)
    checkpoint.check_files()
    return TextModel(checkpoint.load(model_class, config))


def _new_model(who: str, tree: dict[str, Any]) -> TextModel:
    """Of a config alone, its weights yet to come."""
    from rapgen.models.transformers_checkpoint import TextModel, quiet_transformers

    config, model_class = _classes(who, tree)
    with quiet_transformers():
        return TextModel(model_class(config)).float()


def _classes(who: str, tree: dict[str, Any]) -> tuple[Any, Any]:
    """The config as an object, and its encoder's class; PluginError where there is no text encoder of that kind."""
    from rapgen.models.transformers_checkpoint import quiet_transformers

    with quiet_transformers():
        from transformers import CONFIG_MAPPING, MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

        kind = str(tree.get("model_type"))
        if kind in CONFIG_MAPPING:
            config = CONFIG_MAPPING[kind].from_dict(tree)
            found = MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), None)
            if found is None and not config.is_encoder_decoder:
                found = MODEL_MAPPING.get(type(config), None)
            if getattr(found, "main_input_name", "") == "input_ids" and hasattr(config, "hidden_size"):
                return config, found
    raise PluginError(
        f"{who}: its checkpoint is a '{kind}', which is no text encoder that this transformers has; "
        "set `model` and `path` to one as BERT, RoBERTa or T5"
    )


def _read_tokenizer(checkpoint: Checkpoint, model: TextModel) -> Tokenizer:
    """The checkpoint's own, cutting and padding; PluginError where its files are missing."""
    from rapgen.models.transformers_checkpoint import quiet_transformers
    from rapgen.weights import reading

    with reading(checkpoint.who, checkpoint.folder), quiet_transformers():
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    if not found.is_fast or found.pad_token_id is None:
        raise PluginError(
            f"{checkpoint.who}: {checkpoint.folder} has no tokenizer.json, or one that cannot pad; fetch the "
            "tokenizer's files too"
        )
    tokenizer: Tokenizer = found.backend_tokenizer
    places = getattr(model.model.config, "max_position_embeddings", _MAX_TOKENS + 2) - 2  # RoBERTa leaves two empty
    tokenizer.enable_truncation(min(_MAX_TOKENS, found.model_max_length, places))
    tokenizer.enable_padding(pad_id=found.pad_token_id, pad_token=found.pad_token)
    return tokenizer


def _to_bytes(text: str) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _to_text(values: Tensor) -> str:
    return values.cpu().numpy().tobytes().decode()
