"""A producer's own one-shots: files told apart by the drum that their name, or their folder's, begins with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from rapgen.audio.io import fit_channels, read_audio, resample
from rapgen.errors import AudioError, RecipeError
from rapgen_plugins.beatmaker.song import DRUM_VOICES
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, Signal, fade, unit_peak

Samples = dict[str, tuple[Signal, ...]]  # by drum voice: float32 [2, n] of unit peak, from its first sample on

_SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3", ".m4a", ".opus")
_NAMES = {voice: voice for voice in DRUM_VOICES} | {
    "bd": "kick", "bass drum": "kick", "sd": "snare", "hihat": "hat", "hi hat": "hat", "hh": "hat", "closed hat": "hat",
    "ch": "hat", "oh": "open hat", "openhat": "open hat", "rimshot": "rim", "sidestick": "rim", "maracas": "shaker",
    "tamb": "tambourine", "bongo": "conga",
}  # fmt: skip
LONGEST_S = 4.0  # of a drum; no crash rings longer
_SILENCE = 10 ** (-50 / 20)  # against the peak


def read_samples(folder: str) -> Samples:
    """All one-shots under a folder ("kick 1.wav", "snare/dusty.flac"), in the order of their names.

    Raises RecipeError where there is no such folder, nothing in it is named after a drum, or a file cannot be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RecipeError(f"beatmaker: samples_dir {folder} is no folder; give one that holds one-shots")
    found: dict[str, list[Signal]] = {}
    for path in sorted(root.rglob("*")):
        voice = _voice(path.relative_to(root)) if path.suffix.lower() in _SUFFIXES and path.is_file() else None
        if voice:
            found.setdefault(voice, []).append(_read_shot(path))
    if not found:
        raise RecipeError(
            f"beatmaker: nothing in samples_dir {folder} is named after a drum; name files kick, snare, hat ..."
        )
    return {voice: tuple(shots) for voice, shots in found.items()}


def _voice(path: Path) -> str | None:
    """The drum that a file's name begins with, else that of the nearest folder."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        words = " ".join(re.findall(r"[a-z]+|808|909", part.lower()))
        fits = [name for name in _NAMES if re.match(rf"{name}s?(?![a-z])", words)]
        if fits:
            return _NAMES[max(fits, key=len)]
    return None


def _read_shot(path: Path) -> Signal:
    try:
        audio, rate = read_audio(path)
    except AudioError as error:
        raise RecipeError(f"beatmaker: samples_dir: {error}") from None
    loudness = np.abs(audio).max(axis=0)
    if not loudness.any():
        raise RecipeError(f"beatmaker: samples_dir: {path} is silent; take it out")
    first = int(np.argmax(loudness > _SILENCE * loudness.max()))
    longest = round(LONGEST_S * rate)
    shot = unit_peak(resample(fit_channels(audio, 2)[:, first : first + longest], rate, SAMPLE_RATE))
    return fade(shot, attack_s=0, release_s=0.005)
