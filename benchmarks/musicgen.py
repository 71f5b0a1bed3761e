"""Decoding steps a second: rapgen's COARSE beside MusicGen's decoder in transformers.

    pip install "rapgen[hf]"
    python benchmarks/musicgen.py

Both have the same width, layers, heads, feed-forward weights and codebooks of 2048 in the delay pattern, random weights
as they are loaded by default, batch 1 and guidance 3; both make the same number of steps and draw from the 250 most
probable. MusicGen runs through `generate` with its own cache. It reads its text by cross-attention from 12 encoder
states; rapgen's stands before the first step as a prefix of tokens. torch has one or two threads, whichever suits each
better; those of rapgen's engine are its own.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import harness
import models
import torch

from rapgen import MusicLM
from rapgen.audio._torchaudio import load_torchaudio
from rapgen.generation.audiolm import Piece
from rapgen.interfaces import Prompt

BOOKS, SIZE, TOP_K, STATES = 4, 2048, 250, 12
FRAME_RATE = 50  # frames a second


def main() -> None:
    """Print steps a second of both, and their ratio."""
    parser = harness.parser(__doc__, runs=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=5, help="of sound, at 50 frames a second (5)")
    parser.add_argument("--guidance", type=float, default=3.0)
    options = parser.parse_args()
    harness.print_machine("transformers")
    frames = options.seconds * FRAME_RATE
    steps = frames + BOOKS - 1
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(Path(folder), options.width, options.layers, options.guidance, crop_s=options.seconds)
    theirs = musicgen(options.width, options.layers, options.guidance)
    works = {
        "rapgen": (lambda: decode(model, frames), harness.best_threads(lambda: decode(model, FRAME_RATE))),
        "transformers": (lambda: theirs(steps), harness.best_threads(lambda: theirs(FRAME_RATE))),
    }
    timed = {name: partial(harness.seconds, harness.with_threads(*each)) for name, each in works.items()}
    spent = harness.alternate(timed, options.runs)
    rates = {name: steps / statistics.median(each) for name, each in spent.items()}
    times = harness.ratio(spent["transformers"], spent["rapgen"])
    for name, (_, threads) in works.items():
        print(f"{name:<13} {rates[name]:7.1f} steps/s, {threads} torch thread(s)")
    print(f"{times:.1f} x MusicGen's class in transformers, {options.width} x {options.layers}, {steps} steps")
    harness.finish(options, {**rates, "ratio": times})


def model_of(folder: Path, width: int, layers: int, guidance: float, *, crop_s: float) -> MusicLM:
    """A model whose COARSE has these sizes and whose other stages cost next to nothing."""
    tiny = models.stage(models.HEAD, 1, crop_s, inputs=["toy"])
    stages = {
        "semantic": tiny,
        "coarse": models.stage(width, layers, crop_s, pattern="delay", num_codebooks=BOOKS, inputs=["toy"]),
        "fine": {**tiny, "passes": 1},
    }
    sampling = {"coarse": {"guidance_scale": guidance, "top_k": TOP_K}}
    tree = models.recipe(books=BOOKS + 1, size=SIZE, stages=stages, sampling=sampling, conditioners=["toy"])
    return models.random_model(folder, tree)


def decode(model: MusicLM, frames: int) -> None:
    """Make the codes of so many frames."""
    for _ in model.stream([Piece(Prompt(text="boom bap, 90 bpm"))], frames, sampling=model.recipe.sampling):
        pass


def musicgen(width: int, layers: int, guidance: float) -> Callable[[int], None]:
    """MusicGen's decoder, to be told how many steps to make."""
    load_torchaudio()
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    config = MusicgenDecoderConfig(
        vocab_size=SIZE,
        num_codebooks=BOOKS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // models.HEAD),
        ffn_dim=4 * width,
    )
    model = MusicgenForCausalLM(config).eval()
    heard = torch.randn(1, STATES, width)
    rows = torch.cat([heard, torch.zeros_like(heard)]) if guidance > 1 else heard

    def generate(count: int) -> None:
        made = model.generate(
            torch.full((BOOKS, 1), SIZE),  # where every codebook starts
            attention_mask=torch.ones(1, 1, dtype=torch.int64),
            encoder_hidden_states=rows,
            decoder_start_token_id=SIZE,
            num_return_sequences=1,
            guidance_scale=guidance,
            do_sample=True,
            top_k=TOP_K,
            max_new_tokens=count,
        )
        if made.shape[-1] != count - BOOKS + 1:
            raise RuntimeError(f"MusicGen made {made.shape[-1]} frames in {count} steps; this benchmark counts wrong")

    return generate


if __name__ == "__main__":
    main()
