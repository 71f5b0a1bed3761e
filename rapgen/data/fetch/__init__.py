"""From a list of addresses to a folder of audio files with what their uploaders wrote.

The folder holds, for each upload, `NAME.ext` (the container it came in, without video) and `NAME.info.json`, by
yt-dlp's convention and in its field names: id, extractor, title, description, tags, uploader, license, webpage_url,
duration (seconds). Ours besides are `caption`, `start_s`, `end_s` of the row in the list, where it says them. An upload
that several rows name, each with another range, is fetched once: then `sections` holds `{caption, start_s, end_s}` of
all of them, in the order of time, and the three fields are not given on their own.

`fetch.jsonl` holds what became of each address, one record a line; the last line of an address counts.
"""

from __future__ import annotations

import importlib.util

from rapgen.errors import RapgenError

RECORDS = "fetch.jsonl"
INFO = ".info.json"  # in place of an audio file's suffix
# Extractors, in small letters, that read any page: their ids say little ("audio", "1").
ANY_PAGE = frozenset({"generic", "html5", "html5mediaembed", "unknown"})


def require_yt_dlp() -> None:
    """RapgenError where yt-dlp, which most of this room imports, is not installed."""
    if importlib.util.find_spec("yt_dlp") is None:
        raise RapgenError("fetching needs yt-dlp: pip install 'rapgen[youtube]'")
