"""What is known of a track and its clips: what people wrote goes before what was heard."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from rapgen.audio.key import KeyEstimate
from rapgen.audio.rhythm import Rhythm
from rapgen.data.prepare.records import Known
from rapgen.data.prepare.segments import Cut
from rapgen.errors import PromptError
from rapgen.groove import read_groove
from rapgen.interfaces import Annotations, Groove
from rapgen.uploads import UploadFacts, read_upload

SURE_RHYTHM = 0.3  # confidences from which on what was heard is believed
SURE_KEY = 0.1


@dataclass(frozen=True)
class Told:
    """What people say of a track."""

    known: Known
    upload: UploadFacts
    groove: Groove  # from columns of its metadata or else its captions or else its title, description and tags


def read_known(known: Known) -> Told:
    """All facts in what RAW says of a track."""
    upload = read_upload(known.upload)
    columns = Groove(known.tempo_bpm, known.key, known.style)
    return Told(known, upload, _first(columns, _captioned(known.captions), upload.groove))


def annotate(told: Told, rhythm: Rhythm, key: KeyEstimate, cut: Cut) -> Annotations:
    """What is known of a clip, but for its captions by a captioner."""
    heard = Groove(
        tempo_bpm=round(rhythm.tempo_bpm, 2) if is_sure(rhythm) else None,
        key=key.key if key.confidence >= SURE_KEY else None,
    )
    beats = Groove(tempo_bpm=heard.tempo_bpm, bars=cut.bars)  # the clip's beats are those that were heard
    return Annotations(
        groove=_first(beats, told.groove, heard),
        beats_s=cut.beats_s,
        captions=told.known.captions,
        licence=told.known.licence,
        instruments=told.upload.instruments,
        moods=told.upload.moods,
        upload=told.known.upload,
    )


def is_sure(rhythm: Rhythm) -> bool:
    """Whether a track may be cut where its downbeats were heard."""
    return rhythm.confidence >= SURE_RHYTHM


def _captioned(captions: tuple[str, ...]) -> Groove:
    try:
        return replace(read_groove(". ".join(captions)), bars=None)
    except PromptError:
        return Groove()


def _first(*grooves: Groove) -> Groove:
    """Of each fact what the first says that says anything."""
    facts = [asdict(groove) for groove in grooves]
    return Groove(**{name: next((f[name] for f in facts if f[name] is not None), None) for name in facts[0]})
