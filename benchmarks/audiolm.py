"""AudioLM's three stages, generation and training: rapgen beside audiolm-pytorch at the same sizes.

    pip install "rapgen[hf,encodec]" einops joblib scikit-learn
    pip install --no-deps --target build/peers -r benchmarks/requirements.txt
    PYTHONPATH=build/peers python benchmarks/audiolm.py

Semantics at 25 Hz, 3 coarse and 5 fine codebooks of 1024 at 50 Hz; 512 x 6 with 8 heads, random weights, batch 1, no
text, no guidance, draws from the most probable tenth. rapgen runs twice: with its own patterns (COARSE delayed, FINE in
blocks of a second, 8 passes) and with `flat` everywhere, where each stage reads the one before it as a prefix and the
whole piece is in sight, as in audiolm-pytorch. There a step costs more the longer the piece: its steps are measured at
five places of the piece and integrated, which takes a minute, not the half hour of the whole.

Training is a step of 4 crops: 8 s for SEMANTIC, 2 s for COARSE, 1 s for FINE; tokens are those of the predicted stream.
rapgen's own loop makes it, with all it does at a step. torch has one or two threads, whichever suits each better.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import harness
import models
import torch
from peer import Peer, Sizes

from rapgen import MusicLM
from rapgen.generation.audiolm import Opening, Piece
from rapgen.generation.causal import CausalDecoder
from rapgen.generation.masked import MaskedDecoder
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
    works = {name: partial(our_seconds, model) for name, model in ours.items()}
    works["peer"] = partial(peer_seconds, peer)
    threads = {name: harness.best_threads(partial(work, TRIAL_S)) for name, work in works.items()}
    timed = {name: harness.with_threads(partial(work, seconds), threads[name]) for name, work in works.items()}
    given = harness.alternate(timed, runs)
    counts = {"semantic": SEMANTIC_RATE, "coarse": COARSE * CODE_RATE, "fine": FINE * CODE_RATE}
    figures = {}
    print(f"\nGeneration of {seconds} s, tokens/s:")
    for name, each in given.items():
        rates = {s: counts[s] * seconds / statistics.median(run[s] for run in each) for s in TOKEN_STAGES}
        codes_s = statistics.median(run["codes"] for run in each)
        figures |= {f"{name} {stage} tokens/s": rate for stage, rate in rates.items()} | {f"{name} codes_s": codes_s}
        told = ", ".join(f"{stage} {rate:.0f}" for stage, rate in rates.items())
        print(f"{titles(name)}: {told}; {codes_s:.2f} s for all codes, {threads[name]} torch thread(s)")
    for name in PATTERNS:
        pairs = ([run["codes"] for run in given[who]] for who in ("peer", name))
        figures[f"{name} ratio"] = harness.ratio(*pairs)
        print(f"{figures[f'{name} ratio']:.1f} x audiolm-pytorch for {seconds} s of codes, {titles(name)}")
    return figures


def our_seconds(model: MusicLM, seconds: int) -> dict[str, float]:
    """What each stage takes in making the codes of so many seconds, and what all codes take once semantics are known.

    The last is less than both stages alone, since FINE works on a second of sound while COARSE makes the next.
    """
    pieces, sampling = [Piece(Prompt(text="boom bap, 90 bpm"))], model.recipe.sampling
    frames = seconds * CODE_RATE
    semantic = torch.randint(SIZE, (1, (seconds + 1) * SEMANTIC_RATE, 1))
    opening = Opening(semantic, torch.zeros(1, 0, COARSE + FINE, dtype=torch.int64))
    with watched_stages() as spent:
        consume(model.stream(pieces, frames, sampling=sampling))
    blocks = model.stream(pieces, frames, sampling=sampling, opening=opening, block=CODE_RATE)
    return {**spent, "codes": harness.seconds(lambda: consume(blocks))}


def consume(blocks: Iterable[torch.Tensor]) -> None:
    """Have all of them made."""
    for _ in blocks:
        pass


@contextmanager
def watched_stages() -> Iterator[Counter[str]]:
    """Seconds that decoders spend, by stage, while the block runs."""
    spent: Counter[str] = Counter()
    kinds = {kind: kind.advance for kind in (CausalDecoder, MaskedDecoder)}

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
    spent = {stage: peer.generation_s(stage, *frames) for stage in TOKEN_STAGES}
    return {**spent, "codes": spent["coarse"] + spent["fine"]}


# -------------------------------------------------------------------------------------------------- training


def training(ours: dict[str, MusicLM], peer: Peer, runs: int, folder: Path) -> dict[str, float]:
    """Tokens a second of each stage's training step, and how many times those of the peer."""
    works = {name: partial(step_s, model, folder) for name, model in ours.items()}
    works["peer"] = partial(peer_step_s, peer)
    threads = {name: harness.best_threads(partial(work, "semantic")) for name, work in works.items()}
    figures = {}
    print(f"\nA training step of {ROWS} crops, tokens/s:")
    for stage in TOKEN_STAGES:
        timed = {name: harness.with_threads(partial(work, stage), threads[name]) for name, work in works.items()}
        spent = harness.alternate(timed, runs)
        count, _, _ = crop(stage)
        for name, each in spent.items():
            figures[f"train {name} {stage} tokens/s"] = count / statistics.median(each)
        for name in PATTERNS:
            figures[f"train {name} {stage} ratio"] = harness.ratio(spent["peer"], spent[name])
        told = (
            f"{titles(n)} {figures[f'train {n} {stage} tokens/s']:.0f} ({threads[n]} torch thread(s))" for n in works
        )
        ratios = (f"{figures[f'train {name} {stage} ratio']:.1f} x" for name in PATTERNS)
        print(f"{stage}: {', '.join(told)}: {', '.join(ratios)}", flush=True)
    return figures


def crop(stage: str) -> tuple[int, int, int]:
    """Predicted tokens of a batch, frames of codes and semantic frames of a crop."""
    frames, semantic = (round(CROPS_S[stage] * rate) for rate in (CODE_RATE, SEMANTIC_RATE))
    tokens = {"semantic": semantic, "coarse": COARSE * frames, "fine": FINE * frames}
    return ROWS * tokens[stage], frames, semantic


def step_s(model: MusicLM, folder: Path, name: str) -> float:
    """Seconds of a step of rapgen's training loop, all that it does in one included."""
    streams = model.streams[name]
    changes = {"crop_s": CROPS_S[name], "batch_size": ROWS, "steps": STEPS}
    settings = getattr(model.recipe.stages, name).model_copy(update=changes)
    sizes = {"target": SIZE} | {key: stream.spec.codebook_size for key, stream in streams.inputs.items()}
    batch = {k: torch.randint_like(zeros, sizes[k]) for k, zeros in example_batch(streams, settings).items()}
    marks: list[float] = []

    def watch(kind: str, step: int, figures: dict[str, float]) -> None:
        if kind == "train":
            marks.append(time.perf_counter())

    fresh: TokenLM = make_model(model.recipe, streams)
    stage = Stage(name, settings, fresh, batch=lambda number: (batch,), valid_batches=lambda: [(batch,)])
    with tempfile.TemporaryDirectory(dir=folder) as place:
        train(stage, Path(place), seed=0, watch=watch)
    return (marks[-1] - marks[0]) / (STEPS - 1)


def peer_step_s(peer: Peer, stage: str) -> float:
    """The same of audiolm-pytorch."""
    _, frames, semantic = crop(stage)
    return peer.training_step_s(stage, ROWS, frames, semantic)


def titles(name: str) -> str:
    """A contender in words."""
    return {"own": "rapgen", "flat": "rapgen, flat", "peer": "audiolm-pytorch"}[name]


if __name__ == "__main__":
    main()
