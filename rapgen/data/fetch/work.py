"""One address at a time: look, download, place; tried again where that may help."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yt_dlp.utils import DownloadCancelled

from rapgen.data.fetch import INFO
from rapgen.data.fetch.failures import TOO_MANY, Failure, Refused, disk_problem, explain
from rapgen.data.fetch.files import SUFFIXES, begun_name, describe, read_info, settle, stem_of, write_info
from rapgen.data.fetch.lists import Row
from rapgen.data.fetch.records import Record, disk_error
from rapgen.data.fetch.youtube import Downloader, Limits, Place
from rapgen.errors import RapgenError

log = logging.getLogger(__name__)

MAX_DEPTH = 4  # playlists within playlists
MAX_WAIT_S = 300.0  # a server that asks for more is left for the next run
_SCRATCH = ".fetch"  # what has begun, within the folder, so that it is renamed and not copied when it is whole


@dataclass(frozen=True)
class Options:
    """How to fetch."""

    jobs: int = 4  # at once
    retries: int = 3
    backoff_s: float = 2.0  # before the second attempt; doubles each time
    pause_s: float = 0.0  # between the starts of two
    timeout_s: float = 20.0
    max_length_s: float = 1200.0
    max_bytes: int = 200 << 20
    rate: int | None = None  # bytes a second, of all together
    cookies: Path | None = None
    proxy: str | None = None
    allow_local: bool = False

    @property
    def limits(self) -> dict[str, Any]:
        """What an address can be skipped by."""
        return {"max_length_s": self.max_length_s, "max_bytes": self.max_bytes, "allow_local": self.allow_local}

    @property
    def of_each(self) -> Limits:
        """What one download may take."""
        rate = None if self.rate is None else max(self.rate // self.jobs, 1)
        return Limits(self.max_length_s, self.max_bytes, self.timeout_s, rate)


@dataclass(frozen=True)
class Job:
    """A place to fetch from, what the list says of it, and how many playlists led there."""

    place: Place
    rows: tuple[Row, ...] = ()
    depth: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a record, or the places that a playlist leads to."""

    job: Job
    record: Record | None = None
    places: Sequence[Place] = ()
    is_new: bool = False


class Folder:
    """The RAW folder, as several threads use it."""

    def __init__(self, path: Path) -> None:
        self.path, self._scratch = path, path / _SCRATCH
        self._files: dict[str, str] = {}
        self._claims: dict[str, threading.Lock] = {}
        for entry in os.scandir(path):
            stem, suffix = os.path.splitext(entry.name)
            if suffix in SUFFIXES.values():
                self._files[stem] = entry.name

    def renew(self, name: str, rows: Sequence[Row]) -> bool:
        """Add what a list says now to what is known of a file; False where the file or all that is known is gone."""
        stem = Path(name).stem
        with self._claim(stem):
            info = read_info(self._info_path(stem)) if self._files.get(stem) == name else None
            if info is not None:
                write_info(self._info_path(stem), info, rows)
        return info is not None

    def keep(self, downloader: Downloader, upload: dict[str, Any], rows: Sequence[Row]) -> tuple[str, bool]:
        """The file of an upload, and whether it is new: another address may have led to it before."""
        stem = stem_of(upload)
        info_path = self._info_path(stem)
        with self._claim(stem):
            if name := self._files.get(stem):
                write_info(info_path, read_info(info_path) or describe(upload, None), rows)
                return name, False
            self._scratch.mkdir(exist_ok=True)
            download = self._scratch / begun_name(stem, upload)
            try:
                downloader.take(upload, download)
                path, duration_s = settle(download, self.path, stem, downloader.limits.max_length_s)
            except Refused:
                self._drop(stem)
                raise
            write_info(info_path, describe(upload, duration_s), rows)  # first: audio that is there is whole with it
            download.replace(path)
            self._files[stem] = path.name
            return path.name, True

    def clear(self) -> None:
        """Remove what has begun and was given up."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _claim(self, stem: str) -> threading.Lock:
        return self._claims.setdefault(stem, threading.Lock())

    def _info_path(self, stem: str) -> Path:
        return self.path / f"{stem}{INFO}"

    def _drop(self, stem: str) -> None:
        for path in self._scratch.glob(f"{stem}.*"):
            path.unlink(missing_ok=True)


class Pace:
    """When to start and when to wait, for all threads together.

    Once they are to stop, DownloadCancelled is raised, which yt-dlp lets through.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._next = 0.0
        self._held: dict[str, float] = {}  # hosts that said they were asked too often

    def stop(self) -> None:
        """End all waiting and, at their next block, all downloads."""
        self._stop.set()

    def check_stop(self) -> None:
        """DownloadCancelled where all are to stop."""
        if self._stop.is_set():
            raise DownloadCancelled("stopped")

    def start(self, host: str) -> None:
        """Wait for one's turn."""
        with self._lock:
            begin = max(time.monotonic(), self._next)
            self._next = begin + self._pause_s
            begin = max(begin, self._held.get(host, 0.0))
        self.sleep(begin - time.monotonic())

    def hold(self, host: str, seconds: float) -> None:
        """Let nobody start at this host for a while."""
        with self._lock:
            self._held[host] = max(self._held.get(host, 0.0), time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, unless all are to stop."""
        if self._stop.wait(max(seconds, 0.0)):
            self.check_stop()


class Worker:
    """What one thread does."""

    def __init__(self, downloader: Downloader, folder: Folder, options: Options, pace: Pace) -> None:
        self._downloader, self._folder, self._options, self._pace = downloader, folder, options, pace

    def run(self, job: Job) -> Outcome:
        """Fetch what is at a place, trying again what may pass; RapgenError where the disk takes no more."""
        host = ""
        with suppress(ValueError):
            host = urlsplit(job.place.url).hostname or ""
        for attempt in range(self._options.retries + 1):
            try:
                self._pace.start(host)
                return self._attempt(job)
            except RapgenError:
                raise
            except Exception as error:
                if disk := disk_problem(error):
                    raise disk_error(self._folder.path, disk) from None
                failure = explain(error, self._downloader.problem)
                log.debug("%s: %s", job.place.key, failure, exc_info=error)
            wait_s = max(failure.wait_s, self._options.backoff_s * 2**attempt)
            if not failure.is_passing or attempt == self._options.retries or wait_s > MAX_WAIT_S:
                break
            if failure.why == TOO_MANY:
                self._pace.hold(host, wait_s)
            else:
                self._pace.sleep(wait_s)
        return self._gave_up(job, failure)

    def _attempt(self, job: Job) -> Outcome:
        found = self._downloader.look(job.place)
        if found.upload is None:
            if job.depth == MAX_DEPTH:
                raise Refused("playlists too deep", is_limit=False)
            return Outcome(job, places=found.places)
        name, is_new = self._folder.keep(self._downloader, found.upload, job.rows)
        return Outcome(job, Record(job.place.key, "ok", file=name), is_new=is_new)

    def _gave_up(self, job: Job, failure: Failure) -> Outcome:
        log.info("%s: %s", job.place.key, failure.why)
        if failure.is_limit:
            return Outcome(job, Record(job.place.key, "skipped", failure.why, limits=self._options.limits))
        return Outcome(job, Record(job.place.key, "failed", failure.why, failure.detail))
