"""Does a generated beat have the tempo that its prompt names? By an estimator that had no part in making it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rapgen.errors import PluginError
from rapgen.generation.musiclm import Beat, MusicLM

PROMPTS = (
    "boom bap, 90 bpm",
    "dusty boom bap beat at 84 bpm",
    "trap, 140 bpm",
    "dark trap type beat 132 bpm",
    "lo-fi, 76 bpm",
    "mellow lo-fi at 82 bpm",
    "drill, 142 bpm",
    "hard drill beat, 144 bpm",
)
TOLERANCE = 0.02
OCTAVES = (0.25, 1 / 3, 0.5, 2 / 3, 1.0, 1.5, 2.0, 3.0, 4.0)  # metrical levels that count as "the tempo, elsewhere"


def measure_tempo(
    lm: MusicLM, *, seeds: int, duration_s: float, report: Callable[[int, int], None]
) -> dict[str, float]:
    """Share of beats whose estimated tempo is within 2 % of the prompt's, exactly and at another metrical level.

    Every prompt is made with each of `seeds` seeds. Raises PluginError where librosa is not installed.
    """
    exact, level, factors = [], [], []
    for number, text in enumerate(PROMPTS):
        for beat in lm.generate(text, duration_s=duration_s, seed=number, num=seeds):
            ratio = estimate_tempo_bpm(beat) / float(beat.prompt.groove.tempo_bpm or np.nan)
            exact.append(abs(ratio - 1) <= TOLERANCE)
            level.append(any(abs(ratio / octave - 1) <= TOLERANCE for octave in OCTAVES))
            factors.append(beat.real_time_factor)
        report(number + 1, len(PROMPTS))
    return {
        "beats": float(len(exact)),
        "tempo_hit": float(np.mean(exact)),
        "tempo_hit_any_level": float(np.mean(level)),
        "real_time_factor": float(np.mean(factors)),
    }


def estimate_tempo_bpm(beat: Beat) -> float:
    """The global tempo by librosa's estimator; PluginError where it is not installed."""
    try:
        import librosa
    except ImportError:
        raise PluginError("tempo is measured with librosa: pip install 'rapgen[evaluate]'") from None
    mono = beat.audio.mean(0)
    envelope = librosa.onset.onset_strength(y=mono, sr=beat.sample_rate, hop_length=256)
    # A finer lag grid than frames: the autocorrelation peak is placed between bins by a parabola.
    bpm = float(librosa.feature.tempo(onset_envelope=envelope, sr=beat.sample_rate, hop_length=256)[0])
    return _refined(envelope, bpm, beat.sample_rate / 256)


def _refined(envelope: np.ndarray, bpm: float, rate: float) -> float:
    """The estimate moved to the peak of the autocorrelation near eight of its beats: bins blur it by 2 % and more."""
    centred = envelope - envelope.mean()
    correlation = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    multiples = [m for m in (8, 4, 2, 1) if m * 60 / bpm * rate < 0.7 * len(centred)]
    lag = round((multiples[0] if multiples else 1) * 60 / bpm * rate)
    reach = max(2, round(0.04 * lag))
    low = max(1, lag - reach)
    best = low + int(np.argmax(correlation[low : lag + reach + 1]))
    return 60 * (multiples[0] if multiples else 1) * rate / best
