"""How fast the shipped codec encodes and decodes, times real time, beside EnCodec with as many threads.

    pip install "rapgen[encodec]"
    python benchmarks/codec.py

Sound is noise; EnCodec is its 24 kHz model at 6 kbit/s with random weights, which run as fast as trained ones.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import harness
import torch
from torch import Tensor

from rapgen import MusicLM
from rapgen.audio._torchaudio import load_torchaudio

ENCODEC_RATE = 24000  # Hz


def main() -> None:
    """Print a table."""
    parser = harness.parser(__doc__, runs=5)
    parser.add_argument("--model", help="a run or bundle by path or name; the shipped one if left out")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sound (10)")
    options = parser.parse_args()
    harness.print_machine("encodec")
    with torch.inference_mode():
        figures = measure(options)
    harness.finish(options, figures)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Times real time, by name, direction and threads."""
    works = {
        f"{name} {threads}": harness.with_threads(work, threads)
        for name, work in (shipped(options.model, options.seconds) | encodec(options.seconds)).items()
        for threads in harness.thread_counts()
    }
    for work in works.values():
        work()  # what is allocated once
    spent = harness.alternate({name: partial(harness.seconds, work) for name, work in works.items()}, options.runs)
    rates = {name: options.seconds / statistics.median(each) for name, each in spent.items()}
    for direction in ("encode", "decode"):
        for threads in harness.thread_counts():
            ours, theirs = (f"{who} {direction} {threads}" for who in ("rapgen", "encodec"))
            rates[f"ratio {direction} {threads}"] = harness.ratio(spent[theirs], spent[ours])
            print(
                f"{direction}, {threads} thread(s): {rates[ours]:.0f} x real time, EnCodec {rates[theirs]:.1f}: "
                f"{rates[f'ratio {direction} {threads}']:.1f} x"
            )
    return rates


def shipped(model: str | None, seconds: float) -> dict[str, harness.Work]:
    """A model's codec."""
    codec = MusicLM.load(model).codec
    audio = noise(codec.spec.sample_rate, seconds, codec.channels)
    codes = codec.encode(audio)
    return {"rapgen encode": lambda: codec.encode(audio), "rapgen decode": lambda: codec.decode(codes)}


def encodec(seconds: float) -> dict[str, harness.Work]:
    """EnCodec as its package gives it."""
    load_torchaudio()
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    audio = noise(ENCODEC_RATE, seconds, 1)
    frames = model.encode(audio)
    return {"encodec encode": lambda: model.encode(audio), "encodec decode": lambda: model.decode(frames)}


def noise(rate: int, seconds: float, channels: int) -> Tensor:
    """f32 [1, channels, samples]."""
    return 0.1 * torch.randn(1, channels, round(rate * seconds))


if __name__ == "__main__":
    main()
