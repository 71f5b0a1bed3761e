"""Many processes: two with half the batch are one with the whole; one that dies ends all in one line; none hangs."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import processes_worker as worker
import psutil
import pytest
import torch
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_training import line_stage

from rapgen.checkpoint import State, latest_checkpoint, read_meta, read_state
from rapgen.cli.launch import launch
from rapgen.recipe import parse_recipe
from rapgen.tokens.batches import ClipOrder, uniforms
from rapgen.training.loop import train
from rapgen.training.pipeline import train_stages
from rapgen.training.run import Run, open_run

pytestmark = pytest.mark.xdist_group("processes")  # all in one worker: the runs are made once

TOKEN_STAGES = ("semantic", "coarse", "fine")
STEPS, HALF_WAY = 6, 3
TESTS = Path(__file__).parent
CLOSE = {"atol": 5e-6, "rtol": 1e-4}
# A key's bias moves all scores of a query alike, so its gradient is all rounding; of that, Adam makes whole steps.
KEY_BIAS = ("in_proj_bias", {"atol": 1e-2, "rtol": 0.0})


def recipe_tree(*, batch_size: int, sharded: bool = False, codec: str = "toy") -> dict[str, Any]:
    """The toy recipe, or one with a codec that is trained; few steps, and no dropout but that of conditions."""
    tree = copy.deepcopy(conftest._TOY_RECIPE)
    if codec == "boombox":
        sizes = {"num_codebooks": 3, "codebook_size": 8, "width": 16, "latent_width": 16, "code_dim": 8}
        tree["codec"] = {"use": codec, **sizes}
        tree["stages"]["codec"] = {"crop_s": 1.0, **conftest._LOOP}
    for stage in tree["stages"].values():
        stage |= {"batch_size": batch_size, "steps": STEPS, "valid_every": HALF_WAY, "checkpoint_every": HALF_WAY}
    for stage in TOKEN_STAGES:
        tree["stages"][stage]["sharded"] = sharded
    return tree


def lay_out(folder: Path, source: Path | None = None, *, without: tuple[str, ...] = (), **recipe: Any) -> Run:
    """A run with a recipe of its own, beside what a copy of another brings."""
    if source is not None:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("recipe.yaml", "logs", *without))
    run = Run(folder, parse_recipe(recipe_tree(**recipe), "toy.yaml"))
    run.save_recipe()
    return run


def back_to_half(run: Run, *stages: str) -> None:
    for stage in stages:
        shutil.rmtree(run.stage(stage) / f"step_{STEPS:08d}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: those called "one" trained by this process with whole batches, others by two with halves."""
    folder = tmp_path_factory.mktemp("processes")
    one = lay_out(folder / "one", batch_size=4)
    worker.train_run(one.folder, ("mulan", *TOKEN_STAGES))
    lay_out(folder / "one codec", batch_size=4, codec="boombox")
    worker.train_run(folder / "one codec", ("codec",))

    lay_out(folder / "codec", batch_size=2, codec="boombox")
    lay_out(folder / "mulan", batch_size=2)
    lay_out(folder / "tokens", one.folder, without=TOKEN_STAGES, batch_size=2)
    lay_out(folder / "sharded", one.folder, without=TOKEN_STAGES, batch_size=2, sharded=True)
    back_to_half(lay_out(folder / "resumed", one.folder, batch_size=2), "coarse")
    back_to_half(lay_out(folder / "resumed sharded", one.folder, batch_size=2, sharded=True), "coarse")
    todo = {
        "codec": ["codec"],
        "mulan": ["mulan"],
        "tokens": TOKEN_STAGES,
        "sharded": ["semantic", "fine"],
        "resumed": ["coarse"],
        "resumed sharded": ["coarse"],
    }
    (folder / "todo.json").write_text(json.dumps(todo))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        launch([sys.executable, str(TESTS / "processes_worker.py"), str(folder)], 2)
    return folder


def states(run: Path, stage: str) -> Iterator[tuple[str, State]]:
    path = latest_checkpoint(run / stage)
    assert path is not None
    assert read_meta(path)["step"] == STEPS
    for name in ("model", "ema", "optimizer"):
        yield name, read_state(path, name)


def expect_equal(run: Path, other: Path, stage: str) -> None:
    for (name, mine), (_, others) in zip(states(run, stage), states(other, stage), strict=True):
        assert mine.keys() == others.keys()
        for key, value in mine.items():
            close = KEY_BIAS[1] if KEY_BIAS[0] in key else CLOSE
            torch.testing.assert_close(value, others[key], **close, msg=lambda m, k=key, n=name: f"{n} {k}: {m}")


# ------------------------------------------------------------------------------------------------ equality


@pytest.mark.parametrize(
    ("run", "one", "stage"),
    [
        ("codec", "one codec", "codec"),
        ("mulan", "one", "mulan"),
        *[("tokens", "one", stage) for stage in TOKEN_STAGES],
        *[("sharded", "one", stage) for stage in ("semantic", "fine")],
        ("resumed", "one", "coarse"),
        ("resumed sharded", "one", "coarse"),
    ],
)
def test_two_processes_with_half_the_batch_are_one_with_the_whole(runs: Path, run: str, one: str, stage: str) -> None:
    expect_equal(runs / run, runs / one, stage)


def read_figures(path: Path) -> dict[str, list[tuple[str, int, dict[str, float]]]]:
    """What was told of each stage, without how fast it went."""
    return {
        stage: [
            (kind, step, {k: v for k, v in figures.items() if not k.endswith("_per_s")}) for kind, step, figures in told
        ]
        for stage, told in json.loads(path.read_text()).items()
    }


@pytest.mark.parametrize(
    ("run", "one"), [("codec", "one codec"), ("mulan", "one"), ("tokens", "one"), ("sharded", "one")]
)
def test_the_figures_are_those_of_all(runs: Path, run: str, one: str) -> None:
    mine, other, whole = (
        read_figures(runs / name) for name in (f"{run}/figures0.json", f"{run}/figures1.json", f"{one}/figures0.json")
    )
    assert mine == other  # what is decided by them is decided alike
    for stage in mine:
        trained = [(step, figures) for kind, step, figures in mine[stage] if kind == "train"]
        expected = [(step, figures) for kind, step, figures in whole[stage] if kind == "train"]
        assert [step for step, _ in trained] == [step for step, _ in expected] == list(range(1, STEPS + 1))
        for (_, ours), (_, theirs) in zip(trained, expected, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("begun", ["tokens", "sharded"])
def test_what_two_processes_began_one_ends(runs: Path, tmp_path: Path, begun: str) -> None:
    run = lay_out(tmp_path / "run", runs / begun, batch_size=4)
    back_to_half(run, "semantic")
    train_stages(run, ("semantic",), conftest.Quiet())
    expect_equal(run.folder, runs / "one", "semantic")


def test_codebooks_move_by_the_vectors_of_all(runs: Path, tmp_path: Path) -> None:
    worker.quantize(tmp_path / "whole")
    whole, first, second = (load_file(path) for path in (tmp_path / "whole", *sorted(runs.glob("vq*"))))
    assert whole["codebooks"][0].mean() > 40  # dead codes were revived
    for name, value in whole.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, atol=1e-4, rtol=1e-4)


def test_accumulated_batches_of_two_processes_are_one_batch(runs: Path, tmp_path: Path) -> None:
    worker.train_line(tmp_path, batch_size=8)
    states = [read_state(folder / "step_00000020", "model") for folder in (tmp_path, runs / "line")]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-5, rtol=1e-4)


def test_two_processes_resume_bit_for_bit(runs: Path) -> None:
    for name in ("model", "ema", "optimizer"):
        once, again = (read_state(runs / line / "step_00000020", name) for line in ("line", "line again"))
        assert all(torch.equal(value, again[key]) for key, value in once.items())


def test_a_parameter_that_no_loss_reaches_stays(runs: Path, tmp_path: Path) -> None:
    state = read_state(runs / "partial" / "step_00000020", "model")
    assert torch.equal(state["idle"], torch.ones(2, 2))
    train(line_stage(batch_size=8, weight_decay=0.1), tmp_path, seed=0, watch=lambda *step: None)
    whole = read_state(tmp_path / "step_00000020", "model")
    torch.testing.assert_close(state["weight"], whole["weight"], atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_no_number_in_one_process_ends_all(runs: Path) -> None:
    told = [(runs / f"broken{rank}.txt").read_text() for rank in range(2)]
    assert told == ["line: the loss is nan at step 3; lower the learning rate"] * 2
    assert latest_checkpoint(runs / "broken") is None


def test_torchrun_does_as_well(runs: Path, tmp_path: Path) -> None:
    run = lay_out(tmp_path / "run", runs / "one", without=("fine",), batch_size=2)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    done = subprocess.run(
        [*torchrun, "rapgen", "train", "fine", "--run", str(run.folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained fine") == 1
    expect_equal(run.folder, runs / "one", "fine")


# ------------------------------------------------------------------------------------------ chance by rows


@given(
    cuts=st.lists(st.integers(0, 40), max_size=5),
    first=st.integers(0, 10**12),
    columns=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_rows_have_their_chance_however_they_are_dealt(cuts: list[int], first: int, columns: int, seed: int) -> None:
    whole = uniforms(seed, "stage", first=first, rows=40, columns=columns)
    edges = sorted({0, 40, *cuts})
    parts = [
        uniforms(seed, "stage", first=first + start, rows=end - start, columns=columns)
        for start, end in pairwise(edges)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (40, columns)
    assert whole.dtype == np.float32
    assert ((whole > 0) & (whole < 1)).all()
    assert len(np.unique(whole)) > 0.99 * whole.size
    assert not np.array_equal(whole, uniforms(seed, "other", first=first, rows=40, columns=columns))


@given(count=st.integers(1, 30), rows=st.integers(1, 12), split=st.integers(1, 4), batch=st.integers(0, 50))
def test_clips_are_dealt_by_rows_too(count: int, rows: int, split: int, batch: int) -> None:
    whole = ClipOrder(np.ones(count), 0, "stage").clips(batch * rows * split, rows * split)
    parts = [ClipOrder(np.ones(count), 0, "stage").clips((batch * split + n) * rows, rows) for n in range(split)]
    assert np.array_equal(np.concatenate(parts), whole)


# ------------------------------------------------------------------------------------------------- launching


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """`rapgen ARGUMENTS`, going on by itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "rapgen", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    """The processes that were launched, in the order of their ranks."""
    deadline = time.monotonic() + 120
    while len(found := [c for c in psutil.Process(process.pid).children() if "RANK" in c.environ()]) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


def expect_gone(found: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(found, timeout=20)
    assert not alive


def test_a_killed_rank_ends_the_command_with_one_line(runs: Path, tmp_path: Path) -> None:
    tree = yaml.safe_load((runs / "tokens" / "recipe.yaml").read_text())
    tree["stages"]["coarse"] |= {"steps": 100_000}
    run = Run(tmp_path / "run", parse_recipe(tree, "toy.yaml"))
    shutil.copytree(runs / "tokens", run.folder)
    run.save_recipe()
    process = start("train", "coarse", "--run", run.folder, "--processes", "2")
    try:
        ranks = children(process, 2)
        deadline = time.monotonic() + 120
        while latest_checkpoint(run.stage("coarse")) == run.stage("coarse") / f"step_{STEPS:08d}":
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ranks[1].kill()
        killed = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - killed < 10
    finally:
        process.kill()
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert lines == [
        "error: rank 1 of 2 processes was ended by SIGKILL, perhaps for lack of memory; "
        "run the same command to go on from the last checkpoint"
    ]
    assert err.splitlines()[-1] == lines[0]
    assert (process.returncode, out) == (1, "")
    expect_gone(ranks)
    assert open_run(run.folder).recipe.sha256 == run.recipe.sha256


def test_an_error_of_all_ranks_is_told_once(runs: Path, tmp_path: Path) -> None:
    lay_out(tmp_path / "run", runs / "tokens", without=("fine",), batch_size=2)
    broken = ["--set", "stages.fine.learning_rate=1e30", "--set", "stages.fine.clip_norm=1e30"]
    process = start("train", "fine", "--run", tmp_path / "run", *broken, "--processes", "2")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert line.startswith("error: fine: the loss is ")
    assert line.endswith("lower the learning rate")


def test_processes_end_with_their_launcher() -> None:
    waits = "import time; from rapgen.processes import end_with_launcher as go; go(); print(1, flush=1); time.sleep(99)"
    script = f"import sys; from rapgen.cli.launch import launch; launch([sys.executable, '-c', {waits!r}], 2)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    ranks = children(process, 2)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.kill()
    process.wait()
    expect_gone(ranks)


def test_stopping_the_command_stops_all() -> None:
    script = (
        "import sys; from rapgen.cli.launch import launch\n"
        "launch([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(99)'], 2)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    ranks = children(process, 2)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    expect_gone(ranks)


def code(ending: str, *, rank: int) -> list[str]:
    """A command that ends so in one rank and would go on for long in the others."""
    return [sys.executable, "-c", f"import os, time\nif os.environ['RANK'] == '{rank}': {ending}\ntime.sleep(99)"]


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("os._exit(7)", "rank 1 of 3 processes ended with status 7; run the same command"),
        ("os.abort()", "rank 1 of 3 processes was ended by SIGABRT; run the same command"),
    ],
)
def test_what_leaves_no_word_is_told_of(ending: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with pytest.raises(typer.Exit) as caught:
        launch(code(ending, rank=1), 3)
    assert caught.value.exit_code == 1
    assert time.monotonic() - begun < 20
    assert capsys.readouterr().err.startswith(f"error: {told}")


def test_all_is_well_when_all_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    launch([sys.executable, "-c", "import os; assert os.environ['WORLD_SIZE'] == '2'"], 2)
    assert capsys.readouterr().err == ""
    assert "WORLD_SIZE" not in os.environ
