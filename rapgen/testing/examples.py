"""Sound, clips and words to try components on; the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from rapgen.groove import describe
from rapgen.interfaces import Annotations, Clip, Groove, Prompt, TokenSpec, Upload

RATE = 24_000  # Hz
DURATION_S = 4.0
GROOVES = (
    Groove(tempo_bpm=90, key="A minor", style="boom bap", feel="straight"),
    Groove(tempo_bpm=140, key="F# minor", style="trap", feel="half"),
    Groove(tempo_bpm=80, key="C major", style="lo-fi", feel="straight"),
    Groove(tempo_bpm=142, key="D minor", style="drill", feel="half"),
)
TEXTS = ("boom bap, 90 bpm", "trap", "", "Ünïcode 🎹 – drüms")
LONG_TEXT = "dark and slow with a very long bass line, " * 20
SPECS = (  # of consumers that ask an aligned conditioner
    TokenSpec(codebook_size=1024, num_codebooks=4, sample_rate=24_000, hop_length=480),
    TokenSpec(codebook_size=64, num_codebooks=1, sample_rate=8_000, hop_length=640),
    TokenSpec(codebook_size=1024, num_codebooks=9, sample_rate=44_100, hop_length=512),
)


def beat(groove: Groove, rate: int, samples: int, *, channels: int = 1) -> np.ndarray:
    """f32 [C, S]: a kick on every beat, a hat between, a chord of its own for each tempo; channels differ."""
    assert groove.tempo_bpm is not None
    beat_s, root_hz = 60 / groove.tempo_bpm, 110 * 2 ** (groove.tempo_bpm % 12 / 12)
    time_s = np.arange(samples) / rate
    since_s = time_s % beat_s
    kick = np.exp(-since_s / 0.1) * np.sin(2 * np.pi * 55 * since_s)
    noise = np.random.default_rng(int(groove.tempo_bpm)).uniform(-1, 1, samples)
    hat = np.exp(-((time_s + beat_s / 2) % beat_s) / 0.02) * noise
    chord = sum(np.sin(2 * np.pi * root_hz * ratio * time_s) for ratio in (1, 1.2, 1.5))
    both = [0.5 * kick + gain * hat + 0.08 * chord for gain in (0.1, 0.2)]
    return np.stack([both[n % 2] for n in range(channels)]).astype(np.float32)


def sound(rate: int, samples: int, *, channels: int = 1, rows: int = 1) -> Tensor:
    """f32 [B, C, S]: rows are different beats."""
    beats = [beat(GROOVES[n % len(GROOVES)], rate, samples, channels=channels) for n in range(rows)]
    return torch.from_numpy(np.stack(beats))


@cache
def clips() -> tuple[Clip, ...]:
    """Four annotated beats of four seconds, then a bare one, one in stereo at another rate, a short one, a sample."""
    beats = []
    for groove in GROOVES:
        assert groove.tempo_bpm is not None
        annotations = Annotations(
            groove=groove,
            beats_s=tuple(np.arange(0, DURATION_S, 60 / groove.tempo_bpm).tolist()),
            captions=(describe(groove), f"a {groove.style} beat"),
            licence="CC0-1.0",
        )
        beats.append(Clip(beat(groove, RATE, round(DURATION_S * RATE)), RATE, annotations))
    wide = Clip(beat(GROOVES[0], 16_000, 32_000, channels=2), 16_000, beats[0].annotations)
    bare = replace(beats[1], annotations=Annotations())
    short = replace(beats[2], audio=beats[2].audio[:, :1000])
    sample = replace(bare, audio=bare.audio[:, 500:501])
    return (*beats, bare, wide, short, sample)


def wild_clips() -> Iterator[Clip]:
    """Beats beside which people wrote much, little, in other scripts, on many lines, or nothing that is a word."""
    words = (
        "暗い夜のビート",
        "dark\nbeat\r\n\x00 at https://example.org @me 🎹",
        LONG_TEXT * 100,
        "🎹🎹",
        "",
        "trap",
        "trap",
    )
    for clip, title in zip(clips(), words, strict=False):
        upload = Upload(title=title, description="\n".join(words), tags=words, uploader=title)
        annotations = replace(clip.annotations, captions=tuple(word for word in words if word), upload=upload)
        yield replace(clip, annotations=annotations)


def prompts() -> list[Prompt]:
    """Prompts that say much, little and nothing."""
    return [
        Prompt("boom bap, 90 bpm", negative_text="piano", duration_s=3.0, seed=7, groove=GROOVES[0]),
        Prompt("something with drums", groove=Groove(bars=4)),
        *(Prompt(text) for text in TEXTS),
    ]
