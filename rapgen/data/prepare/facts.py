"""What is known of a clip, put together from what its uploader wrote and what was heard."""

from __future__ import annotations

from rapgen.data.prepare.records import Known, Measured
from rapgen.data.prepare.segments import Cut
from rapgen.interfaces import Annotations, Groove


def annotate(known: Known, measured: Measured, cut: Cut) -> Annotations:
    groove = Groove(
        tempo_bpm=measured.tempo_bpm if cut.bars else known.tempo_bpm,
        key=known.key or measured.key,
        style=known.style,
        bars=cut.bars,
    )
    return Annotations(groove, cut.beats_s, captions=known.captions, licence=known.licence, upload=known.upload)
