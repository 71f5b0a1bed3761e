"""`rapgen data fetch`: a list of addresses to a folder of audio."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapgen.errors import RapgenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rapgen.data.fetch.fetch import Funnel

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def fetch(
    list_: Annotated[Path, typer.Option("--list", help="Addresses: text, .csv or .jsonl.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the audio and what is known of it.")] = Path(
        "raw"
    ),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Downloads at once.")] = 4,
    retries: Annotated[int, typer.Option(min=0, max=20, help="New attempts where a failure may pass.")] = 3,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until a connection counts as stalled.")] = 20.0,
    max_length: Annotated[float, typer.Option(min=1, help="Skip what is longer, in seconds.")] = 600.0,
    max_size: Annotated[str, typer.Option(help="Skip what is larger: 800K, 200M, 1G.")] = "200M",
    rate_limit: Annotated[
        str | None, typer.Option(help="Bytes a second, of all downloads together: 500K, 2M.", show_default="none")
    ] = None,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between the starts of two downloads.")] = 0.0,
    cookies: Annotated[
        Path | None, typer.Option(help="cookies.txt of a browser that is signed in; it is only read.")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="http://host:port or socks5://host:port.", show_default="the environment's")
    ] = None,
    allow_local: Annotated[
        bool, typer.Option("--allow-local", help="Allow addresses of this machine and its networks.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell what became of the list as JSON on stdout.")] = False,
) -> None:
    """Fetch the audio of a list of addresses; a second start fetches only what is missing.

    \b
    One address a line, # comments, an optional caption after a tab; or CSV or JSON lines with url, caption, start_s,
    end_s. Playlists and channels are unfolded. Fetch only what you have the right to: YouTube's terms forbid
    downloading without permission.

    \b
    rapgen data fetch --list urls.txt --out raw
    rapgen data fetch --list musiccaps.csv --out raw --jobs 8 --max-length 600
    rapgen data fetch --list urls.txt --out raw --cookies cookies.txt --pause 5 --rate-limit 1M
    """
    from rapgen.cli.progress import bars
    from rapgen.data.fetch import require_yt_dlp
    from rapgen.data.fetch.lists import read_list

    rows = read_list(list_)
    require_yt_dlp()
    from rapgen.data.fetch.fetch import fetch as fetch_all
    from rapgen.data.fetch.work import Options

    options = Options(
        jobs=jobs,
        retries=retries,
        pause_s=pause,
        timeout_s=timeout,
        max_length_s=max_length,
        max_bytes=_bytes(max_size, "--max-size"),
        rate=None if rate_limit is None else _bytes(rate_limit, "--rate-limit"),
        cookies=cookies,
        proxy=proxy,
        allow_local=allow_local,
    )
    with bars() as report:
        funnel = fetch_all(rows, out, options, work=report.work)
    typer.echo(json.dumps(asdict(funnel), indent=2) if as_json else _table(funnel, out))
    if not funnel.fetched + funnel.already_there:
        raise RapgenError(f"nothing of {list_} could be fetched; see the reasons above, and {out / 'fetch.jsonl'}")


def _bytes(size: str, option: str) -> int:
    """ "200M" -> 209715200"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)I?B?", size.strip().upper())
    if match is None or not (count := int(float(match[1]) * _UNITS[match[2]])):
        raise RapgenError(f"{option} is '{size}'; give bytes like 800K, 200M or 1G")
    return count


def _table(funnel: Funnel, out: Path) -> str:
    """The funnel, a line each, with the most frequent reasons first."""
    lines = [f"listed         {funnel.listed}", f"fetched        {funnel.fetched} into {out}"]
    for name, count in (("already there", funnel.already_there), ("listed twice", funnel.repeated)):
        if count:
            lines.append(f"{name:<14} {count}")
    for name, reasons in (("skipped", funnel.skipped), ("failed", funnel.failed)):
        if reasons:
            lines.append(f"{name:<14} {sum(reasons.values())}: {_told(reasons)}")
    if funnel.failed:
        lines.append("Run the same command again to try what failed.")
    return "\n".join(lines)


def _told(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{why} {count}" for why, count in ordered)
