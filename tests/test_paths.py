"""Paths that may be URLs: files that appear whole, listings that are fresh, servers that fail told in a line."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ftp import ftp_server

from rapgen import paths
from rapgen.audio.io import read_audio, write_wav
from rapgen.audio.metadata import read_rows
from rapgen.data.storage import Storage
from rapgen.errors import AudioError, RapgenError
from rapgen.files import atomic
from rapgen.paths import as_path, is_file, is_folder, is_remote, list_folder, list_tree, local_copy, read_from
from rapgen.registry import build, lasting_options, portable_options


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder, and the same folder as a path by way of a server."""
    root = tmp_path / "served"
    root.mkdir()
    with ftp_server(root) as url:
        yield root, as_path(f"{url}/a/b")


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_WAITS_S", (0.0, 0.0))


@pytest.mark.parametrize("text", ["data/train", "/data", "s3:/odd", "file:///data", "C:/data"])
def test_what_is_no_url_is_a_path(text: str) -> None:
    path = as_path(text)
    assert path == Path(text.removeprefix("file://"))
    assert not is_remote(path)


def test_a_file_appears_whole(server: tuple[Path, Path]) -> None:
    root, folder = server
    assert list_folder(folder) == []
    assert not is_folder(folder)
    with atomic(folder / "x.bin") as temporary:
        temporary.write_bytes(b"1" * 100_000)
        assert list(root.rglob("*.bin")) == []
    assert list_folder(folder, ".bin") == [folder / "x.bin"]  # nothing remembers that there was none
    assert is_file(folder / "x.bin")
    with pytest.raises(UnicodeEncodeError), atomic(folder / "x.bin") as temporary:
        temporary.write_text("2\ud800")
    with atomic(folder / "x.bin") as temporary:
        temporary.write_bytes(b"3" * 200_000)
    assert [p.name for p in (root / "a" / "b").iterdir()] == ["x.bin"]
    with local_copy(folder / "x.bin") as local:
        assert local.name == "x.bin"
        assert local.read_bytes() == b"3" * 200_000
    assert not local.exists()
    assert list_tree(folder.parent) == {"b/x.bin": 200_000}


def test_a_path_travels(server: tuple[Path, Path]) -> None:
    _, folder = server
    with atomic(folder / "x.txt") as temporary:
        temporary.write_text("x")
    with local_copy(pickle.loads(pickle.dumps(folder / "x.txt"))) as local:
        assert local.read_text() == "x"


def test_parts_of_a_file_are_read(server: tuple[Path, Path]) -> None:
    root, folder = server
    content = np.random.default_rng(0).bytes(1_000_000)
    with atomic(folder / "x.bin") as temporary:
        temporary.write_bytes(content)
    with read_from(folder / "x.bin") as file:
        for start in (999_000, 400_000, 0):
            file.seek(start)
            assert file.read(500) == content[start : start + 500]
    assert (root / "a" / "b" / "x.bin").read_bytes() == content


def test_a_missing_file_is_missing(server: tuple[Path, Path]) -> None:
    _, folder = server
    with pytest.raises(FileNotFoundError), local_copy(folder / "none"):
        pass
    with pytest.raises(AudioError, match="no audio file at"):
        read_audio(folder / "none.wav")


def test_a_lost_connection_is_made_again(server: tuple[Path, Path], no_waits: None) -> None:
    _, folder = server
    with atomic(folder / "x.txt") as temporary:
        temporary.write_text("x")
    for system in paths._file_systems.values():
        system.ftp.close()
    assert is_file(folder / "x.txt")


@pytest.mark.parametrize("read", [list_folder, is_file, is_folder, lambda p: Storage(f"ftp://{p}").read("x")])
def test_a_server_that_does_not_answer_is_one_line(read: object, no_waits: None) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{taken.getsockname()[1]}"
        path = url if getattr(read, "__name__", "") == "<lambda>" else as_path(f"ftp://{url}/a/b")
        with pytest.raises(RapgenError, match=r"cannot read ftp://127\.0\.0\.1/.* \(ConnectionRefusedError") as raised:
            read(path)  # type: ignore[operator]
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nowhere://x/y", "knows no protocol nowhere://"),
        ("ftp://me:secret@host/x", "leave it out and set FSSPEC_FTP_PASSWORD"),
        ("ftp://[::1/x", "is no URL"),
    ],
)
def test_urls_that_cannot_be_used_are_one_line(url: str, told: str) -> None:
    with pytest.raises(RapgenError, match=told) as raised:
        as_path(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_protocol_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(RapgenError, match=r"s3:// needs a package that is not here \(Install s3fs"):
        as_path("s3://bucket/x")


# --------------------------------------------------------------------------------------- what is read through it


def test_the_source_folder_reads_from_a_server(server: tuple[Path, Path]) -> None:
    root, folder = server
    here = root / "a" / "b"
    for name, value in (("x.wav", 0.1), ("deep/y.wav", 0.2), (".hidden.wav", 0.3)):
        write_wav(here / name, np.full((1, 800), value, np.float32), 8000)
    url = f"ftp://127.0.0.1:{folder.storage_options['port']}/a/b"  # type: ignore[attr-defined]
    source = build("source", {"use": "folder", "path": url})
    clips = {ref.id: source.load(ref) for ref in source.refs()}
    assert sorted(clips) == ["deep/y.wav", "x.wav"]
    assert np.abs(clips["x.wav"].audio - 0.1).max() < 1e-3
    (here / "metadata.jsonl").write_text('{"file_name": "x.wav", "text": "drill"}\n')
    assert [row.text for row in read_rows(folder)] == ["drill"]
    (here / "metadata.jsonl").write_text('{"file_name": "../x.wav"}\n')
    with pytest.raises(AudioError, match="there is no file"):
        read_rows(folder)


def test_where_a_folder_is_stays_out_of_models() -> None:
    for place in ("data/train", "memory://beats"):
        node = {"use": "folder", "path": place}
        assert portable_options("source", node) == lasting_options("source", node) == {"duration_s": None}
