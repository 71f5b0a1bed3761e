"""yt-dlp, held to what a fetch allows: one way to the network, no other programs, limits on all that comes in."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.networking.exceptions import RequestError

from rapgen.data.fetch.bodies import BodyLimits
from rapgen.data.fetch.failures import Refused
from rapgen.errors import RapgenError

log = logging.getLogger(__name__)

_AUDIO_FIRST = "bestaudio/best"


@dataclass(frozen=True)
class Limits:
    """What a download may take."""

    max_length_s: float
    max_bytes: int
    timeout_s: float  # without anything coming in
    rate: int | None = None  # bytes a second


@dataclass(frozen=True)
class Place:
    """Where something to fetch is: an address, and which of several media on its page."""

    url: str
    entry: int | None = None

    @property
    def key(self) -> str:
        """Its name in the records."""
        return self.url if self.entry is None else f"{self.url} [{self.entry}]"


@dataclass(frozen=True)
class Found:
    """What was found at a place: one upload, as yt-dlp describes it, or the places that a playlist leads to."""

    upload: dict[str, Any] | None = None
    places: list[Place] = field(default_factory=list)


class Downloader(yt_dlp.YoutubeDL):
    """A yt-dlp for one thread. `problem` is the last error of its network, which yt-dlp does not always pass on."""

    def __init__(
        self, limits: Limits, *, cookies: str | None, proxy: str | None, check_stop: Callable[[], None]
    ) -> None:
        self.problem: BaseException | None = None
        self.limits, self._check_stop = limits, check_stop
        jar = None if cookies is None else io.StringIO(cookies)  # a file would be written back
        super().__init__(
            {
                "format": _AUDIO_FIRST,
                "extract_flat": "in_playlist",
                "noplaylist": True,  # a video's address that also names a playlist means the video
                "external_downloader": {"default": "native"},
                "hls_prefer_native": True,
                "socket_timeout": limits.timeout_s,
                "http_headers": {"Accept-Encoding": "identity"},
                "retries": 0,  # a new attempt begins with the page, since addresses of media go stale
                "extractor_retries": 1,
                "fragment_retries": 3,
                "skip_unavailable_fragments": False,
                "max_filesize": limits.max_bytes,
                "ratelimit": limits.rate,
                "cookiefile": jar,
                "proxy": proxy,
                "cachedir": False,
                "updatetime": False,
                "noprogress": True,
                "progress_hooks": [self._check_progress],
                "logger": _Log(),
                "color": "never",
            }
        )

    def build_request_director(self, handlers: Iterable[Any], preferences: Any = None) -> Any:
        """Requests go through urllib alone: the one handler whose redirects and bodies can all be watched."""
        plain = next(handler for handler in handlers if handler.RH_KEY == "Urllib")
        watch = BodyLimits(
            max_bytes=self.limits.max_bytes,
            timeout_s=self.limits.timeout_s,
            refuse=_too_large,
            check_stop=self._check_stop,
            tell=self._remember,
        )

        class UrllibRH(plain):  # type: ignore[misc, valid-type]
            def _create_instance(self, **settings: Any) -> Any:
                opener = super()._create_instance(**settings)
                opener.add_handler(watch)
                return opener

        return super().build_request_director([UrllibRH])

    def urlopen(self, request: Any) -> Any:
        """Open a request, remembering what went wrong."""
        self._check_stop()
        try:
            return super().urlopen(request)
        except RequestError as error:
            self._remember(error)
            raise

    def look(self, place: Place) -> Found:
        """What is at a place, no media fetched. Raises Refused for what is too long or live, and yt-dlp's errors."""
        self.problem = None
        _check_address(place.url)
        info = self.extract_info(place.url, download=False)
        if info is None:
            raise Refused("no media", is_limit=False)
        if info.get("_type") in ("playlist", "multi_video"):
            entries = [entry for entry in info.get("entries") or () if entry]
            if not entries[place.entry or 0 :]:
                raise Refused("no media", is_limit=False)
            if place.entry is None and len(entries) > 1:
                return Found(places=[_place(entry, place, n) for n, entry in enumerate(entries)])
            info = entries[place.entry or 0]
            if info.get("_type") in ("url", "url_transparent"):
                return Found(places=[Place(info["url"])])
        self._check_length(info)
        return Found(upload=info)

    def take(self, upload: dict[str, Any], path: Path) -> None:
        """Download an upload's audio, or the whole where it has no audio of its own; goes on with what has begun."""
        if not upload.get("url"):
            raise Refused("no media", is_limit=False)
        _check_address(upload["url"])
        self.problem = None
        is_done, _ = self.dl(str(path), upload)
        if not is_done or not path.is_file():
            raise Refused("too large")  # the one case in which yt-dlp gives up without an error

    def _check_length(self, info: dict[str, Any]) -> None:
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            raise Refused("live", is_limit=False)
        if (info.get("duration") or 0) > self.limits.max_length_s:
            raise Refused("too long")

    def _check_progress(self, status: dict[str, Any]) -> None:
        """Cut what comes in pieces, each of which may be small."""
        self._check_stop()
        if (status.get("downloaded_bytes") or 0) > self.limits.max_bytes:
            raise Refused("too large")

    def _remember(self, error: BaseException) -> None:
        self.problem = error


class _Log:
    """What yt-dlp tells goes to our log; its errors come as exceptions too."""

    def debug(self, message: str) -> None:
        log.debug("%s", message)

    info = warning = error = debug


def read_cookies(path: Path) -> str:
    """The text of a cookies file in Netscape's format; RapgenError where it is none."""
    from yt_dlp.cookies import YoutubeDLCookieJar

    try:
        text = path.read_text(encoding="utf-8")
        YoutubeDLCookieJar(io.StringIO(text)).load()
    except (OSError, ValueError) as error:  # LoadError is an OSError
        why = getattr(error, "strerror", None) or "it is not in Netscape's format"
        raise RapgenError(
            f"cannot read cookies from {path}: {why}; export them from a browser as cookies.txt"
        ) from None
    return text


def _place(entry: dict[str, Any], page: Place, number: int) -> Place:
    """Where an entry of a playlist is: elsewhere, or the page itself holds several media."""
    if entry.get("_type") in ("url", "url_transparent"):
        return Place(entry["url"])
    return Place(page.url, number)


def _check_address(url: str) -> None:
    """Refused for what yt-dlp would understand in another way than as an address: a search, a file, plain words."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Refused("not an address", is_limit=False) from None
    if parts.scheme and parts.scheme.lower() not in ("http", "https"):
        raise Refused("not http(s)")
    if not parts.scheme or not parts.hostname:
        raise Refused("not an address", is_limit=False)


def _too_large() -> None:
    raise Refused("too large")
