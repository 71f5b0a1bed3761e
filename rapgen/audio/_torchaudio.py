"""The one place that imports torchaudio, whose native library need not fit the installed torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from rapgen.errors import PluginError


def load_torchaudio() -> ModuleType:
    """torchaudio, without its native library where that does not load.

    Wheels are built for CUDA: beside a CPU torch the library is an OSError, beside a newer CUDA torch a
    RuntimeError. All that is written in Python works without it. Code that imports torchaudio by itself
    (encodec, transformers) works too once this has run. Raises PluginError where torchaudio is missing.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        raise PluginError(f"{error.name} is missing: pip install torchaudio") from error
    except (OSError, RuntimeError):
        sys.modules["torchaudio._extension"] = _stand_in()
        return importlib.import_module("torchaudio")


def _stand_in() -> ModuleType:
    """What the rest of torchaudio reads from the module that loads the native library."""

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    module = ModuleType("torchaudio._extension")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, fail_if_no_align=fail_if_no_align
    )
    return module
