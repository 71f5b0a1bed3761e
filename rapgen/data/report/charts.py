"""Counts for the charts of a report: columns over a scale, rows by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapgen.data.balance import Share
from rapgen.data.report.facts import Step
from rapgen.groove import NOTES

_MAX_COLUMNS, _MAX_ROWS = 24, 12


@dataclass(frozen=True)
class Bar:
    """A label and a number for each series."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """Bars that are drawn against the last tick."""

    title: str
    bars: tuple[Bar, ...]
    ticks: tuple[float, ...]
    unit: str = ""  # of the labels
    series: tuple[str, ...] = ("clips",)
    note: str = ""
    is_column: bool = False
    is_scale: bool = False  # columns begin at their labels


def histogram(title: str, values: Iterable[float | None], *, unit: str) -> Chart:
    """Counts in at most 24 equal steps of a round width; what is not known stands in the note."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    step = next(step for step in _round_steps(0.1) if high // step - low // step < _MAX_COLUMNS)
    counts = Counter(int(value // step) for value in known)
    places = range(min(counts, default=0), max(counts, default=-1) + 1)
    bars = tuple(Bar(f"{place * step:g}", (counts[place],)) for place in places)
    return _columns(title, bars, unit=unit, note=_unknown(listed), is_scale=True)


def keys(title: str, values: Iterable[str | None]) -> Chart:
    """Counts of major and minor keys over the twelve notes."""
    listed = list(values)
    counts = Counter(listed)
    bars = tuple(Bar(note, (counts[f"{note} major"], counts[f"{note} minor"])) for note in NOTES) if any(listed) else ()
    return _columns(title, bars, series=("major", "minor"), note=_unknown(listed))


def names(title: str, values: Iterable[str | None]) -> Chart:
    """Counts of names, the most frequent first, the rare ones in one row."""
    listed = list(values)
    counts = sorted(Counter(value for value in listed if value).items(), key=lambda item: (-item[1], item[0]))
    return _rows(title, [Bar(name, (count,)) for name, count in counts], ("clips",), _unknown(listed))


def steps(unit: str, found: Iterable[Step]) -> Chart:
    """What was left after each step."""
    return _rows(unit.capitalize(), [Bar(step.name, (step.count,)) for step in found], (unit,), "", keep=True)


def balanced(title: str, found: Sequence[Share], *, is_scale: bool = False) -> Chart:
    """Shares in percent, before and after; on a scale they rise with their labels."""
    order = sorted(found, key=lambda share: int(share.value.partition("-")[0])) if is_scale else found
    bars = [Bar(share.value, (100 * share.before, 100 * share.after)) for share in order]
    return _rows(title, bars, ("before", "after"), "", keep=is_scale)


def _columns(
    title: str,
    bars: tuple[Bar, ...],
    *,
    unit: str = "",
    series: tuple[str, ...] = ("clips",),
    note: str,
    is_scale: bool = False,
) -> Chart:
    most = max((value for bar in bars for value in bar.values), default=0)
    top, step = min((step * count, step) for step in _round_steps(1) for count in (3, 4, 5) if step * count >= most)
    ticks = tuple(step * n for n in range(round(top / step) + 1))
    return Chart(title, bars, ticks, unit, series, note, is_column=True, is_scale=is_scale)


def _rows(title: str, bars: Sequence[Bar], series: tuple[str, ...], note: str, *, keep: bool = False) -> Chart:
    if not keep and len(bars) > _MAX_ROWS:
        rest = bars[_MAX_ROWS - 1 :]
        sums = tuple(map(sum, zip(*(bar.values for bar in rest), strict=True)))
        bars = [*bars[: _MAX_ROWS - 1], Bar(f"{len(rest)} others", sums)]
    most = max((value for bar in bars for value in bar.values), default=0)
    return Chart(title, tuple(bars), (0, most or 1), "", series, note)


def _round_steps(least: float) -> list[float]:
    """Round numbers from a power of ten up: 1, 2, 5, 10 and so on."""
    return [step * least * 10.0**power for power in range(24) for step in (1, 2, 5)]


def _unknown(values: Sequence[object]) -> str:
    missing = sum(value is None or value == "" for value in values)
    return f"{missing:,} of {len(values):,} not known" if missing else ""
