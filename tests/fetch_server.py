"""A site on the loopback interface, and fetches from it."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from rapgen.data.fetch.fetch import Funnel, fetch
from rapgen.data.fetch.lists import Row
from rapgen.data.fetch.work import Options

QUICK = Options(allow_local=True, retries=1, backoff_s=0.05, timeout_s=5.0)
TYPES = {"webm": "audio/webm", "m4a": "audio/mp4", "mp3": "audio/mpeg", "wav": "audio/wav", "mp4": "video/mp4"}
CODECS = {"webm": "libopus", "m4a": "aac", "mp3": "libmp3lame", "wav": "pcm_s16le", "mp4": "aac", "ts": "aac"}
FORMATS = {"m4a": "mp4", "ts": "mpegts"}  # where the container's name is not its suffix
RATE = 48000


@cache
def media(suffix: str, duration_s: float = 0.5, hz: float = 440.0) -> bytes:
    """A file with a tone in it; an mp4 has a picture too."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=FORMATS.get(suffix, suffix)) as container:
        stream = container.add_stream(CODECS[suffix], rate=RATE, layout="mono")
        picture = container.add_stream("mpeg4", rate=10, width=32, height=32) if suffix == "mp4" else None
        tone = np.sin(np.arange(round(duration_s * RATE)) * 2 * np.pi * hz / RATE)
        frame = av.AudioFrame.from_ndarray((tone * 16000).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if picture is not None:
            _paint(container, picture)
    return buffer.getvalue()


def moving_pictures() -> bytes:
    """An mp4 without sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        _paint(container, container.add_stream("mpeg4", rate=10, width=32, height=32))
    return buffer.getvalue()


def _paint(container: Any, stream: Any) -> None:
    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
    container.mux(stream.encode(None))


class Site:
    """Pages by path. `hits` counts requests by path, `gone` lets those go on that hang."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[Answer], None]] = {}
        self.hits: Counter[str] = Counter()
        self.gone = threading.Event()
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def put(self, path: str, body: bytes, kind: str = "text/html", status: int = 200, **headers: str) -> str:
        """Serve a body; its address."""
        self.pages[path] = lambda answer: answer.give(body, kind, status, **headers)
        return self.url(path)

    def media(self, path: str, **options: Any) -> str:
        """Serve a tone in the container that the path's suffix names; its address."""
        suffix = path.rpartition(".")[2]
        return self.put(path, media(suffix, **options), TYPES[suffix])

    def redirect(self, path: str, target: str) -> str:
        return self.put(path, b"", status=302, location=target)


class Answer(BaseHTTPRequestHandler):
    """Answers from the site's pages."""

    site: Site
    timeout = 30

    def do_GET(self) -> None:
        path = urlsplit(self.path).path  # a proxy is asked for whole addresses
        self.site.hits[path] += 1
        page = self.site.pages.get(path)
        if page is None:
            self.give(b"nothing here", status=404)
        else:
            page(self)

    def give(self, body: bytes, kind: str = "text/html", status: int = 200, **headers: str) -> None:
        self.head(kind, status, **{"content-length": str(len(body))}, **headers)
        self.wfile.write(body)

    def head(self, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests tell."""


@contextmanager
def serving() -> Iterator[Site]:
    """A site that runs while the block does, on all loopback addresses."""
    site = Site()

    class Here(Answer):
        pass

    Here.site = site

    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Nothing: clients hang up as they like."""

    with Server(("0.0.0.0", 0), Here) as server:
        site.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield site
        site.gone.set()
        server.shutdown()


def unwatched(name: str) -> Callable[[int, int], None]:
    """A report that nobody reads."""
    return lambda done, total: None


def run(out: Path, *rows: Row | str, **options: Any) -> Funnel:
    listed = [row if isinstance(row, Row) else Row(row) for row in rows]
    return fetch(listed, out, replace(QUICK, **options), work=unwatched)


def audio(out: Path) -> list[Path]:
    return sorted(p for p in out.iterdir() if p.is_file() and p.suffix not in (".json", ".jsonl"))


def info_of(path: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(path.with_suffix(".info.json").read_text())
    return info


def records(out: Path) -> dict[str, dict[str, Any]]:
    return {r["key"]: r for r in map(json.loads, (out / "fetch.jsonl").read_text().splitlines())}


def holds_nothing(out: Path) -> bool:
    """Whether nothing but the records is there: no file that was begun, hidden or not."""
    return [p.name for p in out.iterdir()] == ["fetch.jsonl"]
