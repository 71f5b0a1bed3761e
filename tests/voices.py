"""A voice, made: pulses of vocal folds through the resonances of vowels, with breath between the syllables."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

RATE = 16_000  # Hz
_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_SYLLABLE_S = 0.2


def babble(duration_s: float, *, seed: int = 0) -> np.ndarray:
    """Syllables in a man's voice, f32 [S] at 16 kHz, peak 0.5."""
    rng = np.random.default_rng(seed)
    syllables = [_syllable(rng) for _ in range(round(duration_s / _SYLLABLE_S))]
    audio = np.concatenate(syllables)
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def _syllable(rng: np.random.Generator) -> np.ndarray:
    samples = round(_SYLLABLE_S * RATE)
    time_s = np.arange(samples) / RATE
    hz = rng.uniform(95, 150) * (1 + rng.uniform(-0.15, 0.15) * time_s / _SYLLABLE_S)
    phase = np.cumsum(hz) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    sound = lfilter([1.0], [1, -0.95], pulses)
    start, end = (np.array(_VOWELS_HZ[i]) for i in rng.integers(len(_VOWELS_HZ), size=2))
    glide = np.linspace(0, 1, 8)[:, None]
    pieces = np.array_split(sound, 8)
    states = [np.zeros(2)] * 3
    out = []
    for piece, formants in zip(pieces, start + glide * (end - start), strict=True):
        for i, formant in enumerate(formants):
            radius = np.exp(-np.pi * (60 + 0.03 * formant) / RATE)
            a = [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2]
            piece, states[i] = lfilter([sum(a)], a, piece, zi=states[i])
        out.append(piece)
    voiced = np.concatenate(out)
    envelope = np.clip(np.minimum(time_s / 0.04, (_SYLLABLE_S - time_s) / 0.05), 0, 1)
    breath = sosfilt(butter(2, (2500, 6000), "band", fs=RATE, output="sos"), rng.standard_normal(samples))
    breath *= np.exp(-(((time_s - 0.015) / 0.015) ** 2)) * rng.choice([0.0, 0.3])
    return voiced / np.abs(voiced).max() * envelope + 0.3 * breath
