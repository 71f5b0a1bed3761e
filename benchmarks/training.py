"""How fast a token stage trains: tokens/s, and the share of what the device's matrix products reach (MFU).

The steps are those of the training loop (batches ahead, fused AdamW, averages), on made-up tokens. Steps and a plain
product are timed in turn, so that both meet the same machine; the figures are medians.

Run: python benchmarks/training.py --recipe boombox --stage coarse [--set stages.coarse.batch_size=4] [--runs 5]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import harness
import torch

from rapgen.parts import build_parts
from rapgen.recipe import load_recipe
from rapgen.schema import Recipe, TokenStage
from rapgen.tokens.streams import TOKEN_STAGES, StageStreams, make_model, stage_streams
from rapgen.training.estimate import example_batch
from rapgen.training.loop import Stage, train
from rapgen.training.speed import measured_flops, peak_flops, token_flops


def made_up(recipe: Recipe, streams: StageStreams, settings: TokenStage) -> dict[str, torch.Tensor]:
    """A batch of random tokens in the shapes of a stage's."""
    sizes = {"target": streams.target.codebook_size} | {n: i.spec.codebook_size for n, i in streams.inputs.items()}
    draw = torch.Generator().manual_seed(recipe.seed)
    return {
        name: torch.randint(sizes[name], zeros.shape, generator=draw)
        for name, zeros in example_batch(streams, settings).items()
    }


def measure(recipe: Recipe, name: str, *, runs: int, steps: int) -> dict[str, float]:
    """One stage's speed over `runs` of `steps`, told in a line."""
    settings: TokenStage = getattr(recipe.stages, name)
    settings = settings.model_copy(
        update={"steps": (runs + 1) * steps, "valid_every": 10**9, "checkpoint_every": 10**9}
    )
    streams = stage_streams(recipe, build_parts(recipe), name)
    torch.manual_seed(recipe.seed)
    model, batch = make_model(recipe, streams), made_up(recipe, streams, settings)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    dtype = torch.bfloat16 if on_gpu and settings.precision == "bf16" else torch.float32
    took: list[float] = []
    peaks: list[float] = []
    since = time.perf_counter()

    def watch(kind: str, step: int, figures: dict[str, float]) -> None:
        nonlocal since
        if kind == "train" and step % steps == 0:
            took.append((time.perf_counter() - since) / steps)
            peaks.append(measured_flops(device, dtype))
            since = time.perf_counter()

    stage = Stage(name, settings, model, batch=lambda number: (batch,), valid_batches=lambda: [(batch,)])
    with tempfile.TemporaryDirectory() as folder:
        train(stage, Path(folder), seed=recipe.seed, watch=watch)
    step_s, peak = statistics.median(took[1:]), statistics.median(peaks[1:])  # the first round warms up
    tokens, flops = (n * settings.accumulate for n in (batch["target"].numel(), token_flops(model, batch)))
    told = peak_flops(device, dtype) if on_gpu else peak
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{name:9} {size:7.1f} M  batch {settings.batch_size} x {settings.accumulate}  {1e3 * step_s:8.0f} ms a step  "
        f"{tokens / step_s:9,.0f} tokens/s  {flops / step_s / 1e12:7.3f} TFLOP/s  "
        f"{flops / step_s / peak:4.0%} of a product's {peak / 1e12:.3f}  MFU {flops / step_s / told:4.0%}",
        flush=True,
    )
    return {f"{name} tokens/s": tokens / step_s, f"{name} mfu": flops / step_s / told}


def main() -> None:
    """Print a line a stage."""
    parser = harness.parser(__doc__, runs=5)
    parser.add_argument("--recipe", default="boombox")
    parser.add_argument("--stage", choices=TOKEN_STAGES, action="append", help="all three, if none is named")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `rapgen train`")
    parser.add_argument("--steps", type=int, default=2, help="of a run (2)")
    given = parser.parse_args()
    harness.print_machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{given.recipe} on {device}")
    figures: dict[str, float] = {}
    for name in given.stage or TOKEN_STAGES:
        figures |= measure(load_recipe(given.recipe, given.set), name, runs=given.runs, steps=given.steps)
    harness.finish(given, figures)


if __name__ == "__main__":
    main()
