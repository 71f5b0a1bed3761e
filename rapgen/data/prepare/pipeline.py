"""RAW to DATASET: what is missing is prepared, then the dataset is made of all records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from rapgen.data.engine import run_jobs
from rapgen.data.prepare.dataset import write_dataset
from rapgen.data.prepare.places import SETTINGS, record_path, recorded
from rapgen.data.prepare.raw import list_raw
from rapgen.data.prepare.records import Record, Track
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.summary import Summary
from rapgen.data.prepare.track import prepare_track, refused
from rapgen.data.prepare.verdicts import keep_order, read_records, write_json
from rapgen.data.report import Dropped
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError, RecipeError
from rapgen.registry import check_node

Report = Callable[[int, int], None]  # (done, total) in tracks


def prepare(
    raw_folder: str,
    out_folder: str,
    settings: Settings,
    *,
    report: Report,
    engine: str = "local",
    workers: int | None = None,
) -> Summary:
    """Prepare all tracks of a folder that are not prepared yet; what has come of it all, now and before.

    Raises RapgenError where RAW cannot be read, where DATASET cannot be written, holds what was not prepared, or was
    prepared otherwise, and where nothing has come through.
    """
    raw, out = Storage(raw_folder), Storage(out_folder)
    _check_places(raw_folder, out_folder)
    _check_captioners(settings.captioners)
    listed = list_raw(raw)
    _agree(out, settings)
    done = {record.track: record for record in _recorded(out)}
    tracks, doubles = _unique(listed.tracks, done)
    order = keep_order(out, tracks)
    todo = [track for track in tracks if track.name not in done or done[track.name].size != track.size]
    report(len(tracks) - len(todo), len(tracks))
    jobs = [(raw, out, track, settings) for track in todo]
    for number, record in enumerate(run_jobs(prepare_track, jobs, engine=engine, workers=workers, lost=_lost), start=1):
        done[record.track] = record.lighter()
        report(len(tracks) - len(todo) + number, len(tracks))
    return write_dataset(out, settings, [done[name] for name in order if name in done], [*listed.drops, *doubles])


def _check_places(raw: str, out: str) -> None:
    is_inside = Path(out).resolve().is_relative_to(Path(raw).resolve())
    if is_inside or f"{out.rstrip('/')}/".startswith(f"{raw.rstrip('/')}/"):
        raise RapgenError(f"the dataset {out} would lie within {raw}, which is read; choose a folder beside it")


def _check_captioners(names: Sequence[str]) -> None:
    """RecipeError for one that is not there or cannot be built without options, before any work is done."""
    problems = [problem for name in names for problem in check_node("captioner", {"use": name})[2]]
    if problems:
        raise RecipeError("; ".join(problems))


def _agree(out: Storage, settings: Settings) -> None:
    """Keep the settings of a new dataset; RapgenError where one is there that was made by others, or of other files.

    Settings by which no track was prepared yet give way to others.
    """
    wanted = settings.model_dump(mode="json")
    if not out.exists(SETTINGS):
        if not out.is_empty():
            raise RapgenError(f"{out.root} holds other files; choose a new folder for the dataset")
        write_json(out, SETTINGS, wanted)
        return
    try:
        found = json.loads(out.read(SETTINGS))
        differing = [f"{name} was {found.get(name)!r}, is {value!r}" for name, value in wanted.items()]
    except (ValueError, AttributeError):
        raise RapgenError(f"{out.path(SETTINGS)} is damaged; choose a new folder for the dataset") from None
    if found == wanted:
        return
    if any(recorded(name for name, _ in out.sizes())):
        differing = [text for text, name in zip(differing, wanted, strict=True) if found.get(name) != wanted[name]]
        raise RapgenError(
            f"{out.root} was prepared otherwise ({'; '.join(differing)}); ask for the same or choose a new folder"
        )
    write_json(out, SETTINGS, wanted)


def _recorded(out: Storage) -> Iterator[Record]:
    """What became of tracks before; a damaged record is none."""
    for track in sorted(recorded(name for name, _ in out.sizes())):
        try:
            yield next(read_records(out, [track])).lighter()
        except ValidationError:
            continue


def _unique(tracks: Sequence[Track], done: Mapping[str, Record]) -> tuple[list[Track], list[Dropped]]:
    """Tracks of different ids: of two with one, that which was prepared before, or else the first by name."""
    unique: dict[str, Track] = {}
    doubles = []
    for track in sorted(tracks, key=lambda t: t.name in done and done[t.name].source != t.source):
        first = unique.setdefault(track.name, track)
        if first is not track:
            doubles.append(Dropped(track.source, "an id that another file has", first.source))
    return sorted(unique.values(), key=lambda track: track.source), doubles


def _lost(raw: Storage, out: Storage, track: Track, settings: Settings) -> Record:
    """The record of a track that took its process with it, twice."""
    detail = "its decoder crashed, or the machine ran out of memory"
    record = refused(track, "ended the process that read it", detail)
    out.write(record_path(track.name), record.model_dump_json().encode())
    return record
