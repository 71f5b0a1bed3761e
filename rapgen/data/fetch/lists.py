"""Lists of addresses to fetch: text, CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rapgen.errors import RapgenError

MAX_CAPTION = 10_000  # characters
_YOUTUBE = "https://www.youtube.com/watch?v="


@dataclass(frozen=True)
class Row:
    """One line of a list: an address, and which seconds of it the caption describes."""

    url: str
    caption: str | None = None
    start_s: float | None = None
    end_s: float | None = None


def read_list(path: Path) -> list[Row]:
    """The rows of a list, in its order; `.csv` and `.jsonl` are told by their names, all others are text.

    Text has one address a line, `#` comments, and an optional caption after a tab. CSV and JSON lines have `url` (or
    MusicCaps' `ytid`) and optionally `caption`, `start_s`, `end_s`; other columns are passed over. Raises RapgenError
    where the file is missing, empty or not text, or where a row makes no sense.
    """
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    rows = list(readers.get(path.suffix.lower(), _text_rows)(_text(path), path))
    if not rows:
        raise RapgenError(f"{path} lists nothing; write one address a line")
    return rows


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _not_text(path) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RapgenError(f"cannot read the list {path}: {why}; give a file of addresses") from None
    if "\0" in text:
        raise _not_text(path)
    return text


def _not_text(path: Path) -> RapgenError:
    return RapgenError(f"{path} is not text in UTF-8; give a list with one address a line")


def _text_rows(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        url, _, caption = line.partition("\t")
        if url.strip() and not url.lstrip().startswith("#"):
            yield _row({"url": url, "caption": caption}, f"{path} line {number}")


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        for cells in reader:
            yield _row(cells, f"{path} line {reader.line_num}")
    except csv.Error as error:
        raise RapgenError(f"{path} line {reader.line_num} is not CSV ({error}); quote its cells") from None


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            raise RapgenError(f"{where} is not JSON; write one object a line") from None
        if not isinstance(cells, dict):
            raise RapgenError(f'{where} is no object; write one like {{"url": "https://..."}}')
        yield _row(cells, where)


def _row(cells: Mapping[str, Any], where: str) -> Row:
    url, ytid = _words(cells, "url", where), _words(cells, "ytid", where)
    if not url and not ytid:
        raise RapgenError(f"{where} names no address; give it a column 'url'")
    caption = _words(cells, "caption", where)
    if len(caption) > MAX_CAPTION:
        raise RapgenError(f"{where}: the caption has {len(caption):,} characters; {MAX_CAPTION:,} is the most")
    start_s, end_s = _seconds(cells, "start_s", where), _seconds(cells, "end_s", where)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise RapgenError(f"{where} ends before it starts: start_s {start_s or 0.0:g}, end_s {end_s:g}")
    return Row(url or _YOUTUBE + ytid, caption or None, start_s, end_s)


def _words(cells: Mapping[str, Any], column: str, where: str) -> str:
    value = cells.get(column)
    if value is not None and not isinstance(value, str):
        raise RapgenError(f"{where}: {column} is {value!r}; write it as text")
    return (value or "").strip()


def _seconds(cells: Mapping[str, Any], column: str, where: str) -> float | None:
    value = cells.get(column)
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise RapgenError(f"{where}: {column} is {value!r}; give seconds from 0 up")
    return seconds
