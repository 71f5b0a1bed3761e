"""Records to a dataset: clips in their splits, metadata, the report and, last, the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from rapgen import __version__
from rapgen.audio.metadata import SPLITS
from rapgen.data.audiofolder import FORMAT, MANIFEST
from rapgen.data.prepare.lines import write_metadata
from rapgen.data.prepare.places import REPORT, clip_path, is_begun, record_path, track_of
from rapgen.data.prepare.records import Record
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import draw_split
from rapgen.data.prepare.summary import Summary, all_dropped, clip_facts, listen_to, summarize
from rapgen.data.prepare.verdicts import judge, write_json
from rapgen.data.report import Dropped, ReportFacts
from rapgen.data.report.page import render_report
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError


def write_dataset(out: Storage, settings: Settings, records: Sequence[Record], drops: Sequence[Dropped]) -> Summary:
    """Make the dataset of tracks by their records, in the order in which they came; `drops` is what RAW held besides.

    May be stopped anywhere and called again. Raises RapgenError where nothing has come through or clips are missing.
    """
    verdicts = judge(out, records, settings.seed)
    kept = [record for record in records if record.track in verdicts.splits]
    _place_clips(out, settings.seed, records, verdicts.splits)
    facts = clip_facts(kept)
    summary = summarize(records, verdicts, drops)
    page = ReportFacts(
        name=PurePosixPath(out.root).name,
        funnel=summary.funnel,
        clips=tuple(facts.values()),
        listen=listen_to(kept, verdicts),
        dropped=tuple(all_dropped(records, verdicts, drops)),
        settings=settings.model_dump(mode="json"),
        versions={"rapgen": __version__},
    )
    out.write(REPORT, render_report(page).encode())
    if not kept:
        raise RapgenError(f"nothing of RAW came through ({summary.told()}); {out.path(REPORT)} tells why of each")
    write_metadata(out, verdicts.splits, {name: fact.weight for name, fact in facts.items()})
    write_json(out, MANIFEST, _manifest(settings, summary))
    return summary


def _place_clips(out: Storage, seed: int, records: Sequence[Record], splits: Mapping[str, str]) -> None:
    """Move clips that were written to another split than theirs; remove those of copies and of earlier attempts."""
    there = {name for name, _ in out.sizes() if name.partition("/")[0] in (*SPLITS, ".prepare")}
    wanted: dict[str, str] = {}  # where a clip belongs -> where it was written
    for record in records:
        if split := splits.get(record.track):
            drawn = draw_split(record.family, seed)
            wanted |= {clip_path(split, clip.file_name): clip_path(drawn, clip.file_name) for clip in record.clips}
    _check_clips(out, wanted, there)
    for place, drawn in sorted(wanted.items()):
        if place != drawn and drawn in there:  # in `place` too there may be one, of a file that has changed since
            out.move(drawn, place)
            there.discard(drawn)
    ours = {record.track for record in records}
    for name in sorted(there - wanted.keys()):
        if is_begun(name) or track_of(name.rpartition("/")[2]) in ours:
            out.remove(name)


def _check_clips(out: Storage, wanted: Mapping[str, str], there: set[str]) -> None:
    """RapgenError where clips are nowhere; the records of their tracks are forgotten, so that they are made again."""
    gone = [place for place, drawn in wanted.items() if place not in there and drawn not in there]
    for track in {track_of(place.rpartition("/")[2]) for place in gone}:
        out.remove(record_path(track))
    if gone:
        raise RapgenError(
            f"{out.path(gone[0])} is gone (clips: {len(gone)}); start again to have its track prepared anew"
        )


def _manifest(settings: Settings, summary: Summary) -> dict[str, object]:
    return {
        "format": FORMAT,
        "made_by": f"rapgen {__version__}",
        "settings": settings.model_dump(mode="json"),
        "clips": sum(summary.clips.values()),
        "duration_s": summary.duration_s,
        "splits": summary.clips,
    }
