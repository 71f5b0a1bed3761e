"""All that is done with a track and needs its audio; one record comes of it, written last."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import soundfile

from rapgen.audio.io import to_pcm16
from rapgen.audio.key import KeyEstimate, estimate_key
from rapgen.audio.metadata import make_row
from rapgen.audio.rhythm import Rhythm, track_rhythm
from rapgen.data.duplicates import fingerprint
from rapgen.data.prepare.decode import RATE, Decoded, decode
from rapgen.data.prepare.facts import annotate
from rapgen.data.prepare.level import level_to, sounding
from rapgen.data.prepare.places import clip_path, print_path, record_path
from rapgen.data.prepare.records import Measured, PreparedClip, Record, Track, Unfit
from rapgen.data.prepare.segments import Cut, cut_bars, cut_lengths
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import draw_split
from rapgen.data.prepare.voices import take_voices
from rapgen.data.storage import Storage
from rapgen.errors import RapgenError
from rapgen.interfaces import Captioner, Clip
from rapgen.registry import build

SURE_RHYTHM = 0.3  # from this confidence on, beats are believed
_CLIPPED = 0.02  # of the samples: a track that was recorded far too loud
_OFFSET = 0.01
_SILENT_CLIP = 1e-3  # root mean square
_COMPRESSION = 0.4  # of FLAC, 0 .. 1


def prepare_track(raw: Storage, out: Storage, track: Track, settings: Settings) -> Record:
    """Decode, measure, cut and write a track; its record, which says why if nothing came of it.

    Raises RapgenError where `out` cannot be written.
    """
    try:
        record = _prepare(raw, out, track, settings)
    except Unfit as unfit:
        record = refused(track, unfit.reason, unfit.detail)
    except RapgenError:
        raise
    except MemoryError:
        record = refused(track, "too long for this machine's memory", "give a smaller --max-duration")
    except Exception as error:  # whatever a decoder or an analysis makes of a file that nobody has seen before
        record = refused(track, "cannot be prepared", " ".join(f"{type(error).__name__}: {error}".split()))
    out.write(record_path(track.name), record.model_dump_json().encode())
    return record


def refused(track: Track, reason: str, detail: str = "") -> Record:
    """The record of a track that gave nothing."""
    said = {"track": track.name, "source": track.source, "size": track.size, "upload": track.known.upload}
    return Record(**said, dropped=reason, detail=detail)


def _prepare(raw: Storage, out: Storage, track: Track, settings: Settings) -> Record:
    known = track.known
    with raw.open(track.source) as file:
        section = {"start_s": known.start_s or 0.0, "end_s": known.end_s}
        decoded = decode(file, max_duration_s=settings.max_duration_s, **section)
    if decoded.clipped > _CLIPPED:
        raise Unfit("clipped", f"{decoded.clipped:.1%} of its samples")
    heard = sounding(decoded.audio, RATE)
    audio = decoded.audio[:, heard]
    if audio.shape[1] < settings.segment_s / 2 * RATE:
        raise Unfit("too short", f"{audio.shape[1] / RATE:.1f} s; clips take {settings.segment_s / 2:g} s at least")
    audio, vocals = take_voices(audio, RATE, vocals=settings.vocals, separate=settings.separate)
    loudness, gain_db = level_to(audio, RATE, settings.target_lufs)
    rhythm, key = track_rhythm(audio, RATE, tempo_hint_bpm=known.tempo_bpm), estimate_key(audio, RATE)
    out.write(print_path(track.name), _array_bytes(fingerprint(audio.mean(0), RATE)))
    measured = _measured(decoded, loudness, gain_db, vocals, rhythm, key)
    start_s = (known.start_s or 0.0) + heard.start / RATE
    clips = _clips(out, track, settings, audio, start_s, _cuts(audio, rhythm, settings.segment_s), measured)
    if not clips:
        raise Unfit("too short", f"no stretch of {settings.segment_s / 2:g} s or more in whole bars")
    return Record(
        track=track.name,
        source=track.source,
        size=track.size,
        upload=known.upload,
        notes=("offset taken away",) if decoded.offset > _OFFSET else (),
        measured=measured,
        clips=clips,
    )


def _measured(
    decoded: Decoded, loudness: float, gain_db: float, vocals: float, rhythm: Rhythm, key: KeyEstimate
) -> Measured:
    return Measured(
        duration_s=round(decoded.audio.shape[1] / RATE, 3),
        sample_rate=decoded.sample_rate,
        channels=decoded.channels,
        loudness_lufs=round(loudness, 2),
        gain_db=round(gain_db, 2),
        clipped=round(decoded.clipped, 6),
        vocals=round(vocals, 4),
        tempo_bpm=round(rhythm.tempo_bpm, 2),
        tempo_confidence=round(rhythm.confidence, 3),
        key=key.key,
        key_confidence=round(key.confidence, 3),
    )


def _cuts(audio: np.ndarray, rhythm: Rhythm, segment_s: float) -> list[Cut]:
    duration_s = audio.shape[1] / RATE
    if rhythm.confidence >= SURE_RHYTHM:
        return cut_bars(duration_s, rhythm.beats_s, rhythm.first_downbeat, segment_s)
    return cut_lengths(duration_s, segment_s)


def _clips(
    out: Storage,
    track: Track,
    settings: Settings,
    audio: np.ndarray,
    start_s: float,
    cuts: list[Cut],
    measured: Measured,
) -> tuple[PreparedClip, ...]:
    """Write the clips of a track's audio, which starts `start_s` into its source."""
    split = draw_split(track.name, settings.seed)
    clips = []
    for number, cut in enumerate(cuts):
        part = audio[:, round(cut.start_s * RATE) : round(cut.end_s * RATE)]
        if np.sqrt(np.square(part).mean()) < _SILENT_CLIP:
            continue
        name = f"{track.name}-{number:03d}.flac"
        annotations = annotate(track.known, measured, cut)
        clip = Clip(part, RATE, annotations)
        told = [text for captioner in settings.captioners for text in _captioner(captioner).caption(clip)]
        annotations = replace(annotations, captions=tuple(dict.fromkeys([*annotations.captions, *told])))
        out.write(clip_path(split, name), _flac(part))
        row: dict[str, Any] = make_row(name, track.name, annotations).model_dump(mode="json")
        place = {"start_s": round(start_s + cut.start_s, 4), "duration_s": part.shape[1] / RATE}
        clips.append(PreparedClip(file_name=name, row=row, **place))
    return tuple(clips)


@cache
def _captioner(name: str) -> Captioner:
    built: Captioner = build("captioner", {"use": name})
    return built


def _flac(audio: np.ndarray) -> bytes:
    """f32 [C, S] at RATE as FLAC of 16 bit."""
    file = io.BytesIO()
    soundfile.write(file, to_pcm16(audio).T, RATE, "PCM_16", format="FLAC", compression_level=_COMPRESSION)
    return file.getvalue()


def _array_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
