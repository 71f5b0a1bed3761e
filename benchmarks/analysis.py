"""How well tempo, beats, downbeats and key are heard, and how fast: rapgen's own functions beside other libraries.

    pip install librosa libsonare          # each is left out where it is missing
    OMP_NUM_THREADS=1 python benchmarks/analysis.py --clips 200 --real DIR

Beatmaker's clips are rendered on the way; their annotations are exact. DIR holds recordings beside a `truths.jsonl`, a
line a file with its `file_name`, `kind` and what is known of `tempo_bpm`, `beats_s`, `downbeats_s` and `key`;
`benchmarks/real_music.py` puts such a folder together. Beats count as found within 70 ms. Tempo is found within 2 %,
"octave" counts half and double of it too. A key's weighted score is MIREX's, as in mir_eval: 1 where it is right, 0.5 a
fifth over it, 0.3 its relative, 0.2 its parallel key.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rapgen import registry
from rapgen.audio.io import read_audio, resample
from rapgen.audio.key import estimate_key, fit_key
from rapgen.audio.loudness import loudness_lufs
from rapgen.audio.rhythm import track_rhythm
from rapgen.groove import NOTES

TEMPO_WITHIN, BEAT_WITHIN_S = 0.02, 0.07
COLUMNS = ("tempo", "octave", "beats F", "downbeats F", "key", "weighted")


@dataclass(frozen=True)
class Heard:
    """What is true of a recording, or what was heard in it; None where nothing is said."""

    tempo_bpm: float | None = None
    beats_s: np.ndarray | None = None
    downbeats_s: np.ndarray | None = None
    key: str | None = None


@dataclass
class Recording:
    """A recording and what is true of it."""

    name: str
    kind: str
    audio: np.ndarray
    rate: int
    truth: Heard = field(default_factory=Heard)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200, help="of beatmaker")
    parser.add_argument("--duration", type=float, default=30.0, help="of each, in seconds")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--real", type=Path, help="folder of recordings and truths.jsonl")
    parser.add_argument("--methods", default="rapgen,libsonare,librosa")
    parser.add_argument("--misses", action="store_true", help="name what rapgen does not hear")
    options = parser.parse_args()
    methods = {name: METHODS[name] for name in options.methods.split(",") if _installed(name)}
    scores: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for recording in _recordings(options):
        for name, method in methods.items():
            heard, cpu_ms = _timed(method, recording)
            figures = _compare(recording.truth, heard) | {"cpu": cpu_ms}
            whole = recording.kind.split(": ")[0]
            for kind in (whole, recording.kind) if name == "rapgen" else (whole,):
                for column, value in figures.items():
                    scores[kind, name][column].append(value)
            if options.misses and name == "rapgen" and min(figures.get("tempo", 1), figures.get("key", 1)) < 1:
                print(
                    f"{recording.name} ({recording.kind}): {_told(recording.truth)}; heard {_told(heard)}", flush=True
                )
        _, cpu_ms = _timed(loudness_lufs, recording)
        scores["all", "loudness"]["cpu"].append(cpu_ms)
    _print(scores)


def _print(scores: dict[tuple[str, str], dict[str, list[float]]]) -> None:
    print(f"| recordings | by | N | {' | '.join(COLUMNS)} | CPU ms a second |")
    print("|---|---|--:" + "|--:" * (len(COLUMNS) + 1) + "|")
    for (kind, name), columns in sorted(scores.items()):
        cells = [f"{np.mean(columns[column]):.3f}" if columns.get(column) else "–" for column in COLUMNS]
        print(f"| {kind} | {name} | {len(columns['cpu'])} | {' | '.join(cells)} | {np.median(columns['cpu']):.1f} |")


# ------------------------------------------------------------------------------------------------- recordings


def _recordings(options: argparse.Namespace) -> Iterator[Recording]:
    if options.clips:
        node = {"use": "beatmaker", "num_clips": options.clips, "duration_s": options.duration, "seed": options.seed}
        source = registry.build("source", node)
        for ref in source.refs():
            clip = source.load(ref)
            groove, beats = clip.annotations.groove, np.array(clip.annotations.beats_s)
            truth = Heard(groove.tempo_bpm, beats, beats[-clip.annotations.first_beat % 4 :: 4], groove.key)
            audio = resample(clip.audio, clip.sample_rate, 44_100)
            yield Recording(ref.id, f"beatmaker: {groove.style}", np.repeat(audio, 3 - len(audio), 0), 44_100, truth)
    if options.real is None or not (options.real / "truths.jsonl").is_file():
        print(f"no real music: {options.real or '--real'} is no folder with a truths.jsonl\n")
        return
    for line in (options.real / "truths.jsonl").read_text().splitlines():
        row = json.loads(line)
        audio, rate = read_audio(options.real / row["file_name"])
        beats, downbeats = (np.array(row[name]) if name in row else None for name in ("beats_s", "downbeats_s"))
        truth = Heard(row.get("tempo_bpm"), beats, downbeats, row.get("key"))
        yield Recording(row["file_name"], f"real: {row['kind']}", audio, rate, truth)


# ---------------------------------------------------------------------------------------------------- methods


def _rapgen(audio: np.ndarray, rate: int) -> Heard:
    rhythm = track_rhythm(audio, rate)
    beats = np.array(rhythm.beats_s)
    return Heard(rhythm.tempo_bpm, beats, beats[rhythm.first_downbeat % 4 :: 4], estimate_key(audio, rate).key)


def _libsonare(audio: np.ndarray, rate: int) -> Heard:
    import libsonare

    mono = np.ascontiguousarray(resample(audio.mean(0, keepdims=True), rate, 22_050)[0])
    beats, downbeats = libsonare.detect_beats(mono, 22_050), libsonare.detect_downbeats(mono, 22_050)
    key = str(libsonare.detect_key(mono, 22_050))
    return Heard(libsonare.detect_bpm(mono, 22_050), np.array(beats), np.array(downbeats), key)


def _librosa(audio: np.ndarray, rate: int) -> Heard:
    import librosa

    mono = resample(audio.mean(0, keepdims=True), rate, 22_050)[0]
    tempo, beats = librosa.beat.beat_track(y=mono, sr=22_050, units="time")
    key = fit_key(librosa.feature.chroma_cqt(y=mono, sr=22_050).mean(1)).key
    return Heard(float(np.atleast_1d(tempo)[0]), beats, None, key)


METHODS: dict[str, Callable[[np.ndarray, int], Heard]] = {
    "rapgen": _rapgen, "libsonare": _libsonare, "librosa": _librosa,
}  # fmt: skip


def _installed(name: str) -> bool:
    found = importlib.util.find_spec(name) is not None
    if not found:
        print(f"{name} is left out: it is not installed")
    return found


def _timed(method: Callable[[np.ndarray, int], Any], recording: Recording) -> tuple[Any, float]:
    start = time.process_time()
    heard = method(recording.audio, recording.rate)
    return heard, (time.process_time() - start) * 1000 / (recording.audio.shape[1] / recording.rate)


# ----------------------------------------------------------------------------------------------------- scores


def _compare(truth: Heard, heard: Heard) -> dict[str, float]:
    figures = {}
    if truth.tempo_bpm and heard.tempo_bpm:
        off = np.abs(heard.tempo_bpm / truth.tempo_bpm / np.array([0.5, 1.0, 2.0]) - 1)
        figures |= {"tempo": float(off[1] <= TEMPO_WITHIN), "octave": float(off.min() <= TEMPO_WITHIN)}
    for column, true, found in (
        ("beats F", truth.beats_s, heard.beats_s),
        ("downbeats F", truth.downbeats_s, heard.downbeats_s),
    ):
        if true is not None and found is not None:
            figures[column] = _f_measure(true, found)
    if truth.key and heard.key:
        figures |= {"key": float(truth.key == heard.key), "weighted": _key_score(truth.key, heard.key)}
    return figures


def _f_measure(true: np.ndarray, found: np.ndarray) -> float:
    """Of times further apart than twice what still counts: no two can claim the same."""
    if not len(true) or not len(found):
        return 0.0
    near = np.abs(true[:, None] - found).min(1) <= BEAT_WITHIN_S
    return 2 * float(near.sum()) / (len(true) + len(found))


def _key_score(true: str, heard: str) -> float:
    (tonic, mode), (heard_tonic, heard_mode) = (
        (NOTES.index(note), mode) for note, mode in (true.split(), heard.split())
    )
    above = (heard_tonic - tonic) % 12
    if mode == heard_mode:
        return {0: 1.0, 7: 0.5}.get(above, 0.0)
    relative = 9 if mode == "major" else 3
    return {relative: 0.3, 0: 0.2}.get(above, 0.0)


def _told(heard: Heard) -> str:
    tempo = "–" if heard.tempo_bpm is None else f"{heard.tempo_bpm:.1f} bpm"
    return f"{tempo}, {heard.key or '–'}"


if __name__ == "__main__":
    main()
