"""Paths that may be URLs: of this machine, of an object store or of a server, through fsspec."""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from rapgen.errors import RapgenError

Answer = TypeVar("Answer")
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory")  # an object appears when it is whole
_WAITS_S = (0.5, 3.0)  # before a second and a third try, over a connection of their own


def as_path(text: str | Path) -> Path:
    """A `Path`; of `s3://bucket/a`, `ftp://host/a` and the like a `UPath` of universal_pathlib, which acts as one.

    Raises RapgenError where nothing that is installed knows the protocol, or where a password would be written into
    recipes and logs.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text) if isinstance(text, str) else None
    if match is None:
        return Path(text) if isinstance(text, str) else text
    import fsspec
    from upath import UPath

    assert isinstance(text, str)
    protocol = match[1].lower()
    if protocol in ("file", "local"):
        return Path(text[match.end() :])
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise RapgenError(f"{protocol}:// needs a package that is not here ({error}); install it with pip") from None
    except ValueError:
        raise RapgenError(f"'{text}': fsspec knows no protocol {protocol}://; try s3://, gs:// or a folder") from None
    if _password(text):
        variable = f"FSSPEC_{protocol.upper()}_PASSWORD"
        raise RapgenError(
            f"{protocol}://: a password in a URL ends in recipes and logs; leave it out and set {variable} instead"
        )
    return cast(Path, UPath(text, use_listings_cache=False))  # others write there while we look


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        raise RapgenError(f"'{url}' is no URL that can be read; check it") from None


def _checked(value: Any) -> Path:
    """What an option says, as a path."""
    if isinstance(value, str | Path) or hasattr(value, "storage_options"):
        return as_path(value)
    raise ValueError("write a path or a URL")


class _AsPath:
    """How pydantic reads an option that is a path; it asks, so that naming paths does not load it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_plain_validator_function

        return no_info_plain_validator_function(_checked)


PathOrUrl = Annotated[Path, _AsPath]  # of an option of a component


def is_remote(path: Path) -> bool:
    """Whether a path is reached through fsspec."""
    return not isinstance(path, Path)


def same_place(path: Path, what: str) -> Path:
    """The path, of this machine; RapgenError where `what` needs files that can be mapped and it is a URL."""
    if is_remote(path):
        raise RapgenError(f"{what} reads files of this machine; copy {path} into a folder and name that")
    return path


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The path itself or, of a remote file, a copy that is gone when the block ends.

    Raises FileNotFoundError where there is none, RapgenError where its server does not give it.
    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rapgen-") as folder:
        local = Path(folder) / path.name
        _reach(path, lambda fs: _get(fs, _place(path), local), "read")
        yield local


def fetch(path: Path) -> BinaryIO:
    """A file to read all of: of a remote one, a copy that is gone when it is closed. Errors as of `local_copy`."""
    if not is_remote(path):
        return path.open("rb")
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="rapgen-"))
        _reach(path, lambda fs: _get(fs, _place(path), Path(copy.name)), "read")
        stack.pop_all()
        return cast(BinaryIO, copy)


@contextmanager
def read_from(path: Path) -> Iterator[BinaryIO]:
    """A file to read parts of; RapgenError where its server does not give it."""
    if not is_remote(path):
        with path.open("rb") as local:
            yield local
        return
    with _reach(path, lambda fs: fs.open(_place(path), "rb"), "read") as file:
        yield file


def is_file(path: Path) -> bool:
    """Whether there is a file; RapgenError where a server does not say."""
    if not is_remote(path):
        return path.is_file()
    try:
        return bool(_reach(path, lambda fs: fs.info(_place(path)), "read")["type"] == "file")
    except FileNotFoundError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; RapgenError where a server does not say."""
    if not is_remote(path):
        return path.is_dir()
    try:
        return bool(_reach(path, lambda fs: fs.info(_place(path)), "read")["type"] == "directory")
    except FileNotFoundError:
        return False


def list_folder(folder: Path, suffix: str = "") -> list[Path]:
    """Its files whose names end in `suffix`, sorted; those that are hidden, as unfinished ones are, left out."""
    if is_remote(folder):
        try:
            entries = _reach(folder, lambda fs: fs.ls(_place(folder), detail=True), "read")
        except FileNotFoundError:
            return []
        names = [e["name"].rpartition("/")[2] for e in entries if e["type"] == "file"]
    else:
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    return [folder / name for name in sorted(names) if name.endswith(suffix) and not name.startswith(".")]


def list_tree(folder: Path) -> dict[str, int | None]:
    """All files below a remote folder, by their paths from it, and their bytes where the server tells."""
    root = _place(folder).rstrip("/") + "/"
    found = _reach(folder, lambda fs: fs.find(root, detail=True), "read")
    return {name[len(root) :]: entry.get("size") for name, entry in found.items()}


def remove(path: Path) -> None:
    """Remove a file that is there."""
    if is_remote(path):
        _reach(path, lambda fs: fs.rm_file(_place(path)), "remove")
    else:
        path.unlink()


def put_file(local: Path, path: Path) -> None:
    """Copy a file to a remote place, where it appears whole: stores replace objects whole, servers rename a file."""
    place = _place(path)
    head, _, name = place.rpartition("/")
    is_whole = getattr(path, "protocol", "") in _WHOLE
    first = place if is_whole else f"{head}/.{name}.{uuid.uuid4().hex}"

    def put(fs: Any) -> None:
        fs.makedirs(head, exist_ok=True)
        fs.put_file(str(local), first)
        if not is_whole:
            fs.mv(first, place)

    _reach(path, put, "write")


def _get(fs: Any, place: str, local: Path) -> None:
    if fs.info(place)["type"] != "file":
        raise FileNotFoundError(place)
    fs.get_file(place, str(local))


def _place(path: Path) -> str:
    """Where a remote path is on its file system."""
    return str(path.path)  # type: ignore[attr-defined]


def _reach(path: Path, act: Callable[[Any], Answer], verb: str) -> Answer:
    """What `act` says of the path's file system; tried again, anew connected, where the network fails."""
    for wait_s in (*_WAITS_S, None):
        try:
            return act(_file_system(path))
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # ftplib's, botocore's, paramiko's: what is raised is each package's own
            if wait_s is None:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise RapgenError(
                    f"cannot {verb} {_told(path)} ({reason}); check its server and the way there"
                ) from error
            _file_systems.pop(_key(path), None)
            time.sleep(wait_s)
    raise AssertionError


_file_systems: dict[str, Any] = {}  # of this process: a connection each


def _file_system(path: Any) -> Any:
    key = _key(path)
    if key not in _file_systems:
        import fsspec

        _file_systems[key] = fsspec.filesystem(path.protocol, **path.storage_options)
    return _file_systems[key]


def _key(path: Any) -> str:
    return f"{path.protocol} {sorted(path.storage_options.items())}"


def _told(path: Any) -> str:
    """The path with its server, which some kinds of path leave out."""
    host = path.storage_options.get("host")
    return f"{path.protocol}://{host}{_place(path)}" if host else str(path)
