"""A folder to read from and write to: on this machine, or anywhere that fsspec knows ("s3://beats/raw")."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from rapgen.errors import RapgenError
from rapgen.files import atomic


@dataclass(frozen=True)
class Storage:
    """Files under a root, by name: "train/beat.flac". Cheap to send to another process or machine."""

    root: str

    def path(self, name: str) -> str:
        """Where a file is, for people and for fsspec."""
        return f"{self.root.rstrip('/')}/{name}"

    def sizes(self) -> Iterator[tuple[str, int | None]]:
        """Every file's name and bytes, in no order; None for what is no regular file, such as a pipe or a dead link.

        Raises RapgenError where there is no such folder or it cannot be read.
        """
        if not self._is_remote:
            yield from self._local_sizes()
            return
        fs, base = self._remote
        for path, info in fs.find(base, detail=True).items():
            yield path.removeprefix(base).lstrip("/"), info.get("size")

    def open(self, name: str) -> BinaryIO:
        """A file to read from; OSError where it cannot be."""
        if not self._is_remote:
            return (Path(self.root) / name).open("rb")
        fs, base = self._remote
        opened: BinaryIO = fs.open(f"{base}/{name}", "rb")
        return opened

    def read(self, name: str) -> bytes:
        """All of a file; OSError where it cannot be read."""
        with self.open(name) as file:
            return file.read()

    def write(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file whole or not at all, at once or by pieces; RapgenError where the place does not take it."""
        pieces = (content,) if isinstance(content, bytes) else content
        if not self._is_remote:
            with atomic(Path(self.root) / name) as temporary, temporary.open("wb") as file:
                file.writelines(pieces)
            return
        fs, base = self._remote
        try:
            fs.pipe_file(f"{base}/{name}", b"".join(pieces))
        except OSError as error:
            raise RapgenError(f"cannot write {self.path(name)}: {error}; choose another place") from None

    def is_empty(self) -> bool:
        """Whether there is no file, or no such folder."""
        if not self._is_remote and not Path(self.root).exists():
            return True
        return next(self.sizes(), None) is None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if not self._is_remote:
            return (Path(self.root) / name).is_file()
        fs, base = self._remote
        return bool(fs.isfile(f"{base}/{name}"))

    def move(self, name: str, to: str) -> None:
        """Give a file another name, in place of whatever has it."""
        self.write(to, self.read(name))
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        if not self._is_remote:
            (Path(self.root) / name).unlink()
            return
        fs, base = self._remote
        fs.rm_file(f"{base}/{name}")

    def _local_sizes(self) -> Iterator[tuple[str, int | None]]:
        if not Path(self.root).is_dir():
            raise RapgenError(f"there is no folder {self.root}; give one that is there")
        try:
            for folder, _, names in os.walk(self.root, onerror=_refuse):
                for name in names:
                    path = Path(folder, name)
                    yield path.relative_to(self.root).as_posix(), path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise RapgenError(f"cannot read {error.filename}: {error.strerror}") from None

    @property
    def _is_remote(self) -> bool:
        return "://" in self.root

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        fs, base = url_to_fs(self.root)
        return fs, base.rstrip("/")


def _refuse(error: OSError) -> None:
    raise error
