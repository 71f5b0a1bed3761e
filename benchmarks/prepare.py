"""How fast `rapgen data prepare` is, step by step, what memory it takes, and what a second worker brings.

python benchmarks/prepare.py                    # 8 tracks of 180 s; a few minutes
python benchmarks/prepare.py --tracks 40 --duration 240
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import functools
import io
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from rapgen.audio.io import fit_channels, resample
from rapgen.data.prepare import track as steps
from rapgen.data.prepare.pipeline import prepare
from rapgen.data.prepare.raw import list_raw
from rapgen.data.prepare.settings import Settings
from rapgen.data.storage import Storage
from rapgen.registry import build

KINDS = (("webm", "libopus", 48_000), ("m4a", "aac", 44_100), ("mp3", "mp3", 44_100))  # what the web has
MUXERS = {"m4a": "mp4"}
TIMED = ("decode", "sounding", "voiced", "level_to", "track_rhythm", "estimate_key", "fingerprint", "_write_clip")
SETTINGS = Settings(segment_s=30.0)


def main() -> None:
    """Render tracks, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=8, help="tracks to prepare")
    parser.add_argument("--duration", type=float, default=180.0, help="seconds of each")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rapgen-prepare-"))
    try:
        raw = folder / "raw"
        for number, content, suffix in rendered(arguments.tracks, arguments.duration):
            raw.mkdir(exist_ok=True)
            (raw / f"beat {number:04d}.{suffix}").write_bytes(content)
        profile(raw, folder / "profile", arguments.duration)
        measure_memory(raw, folder)
        measure_workers(raw, folder, arguments.tracks * arguments.duration)
    finally:
        shutil.rmtree(folder)


def rendered(num: int, duration_s: float) -> Iterator[tuple[int, bytes, str]]:
    """Tracks as files: a beat of 30 s over and over, since what is measured does not know."""
    source = build("source", {"use": "beatmaker", "num_clips": num, "duration_s": 30.0, "seed": 0})
    for number, ref in enumerate(source.refs()):
        clip = source.load(ref)
        suffix, encoder, rate = KINDS[number % len(KINDS)]
        audio = fit_channels(resample(clip.audio, clip.sample_rate, rate), 2)
        times = -(-int(duration_s * rate) // audio.shape[1])
        yield number, encode(np.tile(audio, (1, times))[:, : int(duration_s * rate)], rate, suffix, encoder), suffix


def encode(audio: np.ndarray, rate: int, suffix: str, encoder: str) -> bytes:
    """f32 [2, S] as a file."""
    file = io.BytesIO()
    with av.open(file, "w", format=MUXERS.get(suffix, suffix)) as container:
        stream = container.add_stream(encoder, rate=rate, layout="stereo", bit_rate=160_000)
        size = stream.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, np.float32), format="fltp", layout="stereo")
        frame.rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def profile(raw: Path, out: Path, duration_s: float) -> None:
    """CPU time of one process by step."""
    tracks = list_raw(Storage(str(raw))).tracks
    storages = Storage(str(raw)), Storage(str(out))
    steps.prepare_track(*storages, tracks[0], SETTINGS)  # loads libraries
    spent: Counter[str] = Counter()
    for name in TIMED:
        setattr(steps, name, timed(getattr(steps, name), spent))
    start = time.process_time()
    records = [steps.prepare_track(*storages, track, SETTINGS) for track in tracks]
    total_s = time.process_time() - start
    audio_s = len(tracks) * duration_s
    clips = sum(len(record.clips) for record in records)
    print(f"{len(tracks)} tracks of {duration_s:g} s, {clips} clips of 30 s and more")
    print(f"{audio_s / total_s:.0f} x real time a core; {1000 * total_s / audio_s:.1f} ms CPU for a second of audio:")
    for name, used_s in [*spent.items(), ("the rest", total_s - spent.total())]:
        print(f"  {name.strip('_'):<14} {1000 * used_s / audio_s:6.2f}")
    for name in TIMED:
        setattr(steps, name, getattr(steps, name).__wrapped__)


def timed(function: Callable[..., Any], spent: Counter[str]) -> Callable[..., Any]:
    """The function, which adds its CPU seconds to `spent`."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        answer = function(*arguments, **options)
        spent[function.__name__] += time.process_time() - start
        return answer

    return wrapped


def measure_memory(raw: Path, folder: Path) -> None:
    """Peak of all processes together, for a quarter of the tracks and for all."""
    some = folder / "some"
    some.mkdir()
    files = sorted(raw.iterdir())
    for path in files[: max(1, len(files) // 4)]:
        (some / path.name).hardlink_to(path)
    for name, source in (("a quarter of them", some), ("all of them", raw)):
        peak, _ = watched(source, folder / f"memory {source.name}", workers=2)
        print(f"memory, two workers, {name}: {peak / 2**20:.0f} MiB at most")


def measure_workers(raw: Path, folder: Path, audio_s: float) -> None:
    """Wall time with one worker and with two."""
    took_s = {workers: watched(raw, folder / f"{workers} workers", workers=workers)[1] for workers in (1, 2)}
    for workers, seconds in took_s.items():
        print(
            f"{workers} worker(s): {seconds:.1f} s, {audio_s / seconds:.0f} x real time, start-up and report included"
        )
    print(f"two are {took_s[1] / took_s[2]:.2f} x one")


def watched(raw: Path, out: Path, *, workers: int) -> tuple[int, float]:
    """Prepare; peak bytes of this process and its children, each page that they share counted once, and seconds."""
    peak = 0
    is_done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_done.wait(0.1):
            peak = max(peak, memory_in_use())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    prepare(str(raw), str(out), SETTINGS, report=lambda done, total: None, workers=workers)
    took_s = time.perf_counter() - start
    is_done.set()
    thread.join()
    return peak, took_s


def memory_in_use() -> int:
    """Bytes of this process and its children."""
    own = psutil.Process()
    used = 0
    for process in (own, *own.children(recursive=True)):
        try:
            used += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return used


if __name__ == "__main__":
    main()
