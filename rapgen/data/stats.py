"""What a data set holds, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rapgen.audio.metadata import METADATA, SPLITS, annotations_of, audio_duration_s, read_rows
from rapgen.data.balance import TEMPO_STEP_BPM, Share, shares
from rapgen.data.report import ClipFacts
from rapgen.interfaces import Annotations
from rapgen.uploads import clean

_DURATION_STEP_S = 5
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stats:
    """Counts of clips by each fact, in the order in which they read best."""

    clips: int
    hours: float
    tempo_bpm: Mapping[str, int]  # "90-99"
    key: Mapping[str, int]
    style: Mapping[str, int]
    duration_s: Mapping[str, int]  # "5-9": 5 s or more, less than 10
    captions: Mapping[str, int]  # how many a clip has
    uploader: Mapping[str, int]
    instruments: Mapping[str, int]  # clips that have each
    weights: Mapping[str, list[Share]]  # by trait, shares without and with weights; empty where all weigh the same


def describe_dataset(folder: Path) -> dict[str, Stats]:
    """Figures of each split of a dataset that has any; else of the folder, under ""."""
    told = {split: folder / split / METADATA for split in SPLITS}
    splits = [split for split, path in told.items() if path.is_file() and path.stat().st_size]
    return {split: describe_folder(folder / split) for split in splits} or {"": describe_folder(folder)}


def describe_folder(folder: Path) -> Stats:
    """Figures of a folder of audio files, by their headers and metadata; raises AudioError as `read_rows`."""
    rows = read_rows(folder)
    return describe((audio_duration_s(folder / row.file_name), annotations_of(row)) for row in rows)


def describe(clips: Iterable[tuple[float, Annotations]]) -> Stats:
    """Figures of clips given by their seconds and what is known of them."""
    durations_s, known = zip(*clips, strict=True)
    grooves = [annotations.groove for annotations in known]
    return Stats(
        clips=len(durations_s),
        hours=sum(durations_s) / 3600,
        tempo_bpm=_ranges([groove.tempo_bpm for groove in grooves], TEMPO_STEP_BPM),
        key=_names([groove.key for groove in grooves]),
        style=_names([groove.style for groove in grooves]),
        duration_s=_ranges(durations_s, _DURATION_STEP_S),
        captions={str(n): count for n, count in sorted(Counter(len(a.captions) for a in known).items())},
        uploader=_names([clean(annotations.upload.uploader) for annotations in known]),
        instruments=_names(name for annotations in known for name in annotations.instruments or (None,)),
        weights=_weights(known),
    )


def _weights(known: Iterable[Annotations]) -> dict[str, list[Share]]:
    weights = [annotations.weight for annotations in known]
    if len(set(weights)) < 2:
        return {}
    clips = [ClipFacts(0, a.groove.tempo_bpm, style=a.groove.style, uploader=clean(a.upload.uploader)) for a in known]
    return {trait: found for trait, found in shares(clips, weights).items() if found}


def _names(values: Iterable[str | None]) -> dict[str, int]:
    """Counts of names, the most frequent first."""
    counts = Counter(value or _UNKNOWN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _ranges(values: Iterable[float | None], step: int) -> dict[str, int]:
    """Counts of values in ranges of `step`, from the lowest up."""
    counts = Counter(-1 if value is None else int(value // step) * step for value in values)
    return {_UNKNOWN if low < 0 else f"{low}-{low + step - 1}": count for low, count in sorted(counts.items())}
