"""Shared by all tests: one thread a process, plugins that are made up, a toy run, trained once a session."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import copy
import fcntl
import importlib.metadata
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from rapgen.hookspecs import hookimpl
from rapgen.recipe import parse_recipe
from rapgen.registry import registry
from rapgen.schema import STAGES
from rapgen.training.loop import Watch
from rapgen.training.pipeline import train_stages
from rapgen.training.run import Run

torch.set_num_threads(1)
hypothesis.settings.register_profile("rapgen", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("rapgen")

_MODEL = {"width": 32, "layers": 2, "heads": 2}
_LOOP = {"learning_rate": 3e-3, "warmup_steps": 5, "ema_decay": 0.9, "valid_every": 10, "checkpoint_every": 10}
_TOY_RECIPE: dict[str, Any] = {
    "name": "toy",
    "seed": 0,
    "data": {
        "train": {"use": "toy", "num_clips": 8, "duration_s": 4.0, "seed": 0},
        "valid": {"use": "toy", "num_clips": 4, "duration_s": 4.0, "seed": 1},
    },
    "codec": {"use": "toy"},
    "semantic": {"use": "toy"},
    "text_encoder": {"use": "toy"},
    "mulan": {
        "dim": 16, "width": 16, "layers": 1, "heads": 2, "crop_s": 2.0, "codebook_size": 8, "num_codebooks": 2
    },
    "conditioners": {
        "mulan": {"use": "mulan", "window_s": 2.0},
        "groove": {"use": "groove"},
        "grid": {"use": "grid"},
        "toy": {"use": "toy"},
    },
    "stages": {
        "mulan": {"steps": 10, "batch_size": 8, "crop_s": 2.0, **_LOOP},
        "semantic": {
            "steps": 20, "batch_size": 4, "crop_s": 3.0, "model": _MODEL, "pattern": "flat",
            "inputs": ["mulan", "groove", "grid", "toy"], **_LOOP,
        },
        "coarse": {
            "steps": 20, "batch_size": 4, "crop_s": 2.0, "model": _MODEL, "pattern": "delay",
            "inputs": ["mulan", "groove", "grid", "semantic"], "num_codebooks": 2, "look_ahead": 2, **_LOOP,
        },
        "fine": {
            "steps": 20, "batch_size": 4, "crop_s": 1.0, "model": _MODEL, "pattern": "masked",
            "inputs": ["coarse"], "block_s": 0.25, "passes": 3, **_LOOP,
        },
    },
}  # fmt: skip


class Quiet:
    """A reporter that keeps the figures of every stage and shows nothing."""

    def __init__(self) -> None:
        self.figures: dict[str, list[tuple[str, int, dict[str, float]]]] = {}

    def work(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: None

    def training(self, stage: str, steps: int) -> Watch:
        seen = self.figures.setdefault(stage, [])
        return lambda kind, step, figures: seen.append((kind, step, figures))


def train_toy(folder: Path, tree: dict[str, Any], stages: tuple[str, ...] = STAGES) -> Quiet:
    """Train a recipe tree into `folder`; the figures that were reported."""
    report = Quiet()
    train_stages(Run(folder, parse_recipe(tree, "toy.yaml")), stages, report)
    return report


class FakeEntry:
    """An entry point whose module is `loaded`, or raises it."""

    def __init__(self, name: str, loaded: Any, distribution: str = "stranger") -> None:
        self.name, self.loaded = name, loaded
        self.dist = types.SimpleNamespace(name=distribution, version="1.2.3")

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def plugin(offers: dict[tuple[str, str], Callable[..., Any]]) -> types.ModuleType:
    module = types.ModuleType("stranger")

    def rapgen_components(register: Callable[..., None]) -> None:
        for (role, name), factory in offers.items():
            register(role, name, factory)

    vars(module)["rapgen_components"] = hookimpl(rapgen_components)
    return module


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the given entry points those that are installed."""

    def install(*entries: FakeEntry) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: list(entries))
        registry.cache_clear()

    yield install
    registry.cache_clear()


@pytest.fixture
def toy_recipe() -> dict[str, Any]:
    """The tree of the toy run's recipe, to be changed at will."""
    return copy.deepcopy(_TOY_RECIPE)


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of transformers checkpoints by the plugin that reads them, with random weights."""
    from checkpoints import save_audio, save_text  # transformers takes seconds to import

    folder = tmp_path_factory.mktemp("checkpoints")
    return {"hubert": save_audio(folder / "hubert"), "hf": save_text(folder / "hf", "bert")}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of toy parts, all stages; to be read, not written: copy it to change it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # one run for all workers
    folder = shared / "tiny_run"
    with (shared / "tiny_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            train_toy(folder, copy.deepcopy(_TOY_RECIPE))
            (folder / "done").touch()
    return folder
