"""What a report shows, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """How many were left after a step: Step("decoded", 980, "tracks")."""

    name: str
    count: int
    unit: str = "tracks"  # or "clips": steps are drawn against the first of their unit


@dataclass(frozen=True)
class Dropped:
    """What did not get into the dataset, and why."""

    item: str  # a title or a file name
    reason: str  # short, the same for all of its kind, to be counted: "too short"
    detail: str = ""  # of this one: "2.1 s; segments take 10 s"
    url: str = ""


@dataclass(frozen=True)
class ClipFacts:
    """What the histograms count of a clip; None, or empty, where it is not known."""

    duration_s: float
    tempo_bpm: float | None = None
    key: str | None = None
    style: str | None = None
    uploader: str = ""
    loudness_lufs: float | None = None  # as it was found, before it was brought to the target
    weight: float = 1.0  # that balancing gave it


@dataclass(frozen=True)
class Listen:
    """A clip to be listened to on the page."""

    file: str  # from the report's folder, with "/": "train/abc_0001.flac"
    caption: str
    title: str = ""
    tempo_bpm: float | None = None
    key: str | None = None
    style: str | None = None
    duration_s: float | None = None
    url: str = ""


@dataclass(frozen=True)
class ReportFacts:
    """All that `report.html` shows; what is empty is left out of the page."""

    name: str  # of the dataset
    funnel: tuple[Step, ...] = ()  # in the order of the steps, tracks first
    clips: tuple[ClipFacts, ...] = ()
    listen: tuple[Listen, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
