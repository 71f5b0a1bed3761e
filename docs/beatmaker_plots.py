"""The pictures of docs/beatmaker.md: `pip install matplotlib`, then `python docs/beatmaker_plots.py`.

For each style one beat: the spectrogram of its last bars under the annotated beats, then how often and how strongly
its drums set in at each 16th of the bar, as found in the audio, in three bands, beside what was written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import stft

from rapgen.groove import STYLES
from rapgen.interfaces import Clip
from rapgen_plugins.beatmaker import beatmaker

mpl.use("Agg")
import matplotlib.pyplot as plt

SEED = 4
SHOWN_BARS = (4, 8)  # past the intro
_HOP, _WINDOW = 256, 2048
_BANDS = {"low": (30, 130), "mid": (180, 2200), "high": (6000, 16000)}  # Hz: kick, snare, hats
_LEAST = 0.2  # of a band's strongest onset


def main() -> None:
    """Draw a picture a style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "beatmaker")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    for number, style in enumerate(STYLES):
        source = beatmaker(num_clips=1, styles=[style], bars=8, seed=options.seed + number, stems=True)
        draw(source.load(next(source.refs())), options.out / f"{style.replace(' ', '-')}.webp")


def draw(clip: Clip, path: Path) -> None:
    """One picture: spectrogram, waveform of the stems, onset grid."""
    known, tempo_bpm = clip.annotations, clip.annotations.groove.tempo_bpm or 0
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 4.6), height_ratios=(3, 2), layout="constrained")
    spectrogram(top, clip)
    onset_grid(bottom, clip)
    chords = " ".join(dict.fromkeys(chord.name for chord in known.chords))
    top.set_title(
        f"{known.groove.style} · {tempo_bpm:g} bpm · {known.groove.key} · {chords} · {', '.join(known.instruments)}",
        fontsize=8,
    )
    figure.savefig(path, dpi=90, pil_kwargs={"quality": 55, "method": 6})
    plt.close(figure)


def spectrogram(axes: Any, clip: Clip) -> None:
    """Some bars, 30 Hz to 16 kHz, 75 dB deep, with beats as ticks and chords by name."""
    known = clip.annotations
    start_s, end_s = (bar * 240 / (known.groove.tempo_bpm or 0) for bar in SHOWN_BARS)
    mono = clip.audio.mean(0)[round(start_s * clip.sample_rate) : round(end_s * clip.sample_rate)]
    freq_hz, times_s, values = stft(mono, clip.sample_rate, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)
    level_db = 20 * np.log10(np.abs(values) + 1e-7)
    level_db -= level_db.max()
    axes.pcolormesh(start_s + times_s, freq_hz, level_db, vmin=-75, vmax=0, cmap="magma", shading="nearest")
    axes.set_yscale("log")
    axes.set_ylim(30, 16_000)
    axes.set_xlim(start_s, end_s)
    axes.set_yticks([50, 200, 1000, 5000], ["50", "200", "1k", "5k"], fontsize=7)
    axes.set_ylabel("Hz", fontsize=7)
    beats = {f"{i // 4 + 1}.{i % 4 + 1}": beat_s for i, beat_s in enumerate(known.beats_s) if start_s <= beat_s < end_s}
    axes.set_xticks(list(beats.values()), list(beats), fontsize=6)
    for chord in known.chords:
        if start_s <= chord.start_s < end_s:
            axes.text(chord.start_s, 11_000, f" {chord.name}", color="white", fontsize=7)


def onset_grid(axes: Any, clip: Clip) -> None:
    """Onsets found in the drums of every bar laid over one another: a dot each, as large as it is strong."""
    known = clip.annotations
    step_s = 15 / (known.groove.tempo_bpm or 0)
    for row, bounds_hz in enumerate(_BANDS.values()):
        at_s, strength = onsets(clip.stems["drums"].mean(0), clip.sample_rate, bounds_hz)
        steps = at_s / step_s
        axes.scatter(steps % 16, row + 0.05 * (steps // 16 - 3.5), s=26 * strength, alpha=0.6, linewidths=0)
    swung = [2 * pair + (0, 2 * (known.swing or 0.5))[odd] for pair in range(8) for odd in (0, 1)]
    for place, step in enumerate(swung):
        axes.axvline(step, color="0.35" if place % 4 == 0 else "0.85", linewidth=0.7, zorder=0)
    axes.set_yticks(range(len(_BANDS)), list(_BANDS), fontsize=7)
    axes.set_ylim(-0.5, len(_BANDS) - 0.5)
    axes.set_xlim(-0.5, 16)
    axes.set_xticks([0, 4, 8, 12], ["1", "2", "3", "4"], fontsize=7)
    axes.set_xlabel("beat of the bar; lines: the annotated 16th grid, swung", fontsize=7)


def onsets(mono: np.ndarray, rate: int, bounds_hz: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and strengths, 0 .. 1, of rises of energy in a band."""
    hop, window, apart = (96, 384, 25) if bounds_hz[0] > 150 else (96, 1024, 75)
    freq_hz, times_s, values = stft(mono, rate, nperseg=window, noverlap=window - hop)
    band = np.log1p(300 * np.abs(values[(freq_hz >= bounds_hz[0]) & (freq_hz <= bounds_hz[1])])).sum(0)
    rise = np.maximum(band[3:] - band[:-3], 0)
    peaks = (rise == maximum_filter1d(rise, apart)) & (rise > _LEAST * rise.max())
    return times_s[3:][peaks], rise[peaks] / rise.max()


if __name__ == "__main__":
    main()
