"""Where a fetch may connect: the guard on its own, and what it stops of a real fetch."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetch_server import TYPES, Site, audio, holds_nothing, media, records, run, serving
from hypothesis import given
from hypothesis import strategies as st

from rapgen.data.fetch import addresses
from rapgen.data.fetch.addresses import ForbiddenError, Guard, guarded, is_local, proxies_of

LOCAL = [
    "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "localhost", "example.com", "", "2130706433", "0x7f.1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "142.250.74.46", "2a00:1450:400f:80c::200e", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.mark.parametrize("host", LOCAL)
def test_local_addresses_in_all_their_forms(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses(host: str) -> None:
    assert not is_local(host)


@given(st.ip_addresses(v=4))
def test_ipv4_within_ipv6_counts_as_ipv4(address: ipaddress.IPv4Address) -> None:
    assert is_local(f"::ffff:{address}") == is_local(str(address)) == is_local(f"64:ff9b::{address}")


def test_every_way_to_connect_is_heard(site: Site) -> None:
    with guarded(Guard(allow_local=False)):
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "localhost"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as opened, pytest.raises(ForbiddenError, match="local address"):
                opened.connect((host, site.port))
            with socket.socket(family) as opened, pytest.raises(ForbiddenError, match="local address"):
                opened.connect_ex((host, site.port))
        with pytest.raises(OSError, match="local address"):
            urllib.request.urlopen(site.url("/"))
        with pytest.raises(OSError, match=r"not http\(s\)"):
            urllib.request.urlopen("file:///etc/passwd")
        with pytest.raises(ForbiddenError, match="needs another program"):
            subprocess.run([sys.executable, "-c", ""], check=True)
        with pytest.raises(ForbiddenError, match="needs another program"):
            subprocess.run("curl http://127.0.0.1", shell=True, check=True)
    assert not site.hits
    subprocess.run([sys.executable, "-c", ""], check=True)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(site.url("/"))


def test_what_is_local_is_refused_whatever_its_name(site: Site, tmp_path: Path) -> None:
    site.media("/a.mp3")
    hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0.0.0.0"]
    funnel = run(tmp_path, *(site.url("/a.mp3", host) for host in hosts), allow_local=False, retries=0)
    assert funnel.skipped == {"local address": len(hosts)}
    assert not site.hits
    assert holds_nothing(tmp_path)


@pytest.fixture
def two_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the world and has the name world.test, 127.0.0.2 is local and has the name inside.test."""
    real, names = socket.getaddrinfo, {"world.test": "127.0.0.1", "inside.test": "127.0.0.2"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real(names.get(host, host), *a, **k))
    monkeypatch.setattr(addresses, "is_local", lambda host: host != "127.0.0.1")


def hls(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.5,\n{target}\n#EXT-X-ENDLIST\n".encode()


@pytest.mark.usefixtures("two_hosts")
@pytest.mark.parametrize("host", ["127.0.0.2", "inside.test"])
def test_redirects_and_media_are_held_to_it_too(site: Site, tmp_path: Path, host: str) -> None:
    secret = site.url("/secret.mp3", host)
    site.media("/secret.mp3")
    site.media("/open.mp3")
    page = '<html><body><audio src="{}"></audio></body></html>'
    listed = {
        "/direct": site.redirect("/direct", secret),
        "/twice": site.redirect("/twice", site.url("/direct", "world.test")),
        "/page": site.put("/page", page.format(secret).encode()),
        "/page-to": site.put("/page-to", page.format("/media.mp3").encode()),
        "/list.m3u8": site.put("/list.m3u8", hls(secret), "application/vnd.apple.mpegurl"),
        "/key.m3u8": site.put(
            "/key.m3u8",
            hls("/open.mp3").replace(b"#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{secret}"\n#EXTINF'.encode()),
            "application/vnd.apple.mpegurl",
        ),
        "/frame": site.put("/frame", f'<html><meta http-equiv="refresh" content="0;URL={secret}"></html>'.encode()),
        "/feed": site.put("/feed", f"<rss><channel><item><link>{secret}</link></item></channel></rss>".encode()),
    }
    site.redirect("/media.mp3", secret)
    good = site.url("/open.mp3", "world.test")
    funnel = run(tmp_path, good, *listed.values(), allow_local=False, retries=0, jobs=2)
    reasons = {key: record.get("why", "ok") for key, record in records(tmp_path).items()}
    assert reasons.pop(good) == "ok"
    assert set(reasons.values()) <= {"local address", "no media"}
    assert funnel.skipped["local address"] >= 6
    assert site.hits["/secret.mp3"] == 0
    assert len(audio(tmp_path)) == 1


def test_behind_a_proxy_names_and_redirects_are_held_to_it(site: Site, tmp_path: Path) -> None:
    """The site answers as a proxy for whichever host is asked of it."""
    site.media("/beat.mp3")
    site.redirect("/inside", "http://169.254.169.254/latest/meta-data")
    site.redirect("/short", "http://0x7f.1/x")
    rows = [f"http://world.invalid/{name}" for name in ("beat.mp3", "inside", "short")]
    rows += [site.url("/beat.mp3"), "http://localhost/beat.mp3", "http://[::1]/beat.mp3", "http://10.0.0.1/beat.mp3"]
    funnel = run(tmp_path, *rows, allow_local=False, retries=0, proxy=f"http://127.0.0.1:{site.port}")
    assert (funnel.fetched, funnel.skipped) == (1, {"local address": 6})
    assert site.hits == {"/beat.mp3": 2, "/inside": 1, "/short": 1}


def test_proxies_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxies_of(None) == frozenset()
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9050")
    monkeypatch.setenv("no_proxy", "example.com")
    assert proxies_of(None) == {("127.0.0.1", 9050)}
    assert proxies_of("http://127.0.0.1") == {("127.0.0.1", 80)}


def test_a_file_that_names_other_files_is_not_followed(site: Site, tmp_path: Path) -> None:
    """FFmpeg's own readers of playlists would open what no hook hears."""
    (tmp_path / "secret.mp3").write_bytes(media("mp3"))
    concat = f"ffconcat version 1.0\nfile '{tmp_path / 'secret.mp3'}'\n".encode()
    playlist = hls(f"file://{tmp_path / 'secret.mp3'}")
    rows = [site.put("/concat.mp3", concat, TYPES["mp3"]), site.put("/list.mp3", playlist, TYPES["mp3"])]
    assert run(tmp_path / "raw", *rows).failed == {"not audio": 2}


@pytest.mark.parametrize("address", ["rtmp://127.0.0.1/live", "wss://127.0.0.1/x.mp3", "ftp://127.0.0.1/x.mp3",
                                     "file:///etc/passwd", "data:audio/mp3;base64,AAAA"])  # fmt: skip
def test_media_that_are_not_http_are_refused(site: Site, tmp_path: Path, address: str) -> None:
    page = site.put("/page", f'<html><body><video src="{address}"></video></body></html>'.encode())
    smil = site.put("/list.smil", f'<smil><body><video src="{address}"/></body></smil>'.encode())
    funnel = run(tmp_path, page, smil, address)
    assert not funnel.fetched
    assert set(funnel.skipped) == {"not http(s)"}
    assert set(funnel.failed) <= {"no media"}
    assert holds_nothing(tmp_path)
