"""Where a fetch may connect to: public addresses over http and https, and nothing else.

The guard is an audit hook of Python (PEP 578), so it hears what is really opened, whichever library opens it: every
URL that urllib requests, redirects included, every address a socket is about to connect to (names have been resolved
by then), and every program about to be started, which could connect where no hook hears it. While a guard is up it
holds for all threads of the process.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from rapgen.errors import RapgenError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PROGRAMS = frozenset({"deno", "deno.exe"})  # runs YouTube's player code for yt-dlp, without a right to connect
_SCHEMES = ("http", "https")
_PROXY_PORTS = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenError(OSError):
    """A connection that is not allowed; an OSError, so that whatever opens it takes it for a failed one."""

    def __init__(self, why: str, what: str) -> None:
        super().__init__(f"{why}: {what}")
        self.why = why


@dataclass(frozen=True)
class Guard:
    """What may be connected to. `proxies` are addresses and ports of proxies the user named: these may be local."""

    allow_local: bool
    proxies: frozenset[tuple[str, int]] = frozenset()

    def check_url(self, url: str, *_: Any) -> None:
        """ForbiddenError for another scheme than http(s), and for a local host where a proxy would resolve its name."""
        parts = urlsplit(url)
        if parts.scheme.lower() not in _SCHEMES:
            raise ForbiddenError("not http(s)", url)
        if self.proxies and not self.allow_local and any(map(is_local, _resolve(parts.hostname or "", None))):
            raise ForbiddenError("local address", url)

    def check_connection(self, _: Any, address: Any) -> None:
        """ForbiddenError where a socket is about to connect to this machine or its own network."""
        if self.allow_local or not isinstance(address, tuple) or (address[0], address[1]) in self.proxies:
            return  # what is no tuple is a socket in the file system, which no URL leads to
        if is_local(address[0]):
            raise ForbiddenError("local address", address[0])

    def check_program(self, executable: Any, arguments: Any, *_: Any) -> None:
        """ForbiddenError for any program but yt-dlp's sandbox for JavaScript."""
        first = arguments if isinstance(arguments, (str, bytes)) else next(iter(arguments), "")
        name = executable or first
        if PurePath(name.decode() if isinstance(name, bytes) else name).name not in _PROGRAMS:
            raise ForbiddenError("needs another program", str(name))


def is_local(host: str) -> bool:
    """Whether an IP address is anything but a public one; what is no IP address counts as local.

    IPv4 in IPv6 (mapped, 6to4, Teredo, NAT64) counts as the IPv4 that it leads to.
    """
    try:
        address = _embedded(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return True
    is_special = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return is_special or not address.is_global


def proxies_of(proxy: str | None) -> frozenset[tuple[str, int]]:
    """Addresses and ports of the proxy that is named, or else of those in the environment.

    Raises RapgenError where one is of a kind that is not supported, or has a name that is not known.
    """
    named = [proxy] if proxy else [url for name, url in urllib.request.getproxies().items() if name != "no"]
    return frozenset(found for url in named for found in _proxy_addresses(url))


def _proxy_addresses(url: str) -> set[tuple[str, int]]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PROXY_PORTS[parts.scheme.lower()]
    except (ValueError, KeyError):
        raise RapgenError(f"the proxy '{url}' is of no use; give one like http://host:8080 or socks5://host") from None
    found = {(host, port) for host in _resolve(parts.hostname or "", port)}
    if not found:
        raise RapgenError(f"the proxy '{url}' is not known by that name; check it")
    return found


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Hold the whole process to a guard while the block runs, beside any that is up already."""
    _install()
    with _lock:
        _active.append(guard)
    try:
        yield
    finally:
        with _lock:
            _active.remove(guard)


def _embedded(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def _resolve(host: str, port: int | None) -> set[str]:
    """All addresses of a name; none where it is not known here."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


_active: list[Guard] = []
_lock = threading.Lock()
_is_installed = False
_CHECKS: Mapping[str, Callable[..., None]] = {
    "urllib.Request": Guard.check_url,
    "socket.connect": Guard.check_connection,
    "subprocess.Popen": Guard.check_program,
}


def _install() -> None:
    """Add the hook, which Python never takes away again; it costs nothing while no guard is up."""
    global _is_installed
    with _lock:
        if not _is_installed:
            sys.addaudithook(_hear)
            _is_installed = True


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and (check := _CHECKS.get(event)):
        for guard in tuple(_active):
            check(guard, *arguments)
