"""Lists of addresses to folders of audio, by the real yt-dlp, from a site on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from fetch_server import Site, serving

from rapgen.data.fetch.fetch import Funnel, fetch
from rapgen.data.fetch.lists import Row
from rapgen.data.fetch.work import Options

QUICK = Options(allow_local=True, retries=1, backoff_s=0.05, timeout_s=1.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def ignore(done: int, total: int) -> None:
    """A report that nobody reads."""


def run(out: Path, *rows: Row | str, options: Options = QUICK) -> Funnel:
    return fetch([row if isinstance(row, Row) else Row(row) for row in rows], out, options, report=ignore)


def files(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir() if p.name != "fetch.jsonl")


@pytest.mark.parametrize("suffix", ["webm", "m4a", "mp3", "wav"])
def test_good_audio_is_kept_as_it_came(site: Site, tmp_path: Path, suffix: str) -> None:
    funnel = run(tmp_path, site.media(f"/beat.{suffix}"))
    assert funnel == Funnel(listed=1, fetched=1)
    info, name = files(tmp_path)
    assert name.endswith(f".{suffix}")
