"""Modules whose weights are about to come from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_)  # what some functions of torch.nn.init come to


class Blank(TorchFunctionMode):
    """What is built within gets no first values: `load_state_dict(..., assign=True)` then fills it.

    Memory that is never written is never taken, so this costs as little as torch's device "meta", which imports
    torch's compiler at the first normal draw, for two seconds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS or getattr(func, "__module__", "") == torch.nn.init.__name__:
            return kwargs.get("tensor", args[0] if args else None)
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)
