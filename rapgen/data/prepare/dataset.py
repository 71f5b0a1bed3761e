"""Records to a dataset: clips in their splits, metadata, the report and, last, the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rapgen import __version__
from rapgen.audio.metadata import METADATA
from rapgen.data.audiofolder import FORMAT, MANIFEST
from rapgen.data.prepare.places import REPORT, clip_path, leftovers, track_of
from rapgen.data.prepare.records import Record
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import SPLITS, draw_split
from rapgen.data.prepare.summary import Summary, report_page, summarize
from rapgen.data.prepare.verdicts import Verdicts, judge, read_records, write_json
from rapgen.data.report import Dropped
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError


def write_dataset(out: Storage, settings: Settings, tracks: Sequence[str], drops: Sequence[Dropped]) -> Summary:
    """Make the dataset of tracks that have records; `drops` is what RAW held besides.

    May be stopped anywhere and called again. Raises RapgenError where nothing has come through or clips are missing.
    """
    records = [_light(record) for record in read_records(out, tracks)]
    verdicts = judge(out, records, settings.seed)
    _place_clips(out, settings.seed, records, verdicts)
    weights = ...
    summary = summarize(records, verdicts, drops)
    out.write(REPORT, report_page(...).encode())
    for split in SPLITS:
        ...
    write_json(out, MANIFEST, _manifest(...))
    return summary
