"""AudioLM's three stages, generation and training: rapgen beside audiolm-pytorch at the same sizes.

    pip install "rapgen[hf,encodec]" einops joblib scikit-learn
    pip install --no-deps --target build/peers -r benchmarks/requirements.txt
    PYTHONPATH=build/peers python benchmarks/audiolm.py

Semantics at 25 Hz, 3 coarse and 5 fine codebooks of 1024 at 50 Hz; 512 x 6 with 8 heads, random weights, batch 1, no
text, no guidance, draws from the most probable tenth. rapgen runs twice: with its own patterns (COARSE delayed, FINE in
blocks of a second, 8 passes) and with `flat` everywhere, where each stage reads the one before it as a prefix and the
whole piece is in sight, as in audiolm-pytorch. There a step costs more the longer the piece: its steps are measured at
five places of the piece and integrated, which takes seconds, not the many minutes of the whole.

Training is a step of 4 crops: 8 s for SEMANTIC, 2 s for COARSE, 1 s for FINE; tokens are those of the predicted stream.
rapgen's own loop makes it, with all it does at a step. Each runs with one or two threads, whichever suits it better.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import harness
import models
import torch
from peer import Peer, Sizes

from rapgen import MusicLM
from rapgen.generation import audiolm
from rapgen.generation.audiolm import Piece
from rapgen.interfaces import Prompt
from rapgen.models.token_lm import TokenLM
from rapgen.tokens.streams import TOKEN_STAGES, make_model
from rapgen.training.estimate import example_batch
from rapgen.training.loop import Stage, train

COARSE, FINE, SIZE = 3, 5, 1024
SEMANTIC_RATE, CODE_RATE = 25, 50  # frames a second
ROWS = 4  # of a training batch
CROPS_S = {"semantic": 8.0, "coarse": 2.0, "fine": 1.0}
PATTERNS = ("own", "flat")
TRIAL_S = 1  # seconds of sound by which the number of threads is chosen
STEPS = 3  # of a training run; the first is not counted


def main() -> None:
    """Print both tables."""
    parser = harness.parser(__doc__, runs=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=8, help="of sound to generate (8)")
    options = parser.parse_args()
    harness.print_machine("audiolm-pytorch")
    sizes = Sizes(options.width, options.layers, max(1, options.width // models.HEAD), SIZE, COARSE, FINE)
    peer = Peer(sizes)
    with tempfile.TemporaryDirectory() as folder:
        ours = {name: model_of(Path(folder) / name, name, options) for name in PATTERNS}
        figures = generation(ours, peer, options.seconds, options.runs)
        figures |= training(ours, peer, options.runs, Path(folder))
    harness.finish(options, figures)


def model_of(folder: Path, patterns: str, options: argparse.Namespace) -> MusicLM:
    """A model with the default patterns, or with flat ones, of the sizes asked for."""
    whole = partial(models.stage, options.width, options.layers, float(options.seconds))
    stages = {"semantic": whole(inputs=["toy"])}  # a prefix of two tokens
    if patterns == "flat":
        before = {"coarse": "semantic", "fine": "coarse"}
        stages |= {n: whole(pattern="flat", inputs=[b], as_prefix=[b]) for n, b in before.items()}
    else:
        stages["coarse"] = whole(pattern="delay", inputs=["semantic"], look_ahead=2)
        stages["fine"] = models.stage(options.width, options.layers, 3.0, inputs=["coarse"], block_s=1.0, passes=8)
    stages["coarse"]["num_codebooks"] = COARSE
    sampling = {name: {"temperature": 1.0, "guidance_scale": 1.0, "top_k": SIZE // 10} for name in TOKEN_STAGES}
    tree = models.recipe(books=COARSE + FINE, size=SIZE, stages=stages, sampling=sampling, conditioners=["toy"])
    return models.random_model(folder, tree)


# ------------------------------------------------------------------------------------------------ generation


def generation(ours: dict[str, MusicLM], peer: Peer, seconds: int, runs: int) -> dict[str, float]:
    """Tokens a second of each stage, and how many times longer the peer takes for all codes."""
    works = {name: partial(stage_seconds, model) for name, model in ours.items()}
    works["peer"] = partial(peer_seconds, peer)
    threads = {name: harness.best_threads(partial(work, TRIAL_S)) for name, work in works.items()}
    timed = {name: harness.with_threads(partial(work, seconds), threads[name]) for name, work in works.items()}
    given = harness.alternate(timed, runs)
    counts = {"semantic": SEMANTIC_RATE, "coarse": COARSE * CODE_RATE, "fine": FINE * CODE_RATE}
    figures = {}
    print(f"\nGeneration of {seconds} s, tokens/s:")
    for name, each in given.items():
        rates = {s: counts[s] * seconds / statistics.median(run[s] for run in each) for s in TOKEN_STAGES}
        codes_s = [run["coarse"] + run["fine"] for run in each]
        figures |= {f"{name} {stage} tokens/s": rate for stage, rate in rates.items()}
        figures |= {f"{name} codes_s": statistics.median(codes_s)}
        told = ", ".join(f"{stage} {rate:.0f}" for stage, rate in rates.items())
        print(f"{titles(name)}: {told}; {statistics.median(codes_s):.2f} s for codes, {threads[name]} thread(s)")
    for name in PATTERNS:
        pairs = ([run["coarse"] + run["fine"] for run in given[who]] for who in ("peer", name))
        figures[f"{name} ratio"] = harness.ratio(*pairs)
        print(f"{figures[f'{name} ratio']:.1f} x audiolm-pytorch for {seconds} s of codes, {titles(name)}")
    return figures


def stage_seconds(model: MusicLM, seconds: int) -> dict[str, float]:
    """What each stage takes in making the codes of so many seconds."""
    pieces = [Piece(Prompt(text="boom bap, 90 bpm"))]
    with watched_stages() as spent:
        for _ in model.stream(pieces, seconds * CODE_RATE, sampling=model.recipe.sampling):
            pass
    return dict(spent)


@contextmanager
def watched_stages() -> Iterator[Counter[str]]:
    """Seconds that decoders spend, by stage, while the block runs."""
    spent: Counter[str] = Counter()
    kinds = {kind: kind.advance for kind in (audiolm.CausalDecoder, audiolm.MaskedDecoder)}

    def timed(advance: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        def run(decoder: Any, until: int) -> None:
            start = time.perf_counter()
            advance(decoder, until)
            spent[decoder.stage] += time.perf_counter() - start

        return run

    try:
        for kind, advance in kinds.items():
            kind.advance = timed(advance)
        yield spent
    finally:
        for kind, advance in kinds.items():
            kind.advance = advance


def peer_seconds(peer: Peer, seconds: int) -> dict[str, float]:
    """The same of audiolm-pytorch."""
    frames = seconds * CODE_RATE, seconds * SEMANTIC_RATE
    return {stage: peer.generation_s(stage, *frames) for stage in TOKEN_STAGES}


# -------------------------------------------------------------------------------------------------- training


def training(ours: dict[str, MusicLM], peer: Peer, runs: int, folder: Path) -> dict[str, float]:
    """Tokens a second of each stage's training step, and how many times those of the peer."""
    figures = {}
    print(f"\nA training step of {ROWS} crops, tokens/s:")
    for stage in TOKEN_STAGES:
        count, frames, semantic = crop(stage)
        works = {name: partial(step_s, model, stage, folder) for name, model in ours.items()}
        works["peer"] = partial(peer.training_step_s, stage, ROWS, frames, semantic)
        threads = {name: harness.best_threads(work) for name, work in works.items()}
        timed = {name: harness.with_threads(work, threads[name]) for name, work in works.items()}
        spent = harness.alternate(timed, runs)
        for name, each in spent.items():
            figures[f"train {name} {stage} tokens/s"] = count / statistics.median(each)
        for name in PATTERNS:
            figures[f"train {name} {stage} ratio"] = harness.ratio(spent["peer"], spent[name])
        told = (f"{titles(n)} {figures[f'train {n} {stage} tokens/s']:.0f} ({threads[n]} thread(s))" for n in works)
        ratios = (f"{figures[f'train {name} {stage} ratio']:.1f} x" for name in PATTERNS)
        print(f"{stage}: {', '.join(told)}: {', '.join(ratios)}", flush=True)
    return figures


def crop(stage: str) -> tuple[int, int, int]:
    """Predicted tokens of a batch, frames of codes and semantic frames of a crop."""
    frames, semantic = (round(CROPS_S[stage] * rate) for rate in (CODE_RATE, SEMANTIC_RATE))
    tokens = {"semantic": semantic, "coarse": COARSE * frames, "fine": FINE * frames}
    return ROWS * tokens[stage], frames, semantic


def step_s(model: MusicLM, name: str, folder: Path) -> float:
    """Seconds of a step of rapgen's training loop, from one batch it asks for to the next."""
    streams = model.streams[name]
    settings = getattr(model.recipe.stages, name).model_copy(
        update={"crop_s": CROPS_S[name], "batch_size": ROWS, "steps": STEPS, "block_s": CROPS_S[name]}
    )
    sizes = {"target": SIZE} | {key: stream.spec.codebook_size for key, stream in streams.inputs.items()}
    batch = {k: torch.randint_like(zeros, sizes[k]) for k, zeros in example_batch(streams, settings).items()}
    marks: list[float] = []

    def draw(number: int) -> tuple[dict[str, torch.Tensor]]:
        marks.append(time.perf_counter())
        return (batch,)

    fresh: TokenLM = make_model(model.recipe, streams)
    stage = Stage(name=name, settings=settings, model=fresh, batch=draw, valid_batches=lambda: [(batch,)])
    with tempfile.TemporaryDirectory(dir=folder) as place:
        train(stage, Path(place), seed=0, watch=lambda kind, step, figures: None)
    return (marks[STEPS - 1] - marks[1]) / (STEPS - 2)


def titles(name: str) -> str:
    """A contender in words."""
    return {"own": "rapgen", "flat": "rapgen, flat", "peer": "audiolm-pytorch"}[name]


if __name__ == "__main__":
    main()
