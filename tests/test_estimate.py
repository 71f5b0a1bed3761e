"""The memory that training is said to take against what it takes: pages of a process that does real steps."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rapgen.parts import build_parts
from rapgen.recipe import load_recipe
from rapgen.schema import Recipe
from rapgen.tokens.streams import make_model, stage_streams
from rapgen.training import estimate
from rapgen.training.estimate import example_batch, training_memory

SIZES = {"mulan": 6, "coarse": 3, "fine": 8}  # stages that are measured, and batches that take a hundred MB or two


def boombox(*overrides: str) -> Recipe:
    return load_recipe("boombox", [*(f"stages.{s}.batch_size={n}" for s, n in SIZES.items()), *overrides])


def plain(*overrides: str) -> Recipe:
    """In fp32: many a CPU has no bf16."""
    return boombox(*(f"stages.{s}.precision=fp32" for s in SIZES), *overrides)


def take(recipe: Recipe, stage: str, *, on_gpu: bool = False) -> estimate.Memory:
    memory = training_memory(recipe, build_parts(recipe), stage, on_gpu=on_gpu)
    assert memory is not None
    return memory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of a process's pages")
def test_a_step_takes_what_was_said() -> None:
    found = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    taken = json.loads(found.stdout.splitlines()[-1])
    assert taken.keys() == SIZES.keys()
    for stage, size in taken.items():
        said = take(plain(), stage).total()
        assert said / 1.75 < size < said * 1.75, f"{stage}: {size / 1e6:.0f} MB, said to be {said / 1e6:.0f}"


def test_further_layers_take_what_the_second_takes() -> None:
    recipe = boombox("stages.coarse.model.layers=5")
    streams = stage_streams(recipe, build_parts(recipe), "coarse")
    settings = recipe.stages.coarse
    counted = estimate._step(
        lambda: (make_model(recipe, streams), (example_batch(streams, settings),)), settings, on_gpu=False
    )
    assert take(recipe, "coarse").step == pytest.approx(counted, rel=1e-6)


def test_what_changes_memory() -> None:
    def one_layer(*overrides: str) -> Recipe:
        return boombox("stages.coarse.model.layers=1", *overrides)

    usual = take(one_layer(), "coarse")
    larger = take(one_layer("stages.coarse.batch_size=6"), "coarse")
    assert larger.held == usual.held
    assert 1.6 * usual.step < larger.step < 2 * usual.step
    assert take(one_layer("stages.coarse.precision=fp32"), "coarse").step > 1.2 * usual.step
    assert usual.total(8) == usual.held // 8 + usual.step
    assert take(one_layer(), "coarse", on_gpu=True) == usual  # without dropout
    with_dropout = one_layer("stages.coarse.model.dropout=0.1")
    assert take(with_dropout, "coarse", on_gpu=True).step < take(with_dropout, "coarse").step / 1.15


def test_mulan_takes_on_a_gpu_what_it_takes_without_dropout() -> None:
    recipe = boombox("stages.mulan.batch_size=2", "mulan.layers=1")
    assert take(recipe, "mulan", on_gpu=True) == take(recipe, "mulan")


def test_what_comes_trained_takes_nothing() -> None:
    recipe = boombox("codec={use: toy, num_codebooks: 8}")
    assert training_memory(recipe, build_parts(recipe), "codec", on_gpu=False) is None


def _pages(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def _measure(recipe: Recipe, stage: str) -> int:
    """Bytes by which this process grows in a second step, counted from before the model is there."""
    settings = getattr(recipe.stages, stage)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _pages("VmRSS")
    parts = build_parts(recipe)
    if stage == "mulan":
        model, batch = parts[stage].component.module, estimate._audio_batch(parts, stage, settings)
        batch = tuple(torch.randn_like(x) for x in batch)
    else:
        streams = stage_streams(recipe, parts, stage)
        model, batch = make_model(recipe, streams), (example_batch(streams, settings),)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    averages = [p.detach().clone() for p in model.parameters()]
    model.train()
    for _ in range(2):
        loss, _figures = model(*batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert averages
    return _pages("VmHWM") - before


def _child(stage: str) -> int:
    sizes = {"width": 16, "layers": 1, "heads": 1}
    tiny = [f"stages.{stage}.batch_size=1", f"stages.coarse.model={sizes}", f"stages.fine.model={sizes}"]
    _measure(plain(*tiny, *(f"mulan.{k}={n}" for k, n in sizes.items())), stage)  # what libraries keep for good
    return _measure(plain(), stage)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:  # a process a stage, torch imported
        print(json.dumps(dict(zip(SIZES, pool.map(_child, SIZES, chunksize=1), strict=True))))
