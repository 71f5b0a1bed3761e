"""How voices are heard over beats by their level, how often in beats without one, how well they are taken out; speed.

    OMP_NUM_THREADS=1 python benchmarks/vocals.py --beats 200

Beats are beatmaker's. The voices are espeak-ng's: speech, not rap or song. Levels are of the voice's RMS against the
beat's; "heard" is the share of the time with a voice in which it is heard.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time

import numpy as np

from rapgen.audio.io import read_audio, resample
from rapgen.data.separate import remove_voices
from rapgen.data.vocals import vocal_share
from rapgen.registry import build

RATE = 44_100  # Hz
LEVELS_DB = (-18, -12, -6, 0, 6)
WORDS = (
    "I came up from the bottom with a pen and a pad, now the whole city knows every line that I had. "
    "Check the flow, I let it go, they never know the way I grow, the way I throw my words below."
)
SPEAKERS = ("en-us", "en-us+m3", "en-us+f3", "en-gb+m7", "en-us+f2", "en-us+m1")


def main() -> None:
    """Look for voices in beats, with and without them, and take them out; print how well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beats", type=int, default=200)
    parser.add_argument("--voiced", type=int, default=40, help="of them, with a voice at each level")
    parser.add_argument("--separated", type=int, default=8, help="of those, from which it is taken out")
    parser.add_argument("--duration", type=float, default=30.0, help="of each, in seconds")
    options = parser.parse_args()
    speakers = [speak(name) for name in SPEAKERS]
    node = {"use": "beatmaker", "num_clips": options.beats, "duration_s": options.duration, "seed": 11}
    source = build("source", node)
    alone, spent_s, heard, apart = [], 0.0, {level: [] for level in LEVELS_DB}, []
    for index, ref in enumerate(source.refs()):
        clip = source.load(ref)
        beat = resample(clip.audio, clip.sample_rate, RATE).mean(0)
        begun = time.process_time()
        alone.append(vocal_share(beat, RATE))
        spent_s += time.process_time() - begun
        voice = speakers[index % len(speakers)][: len(beat)]
        beat = beat[: len(voice)]
        for level_db in LEVELS_DB if index < options.voiced else ():
            heard[level_db].append(vocal_share(beat + at_level(voice, beat, level_db), RATE))
        if index < options.separated:
            apart.append(taken_out(beat, at_level(voice, beat, 0)))
    report(alone, heard)
    print(f"search: {1000 * spent_s / options.beats / options.duration:.2f} ms of CPU a second of 44.1 kHz mono")
    print(f"voices alone: heard {np.mean([vocal_share(voice, RATE) for voice in speakers]):.1%} of the time")
    beat_db, voice_db, pace = np.array(apart).T
    print(
        f"taken out, of voices as loud as the beat: {np.mean(voice_db):.1f} dB are left, at worst {voice_db.max():.1f}"
    )
    print(f"of the beat: {np.mean(beat_db):.2f} dB, at worst {beat_db.min():.2f}; {np.mean(pace):.1f} x real time")


def report(alone: list[float], heard: dict[int, list[float]]) -> None:
    some = np.count_nonzero(alone)
    print(f"beats alone: a voice in {some} of {len(alone)}, {np.mean(alone):.2%} of the time, {max(alone):.1%} in one")
    for level_db, shares in heard.items():
        some = np.count_nonzero(shares)
        print(f"{level_db:+3d} dB: heard {np.mean(shares):.1%} of the time, in {some} of {len(shares)}")


def speak(speaker: str) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", speaker, "-s", "190", "-w", file.name, f"{WORDS} {WORDS}"], check=True)
        return read_audio(file.name, sample_rate=RATE, mono=True)[0][0]


def at_level(voice: np.ndarray, beat: np.ndarray, level_db: float) -> np.ndarray:
    return voice * np.float32(np.sqrt(np.mean(beat**2) / np.mean(voice**2)) * 10 ** (level_db / 20))


def taken_out(beat: np.ndarray, voice: np.ndarray) -> tuple[float, float, float]:
    """What is left of the beat and of the voice, in dB of what was there, and how many times real time it took."""
    mix = np.repeat((beat + voice)[None], 2, 0)
    begun = time.process_time()
    rest = remove_voices(mix, RATE)[0]
    pace = len(beat) / RATE / (time.process_time() - begun)
    left = np.linalg.lstsq(np.stack([beat, voice], 1), rest, rcond=None)[0]
    beat_db, voice_db = 20 * np.log10(np.abs(left) + 1e-9)
    return float(beat_db), float(voice_db), pace


if __name__ == "__main__":
    main()
