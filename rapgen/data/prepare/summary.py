"""What came of it all: the funnel, and what the report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rapgen.audio.metadata import SPLITS
from rapgen.data.balance import balance
from rapgen.data.prepare.places import clip_path
from rapgen.data.prepare.records import PreparedClip, Record
from rapgen.data.prepare.verdicts import Verdicts
from rapgen.data.report import ClipFacts, Dropped, Listen, Step

_LISTEN = 10  # clips


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


def clip_facts(kept: Sequence[Record]) -> dict[str, ClipFacts]:
    """What is counted of each clip, by file name, with the weight that balance gives it."""
    facts = {clip.file_name: _clip_facts(record, clip) for record in kept for clip in record.clips}
    weights = balance(list(facts.values())).tolist()
    return {name: replace(fact, weight=round(w, 4)) for (name, fact), w in zip(facts.items(), weights, strict=True)}


def listen_to(kept: Sequence[Record], verdicts: Verdicts) -> tuple[Listen, ...]:
    """A few clips that are spread over all: from the middle of tracks, or more of a track where there are few."""
    if len(kept) >= _LISTEN:
        pairs = [(record, record.clips[len(record.clips) // 2]) for record in kept]
    else:
        pairs = [(record, clip) for record in kept for clip in record.clips]
    count = min(_LISTEN, len(pairs))
    return tuple(_listen(*pairs[number * len(pairs) // count], verdicts) for number in range(count))


def _listen(record: Record, clip: PreparedClip, verdicts: Verdicts) -> Listen:
    row = clip.row
    return Listen(
        file=clip_path(verdicts.splits[record.track], clip.file_name),
        caption=row.get("text", ""),
        title=record.upload.title,
        tempo_bpm=row.get("tempo_bpm"),
        key=row.get("key"),
        style=row.get("style"),
        duration_s=clip.duration_s,
        url=record.upload.url,
    )


def _clip_facts(record: Record, clip: PreparedClip) -> ClipFacts:
    return ClipFacts(
        duration_s=clip.duration_s,
        tempo_bpm=clip.row.get("tempo_bpm"),
        key=clip.row.get("key"),
        style=clip.row.get("style"),
        uploader=record.upload.uploader,
        loudness_lufs=record.measured.loudness_lufs if record.measured else None,
    )
