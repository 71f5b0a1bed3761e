"""Whether an AudioFolder is what it says: every row against its file, splits against each other, the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rapgen.audio.io import read_audio
from rapgen.audio.metadata import METADATA, SPLITS, Row, annotations_of, audio_files, parse_rows
from rapgen.data.audiofolder import MANIFEST
from rapgen.data.duplicates import find_duplicates, fingerprint
from rapgen.data.engine import run_jobs
from rapgen.data.limits import CLIPPED, FULL_SCALE, LOWEST_RATE, SILENT
from rapgen.errors import AudioError
from rapgen.groove import STYLES

_OFFSET = 0.02
_LATE_S = 0.05  # a beat may lie so far behind the end
_LONGEST_CAPTION = 2000  # characters
_CLIPS_A_JOB = 8

Report = Callable[[int, int], None]  # (done, total) in clips


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with an item: a file, a line of metadata, a track."""

    item: str
    what: str


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    clips: int
    duration_s: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Look:
    """A clip to look at."""

    folder: Path
    split: str  # "" where the folder has none
    row: Row

    @property
    def item(self) -> str:
        return f"{self.split}/{self.row.file_name}".lstrip("/")


@dataclass(frozen=True)
class _Seen:
    """What a clip's audio is."""

    look: _Look
    problems: tuple[str, ...] = ()
    kind: str = ""  # rate and channels
    duration_s: float = 0.0
    print: np.ndarray | None = None


def validate(folder: Path, *, report: Report, workers: int | None = None) -> Verdict:
    """Look at every clip of an AudioFolder, with or without splits.

    Raises AudioError where there is no such folder or no audio in it.
    """
    if not folder.is_dir():
        raise AudioError(f"there is no folder {folder}; give one that holds audio files")
    splits = {split: folder / split for split in SPLITS if (folder / split).is_dir()} or {"": folder}
    findings: list[Finding] = []
    looks = [look for split, path in splits.items() for look in _rows(path, split, findings)]
    if not looks and not findings:
        raise AudioError(f"{folder} holds no audio; put WAV, FLAC, MP3, M4A or Opus files in it")
    jobs = [(looks[start : start + _CLIPS_A_JOB],) for start in range(0, len(looks), _CLIPS_A_JOB)]
    seen: list[_Seen] = []
    report(0, len(looks))
    for some in run_jobs(_look_at, jobs, engine="local", workers=workers, lost=_lost):
        seen += some
        report(len(seen), len(looks))
    seen.sort(key=lambda clip: (list(splits).index(clip.look.split), clip.look.row.file_name))
    findings += (Finding(clip.look.item, problem) for clip in seen for problem in clip.problems)
    findings += [*_shared_tracks(seen), *_shared_sound(seen)]
    duration_s = sum(clip.duration_s for clip in seen)
    if (folder / MANIFEST).is_file():
        findings += [*_odd_kinds(seen), *_manifest(folder / MANIFEST, seen, duration_s)]
    return Verdict(len(seen), duration_s, tuple(findings))


def _rows(folder: Path, split: str, findings: list[Finding]) -> Iterator[_Look]:
    """The clips of a split; lines that cannot be read, and files without a line, are findings."""
    there = audio_files(folder)
    if not (folder / METADATA).is_file():
        yield from (_Look(folder, split, Row(file_name=name)) for name in there)
        return
    named = set()
    for row in parse_rows(folder / METADATA):
        if isinstance(row, AudioError):
            findings.append(Finding(f"{split}/{METADATA}".lstrip("/"), str(row)))
            continue
        named |= {row.file_name, *(row.stems or {}).values()}
        yield _Look(folder, split, row)
    findings += (
        Finding(f"{split}/{name}".lstrip("/"), "no line of metadata.jsonl names it")
        for name in there
        if name not in named
    )


def _look_at(looks: Sequence[_Look]) -> list[_Seen]:
    return [_look(look) for look in looks]


def _lost(looks: Sequence[_Look]) -> list[_Seen]:
    return [_Seen(look, ("reading it, or a clip beside it, ended the process",)) for look in looks]


def _look(look: _Look) -> _Seen:
    try:
        audio, rate = read_audio(look.folder / look.row.file_name)
    except AudioError as error:
        return _Seen(look, (str(error),))
    duration_s = audio.shape[1] / rate
    problems = (*_sound(audio, rate), *_words(look.row, duration_s))
    return _Seen(look, problems, f"{rate} Hz, {len(audio)} channels", duration_s, fingerprint(audio.mean(0), rate))


def _sound(audio: np.ndarray, rate: int) -> Iterator[str]:
    """What is wrong with f32 [C, S]."""
    if rate < LOWEST_RATE:
        yield f"it is sampled at {rate} Hz; {LOWEST_RATE} at least keep the hats"
    if len(audio) > 2:
        yield f"it has {len(audio)} channels"
    if np.sqrt(np.square(audio).mean()) < SILENT:
        yield "it is silent"
    if np.abs(audio.mean(1)).max() > _OFFSET:
        yield "it has an offset"
    if (np.abs(audio) >= FULL_SCALE).mean() > CLIPPED:
        yield "it is clipped"


def _words(row: Row, duration_s: float) -> Iterator[str]:
    """What is wrong with what a row says."""
    annotations = annotations_of(row)
    if not any(caption.strip() for caption in annotations.captions):
        yield "it has no caption"
    if any(len(caption) > _LONGEST_CAPTION for caption in annotations.captions):
        yield f"a caption has over {_LONGEST_CAPTION} characters"
    if row.style and row.style not in STYLES:
        yield f"style {row.style!r} is none of {', '.join(STYLES)}"
    beats_s = annotations.beats_s
    if beats_s and not (beats_s[0] >= 0 and beats_s[-1] <= duration_s + _LATE_S):
        yield f"beats from {beats_s[0]:g} s to {beats_s[-1]:g} s do not lie within its {duration_s:g} s"


def _shared_tracks(seen: Sequence[_Seen]) -> Iterator[Finding]:
    splits: dict[str, set[str]] = {}
    for clip in seen:
        splits.setdefault(clip.look.row.track or clip.look.item, set()).add(clip.look.split)
    for track, found in splits.items():
        if len(found) > 1:
            yield Finding(track, f"the track stands in {' and '.join(sorted(found))}")


def _shared_sound(seen: Sequence[_Seen]) -> Iterator[Finding]:
    """Clips that sound like one of another split."""
    looks = [clip.look for clip in seen if clip.print is not None]
    if len({look.split for look in looks}) < 2:
        return
    prints = [clip.print for clip in seen if clip.print is not None]
    for look, number in zip(looks, find_duplicates(prints), strict=True):
        if number is not None and looks[number].split != look.split:
            yield Finding(look.item, f"it sounds like {looks[number].item}")


def _odd_kinds(seen: Sequence[_Seen]) -> Iterator[Finding]:
    """Clips of another rate or number of channels than most."""
    usual = Counter(clip.kind for clip in seen if clip.kind).most_common(1)
    for clip in seen:
        if clip.kind and clip.kind != usual[0][0]:
            yield Finding(clip.look.item, f"it has {clip.kind}, the others {usual[0][0]}")


def _manifest(path: Path, seen: Sequence[_Seen], duration_s: float) -> Iterator[Finding]:
    """What the manifest says that is not so."""
    try:
        manifest = json.loads(path.read_bytes())
        told = {name: float(manifest[name]) for name in ("clips", "duration_s")}
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield Finding(MANIFEST, f"it cannot be read ({type(error).__name__}: {error})")
        return
    for name, found in (("clips", len(seen)), ("duration_s", duration_s)):
        if not abs(told[name] - found) < 0.25:  # NaN is none of both
            yield Finding(MANIFEST, f"it says {name} {told[name]:.15g}, there are {found:.15g}")
