"""Where things lie in a dataset. What is hidden is passed over by those who read an AudioFolder."""

from __future__ import annotations

from collections.abc import Iterable

SETTINGS = ".prepare/settings.json"
ORDER = ".prepare/order.json"  # tracks as they came
ASSIGNED = ".prepare/splits.json"  # the split of each family
REPORT = "report.html"
_RECORDS, _PRINTS = ".prepare/tracks/", ".prepare/prints/"


def record_path(track: str) -> str:
    """What became of a track."""
    return f"{_RECORDS}{track}.json"


def print_path(track: str) -> str:
    """A track's fingerprint."""
    return f"{_PRINTS}{track}.npy"


def clip_path(split: str, file_name: str) -> str:
    """A clip's FLAC."""
    return f"{split}/{file_name}"


def track_of(file_name: str) -> str:
    """The track of a clip; of a file that is no clip, no track's name."""
    return file_name.rpartition("-")[0]


def recorded(files: Iterable[str]) -> set[str]:
    """The tracks that have a record among a dataset's files."""
    records = (name for name in files if name.startswith(_RECORDS) and not is_begun(name))
    return {name[len(_RECORDS) : -len(".json")] for name in records}


def is_begun(name: str) -> bool:
    """Whether a file is one that a process had begun when it was killed."""
    return name.rpartition("/")[2].startswith(".")
