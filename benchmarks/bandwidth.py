"""Weights that decoding reads a second, over what a plain sum streams from memory.

    python benchmarks/bandwidth.py

COARSE at 512 x 6 with 4 codebooks of 2048, batch 1, no guidance: each step reads all weights once, as the engine stores
them. Where they fit the processor's last cache, steps may read them from there; so both sizes are printed. With
--width 1024 --layers 12 they fit few caches.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

import harness
import musicgen

from rapgen import MusicLM
from rapgen.generation.graph import decoder_graph
from rapgen.generation.onnx_engine import step_bytes


def main() -> None:
    """Print bytes a second of both, and their ratio."""
    parser = harness.parser(__doc__, runs=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=5, help="of sound, at 50 frames a second (5)")
    options = parser.parse_args()
    harness.print_machine("onnxruntime")
    frames = options.seconds * musicgen.FRAME_RATE
    with tempfile.TemporaryDirectory() as folder:
        model = musicgen.model_of(Path(folder), options.width, options.layers, 1.0, crop_s=options.seconds)
    decode = harness.with_threads(partial(musicgen.decode, model, frames), 1)  # of torch, as in `MusicLM.generate`
    decode()  # what is allocated once
    contenders = {f"memory, {n}": partial(harness.read_bandwidth, n) for n in harness.thread_counts()}
    given = harness.alternate({"decoding": partial(harness.seconds, decode), **contenders}, options.runs)
    steps_s = (frames + musicgen.BOOKS - 1) / statistics.median(given.pop("decoding"))
    size = weight_bytes(model)
    print(f"{steps_s:.0f} steps/s of {size / 1e6:.1f} MB of weights: {size * steps_s / 1e9:.1f} GB/s")
    print(f"the last cache holds {harness.cache_bytes() / 1e6:.1f} MB")
    figures = {"steps/s": steps_s, "weight_bytes": size, "cache_bytes": harness.cache_bytes()}
    for name, each in given.items():
        figures[name] = max(each)
        print(f"{name} thread(s): {figures[name] / 1e9:.1f} GB/s")
    figures["share"] = size * steps_s / max(figures[name] for name in given)
    print(f"decoding reads {figures['share']:.0%} of what memory gives")
    harness.finish(options, figures)


def weight_bytes(model: MusicLM) -> int:
    """Bytes of the weights that a step of COARSE reads, as its engine keeps them."""
    coarse = model.models["coarse"]
    return step_bytes(coarse, decoder_graph(coarse)[1])


if __name__ == "__main__":
    main()
