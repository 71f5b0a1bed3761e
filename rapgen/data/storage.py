"""A folder to read from and write to: on this machine, or anywhere that fsspec knows ("s3://beats/raw")."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from rapgen.errors import RapgenError
from rapgen.files import atomic
from rapgen.paths import as_path, fetch, is_file, is_folder, is_remote, list_tree, remove


@dataclass(frozen=True)
class Storage:
    """Files under a root, by name: "train/beat.flac". Cheap to send to another process or machine."""

    root: str

    def path(self, name: str) -> Path:
        """Where a file is."""
        return self._folder / name

    def sizes(self) -> Iterator[tuple[str, int | None]]:
        """Every file's name and bytes, in no order; None for what is no regular file, such as a pipe or a dead link.

        Raises RapgenError where there is no such folder or it cannot be read.
        """
        if not is_folder(self._folder):
            raise RapgenError(f"there is no folder {self.root}; give one that is there")
        yield from list_tree(self._folder).items() if is_remote(self._folder) else self._local_sizes()

    def open(self, name: str) -> BinaryIO:
        """A file to read from; OSError where it cannot be, RapgenError where its server does not give it."""
        return fetch(self.path(name))

    def read(self, name: str) -> bytes:
        """All of a file; errors as of `open`."""
        with self.open(name) as file:
            return file.read()

    def write(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file whole or not at all, at once or by pieces; RapgenError where the place does not take it."""
        pieces = (content,) if isinstance(content, bytes) else content
        with atomic(self.path(name)) as temporary, temporary.open("wb") as file:
            file.writelines(pieces)

    def is_empty(self) -> bool:
        """Whether there is no such folder, or no file in it but hidden ones, which a process that was killed leaves."""
        is_there = is_folder(self._folder) or is_file(self._folder)
        return not is_there or all(name.rpartition("/")[2].startswith(".") for name, _ in self.sizes())

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return is_file(self.path(name))

    def move(self, name: str, to: str) -> None:
        """Give a file another name, in place of whatever has it; RapgenError where the place does not take it."""
        source, target = self.path(name), self.path(to)
        if not is_remote(self._folder):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            except OSError as error:
                raise RapgenError(f"cannot write {target}: {error.strerror}; choose another place") from None
            return
        self.write(to, self.read(name))
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        remove(self.path(name))

    def _local_sizes(self) -> Iterator[tuple[str, int | None]]:
        try:
            for folder, _, names in os.walk(self.root, onerror=_refuse):
                for name in names:
                    path = Path(folder, name)
                    yield path.relative_to(self.root).as_posix(), path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise RapgenError(f"cannot read {error.filename}: {error.strerror}") from None

    @cached_property
    def _folder(self) -> Path:
        return as_path(self.root)


def _refuse(error: OSError) -> None:
    raise error
