"""How a broken contract is told."""

from __future__ import annotations

from typing import Any


class Violation(Exception):
    """A component that does not keep the protocol of its role: what it gave, and what it should have given."""


def describe(value: Any) -> str:
    """A value as an error shows it: "float32 [1, 25, 4]", "a list", "None"."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        library = "numpy " if type(value).__module__ == "numpy" else ""
        return f"{library}{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return repr(value) if value is None or isinstance(value, bool | int | float) else f"a {type(value).__name__}"
