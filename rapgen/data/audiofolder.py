"""Data source -> AudioFolder: FLAC files, `metadata.jsonl` and, written last, `manifest.json`.

    NAME.flac              the clip; its comment holds its row
    midi/NAME.mid          its notes, where the source knows them
    stems/NAME/PART.flac   its parts alone, where the source gives them

`datasets.load_dataset("audiofolder", data_dir=...)` reads it, and so does the source `folder`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from rapgen.audio.metadata import METADATA, Row, make_row
from rapgen.audio.wav import to_pcm16
from rapgen.errors import AudioError, RapgenError
from rapgen.files import atomic, write_json
from rapgen.interfaces import Clip, ClipRef
from rapgen.processes import spread
from rapgen.registry import build
from rapgen.schema import Node

MANIFEST = "manifest.json"
FORMAT = 1  # of datasets
CLIPS_A_JOB = 8
Report = Callable[[int, int], None]  # (done, total) in clips


@dataclass(frozen=True)
class Stored:
    """A clip that has been written; its file comes after its stems and MIDI, and its comment holds row and source."""

    row: Row
    duration_s: float


def write_audiofolder(source: Node, out: Path, *, report: Report) -> int:
    """Write what a source (`{use: name, option: value}`) holds to `out`, on all cores; the number of clips.

    Clips that are there are kept, so that the same call goes on where it was stopped. Raises RapgenError where the
    source has no clips, or where `out` holds other audio or cannot be written.
    """
    source = json.loads(json.dumps(source, default=str))  # as it comes back from a file
    paths = {out / f"{quote(ref.id, safe=' ')}.flac": ref for ref in build("source", source).refs()}
    if not paths:
        raise RapgenError(f"data source '{source['use']}' holds no clips; check its options")
    kept = {path for path in paths if path.is_file() and _is_whole(out, _read(path, source).row)}
    todo = [(path, ref) for path, ref in paths.items() if path not in kept]
    jobs = [(source, todo[n : n + CLIPS_A_JOB]) for n in range(0, len(todo), CLIPS_A_JOB)]
    done = len(kept)
    report(done, len(paths))
    for count in spread(_write_clips, jobs):
        done += count
        report(done, len(paths))
    clips = [_read(path, source) for path in paths]
    with atomic(out / METADATA) as temporary:
        temporary.write_text("".join(f"{clip.row.model_dump_json()}\n" for clip in clips))
    duration_s = sum(clip.duration_s for clip in clips)
    write_json(out / MANIFEST, {"format": FORMAT, "source": source, "clips": len(clips), "duration_s": duration_s})
    return len(clips)


def write_splits(source: Node, num_clips: int, out: Path, *, report: Callable[[str], Report]) -> dict[str, int]:
    """Write `train`, `valid` and `test` of a source that renders (it has options `num_clips` and `split`) to `out`.

    Clips of each split; the manifest of all is written last. Errors as of `write_audiofolder`.
    """
    counts = _split_sizes(num_clips)
    for split, count in counts.items():
        write_audiofolder({**source, "num_clips": count, "split": split}, out / split, report=report(split))
    durations_s = [json.loads((out / split / MANIFEST).read_text())["duration_s"] for split in counts]
    write_json(
        out / MANIFEST,
        {"format": FORMAT, "source": source, "clips": num_clips, "duration_s": sum(durations_s), "splits": counts},
    )
    return counts


def _split_sizes(num_clips: int) -> dict[str, int]:
    """A fiftieth each, one at least, to validate and to test with; the rest is for training."""
    held_out = max(1, round(num_clips / 50))
    sizes = {"train": max(1, num_clips - 2 * held_out)}
    sizes["valid"] = min(held_out, num_clips - sizes["train"])
    sizes["test"] = num_clips - sizes["train"] - sizes["valid"]
    return {split: size for split, size in sizes.items() if size}


def _write_clips(source: Node, jobs: list[tuple[Path, ClipRef]]) -> int:
    component = build("source", source)
    for path, ref in jobs:
        _write_clip(path, ref, component.load(ref), source)
    return len(jobs)


def _write_clip(path: Path, ref: ClipRef, clip: Clip, source: Node) -> None:
    """Stems and MIDI first, so that a clip whose file is there has all it names."""
    stems = {name: f"stems/{path.stem}/{quote(name, safe=' ')}.flac" for name in clip.stems}
    for name, file_name in stems.items():
        _write_flac(path.parent / file_name, clip.stems[name], clip.sample_rate)
    midi = None
    if clip.midi is not None:
        midi = f"midi/{path.stem}.mid"
        with atomic(path.parent / midi) as temporary:
            temporary.write_bytes(clip.midi)
    row = make_row(path.name, ref.track, clip.annotations).model_copy(update={"stems": stems or None, "midi": midi})
    comment = json.dumps({"source": source, "row": row.model_dump()})
    _write_flac(path, clip.audio, clip.sample_rate, comment)


def _write_flac(path: Path, audio: np.ndarray, sample_rate: int, comment: str | None = None) -> None:
    pcm = to_pcm16(audio)
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", sample_rate, len(pcm), "PCM_16", format="FLAC") as file:
                if comment is not None:
                    file.comment = comment
                file.write(pcm.T)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot write {path}: {error.error_string}; free some space") from None


def _is_whole(out: Path, row: Row) -> bool:
    """Whether all files that a row names are there."""
    return all((out / name).is_file() for name in (*(row.stems or {}).values(), *filter(None, [row.midi])))


def _read(path: Path, source: Node) -> Stored:
    """The row of a clip that is there; RapgenError where it came from another source."""
    try:
        with soundfile.SoundFile(path) as file:
            stored = json.loads(file.comment)
            if stored["source"] == source:
                return Stored(Row.model_validate(stored["row"]), file.frames / file.samplerate)
    except (soundfile.LibsndfileError, ValueError, KeyError, TypeError):
        pass
    raise RapgenError(f"{path} was not made from this source with these options; choose another folder or remove it")
