"""All that is done with a track and needs its audio; one record comes of it, written last."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import soundfile

from rapgen.audio.key import KeyEstimate, estimate_key
from rapgen.audio.metadata import make_row
from rapgen.audio.rhythm import Rhythm, track_rhythm
from rapgen.audio.wav import to_pcm16
from rapgen.data.duplicates import fingerprint
from rapgen.data.limits import CLIPPED, SILENT
from rapgen.data.prepare.decode import RATE, Decoded, decode
from rapgen.data.prepare.facts import annotate, is_sure, read_known
from rapgen.data.prepare.level import level_to, sounding
from rapgen.data.prepare.places import clip_path, print_path, record_path
from rapgen.data.prepare.records import Measured, PreparedClip, Record, Track, Unfit
from rapgen.data.prepare.segments import Cut, cut_bars, cut_lengths
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import draw_split
from rapgen.data.storage import Storage
from rapgen.data.vocals import voiced
from rapgen.errors import RapgenError
from rapgen.interfaces import Captioner, Clip
from rapgen.registry import build

_LITTLE_VOICE = 0.1  # of a clip: what a producer's tag takes


@dataclass(frozen=True)
class _Heard:
    """What was heard in a track."""

    loudness_lufs: float
    gain_db: float
    voices: list[tuple[float, float]] | None  # spans in seconds; None: not looked for
    rhythm: Rhythm
    key: KeyEstimate


def prepare_track(raw: Storage, out: Storage, track: Track, settings: Settings) -> Record:
    """Decode, measure, cut and write a track; its record, which says why if nothing came of it.

    Raises RapgenError where `out` cannot be written or a library is missing.
    """
    try:
        record = _prepare(raw, out, track, settings)
    except Unfit as unfit:
        record = refused(track, unfit.reason, unfit.detail)
    except RapgenError:
        raise
    except MemoryError:
        record = refused(track, "too long for this machine's memory", "give a smaller --max-duration")
    except Exception as error:  # whatever a library makes of a file that nobody has seen before
        record = refused(track, "cannot be prepared", " ".join(f"{type(error).__name__}: {error}".split()))
    out.write(record_path(track.name), record.model_dump_json().encode())
    return record


def refused(track: Track, reason: str, detail: str = "") -> Record:
    """The record of a track that gave nothing."""
    return Record(
        track=track.name,
        family=track.family,
        source=track.source,
        size=track.size,
        upload=track.known.upload,
        dropped=reason,
        detail=detail,
    )


def _prepare(raw: Storage, out: Storage, track: Track, settings: Settings) -> Record:
    told = read_known(track.known)
    section_s = track.known.start_s or 0.0
    with raw.open(track.source) as file:
        decoded = decode(file, max_duration_s=settings.max_duration_s, start_s=section_s, end_s=track.known.end_s)
    if decoded.clipped > CLIPPED:
        raise Unfit("clipped", f"{decoded.clipped:.1%} of its samples")
    sounds = sounding(decoded.audio, RATE)
    audio = decoded.audio[:, sounds]
    if audio.shape[1] < settings.segment_s / 2 * RATE:
        raise Unfit("too short", f"{audio.shape[1] / RATE:.1f} s; clips take {settings.segment_s / 2:g} s at least")
    audio, heard = _listen(audio, settings, told.groove.tempo_bpm)
    out.write(print_path(track.name), _npy(fingerprint(audio.mean(0), RATE)))
    clips, lost = [], Counter[str]()
    for number, cut in enumerate(_cuts(audio.shape[1] / RATE, heard.rhythm, settings.segment_s)):
        part = audio[:, round(cut.start_s * RATE) : round(cut.end_s * RATE)]
        if reason := _refuse(part, cut, heard, settings):
            lost[reason] += 1
            continue
        annotations = annotate(told, heard.rhythm, heard.key, cut)
        start_s = section_s + sounds.start / RATE + cut.start_s
        clips.append(_write_clip(out, track, settings, number, start_s, Clip(part, RATE, annotations)))
    if not clips:
        reason = max(lost, key=lost.__getitem__, default="too short")
        raise Unfit(reason, "in all of its clips" if lost else "in whole bars")
    return Record(
        track=track.name,
        family=track.family,
        source=track.source,
        size=track.size,
        upload=track.known.upload,
        measured=_measured(decoded, audio.shape[1] / RATE, heard),
        clips=tuple(clips),
        lost_clips=dict(lost),
    )


def _listen(audio: np.ndarray, settings: Settings, tempo_hint_bpm: float | None) -> tuple[np.ndarray, _Heard]:
    """f32 [2, S] without voices, if so asked, and at its new level, and what was heard in it."""
    voices = None if settings.vocals == "keep" else voiced(audio.mean(0), RATE)
    if voices and settings.vocals == "separate":
        from rapgen.data.separate import remove_voices

        audio = remove_voices(audio, RATE)
    loudness, gain_db = level_to(audio, RATE, settings.target_lufs)
    rhythm = track_rhythm(audio, RATE, tempo_hint_bpm=tempo_hint_bpm)
    return audio, _Heard(loudness, gain_db, voices, rhythm, estimate_key(audio, RATE))


def _cuts(duration_s: float, rhythm: Rhythm, segment_s: float) -> list[Cut]:
    if is_sure(rhythm):
        return cut_bars(duration_s, rhythm.beats_s, rhythm.first_downbeat, segment_s)
    return cut_lengths(duration_s, segment_s)


def _refuse(part: np.ndarray, cut: Cut, heard: _Heard, settings: Settings) -> str | None:
    """Why a clip is not kept."""
    if np.sqrt(np.square(part).mean()) < SILENT:
        return "silent"
    if settings.vocals != "drop":
        return None
    spoken = (min(end, cut.end_s) - max(start, cut.start_s) for start, end in heard.voices or ())
    is_sung = sum(s for s in spoken if s > 0) > _LITTLE_VOICE * (cut.end_s - cut.start_s)
    return "vocals" if is_sung else None


def _write_clip(
    out: Storage, track: Track, settings: Settings, number: int, start_s: float, clip: Clip
) -> PreparedClip:
    """Caption a clip and write its FLAC. `start_s` is where it lies in the track's file."""
    name = f"{track.name}-{number:03d}.flac"
    annotations = replace(clip.annotations, captions=_captions(settings, clip))
    out.write(clip_path(draw_split(track.family, settings.seed), name), _flac(clip.audio))
    row = make_row(name, track.family, annotations).model_dump(mode="json")
    duration_s = clip.audio.shape[1] / RATE
    return PreparedClip(file_name=name, start_s=round(start_s, 4), duration_s=round(duration_s, 4), row=row)


def _captions(settings: Settings, clip: Clip) -> tuple[str, ...]:
    """Those that came with the track, then those of captioners, each once."""
    told = [text for name in settings.captioners for text in _captioner(name).caption(clip)]
    return tuple(dict.fromkeys([*clip.annotations.captions, *told]))


@cache
def _captioner(name: str) -> Captioner:
    built: Captioner = build("captioner", {"use": name})
    return built


def _measured(decoded: Decoded, duration_s: float, heard: _Heard) -> Measured:
    spoken_s = None if heard.voices is None else sum(end - start for start, end in heard.voices)
    return Measured(
        duration_s=round(duration_s, 4),
        sample_rate=decoded.sample_rate,
        channels=decoded.channels,
        loudness_lufs=round(heard.loudness_lufs, 2),
        gain_db=round(heard.gain_db, 2),
        clipped=round(decoded.clipped, 6),
        offset=round(decoded.offset, 6),
        vocals=None if spoken_s is None else round(spoken_s / duration_s, 4),
        tempo_bpm=round(heard.rhythm.tempo_bpm, 2),
        tempo_confidence=round(heard.rhythm.confidence, 3),
        key=heard.key.key,
        key_confidence=round(heard.key.confidence, 3),
    )


def _flac(audio: np.ndarray) -> bytes:
    """f32 [C, S] at RATE as FLAC of 16 bit."""
    file = io.BytesIO()
    soundfile.write(file, to_pcm16(audio).T, RATE, "PCM_16", format="FLAC")
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
