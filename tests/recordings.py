"""Audio files of all kinds, as uploaders make them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np

from rapgen.audio.io import fit_channels, resample
from rapgen.registry import build

KINDS = {  # suffix -> muxer, encoder, rate in Hz
    "mp3": ("mp3", "mp3", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "m4a": ("mp4", "aac", 44_100),
    "flac": ("flac", "flac", 48_000),
    "wav": ("wav", "pcm_s16le", 44_100),
}


def encode(audio: np.ndarray, rate: int, kind: str, layout: str = "stereo") -> bytes:
    """f32 [C, S] at `rate` Hz as a file of that kind."""
    muxer, encoder, _ = KINDS[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate, layout=layout)
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio, np.float32), format="fltp", layout=layout)
        frame.rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def beats(num: int, duration_s: float, seed: int = 0) -> list[np.ndarray]:
    """Beats as f32 [2, S] at 44.1 kHz, no two alike."""
    source = build("source", {"use": "beatmaker", "num_clips": num, "duration_s": duration_s, "seed": seed})
    clips = [source.load(ref) for ref in source.refs()]
    return [fit_channels(resample(clip.audio, clip.sample_rate, 44_100), 2) for clip in clips]


def put(folder: Path, name: str, audio: np.ndarray, **info: Any) -> None:
    """Write f32 [2, S] at 44.1 kHz as a file, in the kind that its suffix says, and what is known of it beside."""
    kind = name.rpartition(".")[2]
    rate = KINDS[kind][2]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encode(resample(audio, 44_100, rate), rate, kind))
    if info:
        (folder / name).with_suffix(".info.json").write_text(json.dumps(info))
