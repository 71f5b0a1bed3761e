"""How well copies of a beat are found, and how seldom another beat is taken for one; and how fast.

    OMP_NUM_THREADS=1 python benchmarks/duplicates.py --beats 200 --workers 2

Beats are beatmaker's, as many of each style. Every kind of copy is made of every second beat, kinds in turn. Hard
negatives are other beats of a style brought to the tempo and key of one that is there, some with its drums in place of
their own ("one drum loop"). Tags and voices need espeak-ng, which is left out where it is missing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import av
import numpy as np

from rapgen.audio.io import read_audio, resample
from rapgen.data.duplicates import find_duplicates, fingerprint
from rapgen.groove import NOTES
from rapgen.interfaces import Clip
from rapgen.registry import build

STYLES = ("boom bap", "trap", "lo-fi", "drill", "g-funk", "phonk", "crunk", "jazz rap", "cloud rap", "old school")
LINES = ("this beat was made by the king of the north", "free type beat, lease it today", "yo, it's your boy")
CODECS = {"mp3 64 kbit/s": ("libmp3lame", "mp3", 44_100), "opus 32 kbit/s": ("libopus", "opus", 48_000),
          "aac 64 kbit/s": ("aac", "m4a", 44_100)}  # fmt: skip

Copy = Callable[[np.ndarray, int, np.random.Generator], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Track:
    """A print, of a beat or of a copy of one."""

    beat: str  # copies of one another have the same
    kind: str
    print: np.ndarray


def main() -> None:
    """Make beats and copies, look for copies, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beats", type=int, default=200)
    parser.add_argument("--duration", type=float, default=60.0, help="of each, in seconds")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        work = partial(tracks_of, duration_s=options.duration, seed=options.seed)
        tracks = [track for some in pool.map(work, range(options.beats)) for track in some]
    rng = np.random.default_rng(options.seed)
    rng.shuffle(tracks)
    tracks.sort(key=lambda track: track.kind != "original")  # a copy comes after what it copies
    begun = time.process_time()
    verdicts = find_duplicates([track.print for track in tracks])
    report(tracks, verdicts)
    print(f"find_duplicates: {time.process_time() - begun:.1f} s of CPU for {len(tracks)} tracks")
    minutes = sum(int(t.print[-1] // 64) for t in tracks) * 0.032 / 60
    print(f"a print takes {sum(t.print.nbytes for t in tracks) / minutes / 1000:.1f} kB a minute")
    mono, clip = load(0, options.duration, options.seed)
    mono = resample(mono[None], clip.sample_rate, 44_100)[0]
    begun = time.process_time()
    for _ in range(3):
        fingerprint(mono, 44_100)
    spent_ms = (time.process_time() - begun) / 3 * 1000
    print(f"fingerprint: {spent_ms / (len(mono) / 44_100):.2f} ms of CPU a second of 44.1 kHz audio")


def report(tracks: Sequence[Track], verdicts: Sequence[int | None]) -> None:
    """Recall by kind, and precision over all verdicts."""
    there = Counter(track.kind for track in tracks)
    found, wrong = Counter(), Counter()
    for track, verdict in zip(tracks, verdicts, strict=True):
        if verdict is not None:
            (found if tracks[verdict].beat == track.beat else wrong)[track.kind] += 1
    for kind in KINDS:
        if there[kind]:
            print(f"{kind:24} {found[kind]:4} of {there[kind]:4}  {found[kind] / there[kind]:.3f}")
    for kind in ("original", "style, tempo, key", "one drum loop"):
        print(f"{kind:24} {wrong[kind]:4} of {there[kind]:4}  taken for a copy of another beat")
    copies = sum(there[kind] for kind in KINDS)
    print(f"recall {found.total() / copies:.4f}, precision {found.total() / (found.total() + wrong.total()):.4f}")


def tracks_of(index: int, *, duration_s: float, seed: int) -> list[Track]:
    """A beat, half of the kinds of copies of it, and a hard negative."""
    rng = np.random.default_rng((seed, index))
    mono, clip = load(index, duration_s, seed)
    rate, name = clip.sample_rate, f"beat {index}"
    tracks = [Track(name, "original", fingerprint(mono, rate))]
    for number, (kind, copy) in enumerate(KINDS.items()):
        if number % 2 == index // len(STYLES) % 2 and (espeak() or kind not in SPOKEN):
            tracks.append(Track(name, kind, fingerprint(*copy(mono, rate, rng))))
    other, its = load(index, duration_s, seed + 1)
    if index // len(STYLES) % 4 == 0:
        music = at_tempo_and_key(other - its.stems["drums"].mean(0), its, clip)
        shared = clip.stems["drums"].mean(0)[: len(music)]
        tracks.append(Track(f"other {index}", "one drum loop", fingerprint(music[: len(shared)] + shared, rate)))
    else:
        alike = at_tempo_and_key(other, its, clip)
        tracks.append(Track(f"other {index}", "style, tempo, key", fingerprint(alike, rate)))
    return tracks


def load(index: int, duration_s: float, seed: int) -> tuple[np.ndarray, Clip]:
    """A beat of beatmaker, f32 [S]; styles in turn."""
    style = STYLES[index % len(STYLES)]
    number = index // len(STYLES)
    node = {"use": "beatmaker", "num_clips": number + 1, "duration_s": duration_s, "seed": seed}
    source = build("source", node | {"styles": [style], "stems": True})
    clip = source.load(list(source.refs())[number])
    return clip.audio.mean(0), clip


def at_tempo_and_key(mono: np.ndarray, clip: Clip, like: Clip) -> np.ndarray:
    """A beat at another's tempo and, if both are major or minor, on its tonic: sped up or down, then stretched."""
    groove, other = clip.annotations.groove, like.annotations.groove
    semitones = (NOTES.index(other.key.split()[0]) - NOTES.index(groove.key.split()[0]) + 6) % 12 - 6
    ratio = 2 ** (semitones / 12)
    faster = resample(mono[None], round(clip.sample_rate * ratio), clip.sample_rate)[0]
    return stretched(faster, clip.sample_rate, other.tempo_bpm / groove.tempo_bpm / ratio)


# ----------------------------------------------------------------------------------------------------- copies


def encoded(mono: np.ndarray, rate: int, _: np.random.Generator, *, codec: str) -> tuple[np.ndarray, int]:
    """Through a lossy codec and back."""
    name, suffix, to_rate = CODECS[codec]
    pcm = np.round(np.clip(resample(mono[None], rate, to_rate), -1, 1) * 32767).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"copy.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(name, rate=to_rate)
            stream.layout, stream.bit_rate = "mono", 1000 * int(codec.split()[1])
            frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
            frame.sample_rate = to_rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        audio, rate = read_audio(path, mono=True)
    return audio[0], rate


def stretched(mono: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """Played `factor` times as fast at its pitch, by FFmpeg's WSOLA."""
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate)),
             graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")]  # fmt: skip
    graph.link_nodes(*nodes).configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None], np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    graph.push(frame)
    graph.push(None)
    pieces = []
    while True:
        try:
            pieces.append(graph.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(pieces)


def tagged(mono: np.ndarray, rate: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A voice over it, as loud as its peaks, three times."""
    audio = mono.copy()
    for start in rng.integers(0, len(mono) - 4 * rate, 3):
        tag = voice(LINES[rng.integers(len(LINES))], rate)[: len(mono) - start]
        audio[start : start + len(tag)] += tag * np.abs(mono).max()
    return audio, rate


@cache
def voice(line: str, rate: int) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run([espeak(), "-w", file.name, line], check=True)
        audio, _ = read_audio(file.name, sample_rate=rate, mono=True)
    return audio[0] / np.abs(audio).max()


def espeak() -> str:
    return shutil.which("espeak-ng") or ""


def cut(mono: np.ndarray, rate: int, start_s: float, end_s: float) -> np.ndarray:
    return mono[round(start_s * rate) : round(end_s * rate)]


def trimmed(mono: np.ndarray, rate: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    return cut(mono, rate, rng.uniform(1, 10), len(mono) / rate - rng.uniform(1, 10)), rate


def excerpt(mono: np.ndarray, rate: int, rng: np.random.Generator, *, length_s: float) -> tuple[np.ndarray, int]:
    start_s = rng.uniform(0, len(mono) / rate - length_s)
    return cut(mono, rate, start_s, start_s + length_s), rate


def delayed(mono: np.ndarray, rate: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    return np.pad(mono, (round(rng.uniform(0.1, 9) * rate), 0)), rate


def everything(mono: np.ndarray, rate: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    audio, _ = trimmed(stretched(mono, rate, rng.uniform(0.96, 1.04)), rate, rng)
    return encoded(0.7 * tagged(audio, rate, rng)[0], rate, rng, codec="mp3 64 kbit/s")


KINDS: dict[str, Copy] = {
    **{codec: partial(encoded, codec=codec) for codec in CODECS},
    "gain -12 dB": lambda mono, rate, rng: (0.25 * mono, rate),
    "clipped by 6 dB": lambda mono, rate, rng: (np.clip(2 * mono / np.abs(mono).max(), -1, 1), rate),
    "trimmed at both ends": trimmed,
    "moved in time": delayed,
    "excerpt of 30 s": partial(excerpt, length_s=30.0),
    "6 % slower": lambda mono, rate, rng: (stretched(mono, rate, 0.94), rate),
    "3 % slower": lambda mono, rate, rng: (stretched(mono, rate, 0.97), rate),
    "3 % faster": lambda mono, rate, rng: (stretched(mono, rate, 1.03), rate),
    "6 % faster": lambda mono, rate, rng: (stretched(mono, rate, 1.06), rate),
    "tags over it": tagged,
    "most of these at once": everything,
}  # trimmed, stretched up to 4 %, tagged, quieter and mp3
SPOKEN = ("tags over it", "most of these at once")

if __name__ == "__main__":
    main()
