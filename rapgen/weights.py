"""Weights that somebody else made: read without running what a file brings, with errors that name the mend."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rapgen.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)  # of licences alone: the command line always shows them
_WEIGHT_NORM = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def read_weights(path: Path, *, who: str) -> Any:
    """What a safetensors or torch file holds: tensors by name, or the tree of plain values around them.

    `who` names the component in errors. Raises PluginError where the file is missing or damaged, or is a pickle that
    holds more than tensors and plain values: such a file can run code, and is not opened.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise PluginError(f"{who}: there is no weights file {path}; give the path of one that is there")
    with reading(who, path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of odd pickles at length, then refuses them
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


def fill(net: nn.Module, weights: Any, *, who: str, path: Path) -> None:
    """Put the weights that `path` held into a network, rounded to fp16: the precision parts ship in.

    Raises PluginError where they are another network's, or hold numbers that fp16 does not.
    """
    import torch

    named = {str(name): value for name, value in weights.items()} if isinstance(weights, Mapping) else {}
    own, plain = net.state_dict(), without_weight_norm(named)
    problem = misfit(own, plain)
    if problem is not None:
        raise PluginError(f"{who}: {path} holds another model's weights ({problem}); give the file of this one")
    rounded = {n: v.half().float() if own[n].is_floating_point() else v for n, v in plain.items()}
    for name, value in rounded.items():
        if not torch.isfinite(value).all():
            raise PluginError(f"{who}: {path} is damaged ('{name}' does not fit fp16); fetch it anew")
    net.load_state_dict(rounded, assign=True)


def misfit(own: Mapping[str, Tensor], given: Mapping[str, Any]) -> str | None:
    """The first thing that keeps `given` from being a state like `own`, None where nothing does."""
    for name in sorted(own.keys() | given.keys()):
        if name not in given:
            return f"'{name}' is missing"
        if name not in own:
            return f"'{name}' is not among its own"
        shape = tuple(getattr(given[name], "shape", ()))
        if shape != tuple(own[name].shape):
            return f"'{name}' is {list(shape)}, not {list(own[name].shape)}"
    return None


def without_weight_norm(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights as they are used: every (magnitude, direction) that weight normalisation trains becomes one `weight`.

    A pair that is none, as in a file of something else, is left out.
    """
    import torch

    plain = dict(weights)
    for magnitude, direction in _WEIGHT_NORM:
        for name in [n for n in plain if n.endswith(f".{magnitude}")]:
            stem = name.removesuffix(magnitude)
            g, v = plain.pop(name), plain.pop(stem + direction, None)
            if isinstance(g, torch.Tensor) and isinstance(v, torch.Tensor) and g.numel() == len(v):
                plain[f"{stem}weight"] = v * (g / torch.norm_except_dim(v, 2, 0))
    return plain


@cache
def tell_licence(who: str, what: str, licence: str) -> None:
    """Say, once a process, under which licence a component's weights are used."""
    log.info("%s uses weights of others, %s: %s", who, what, licence)


@contextmanager
def from_hub(who: str, option: str, *, place: Path | None = None) -> Iterator[None]:
    """Around a download: what goes wrong becomes one PluginError that says which option takes a local path.

    `place` is the file that the download would have made: a bundle, whose options are fixed, finds it there too.
    """
    try:
        yield
    except PluginError:
        raise
    except Exception as error:  # each hub's client has errors of its own, with no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PluginError(
            f"{who}: its weights cannot be fetched ({type(error).__name__}: {reason}); with no network, set "
            f"`{option}` to a local path{f' or bring the file to {place}' if place else ''}"
        ) from error
