"""The benchmarks of speed: turns and ratios, models of a given size, and ours run at tiny sizes; no peers."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their folder is where modules are looked for, as when one is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.fixture
def harness(benchmarks: None) -> ModuleType:
    import harness

    return harness


@pytest.fixture
def run(harness: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Runs a benchmark by its command line, with one thread; its figures."""
    monkeypatch.setattr(harness, "thread_counts", lambda: [1])  # threads that share a busy core take minutes

    def run(name: str, *options: str) -> dict[str, float]:
        figures = tmp_path / "figures.json"
        monkeypatch.setattr(sys, "argv", [name, "--runs", "1", "--json", str(figures), *options])
        importlib.import_module(name).main()
        return json.loads(figures.read_text())

    return run


def test_contenders_take_turns(harness: ModuleType) -> None:
    seen: list[str] = []

    def measure(name: str) -> int:
        seen.append(name)
        return len(seen)

    given = harness.alternate({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3)
    assert seen == ["a", "b"] * 3
    assert given == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_a_ratio_is_of_the_same_turn(harness: ModuleType) -> None:
    # A machine that was busy in the second turn slowed both.
    assert harness.ratio([2.0, 200.0, 2.0], [1.0, 100.0, 1.0]) == 2.0


def test_seconds_are_those_of_the_work(harness: ModuleType) -> None:
    assert 0.02 <= harness.seconds(lambda: time.sleep(0.02)) < 2


def test_threads_are_given_for_the_work_alone(harness: ModuleType) -> None:
    before = torch.get_num_threads()
    assert harness.with_threads(torch.get_num_threads, 2)() == 2
    assert torch.get_num_threads() == before


def test_the_faster_number_of_threads_is_taken(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "thread_counts", lambda: [1, 2])
    assert harness.best_threads(lambda: time.sleep(0.05 if torch.get_num_threads() == 1 else 0)) == 2
    assert harness.best_threads(lambda: time.sleep(0.05 if torch.get_num_threads() == 2 else 0)) == 1


def test_bandwidth_is_of_bytes_read(harness: ModuleType) -> None:
    found = harness.read_bandwidth(1, size=64 * 2**20, runs=2)
    assert 1e8 < found < 1e13  # a laptop's memory or a cache, not a unit mistaken


def test_the_machine_is_told(harness: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    harness.print_machine("numpy")
    told = capsys.readouterr().out
    assert f"{os.cpu_count()} cores" in told
    assert f"torch {torch.__version__.partition('+')[0]}" in told
    assert "numpy " in told


def test_a_model_has_the_sizes_asked_for(benchmarks: None, tmp_path: Path) -> None:
    import musicgen

    model = musicgen.model_of(tmp_path, 64, 2, 3.0, crop_s=1)
    coarse = model.models["coarse"]
    assert (coarse.transformer.width, len(coarse.transformer.blocks), coarse.pattern) == (64, 2, "delay")
    assert (coarse.target.num_codebooks, coarse.target.codebook_size) == (musicgen.BOOKS, musicgen.SIZE)
    musicgen.decode(model, 10)


def test_stages_are_timed_where_they_work(benchmarks: None, tmp_path: Path) -> None:
    import audiolm

    options = Namespace(width=64, layers=1, seconds=1)
    for patterns in audiolm.PATTERNS:
        model = audiolm.model_of(tmp_path / patterns, patterns, options)
        advance = audiolm.CausalDecoder.advance
        start = time.perf_counter()
        spent = audiolm.our_seconds(model, 1)
        took_s = time.perf_counter() - start
        assert set(spent) == {"semantic", "coarse", "fine", "codes"}
        assert min(spent.values()) > 0
        assert sum(spent.values()) < took_s
        assert audiolm.CausalDecoder.advance is advance
    assert model.models["fine"].pattern == "flat"
    assert audiolm.step_s(model, tmp_path, "fine") > 0


def test_generation_runs(run: Callable[..., dict[str, float]], tiny_run: Path) -> None:
    figures = run("generation", "--model", str(tiny_run), "--seconds", "2", "--durations", "1", "2")
    assert figures["real_time"] > 0
    assert 0 < figures["first_audio_s"] <= 2 / figures["real_time"]
    assert figures["outside_s"] > 0
    assert figures["growth"] > 0
    assert 100 < figures["peak_mib_1"] < 5000


def test_codec_runs_beside_encodec(run: Callable[..., dict[str, float]], tiny_run: Path) -> None:
    figures = run("codec", "--model", str(tiny_run), "--seconds", "1")
    for direction in ("encode", "decode"):
        expected = figures[f"rapgen {direction} 1"] / figures[f"encodec {direction} 1"]
        assert figures[f"ratio {direction} 1"] == pytest.approx(expected)


def test_bandwidth_runs(run: Callable[..., dict[str, float]]) -> None:
    figures = run("bandwidth", "--width", "64", "--layers", "1", "--seconds", "1")
    assert figures["share"] == pytest.approx(figures["steps/s"] * figures["weight_bytes"] / figures["memory, 1"])
    assert figures["weight_bytes"] > 64 * 4 * 2048  # the heads alone, at a byte each


def test_training_runs(run: Callable[..., dict[str, float]]) -> None:
    sizes = ("--set", "stages.coarse.model.layers=1", "--set", "stages.coarse.batch_size=1")
    figures = run("training", "--recipe", "tiny", "--stage", "coarse", *sizes, "--steps", "1")
    assert figures["coarse tokens/s"] > 0
    assert figures["coarse mfu"] > 0
