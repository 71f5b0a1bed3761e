"""Bass lines: one voice whose phase runs on from note to note, so that it can slide and never clicks."""

from __future__ import annotations

import numpy as np

from rapgen_plugins.beatmaker.harmony import Note
from rapgen_plugins.beatmaker.synth import (
    SAMPLE_RATE,
    Signal,
    decay,
    drive,
    gate,
    glide,
    lowpass,
    midi_to_hz,
    num_samples,
    wave,
)


def play_line(
    instrument: str, notes: list[tuple[int, Note]], step_s: float, length: int, rng: np.random.Generator
) -> Signal:
    """Play (sample, note) pairs in order on an "808" (a long, driven sine) or a "bass" (a plucked string)."""
    is_808 = instrument == "808"
    tau_s = rng.uniform(0.5, 1.6) if is_808 else rng.uniform(0.35, 0.9)
    knock, slide_s = (rng.uniform(0.3, 1.2), rng.uniform(0.06, 0.16)) if is_808 else (0.0, 0.1)
    slope = rng.uniform(2.2, 3.5) if is_808 else rng.uniform(1.6, 2.6)
    freq_hz, level = np.full(length, 50.0), np.zeros(length, np.float32)
    starts = [at for at, _ in notes] + [length]
    for (at, note), after in zip(notes, starts[1:], strict=True):
        n = min(num_samples(note.length * step_s), after - at)
        if n <= 0:
            continue
        freq_hz[at:after] = _pitch_curve(note, n, after - at, slide_s, knock)
        shape = gate(n, attack_s=0.003, hold_s=n / SAMPLE_RATE - 0.02, release_s=0.02)
        level[at : at + n] = note.velocity * decay(n, tau_s) * shape
    partials = np.arange(1.0, 9.0) ** -slope
    voice = wave(glide(freq_hz), partials / partials.sum()) * level
    if is_808:
        return drive(voice, rng.uniform(0.3, 3.0))
    return lowpass(drive(voice, rng.uniform(0.2, 1.0)), rng.uniform(350, 1100))


def _pitch_curve(note: Note, n: int, total: int, slide_s: float, knock: float) -> np.ndarray:
    """Frequency in Hz over `total` samples of a note that sounds for `n`: a knock down, then the slide."""
    semitones = np.full(total, float(note.midi))
    if note.slide_to is not None:
        middle = n // 2
        ramp = np.arange(total - middle) / (slide_s * SAMPLE_RATE)
        semitones[middle:] += (note.slide_to - note.midi) * np.minimum(ramp, 1.0)
    fall = knock * np.exp(np.arange(total) / (-0.02 * SAMPLE_RATE))
    return np.asarray(midi_to_hz(0.0) * 2 ** (semitones / 12) * (1 + fall))
