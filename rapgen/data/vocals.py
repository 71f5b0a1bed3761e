"""Where somebody speaks, raps or sings: silero-vad, a recurrent network over chunks of 32 ms."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rapgen.audio.io import resample
from rapgen.errors import PluginError
from rapgen.weights import reading, tell_licence

_RATE = 16_000  # Hz, of the network
_CHUNK, _CONTEXT = 512, 64  # samples; each chunk is seen with the end of the one before
_CHUNKS_AT_ONCE = 512  # of one call, 16 s
_VOICED = 0.5  # of the probability that a chunk is speech, silero's own threshold
_BREATH_CHUNKS = 10  # a pause of 0.3 s does not end a voice
_SHORTEST_CHUNKS = 8  # 0.25 s; a snare may look like speech for less


def voiced(mono: NDArray[np.float32], rate: int) -> list[tuple[float, float]]:
    """The spans of f32 [S] with a voice, (start, end) in seconds, in order and apart.

    Raises PluginError where silero-vad or onnxruntime is missing.
    """
    said = np.pad(_probabilities(resample(mono[None], rate, _RATE)[0]) >= _VOICED, _BREATH_CHUNKS)
    spans = ndimage.find_objects(ndimage.label(ndimage.binary_closing(said, np.ones(_BREATH_CHUNKS + 1)))[0])
    chunk_s, duration_s = _CHUNK / _RATE, len(mono) / rate
    return [
        ((span.start - _BREATH_CHUNKS) * chunk_s, min((span.stop - _BREATH_CHUNKS) * chunk_s, duration_s))
        for (span,) in spans
        if span.stop - span.start >= _SHORTEST_CHUNKS
    ]


def vocal_share(mono: NDArray[np.float32], rate: int) -> float:
    """The share of the time of f32 [S] with a voice, 0..1; raises PluginError as `voiced`."""
    return sum(end - start for start, end in voiced(mono, rate)) * rate / max(len(mono), 1)


def _probabilities(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """That each chunk is speech, f32 [S] -> f32 [chunks], at least one; the state goes on from call to call."""
    count = max(1, -(-len(audio) // _CHUNK))
    padded = np.pad(audio, (_CONTEXT, count * _CHUNK - len(audio)))
    chunks = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + _CHUNK)[::_CHUNK]
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    said = []
    for start in range(0, count, _CHUNKS_AT_ONCE):
        some = np.ascontiguousarray(chunks[start : start + _CHUNKS_AT_ONCE])
        probability, hidden, cell = _network().run(None, {"input": some, "h": hidden, "c": cell})
        said.append(probability.reshape(-1))
    return np.concatenate(said)


@cache
def _network() -> Any:
    """silero-vad's network for whole sequences, on one thread: several tracks at a time are several processes' work.

    Its package is found and not imported: importing it sets the number of torch's threads.
    """
    found = importlib.util.find_spec("silero_vad")
    try:
        import onnxruntime
    except ImportError:
        onnxruntime = None
    if found is None or found.origin is None or onnxruntime is None:
        missing = "onnxruntime" if found is not None else "silero-vad"
        raise PluginError(f"voices are found by the package '{missing}': pip install 'rapgen[prepare]'")
    path = Path(found.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
    if not path.is_file():
        raise PluginError("this silero-vad has no network for sequences: pip install --upgrade 'rapgen[prepare]'")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with reading("vocals", path):
        network = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tell_licence("the search for voices", path.name, "MIT (Silero VAD)")
    return network
