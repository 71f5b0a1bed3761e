"""Why an address gave nothing, in few words that stay the same, and whether to try again."""

from __future__ import annotations

import email.utils
import errno
import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yt_dlp.networking.exceptions import HTTPError, NoSupportingHandlers, TransportError, UnsupportedRequest
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadCancelled,
    GeoRestrictedError,
    UnsupportedError,
    YoutubeDLError,
)

from rapgen.data.fetch.addresses import ForbiddenError

TOO_MANY = "too many requests (429)"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_STATUS = {401: "needs an account", 403: "forbidden (403)", 404: "not found (404)", 410: "gone (410)", 429: TOO_MANY}
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MESSAGES = (  # what extractors say, lower case; the first that is found counts
    ("not a bot", "asked to sign in"),
    ("drm", "protected (DRM)"),
    ("private", "private"),
    ("sign in", "needs an account"),
    ("log in", "needs an account"),
    ("login", "needs an account"),
    ("members", "needs an account"),
    ("cookies", "needs an account"),
    ("in your country", "not in this country"),
    ("live event", "live"),
    ("premieres in", "live"),
    ("ffmpeg", "needs another program"),
    ("unavailable", "not available"),
    ("not available", "not available"),
    ("been removed", "not available"),
    ("no longer", "not available"),
    ("no video formats", "no media"),
    ("did not get any data", "no media"),
    ("is not a valid url", "not an address"),
)


class Refused(DownloadCancelled):
    """Something this fetch will not take; a class that yt-dlp lets through wherever it is raised."""

    def __init__(self, why: str, *, is_limit: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.is_limit = is_limit  # by the user's limits, not by what was found


@dataclass(frozen=True)
class Failure:
    """Why it failed. `is_passing`: it may go away by itself; `wait_s`: how long the server asks to wait."""

    why: str
    detail: str = ""
    is_limit: bool = False
    is_passing: bool = False
    wait_s: float = 0.0


def explain(error: BaseException, problem: BaseException | None = None) -> Failure:
    """The failure behind an exception of yt-dlp; `problem` is the last one its network had, where it tells of none."""
    chain = [*_causes(error), *_causes(problem)]
    detail = " ".join(str(error).removeprefix("ERROR: ").split())[:500]
    for cause in chain:
        if isinstance(cause, Refused):
            return Failure(cause.why, is_limit=cause.is_limit)
        if isinstance(cause, ForbiddenError):
            return Failure(cause.why, str(cause), is_limit=True)
    for cause in chain:
        if isinstance(cause, HTTPError):
            return _of_status(cause, detail)
    return next((found for cause in chain if (found := _of_cause(cause, detail))), None) or _of_message(detail)


def disk_problem(error: BaseException) -> OSError | None:
    """The error of the disk behind an exception, where there is one: then no other address will fare better."""
    chain = list(_causes(error))
    if any(isinstance(cause, (TransportError, Refused)) for cause in chain):
        return None
    return next((c for c in chain if isinstance(c, OSError) and c.errno in _DISK), None)


def _causes(error: Any) -> Iterator[BaseException]:
    """An exception and all that led to it, nearest first."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        error = queue.pop(0)
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        exc_info = getattr(error, "exc_info", None) or (None, None, None)
        queue += [getattr(error, "cause", None), exc_info[1], getattr(error, "reason", None)]
        if isinstance(error, NoSupportingHandlers):
            queue += [*error.unsupported_errors, *error.unexpected_errors]
        queue += [error.__cause__, error.__context__]


def _of_status(error: HTTPError, detail: str) -> Failure:
    if 300 <= error.status < 400:
        return Failure("bad redirect", detail)
    why = _STATUS.get(error.status) or f"{'server' if error.status >= 500 else 'HTTP'} error ({error.status})"
    is_passing = error.status in _PASSING
    return Failure(why, detail, is_passing=is_passing, wait_s=_retry_after_s(error.response.headers.get("Retry-After")))


def _retry_after_s(value: str | None) -> float:
    """Seconds that a `Retry-After` header asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _of_cause(cause: BaseException, detail: str) -> Failure | None:
    if isinstance(cause, UnsupportedRequest):
        return Failure("not http(s)", detail, is_limit=True)
    if isinstance(cause, UnsupportedError):
        return Failure("no media", detail)
    if isinstance(cause, GeoRestrictedError):
        return Failure("not in this country", detail)
    if isinstance(cause, TimeoutError):
        return Failure("stalled", detail, is_passing=True)
    if isinstance(cause, (ContentTooShortError, http.client.IncompleteRead)):
        return Failure("cut short", detail, is_passing=True)
    if isinstance(cause, (http.client.HTTPException, OSError)) and not isinstance(cause, YoutubeDLError):
        return Failure("no connection", detail, is_passing=True)
    return None


def _of_message(detail: str) -> Failure:
    told = detail.lower()
    return Failure(next((why for words, why in _MESSAGES if words in told), "other"), detail)
