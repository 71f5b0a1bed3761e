"""What became of each address: `fetch.jsonl`, to which a line is added as soon as it is known."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from rapgen.data.fetch import RECORDS
from rapgen.errors import RapgenError

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Record:
    """What became of an address. `limits`: those it was skipped by; with others it is tried anew."""

    key: str
    status: Status
    why: str = ""
    detail: str = ""
    file: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)


class Records:
    """All records of a folder."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        self._by_key: dict[str, Record] = {}
        line = b"\n"
        for line in file:
            if record := _parse(line):
                self._by_key[record.key] = record
        if not line.endswith(b"\n"):  # torn when its process was killed
            file.write(b"\n")

    def get(self, key: str) -> Record | None:
        """The last record of an address."""
        return self._by_key.get(key)

    def add(self, record: Record) -> None:
        """Keep a record, in the file too, before this returns."""
        self._by_key[record.key] = record
        told = {name: value for name, value in asdict(record).items() if value}
        self._file.write(json.dumps(told).encode() + b"\n")
        self._file.flush()


@contextmanager
def open_records(folder: Path) -> Iterator[Records]:
    """The records of a folder, made where there are none.

    Raises RapgenError where the folder cannot be written, the disk is full, or another fetch is at work in it.
    """
    path = folder / RECORDS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RapgenError(
                    f"another fetch is at work in {folder}; wait for it or choose another folder"
                ) from None
            yield Records(file)
    except OSError as error:
        raise disk_error(folder, error) from None


def disk_error(folder: Path, error: OSError) -> RapgenError:
    """The one line for a folder that does not take what is written to it."""
    why = os.strerror(error.errno).lower() if error.errno else str(error)
    return RapgenError(f"cannot write to {folder}: {why}; free some space or choose another folder")


def _parse(line: bytes) -> Record | None:
    """A record, or None for a line that is none: torn, or written by somebody else."""
    try:
        record = Record(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (record.key, record.status, record.why, record.detail, record.file)
    is_whole = all(isinstance(text, str) for text in texts) and isinstance(record.limits, dict)
    return record if is_whole and Path(record.file).name == record.file else None
