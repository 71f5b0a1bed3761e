"""Lists of addresses to folders of audio, by the real yt-dlp, from a site on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from fetch_server import (
    QUICK,
    Answer,
    Site,
    audio,
    holds_nothing,
    info_of,
    media,
    moving_pictures,
    records,
    run,
    serving,
)  # fmt: skip
from typer.testing import CliRunner, Result

from rapgen.cli.app import make_app
from rapgen.data.fetch.fetch import Funnel, fetch
from rapgen.data.fetch.lists import Row
from rapgen.errors import RapgenError


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


# ------------------------------------------------------------------------------------------------ good media


@pytest.mark.parametrize("suffix", ["webm", "m4a", "mp3", "wav"])
def test_good_audio_is_kept_as_it_came(site: Site, tmp_path: Path, suffix: str) -> None:
    assert run(tmp_path, Row(site.media(f"/beat.{suffix}"), "dusty, 88 bpm")) == Funnel(listed=1, fetched=1)
    (path,) = audio(tmp_path)
    assert path.suffix == f".{suffix}"
    assert path.read_bytes() == media(suffix)
    info = info_of(path)
    assert info["id"] == "beat"
    assert info["webpage_url"] == site.url(f"/beat.{suffix}")
    assert info["caption"] == "dusty, 88 bpm"
    assert info["duration"] == pytest.approx(0.5, abs=0.06)
    assert records(tmp_path)[info["webpage_url"]] == {
        "key": info["webpage_url"], "status": "ok", "file": path.name
    }  # fmt: skip


def test_video_is_dropped_and_the_sound_stays_as_it_was(site: Site, tmp_path: Path) -> None:
    assert run(tmp_path, site.media("/clip.mp4")).fetched == 1
    (path,) = audio(tmp_path)
    assert path.suffix == ".m4a"

    def packets(source: Any) -> list[bytes]:
        with av.open(source) as container:
            return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]

    with av.open(str(path)) as container:
        assert not container.streams.video
    (tmp_path / "clip.mp4").write_bytes(media("mp4"))
    assert packets(str(path)) == packets(str(tmp_path / "clip.mp4"))


def test_hls_comes_without_another_program(site: Site, tmp_path: Path) -> None:
    site.put("/0.ts", media("ts", duration_s=1.5), "video/mp2t")
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.5,\n0.ts\n#EXT-X-ENDLIST\n"
    assert run(tmp_path, site.put("/list.m3u8", text.encode(), "application/vnd.apple.mpegurl")).fetched == 1
    (path,) = audio(tmp_path)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_a_page_gives_the_media_element_on_it(site: Site, tmp_path: Path) -> None:
    site.media("/cold.mp3")
    page = b'<html><head><title>Cold</title></head><body><audio src="/cold.mp3"></audio></body></html>'
    assert run(tmp_path, site.put("/page", page)).fetched == 1
    (path,) = audio(tmp_path)
    assert path.read_bytes() == media("mp3")
    assert info_of(path)["title"].startswith("Cold")


def test_a_page_with_several_media_gives_all_of_them_once(site: Site, tmp_path: Path) -> None:
    tags = []
    for n in range(3):
        site.media(f"/{n}.mp3", hz=300.0 + n)
        tags.append(f'<audio src="/{n}.mp3"></audio>')
    address = site.put("/page", f"<html><title>Tape</title><body>{''.join(tags)}</body></html>".encode())
    assert run(tmp_path, address) == Funnel(listed=3, fetched=3)
    assert {path.read_bytes() for path in audio(tmp_path)} == {media("mp3", hz=300.0 + n) for n in range(3)}
    hits = site.hits["/0.mp3"]
    assert run(tmp_path, address) == Funnel(listed=3, already_there=3)
    assert site.hits["/0.mp3"] == hits


def test_a_playlist_is_unfolded_and_what_is_new_in_it_comes_later(site: Site, tmp_path: Path) -> None:
    def put_feed(*paths: str) -> str:
        items = "".join(f"<item><title>t</title><link>{site.media(path)}</link></item>" for path in paths)
        return site.put("/feed", f"<rss><channel><title>tape</title>{items}</channel></rss>".encode(), "text/xml")

    listed = Row(put_feed("/a.mp3", "/b.mp3"), "boom bap")
    assert run(tmp_path, listed) == Funnel(listed=2, fetched=2)
    assert [info_of(path)["caption"] for path in audio(tmp_path)] == ["boom bap"] * 2
    put_feed("/a.mp3", "/b.mp3", "/c.mp3")
    assert run(tmp_path, listed, site.url("/c.mp3")) == Funnel(listed=4, fetched=1, already_there=2, repeated=1)


def test_a_playlist_that_leads_back_to_itself_ends(site: Site, tmp_path: Path) -> None:
    link = site.url("/feed")
    site.put("/feed", f"<rss><channel><item><link>{link}</link></item></channel></rss>".encode(), "text/xml")
    assert run(tmp_path, link) == Funnel(listed=1, repeated=1)


def test_a_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    site.media("/beat.webm")
    assert run(tmp_path, site.redirect("/there", "/beat.webm")).fetched == 1
    assert audio(tmp_path)[0].read_bytes() == media("webm")


def test_names_are_safe_whatever_a_site_calls_its_media(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "raw"
    names = ["..%2F..%2Fevil.mp3", "two%0Alines.mp3", "%D0%B1%D0%B8%D1%82.mp3", "x" * 300 + ".mp3", "%24HOME.mp3"]
    for name in names:
        site.media(f"/{name}")
    funnel = run(out, *(site.url(f"/{name}") for name in names))
    assert funnel == Funnel(listed=len(names), fetched=len(names))
    assert all(path.name.isascii() and path.name.replace("-", "").replace("_", "").replace(".", "").isalnum()
               for path in out.iterdir())  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


# ------------------------------------------------------------------------------------------------ rows and sections


def test_an_upload_listed_with_several_ranges_is_fetched_once(site: Site, tmp_path: Path) -> None:
    address = site.media("/beat.mp3")
    rows = [Row(address, "the hook", 20.0, 30.0), Row(address, "the intro", 0.0, 10.0)]
    assert run(tmp_path, *rows) == Funnel(listed=2, fetched=1, repeated=1)
    (path,) = audio(tmp_path)
    sections = [
        {"caption": "the intro", "start_s": 0.0, "end_s": 10.0},
        {"caption": "the hook", "start_s": 20.0, "end_s": 30.0},
    ]
    assert info_of(path)["sections"] == sections
    assert "caption" not in info_of(path)
    hits = site.hits["/beat.mp3"]
    later = Row(address, "the outro", 40.0)
    assert run(tmp_path, later) == Funnel(listed=1, already_there=1)
    assert info_of(path)["sections"] == [*sections, {"caption": "the outro", "start_s": 40.0}]
    assert site.hits["/beat.mp3"] == hits


def test_one_range_stands_flat_and_its_caption_can_be_changed(site: Site, tmp_path: Path) -> None:
    address = site.media("/beat.mp3")
    run(tmp_path, Row(address, "a beat", 1.0, 2.0))
    run(tmp_path, Row(address, "a better caption", 1.0, 2.0))
    info = info_of(*audio(tmp_path))
    assert (info["caption"], info["start_s"], info["end_s"]) == ("a better caption", 1.0, 2.0)
    assert "sections" not in info


def test_two_addresses_of_one_upload_make_one_file(site: Site, tmp_path: Path) -> None:
    site.media("/beat.mp3")
    addresses = [site.redirect(f"/{n}", "/beat.mp3") for n in range(4)]
    funnel = run(tmp_path, *addresses)
    assert (funnel.listed, funnel.fetched, funnel.already_there) == (4, 1, 3)
    assert len(audio(tmp_path)) == 1


# ------------------------------------------------------------------------------------------------ what goes wrong


def truncated(answer: Answer) -> None:
    answer.head("audio/mpeg", **{"content-length": str(len(media("mp3")))})
    answer.wfile.write(media("mp3")[:500])


def endless(kind: str, **headers: str) -> Any:
    def page(answer: Answer) -> None:
        answer.head(kind, **headers)
        while not answer.site.gone.is_set():
            answer.wfile.write(b"<p>" + bytes(60000))

    return page


def stalled(answer: Answer) -> None:
    answer.head("audio/mpeg", **{"content-length": "100000"})
    answer.wfile.write(media("mp3")[:500])
    answer.wfile.flush()
    answer.site.gone.wait(20)


def dripping(answer: Answer) -> None:
    answer.head("audio/mpeg", **{"content-length": "100000"})
    while not answer.site.gone.wait(0.1):
        answer.wfile.write(b"x")
        answer.wfile.flush()


def silent(answer: Answer) -> None:
    answer.site.gone.wait(20)


def test_each_failure_has_its_reason_and_leaves_no_file(site: Site, tmp_path: Path) -> None:
    site.put("/empty.mp3", b"", "audio/mpeg")
    site.put("/text.mp3", b"this is not audio " * 200, "audio/mpeg")
    site.put("/playlist.mp3", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "audio/mpeg")
    site.put("/picture.mp3", moving_pictures(), "audio/mpeg")
    site.put("/page", b"<html><title>words</title><body>words</body></html>")
    site.put("/forbidden", b"", status=403)
    site.put("/broken", b"", status=503)
    site.put("/file", b'<html><body><audio src="file:///etc/passwd"></audio></body></html>')
    site.redirect("/to-file", "file:///etc/passwd")
    site.redirect("/to-ftp", f"ftp://127.0.0.1:{site.port}/beat.mp3")
    site.redirect("/loop", "/loop")
    site.pages |= {"/cut.mp3": truncated, "/stalled.mp3": stalled, "/dripping.mp3": dripping, "/silent": silent}
    expected = {
        "/nowhere": "not found (404)", "/forbidden": "forbidden (403)", "/broken": "server error (503)",
        "/empty.mp3": "no media", "/text.mp3": "not audio", "/playlist.mp3": "not audio", "/picture.mp3": "no audio",
        "/page": "no media", "/cut.mp3": "cut short", "/stalled.mp3": "stalled", "/dripping.mp3": "stalled",
        "/silent": "stalled", "/to-file": "bad redirect", "/loop": "bad redirect",
    }  # fmt: skip
    refused = {"/to-ftp": "not http(s)", "/file": "not http(s)"}
    funnel = run(tmp_path, *map(site.url, expected | refused), jobs=8, timeout_s=1.5)
    told = {key.removeprefix(site.url("")): record["why"] for key, record in records(tmp_path).items()}
    assert told == expected | refused
    assert funnel.skipped == {"not http(s)": 2}
    assert sum(funnel.failed.values()) == len(expected)
    assert holds_nothing(tmp_path)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/endless.mp3", endless("audio/mpeg")),
        ("/declared.mp3", endless("audio/mpeg", content_length="99999999999")),
        ("/endless", endless("text/html")),
    ],
)
def test_an_endless_body_is_cut_at_the_maximum(site: Site, tmp_path: Path, path: str, page: Any) -> None:
    site.pages[path] = page
    assert run(tmp_path, site.url(path), max_bytes=1 << 20).skipped == {"too large": 1}
    assert holds_nothing(tmp_path)


def test_a_body_that_unpacks_to_too_much_is_cut(site: Site, tmp_path: Path) -> None:
    import zlib

    packer = zlib.compressobj(wbits=31)
    body = b"".join(packer.compress(b"<p>" + bytes(1 << 20)) for _ in range(40)) + packer.flush()
    assert len(body) < 100_000
    site.put("/bomb", body, content_encoding="gzip")
    assert run(tmp_path, site.url("/bomb"), max_bytes=1 << 20).skipped == {"too large": 1}


def test_a_packed_page_is_read(site: Site, tmp_path: Path) -> None:
    import gzip

    site.media("/cold.mp3")
    site.put(
        "/page", gzip.compress(b'<html><body><audio src="/cold.mp3"></audio></body></html>'), content_encoding="gzip"
    )
    assert run(tmp_path, site.url("/page")).fetched == 1


def test_too_long_is_skipped_until_the_limit_changes(site: Site, tmp_path: Path) -> None:
    address = site.media("/beat.wav", duration_s=2.0)
    assert run(tmp_path, address, max_length_s=1.0).skipped == {"too long": 1}
    assert holds_nothing(tmp_path)
    hits = site.hits["/beat.wav"]
    assert run(tmp_path, address, max_length_s=1.0).skipped == {"too long": 1}
    assert site.hits["/beat.wav"] == hits
    assert run(tmp_path, address, max_length_s=3.0).fetched == 1


def test_a_server_that_asks_to_wait_is_given_its_time(site: Site, tmp_path: Path) -> None:
    asked: list[float] = []

    def busy(answer: Answer) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            answer.give(b"", status=429, **{"retry-after": "1"})
        else:
            answer.give(media("mp3"), "audio/mpeg")

    site.pages["/busy.mp3"] = busy
    assert run(tmp_path, site.url("/busy.mp3")) == Funnel(listed=1, fetched=1)
    assert asked[1] - asked[0] >= 1.0


def test_a_body_cut_short_is_asked_for_again(site: Site, tmp_path: Path) -> None:
    def once_cut(answer: Answer) -> None:
        if answer.site.hits["/cut.mp3"] <= 2:  # seen, then fetched in part
            truncated(answer)
        else:
            answer.give(media("mp3"), "audio/mpeg")

    site.pages["/cut.mp3"] = once_cut
    assert run(tmp_path, site.url("/cut.mp3")) == Funnel(listed=1, fetched=1)
    assert audio(tmp_path)[0].read_bytes() == media("mp3")


def test_what_failed_is_tried_again_by_the_next_run(site: Site, tmp_path: Path) -> None:
    address = site.url("/late.mp3")
    assert run(tmp_path, address).failed == {"not found (404)": 1}
    site.media("/late.mp3")
    assert run(tmp_path, address) == Funnel(listed=1, fetched=1)


def test_a_file_that_was_removed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    address = site.media("/beat.mp3")
    run(tmp_path, address)
    audio(tmp_path)[0].unlink()
    assert run(tmp_path, address) == Funnel(listed=1, fetched=1)


@pytest.mark.parametrize("left", ["", "[]", "{"])
def test_what_is_known_of_a_file_is_written_again_without_fetching_it(site: Site, tmp_path: Path, left: str) -> None:
    row = Row(site.media("/beat.mp3"), "a beat", 1.0)
    run(tmp_path, row)
    (path,) = audio(tmp_path)
    told, when = info_of(path), path.stat().st_mtime_ns
    path.with_suffix(".info.json").write_text(left)
    assert run(tmp_path, row) == Funnel(listed=1, already_there=1)
    assert {**info_of(path), "duration": told["duration"]} == told
    assert path.stat().st_mtime_ns == when


def test_sections_of_another_shape_are_passed_over(site: Site, tmp_path: Path) -> None:
    row = Row(site.media("/beat.mp3"), "a beat")
    run(tmp_path, row)
    path = audio(tmp_path)[0].with_suffix(".info.json")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "sections": [5, {"start_s": "soon"}, None]}))
    assert run(tmp_path, row).already_there == 1
    assert json.loads(path.read_text()) == told


def test_the_rate_limit_holds_for_all_downloads_together(site: Site, tmp_path: Path) -> None:
    addresses = [site.media(f"/{n}.wav", hz=200.0 + n) for n in range(2)]  # 48 kB each
    begin = time.monotonic()
    assert run(tmp_path, *addresses, jobs=2, rate=64_000).fetched == 2
    assert time.monotonic() - begin > 1.0


def test_starts_are_paused_between(site: Site, tmp_path: Path) -> None:
    begin = time.monotonic()
    assert run(tmp_path, *(site.media(f"/{n}.mp3", hz=200.0 + n) for n in range(3)), jobs=3, pause_s=0.4).fetched == 3
    assert time.monotonic() - begin >= 0.8


def test_cookies_are_sent_and_their_file_stays_as_it_is(site: Site, tmp_path: Path) -> None:
    def members(answer: Answer) -> None:
        if "token=" in (answer.headers["cookie"] or ""):
            answer.give(media("mp3"), "audio/mpeg", **{"set-cookie": "token=new"})
        else:
            answer.give(b"", status=401)

    site.pages["/members.mp3"] = members
    cookies = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\ttoken\tabc\n"
    cookies.write_text(text)
    assert run(tmp_path / "raw", site.url("/members.mp3")).failed == {"needs an account": 1}
    assert run(tmp_path / "raw", site.url("/members.mp3"), cookies=cookies).fetched == 1
    assert cookies.read_text() == text


# ------------------------------------------------------------------------------------------------ many, and stopped


@pytest.mark.xdist_group("fetch_many")
def test_a_thousand_addresses(site: Site, tmp_path: Path) -> None:
    body = media("mp3", duration_s=0.1)
    rows = []
    for n in range(1000):
        rows.append(Row(site.put(f"/{n}.mp3", body, "audio/mpeg") if n % 10 else site.url(f"/{n}.mp3"), f"beat {n}"))
    funnel = run(tmp_path, *rows, timeout_s=10.0)
    assert (funnel.fetched, funnel.failed) == (900, {"not found (404)": 100})
    assert len(audio(tmp_path)) == 900
    assert len(records(tmp_path)) == 1000
    hits = site.hits.total()
    funnel = run(tmp_path, *rows, timeout_s=10.0)
    assert (funnel.already_there, funnel.failed) == (900, {"not found (404)": 100})
    assert site.hits.total() == hits + 100


def command(listed: Path, out: Path) -> list[str]:
    options = ["--jobs", "2", "--allow-local", "--json"]
    return [sys.executable, "-m", "rapgen", "data", "fetch", "--list", str(listed), "--out", str(out), *options]


@pytest.mark.xdist_group("fetch_many")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on(site: Site, tmp_path: Path, how: signal.Signals) -> None:
    stopped = threading.Event()  # no run ends before it is stopped, however busy the machine

    def slow(answer: Answer) -> None:
        if int(answer.path.strip("/").removesuffix(".mp3")) >= 15:
            stopped.wait(30)
        answer.head("audio/mpeg", **{"content-length": str(len(body))})
        for n in range(0, len(body), 1 + len(body) // 4):
            answer.wfile.write(body[n : n + 1 + len(body) // 4])
            time.sleep(0.01)

    body = media("mp3")
    paths = [f"/{n}.mp3" for n in range(40)]
    site.pages |= dict.fromkeys(paths, slow)
    listed, out = tmp_path / "urls.txt", tmp_path / "raw"
    listed.write_text("\n".join(map(site.url, paths)))
    first = subprocess.Popen(
        command(listed, out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
    )
    while len(audio(out) if out.exists() else ()) < 10:
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    os.kill(first.pid, how)
    stopped.set()
    _, told = first.communicate(timeout=20)
    assert first.returncode == (-9 if how is signal.SIGKILL else 130)
    assert "Traceback" not in told
    kept = {path.name: path.stat().st_mtime_ns for path in audio(out)}
    assert 10 <= len(kept) < 40
    with (out / "fetch.jsonl").open("ab") as file:
        file.write(b'{"key": "http://127')  # as a write that was torn
    hits = dict(site.hits)

    second = subprocess.run(command(listed, out), capture_output=True, text=True, timeout=60, check=True)
    funnel = json.loads(second.stdout)
    assert funnel["listed"] == 40
    assert funnel["fetched"] == 40 - len(kept)
    assert funnel["already_there"] == len(kept)
    assert len(audio(out)) == 40
    assert all(path.read_bytes() == body for path in audio(out))
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in audio(out)}.items()
    done = [path for path in paths if site.hits[path] == hits.get(path, 0)]
    assert len(done) >= len(kept) - 2  # at most those that two threads had placed and not yet recorded were looked at
    assert all(record["status"] == "ok" for record in map(json.loads, _whole_lines(out / "fetch.jsonl")))


def _whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.endswith("}")]


def test_two_fetches_do_not_work_in_one_folder(site: Site, tmp_path: Path) -> None:
    def nested(done: int, total: int) -> None:
        with pytest.raises(RapgenError, match="another fetch is at work"):
            run(tmp_path, address)

    address = site.media("/beat.mp3")
    assert fetch([Row(address)], tmp_path, QUICK, work=lambda name: nested).fetched == 1


# ------------------------------------------------------------------------------------------------ the command


def rapgen(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), ["data", "fetch", *map(str, arguments)])


def test_the_command_tells_the_funnel(site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text(
        f"# mine\n\n{site.media('/a.mp3')}\tboom bap, 90 bpm\r\n{site.url('/gone.mp3')}\nfile:///etc/passwd\n"
    )
    result = rapgen("--list", listed, "--out", tmp_path / "raw", "--allow-local")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "listed         3",
        f"fetched        1 into {tmp_path / 'raw'}",
        "skipped        1: not http(s) 1",
        "failed         1: not found (404) 1",
        "Run the same command again to try what failed.",
    ]
    assert info_of(*audio(tmp_path / "raw"))["caption"] == "boom bap, 90 bpm"
    result = rapgen("--list", listed, "--out", tmp_path / "raw", "--allow-local", "--json")
    assert json.loads(result.stdout) == {
        "listed": 3, "fetched": 0, "already_there": 1, "repeated": 0,
        "skipped": {"not http(s)": 1}, "failed": {"not found (404)": 1},
    }  # fmt: skip


def test_nothing_fetched_is_an_error_after_the_funnel(site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text(site.media("/a.mp3"))
    result = rapgen("--list", listed, "--out", tmp_path / "raw")
    assert result.exit_code == 2
    assert "skipped        1: local address 1" in result.stdout
    assert result.stderr.count("error: ") == 1
    assert not site.hits


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-size", "lots"], "--max-size is 'lots'"),
        (["--rate-limit", "0"], "--rate-limit is '0'"),
        (["--cookies", "nowhere.txt"], "cannot read cookies from nowhere.txt"),
        (["--proxy", "gopher://x"], "the proxy 'gopher://x' is of no use"),
        (["--list", "nowhere.txt"], "cannot read the list nowhere.txt: no such file"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: list[str], told: str) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text("https://example.com/a.mp3")
    result = rapgen("--list", listed, "--out", tmp_path / "raw", *options)
    assert result.exit_code == 2
    assert result.stderr.strip().startswith(f"error: {told}")
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_missing_yt_dlp_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text("https://example.com/a.mp3")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = rapgen("--list", listed, "--out", tmp_path / "raw")
    assert (result.exit_code, result.stderr) == (2, "error: fetching needs yt-dlp: pip install 'rapgen[youtube]'\n")


def test_cookies_of_another_format_are_one_line(tmp_path: Path) -> None:
    cookies, listed = tmp_path / "cookies.txt", tmp_path / "urls.txt"
    cookies.write_text('[{"name": "token"}]')
    listed.write_text("https://example.com/a.mp3")
    result = rapgen("--list", listed, "--out", tmp_path / "raw", "--cookies", cookies)
    assert result.exit_code == 2
    assert "is not in Netscape's format" in result.stderr


def test_a_folder_that_cannot_be_written_is_one_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(RapgenError, match=r"cannot write to .*raw"):
        run(tmp_path / "raw", site.media("/a.mp3"))


def test_a_full_disk_ends_the_run_in_one_line(site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text("\n".join(site.media(f"/{n}.wav", hz=200.0 + n) for n in range(4)))
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); import rapgen.cli as c; "
    code += f"sys.argv = {['rapgen', *command(listed, tmp_path / 'raw')[3:]]!r}; c.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot write to ")
