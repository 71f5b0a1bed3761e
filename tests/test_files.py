"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from rapgen.errors import RapgenError
from rapgen.files import atomic, write_json


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == path.suffix
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def break_off(path: Path, error: BaseException) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, RapgenError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error, match="stop"):
        break_off(path, error("stop"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    with atomic(tmp_path / "file") as temporary:
        temporary.write_text("")
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RapgenError, match=r"file\.txt: No space left on device; free some space"):
        break_off(tmp_path / "file.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below.txt", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(RapgenError, match="cannot write") as raised, atomic(path) as temporary:
            temporary.write_text("new")
        assert "\n" not in str(raised.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "in the way"


def test_json_is_sorted_and_ends_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": None, "b": [1, 2.5]}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert not list(tmp_path.iterdir())
