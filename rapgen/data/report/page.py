"""Facts to a page: everything is counted here, so that the templates only draw."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rapgen.data.balance import shares
from rapgen.data.report.charts import Chart, balanced, histogram, keys, names, steps
from rapgen.data.report.facts import Dropped, ReportFacts

if TYPE_CHECKING:
    from jinja2 import Template

_MAX_CHARS = 300  # of what others wrote
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")  # control characters


def render_report(facts: ReportFacts) -> str:
    """The page as HTML; it loads nothing but the clips it names, and what others wrote is text in it, never markup."""
    weights = [clip.weight for clip in facts.clips]
    page = _template().render(
        facts=facts,
        tiles=list(_tiles(facts)),
        funnel=[steps(unit, found) for unit, found in groupby(facts.funnel, key=lambda step: step.unit)],
        charts=[chart for chart in _charts(facts) if chart.bars],
        balances=list(_balances(facts)),
        weights=(min(weights, default=1.0), max(weights, default=1.0)),
        dropped=_by_reason(facts),
    )
    return page.encode("utf-8", "replace").decode()  # halves of characters, which file names may hold


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rapgen.data.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cut": _cut, "link": _link, "path": _path, "told": _told}
    return environment.get_template("report.html")


def _tiles(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    """The figures that matter most."""
    clips = facts.clips
    yield f"{len(clips):,}", "clips"
    yield f"{sum(clip.duration_s for clip in clips) / 3600:.2f}", "hours"
    tracks = [step for step in facts.funnel if step.unit == "tracks"]
    if tracks:
        yield f"{tracks[-1].count:,} of {tracks[0].count:,}", "tracks kept"
    for label, traits in (
        ("styles", {clip.style for clip in clips}),
        ("uploaders", {clip.uploader for clip in clips}),
    ):
        if known := traits - {None, ""}:
            yield f"{len(known):,}", label


def _charts(facts: ReportFacts) -> Iterator[Chart]:
    clips = facts.clips
    yield histogram("Tempo", (clip.tempo_bpm for clip in clips), unit="bpm")
    yield keys("Key", (clip.key for clip in clips))
    yield names("Style", (clip.style for clip in clips))
    yield histogram("Length", (clip.duration_s for clip in clips), unit="s")
    levels = (clip.loudness_lufs for clip in clips)
    heard = (level if level is not None and math.isfinite(level) else None for level in levels)  # silence is -inf
    yield histogram("Loudness", heard, unit="LUFS")


def _balances(facts: ReportFacts) -> Iterator[Chart]:
    for trait, found in shares(facts.clips, [clip.weight for clip in facts.clips]).items():
        if len(found) > 1:
            yield balanced(trait.capitalize(), found, is_scale=trait == "tempo")


def _by_reason(facts: ReportFacts) -> list[tuple[str, list[Dropped]]]:
    """What was dropped, by reason, the most frequent first."""
    counts = Counter(drop.reason for drop in facts.dropped)
    items: dict[str, list[Dropped]] = {reason: [] for reason, _ in counts.most_common()}
    for drop in facts.dropped:
        items[drop.reason].append(drop)
    return list(items.items())


# ------------------------------------------------------------------------------------------------------- filters


def _cut(text: str) -> str:
    """What others wrote, on one line and not endless."""
    line = " ".join(_UNSEEN.sub(" ", text[: 2 * _MAX_CHARS]).split())
    return line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}…"


def _link(url: str) -> str:
    """A web address; empty where it is another kind of link, which could run a script."""
    return url if url.lower().startswith(("https://", "http://")) else ""


def _path(file: str) -> str:
    """A relative path as a link."""
    return quote(file, errors="replace")


def _told(value: object) -> str:
    """A setting as it would be written in YAML, on one line."""
    if isinstance(value, str):
        return value
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
