"""What is kept of each track: why it was dropped, or its clips and what was measured. One JSON file a track."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from rapgen.interfaces import Upload

_SLUG_CHARACTERS = 40


class Unfit(Exception):
    """A track that is of no use: why, in words that many tracks share, and what is particular to this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Frozen(BaseModel):
    """A part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Known(Frozen):
    """What RAW says of a file."""

    id: str
    upload: Upload = Upload()
    captions: tuple[str, ...] = ()
    licence: str | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    style: str | None = None
    start_s: float | None = None  # the section that is wanted
    end_s: float | None = None


class Track(Frozen):
    """A file of RAW to be prepared."""

    source: str  # file name in RAW
    size: int  # bytes
    known: Known

    @property
    def family(self) -> str:
        """What stays in one split: readable where it can be, unlike any other, and safe as a file name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.known.id.rpartition("/")[2].lower())[:_SLUG_CHARACTERS].strip("-")
        digest = hashlib.sha256(self.known.id.encode()).hexdigest()[:12]
        return f"{slug}-{digest}" if slug else digest

    @property
    def name(self) -> str:
        """What the track is called: its family and, of a section, where that lies in milliseconds."""
        section = [self.known.start_s or 0.0] if self.known.start_s or self.known.end_s else []
        section += [self.known.end_s] if self.known.end_s else []
        return "-".join([self.family, *(f"{1000 * time_s:.0f}" for time_s in section)])


class Measured(Frozen):
    """What was heard in a track."""

    duration_s: float  # without the silence at both ends
    sample_rate: int  # Hz, of the file
    channels: int  # of the file
    loudness_lufs: float  # before it was brought to the target
    gain_db: float
    clipped: float  # share of samples that sit at full scale, one after another
    offset: float  # the largest mean of a channel, which was taken away
    vocals: float | None  # share of time with a voice, before it was taken away; None: not looked for
    tempo_bpm: float
    tempo_confidence: float
    key: str
    key_confidence: float


class PreparedClip(Frozen):
    """A clip that was written: where it lies in its source, and its line of the metadata but for folder and weight."""

    file_name: str
    start_s: float
    duration_s: float
    row: Mapping[str, Any]


class Record(Frozen):
    """The outcome of a track."""

    track: str
    family: str
    source: str
    size: int
    upload: Upload = Upload()
    dropped: str | None = None
    detail: str = ""
    lost_clips: Mapping[str, int] = {}  # clips that were not kept, by reason
    measured: Measured | None = None
    clips: tuple[PreparedClip, ...] = ()

    def lighter(self) -> Record:
        """The same without lists in the clips' metadata, which are most of it: beats, captions."""
        return self.model_copy(update={"clips": tuple(map(_lighter, self.clips))})


def _lighter(clip: PreparedClip) -> PreparedClip:
    row = {name: value for name, value in clip.row.items() if isinstance(value, str | float | int)}
    return clip.model_copy(update={"row": row})
