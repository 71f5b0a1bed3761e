"""Weights that somebody else made: read without running what a file brings, with errors that name the mend."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rapgen.errors import PluginError


def read_weights(path: Path, *, who: str) -> Any:
    """What a safetensors or torch file holds: tensors by name, or the tree of plain values around them.

    `who` names the component in errors. Raises PluginError where the file is missing or damaged, or is a pickle that
    holds more than tensors and plain values: such a file can run code, and is not opened.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise PluginError(f"{who}: there is no weights file {path}; give the path of one that is there")
    with reading(who, path):
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def reading(who: str, path: Path) -> Iterator[None]:
    """Around what reads weights from a file or folder: what goes wrong becomes one PluginError.

    Whatever reads them must refuse pickles that hold more than tensors, as safetensors and `weights_only=True` do.
    """
    try:
        yield
    except (PluginError, MemoryError):
        raise
    except pickle.UnpicklingError:
        raise PluginError(
            f"{who}: {path} is a pickle that holds more than tensors, and could run code; it is not opened: "
            "give a safetensors file, or a torch file of tensors alone"
        ) from None
    except Exception as error:  # what libraries make of a damaged file has no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PluginError(f"{who}: {path} is damaged or no weights file ({reason}); fetch it anew") from error


@contextmanager
def from_hub(who: str, option: str) -> Iterator[None]:
    """Around a download: what goes wrong becomes one PluginError that says which option takes a local path."""
    try:
        yield
    except PluginError:
        raise
    except Exception as error:  # each hub's client has errors of its own, with no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PluginError(
            f"{who}: its weights cannot be fetched ({type(error).__name__}: {reason}); with no network, set "
            f"`{option}` to a local path"
        ) from error
