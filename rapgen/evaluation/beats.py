"""Does a generated beat have the tempo that its prompt names? By an estimator that had no part in making it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable

import numpy as np

from rapgen.errors import PluginError
from rapgen.generation.musiclm import MusicLM
from rapgen.interfaces import Clip

Figures = dict[str, float]
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
OCTAVES = (0.5, 1.0, 2.0)


def measure_tempo(lm: MusicLM, *, seeds: int, duration_s: float, report: Callable[[int, int], None]) -> Figures:
    """Share of beats whose estimated tempo is within 2 % of the prompt's, exactly and up to an octave.

    Every prompt is made with seeds 0 to `seeds` - 1.
    """
    ratios, factors = [], []
    for seed in range(seeds):
        for beat in lm.generate(PROMPTS, duration_s=duration_s, seed=seed):
            ratios.append(estimate_tempo_bpm(beat.audio, beat.sample_rate) / (beat.prompt.groove.tempo_bpm or np.nan))
            factors.append(beat.real_time_factor)
        report(seed + 1, seeds)
    return _hits(ratios) | {"real_time_factor_batched": float(np.mean(factors))}


def measure_ceiling(clips: Iterable[Clip]) -> Figures:
    """The same shares for clips whose tempo is annotated: the most that the estimator could find."""
    known = [(clip, clip.annotations.groove.tempo_bpm) for clip in clips]
    return _hits([estimate_tempo_bpm(clip.audio, clip.sample_rate) / tempo for clip, tempo in known if tempo])


def _hits(ratios: list[float]) -> Figures:
    near = np.abs(np.array(ratios)[:, None] / OCTAVES - 1) <= TOLERANCE
    return {
        "beats": float(len(ratios)),
        "tempo_hit": float(near[:, OCTAVES.index(1.0)].mean()),
        "tempo_hit_octaves_allowed": float(near.any(1).mean()),
    }


def require_librosa() -> None:
    """PluginError where the tempo estimator is not installed."""
    if importlib.util.find_spec("librosa") is None:
        raise PluginError("tempo is measured with librosa: pip install 'rapgen[evaluate]', or give --seeds 0")


def estimate_tempo_bpm(audio: np.ndarray, sample_rate: int) -> float:
    """The global tempo of f32 [C, S] by librosa's estimator, placed between its bins."""
    import librosa

    mono = audio.mean(0)
    envelope = librosa.onset.onset_strength(y=mono, sr=sample_rate, hop_length=256)
    bpm = float(librosa.feature.tempo(onset_envelope=envelope, sr=sample_rate, hop_length=256)[0])
    return _refined(envelope, bpm, sample_rate / 256)


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
