"""Checkpoints of transformers: found in a folder or at the hub, and read without running what they bring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from rapgen.audio._torchaudio import load_torchaudio
from rapgen.errors import PluginError
from rapgen.weights import from_hub, reading

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_SMALL_FILES = ("*.json", "*.txt", "*.model", "README.md")  # config, preprocessor, tokenizer, model card
_HUB_TIMEOUT_S = 10.0
_SPARE = ("masked_spec_embed", "pooler.")  # weights that only training or a head needs: they may be missing


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint by its hub id `model`, or the folder `path` that it lies in. Nothing is read before it is asked for.

    `who` names the component in errors; of the files that `needs` names, one must lie beside the weights.
    """

    who: str
    model: str
    path: Path | None
    needs: tuple[str, ...]

    def __post_init__(self) -> None:
        if find_spec("transformers") is None:
            raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
        if self.path is not None:
            self._check_file(self.path, ("config.json",))

    @cached_property
    def folder(self) -> Path:
        """Where the files are, fetched if need be; PluginError where the hub cannot be asked."""
        return self.path or _cached(self.model, self.needs) or self._fetched()

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds, less where it lay and what would bring in code from elsewhere."""
        with reading(self.who, self.folder / "config.json"):
            tree = dict(json.loads((self.folder / "config.json").read_text()))
        return {n: v for n, v in tree.items() if n not in ("auto_map", "_name_or_path") and "attn_impl" not in n}

    @property
    def licence(self) -> str | None:
        """What the model card says of the weights' licence, as far as it can be known without a download."""
        folder = self.path or _cached(self.model, self.needs)
        if folder is None:
            return f"see the model card of {self.model}"
        try:
            head = (folder / "README.md").read_text().split("---")[1]
            return str(yaml.safe_load(head)["license"])
        except (OSError, IndexError, KeyError, TypeError, UnicodeDecodeError, yaml.YAMLError):
            return None

    def check_files(self) -> None:
        """PluginError where nothing of what it `needs` beside the weights is there."""
        self._check_file(self.folder, self.needs)

    def load(self, model_class: Any, config: Any) -> Any:
        """The model in fp32, evaluating. Raises PluginError where the weights are damaged or another model's."""
        with reading(self.who, self.folder), quiet_transformers():
            model, report = model_class.from_pretrained(
                self.folder,
                config=config,
                output_loading_info=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
            )
        names = [*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])]
        wrong = sorted(name for name in names if not name.startswith(_SPARE))
        if wrong:
            raise PluginError(
                f"{self.who}: the weights in {self.folder} lack {len(wrong)} of the tensors that its config.json asks "
                f"for ({wrong[0]}, ...): they are not whole or another model's; fetch it anew"
            )
        return model.float().eval()

    def _check_file(self, folder: Path, names: tuple[str, ...]) -> None:
        if not _has_one(folder, names):
            raise PluginError(
                f"{self.who}: no {names[0]} in {folder}; set `path` to the folder of a transformers checkpoint with "
                f"all its files, or leave it out to take '{self.model}' from the hub"
            )

    def _fetched(self) -> Path:
        from huggingface_hub import HfApi, snapshot_download

        with from_hub(f"{self.who} ({self.model})", "path"):
            files = {s.rfilename for s in HfApi().model_info(self.model, timeout=_HUB_TIMEOUT_S).siblings or ()}
            kind = "model*.safetensors" if files & set(_WEIGHTS[:2]) else "pytorch_model*.bin"
            return Path(snapshot_download(self.model, allow_patterns=[*_SMALL_FILES, kind]))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers, importable beside any torch, without its remarks and bars; they are as they were afterwards."""
    load_torchaudio()  # transformers imports it unguarded
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def weights_sha256(module: nn.Module, more: bytes = b"") -> Tensor:
    """uint8 [32]: hash over a module's tensors and `more`. It stands for weights too many to be stored again.

    Names are left out, and with them the order: they change from one transformers to the next.
    """
    digests = []
    for value in module.state_dict().values():
        digest = hashlib.sha256(f"{value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
        digests.append(digest.digest())
    whole = hashlib.sha256(b"".join(sorted(digests)) + more)
    return torch.frombuffer(bytearray(whole.digest()), dtype=torch.uint8)


def _cached(model: str, needs: tuple[str, ...]) -> Path | None:
    """Where the hub's cache holds all of a model, so that a second start asks no network; None where it does not."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(model, "config.json")
    except HFValidationError:  # no name that the hub could know; fetching tells
        return None
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and _has_one(folder, needs) and _has_weights(folder) else None


def _has_one(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in names)


def _has_weights(folder: Path) -> bool:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            shards = json.loads((folder / name).read_text())["weight_map"].values() if name.endswith("json") else ()
            return all((folder / shard).is_file() for shard in shards)
    return False


class TextModel(nn.Module):
    """An encoder of transformers, from token ids to vectors: one as BERT, or the first half of one as T5."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        # T5 keeps its encoder's table under a second name, for the decoder's sake.
        self.model = model.encoder if hasattr(model, "shared") else model
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # a head that checkpoints need not have, and that no vector passes

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """int64 [B, L], bool [B, L] -> f32 [B, L, dim]."""
        vectors: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return vectors
