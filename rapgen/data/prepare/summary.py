"""What came of it all: the funnel, and what the report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapgen.data.prepare.records import Record
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import SPLITS
from rapgen.data.prepare.verdicts import Verdicts
from rapgen.data.report import Dropped, Step
from rapgen.data.storage import Storage


@dataclass(frozen=True)
class Summary:
    """Counts over all that was ever found in RAW."""

    funnel: tuple[Step, ...]
    dropped: Mapping[str, int]  # items by reason, the most frequent first
    clips: Mapping[str, int]  # by split
    duration_s: float

    def told(self) -> str:
        """The reasons in a line."""
        return ", ".join(f"{reason}: {count}" for reason, count in self.dropped.items()) or "it is empty"


def summarize(records: Sequence[Record], verdicts: Verdicts, drops: Sequence[Dropped]) -> Summary:
    """The funnel from files to clips."""
    kept = [record for record in records if record.track in verdicts.splits]
    reasons = Counter(drop.reason for drop in all_dropped(records, verdicts, drops))
    with_clips = sum(bool(record.clips) for record in records)
    clips = Counter[str]()
    for record in kept:
        clips[verdicts.splits[record.track]] += len(record.clips)
    return Summary(
        funnel=(
            Step("found", len(records)),
            Step("usable", with_clips),
            Step("no copy of another", len(kept)),
            *(Step(f"{split} clips", clips[split], "clips") for split in SPLITS),
        ),
        dropped=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        clips={split: clips[split] for split in SPLITS},
        duration_s=round(sum(clip.duration_s for record in kept for clip in record.clips), 3),
    )


def all_dropped(records: Sequence[Record], verdicts: Verdicts, drops: Sequence[Dropped]) -> Iterator[Dropped]:
    """Every item that did not come through: files of RAW, tracks, and clips of tracks that did."""
    yield from drops
    for record in records:
        title, url = record.upload.title or record.source, record.upload.url
        if record.dropped:
            yield Dropped(record.source, record.dropped, record.detail, url)
        elif original := verdicts.copies.get(record.track):
            yield Dropped(record.source, "a copy of another", original, url)
        for reason, count in record.lost_clips.items():
            for _ in range(count):
                yield Dropped(title, f"clip: {reason}", "", url)


def report_page(
    out: Storage,
    settings: Settings,
    records: Sequence[Record],
    verdicts: Verdicts,
    weights: Mapping[str, float],
    drops: Sequence[Dropped],
) -> str:
    return ""
