"""Does a generated beat play the tune it was given? By the strongest pitch class of what is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from rapgen.audio.chroma import chroma
from rapgen.audio.melody import pitch_classes, track_melody
from rapgen.evaluation.beats import Figures
from rapgen.generation.musiclm import MusicLM
from rapgen.groove import BEATS_A_BAR, describe
from rapgen.interfaces import LEAD, Clip, Groove, Melody
from rapgen.tokens.collect import stored_clip
from rapgen.tokens.shards import Shards

_HOP_S = 0.04
_LEAST_SHARE = 0.3  # of a piece over which its tune must sound to be counted


@dataclass(frozen=True)
class Tune:
    """A held-out clip from its first downbeat, with its tune."""

    clip: Clip
    groove: Groove
    melody: Melody


def measure_melody(
    lm: MusicLM, audio: Shards, *, clips: int, duration_s: float, report: Callable[[int, int], None]
) -> Figures:
    """Share of a tune's frames in which its pitch class is the strongest heard, for held-out clips of one tune each.

    Beats made with the tune stand beside those made without it by the same model from the same words and seed, those
    made with the tune of the clip before, the clips themselves, and what the codec leaves of them.
    """
    tunes = list(_tunes(audio, clips, duration_s))
    if len(tunes) < 2:  # one has no other
        return {"clips": float(len(tunes))}
    found: list[list[float]] = []
    for number, tune in enumerate(tunes):
        other = tunes[number - 1].melody
        beats = [_make(lm, tune.groove, melody, duration_s) for melody in (tune.melody, None, other)]
        heard = [*beats, tune.clip, _round_trip(lm, tune.clip)]
        found.append([agreement(clip, tune.melody) for clip in heard])
        report(number + 1, len(tunes))
    names = ("with_its_tune", "without_a_tune", "with_another_tune", "the_clip_itself", "through_the_codec")
    means = dict(zip(names, np.mean(found, 0).tolist(), strict=True))
    return {"clips": float(len(found)), **means, "chance": 1 / 12}


def agreement(clip: Clip, melody: Melody) -> float:
    """Share of the melody's frames of 40 ms whose pitch class is the strongest in the clip; nan where it rests."""
    mono = torch.from_numpy(clip.audio.mean(0, keepdims=True))
    strongest = chroma(mono, sample_rate=clip.sample_rate, hop_length=round(_HOP_S * clip.sample_rate))[0].argmax(0)
    wanted = pitch_classes(melody, _HOP_S * (np.arange(len(strongest)) + 0.5))
    sounds = wanted >= 0
    return float((strongest.numpy() == wanted)[sounds].mean()) if sounds.any() else float("nan")


def _tunes(audio: Shards, clips: int, duration_s: float) -> Iterator[Tune]:
    """Of the first `clips` clips those whose tune sounds for long enough after a downbeat."""
    for index in range(min(clips, len(audio))):
        clip = stored_clip(audio, index)
        start_s, groove = _downbeat_s(clip), clip.annotations.groove
        if start_s is None or clip.audio.shape[1] / clip.sample_rate - start_s < duration_s or groove.tempo_bpm is None:
            continue
        first, last = (round(time_s * clip.sample_rate) for time_s in (start_s, start_s + duration_s))
        tracked = clip.stems.get(LEAD, clip.audio)[:, first:last]
        notes = track_melody(tracked, clip.sample_rate)
        if sum(note.end_s - note.start_s for note in notes) >= _LEAST_SHARE * duration_s:
            melody = Melody(notes, tempo_bpm=groove.tempo_bpm, key=groove.key)
            yield Tune(Clip(clip.audio[:, first:last], clip.sample_rate), replace(groove, bars=None), melody)


def _downbeat_s(clip: Clip) -> float | None:
    known = clip.annotations
    downbeats = (s for n, s in enumerate(known.beats_s, known.first_beat) if n % BEATS_A_BAR == 0)
    return next(downbeats, None)


def _make(lm: MusicLM, groove: Groove, melody: Melody | None, duration_s: float) -> Clip:
    beat = lm.generate(describe(groove), melody=melody, duration_s=duration_s)[0]
    return Clip(beat.audio, beat.sample_rate)


def _round_trip(lm: MusicLM, clip: Clip) -> Clip:
    with torch.inference_mode():
        decoded = lm.codec.decode(lm.codec.encode(torch.from_numpy(clip.audio)[None]))
    return replace(clip, audio=decoded[0].numpy())
