"""Where things lie in a dataset. What is hidden is passed over by those who read an AudioFolder."""

from __future__ import annotations

SETTINGS = ".prepare/settings.json"
ORDER = ".prepare/order.json"  # tracks as they came: what came later never changes what was said of an earlier one
SPLITS = ".prepare/splits.json"
REPORT = "report.html"
_RECORDS, _PRINTS = ".prepare/tracks/", ".prepare/prints/"


def record_path(track: str) -> str:
    return f"{_RECORDS}{track}.json"


def print_path(track: str) -> str:
    return f"{_PRINTS}{track}.npy"


def clip_path(split: str, file_name: str) -> str:
    return f"{split}/{file_name}"


def recorded(files: dict[str, int | None]) -> set[str]:
    """The tracks that have a record among a dataset's files."""
    return {name[len(_RECORDS) : -len(".json")] for name in files if name.startswith(_RECORDS) and not _is_temporary(name)}


def temporary(files: dict[str, int | None]) -> list[str]:
    """Files that a process had begun when it was killed."""
    return [name for name in files if _is_temporary(name)]


def _is_temporary(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")
