"""Bodies of responses, cut at the maximum size and given up when they stall."""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
import urllib.response
import zlib
from collections.abc import Callable

MAX_PAGE = 32 << 20  # bytes of what is read as a whole: pages, manifests
_BLOCK = 64 << 10  # bytes
_SLOWEST = 1000  # bytes a second: what comes more slowly has stalled


class BodyLimits(urllib.request.BaseHandler):
    """A handler of urllib that comes before all others that read a response, those that decompress it included.

    `refuse` is called once too much has been read, `check_stop` at every block, `tell` with every error. The first two
    raise what ends the reading.
    """

    handler_order = 100

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_s: float,
        refuse: Callable[[], None],
        check_stop: Callable[[], None],
        tell: Callable[[BaseException], None],
    ) -> None:
        self._max_bytes, self._timeout_s = max_bytes, timeout_s
        self._refuse, self._check_stop, self._tell = refuse, check_stop, tell

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse | urllib.response.addinfourl:
        """The same response, with a `read` that keeps to the limits."""
        self._limit(response)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            return response
        del response.headers["Content-Encoding"]
        body = self._decompressed(response.read(), encoding)
        plain = urllib.response.addinfourl(io.BytesIO(body), response.headers, response.url, response.status)
        plain.msg = response.reason  # type: ignore[attr-defined]  # where urllib looks for it
        return plain

    https_response = http_response

    def _limit(self, response: http.client.HTTPResponse) -> None:
        """Replace `read` by one that looks at the limits whenever something has come."""
        size, since, since_size = 0, time.monotonic(), 0

        def take(amount: int) -> bytes:
            nonlocal size, since, since_size
            self._check_stop()
            block = response.read1(min(amount, _BLOCK))
            if not block and amount and response.length:
                raise http.client.IncompleteRead(b"", response.length)
            size += len(block)
            if size > self._max_bytes:
                self._refuse()
            if (now := time.monotonic()) - since > self._timeout_s:
                if size - since_size < _SLOWEST * (now - since):
                    raise TimeoutError("the body comes too slowly")
                since, since_size = now, size
            return block

        def read(amount: int | None = None) -> bytes:
            wanted = None if amount is None or amount < 0 else amount
            whole = bytearray()
            try:
                while block := take(_BLOCK if wanted is None else wanted - len(whole)):
                    whole += block
                    if wanted is None and len(whole) > MAX_PAGE:
                        self._refuse()
                return bytes(whole)
            except (OSError, http.client.HTTPException) as error:
                self._tell(error)
                raise

        response.read = read  # type: ignore[assignment]

    def _decompressed(self, body: bytes, encoding: str) -> bytes:
        """What gzip or deflate hold, where it is not too much; it was not asked for, so nothing else is understood."""
        reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            plain = reader.decompress(body, MAX_PAGE + 1)
        except zlib.error as error:
            failure = http.client.HTTPException(f"an answer in {encoding}, which was not asked for, cannot be read")
            self._tell(failure)
            raise failure from error
        if len(plain) > MAX_PAGE:
            self._refuse()
        return plain
