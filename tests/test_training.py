"""The loop: what a checkpoint holds, that a resumed run is the unbroken one, and how training goes wrong."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import Quiet
from hypothesis import given
from hypothesis import strategies as st

from rapgen.checkpoint import KEPT, latest_checkpoint, read_meta, read_state
from rapgen.errors import MismatchError, ModelError
from rapgen.recipe import load_recipe, parse_recipe
from rapgen.schema import Training
from rapgen.tokens.shards import Shards
from rapgen.training.loop import Stage, computes_in_bf16, learning_rate, train
from rapgen.training.pipeline import prepare_tokens, train_stages
from rapgen.training.run import Run
from rapgen.training.stages import make_stage
from rapgen.training.state import Progress, averaged_state, update_ema

STATES = ("model", "ema", "optimizer")
HELD_OUT = 10**6  # number of a batch that no test trains on


def run_with(tiny_run: Path, folder: Path, changes: dict[str, Any], stage: str = "coarse") -> Run:
    """A copy of the toy run without one stage's checkpoints and with other settings for it."""
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns(stage))
    tree = yaml.safe_load((tiny_run / "recipe.yaml").read_text())
    tree["stages"][stage] |= changes
    run = Run(folder, parse_recipe(tree, "toy.yaml"))
    run.save_recipe()
    return run


def checkpoint(run: Run, stage: str = "coarse") -> Path:
    found = latest_checkpoint(run.stage(stage))
    assert found is not None
    return found


# ----------------------------------------------------------------------------------------------- resuming


def test_a_killed_run_resumes_to_the_unbroken_one_bit_for_bit(tiny_run: Path, tmp_path: Path) -> None:
    model = {"width": 32, "layers": 2, "heads": 2, "dropout": 0.1}
    settings = {"steps": 40, "checkpoint_every": 7, "valid_every": 5, "accumulate": 2, "model": model}
    unbroken, killed = (run_with(tiny_run, tmp_path / name, settings) for name in ("unbroken", "killed"))
    train_stages(unbroken, ("coarse",), Quiet())

    kill_after_a_checkpoint(killed)
    step = read_meta(checkpoint(killed))["step"]
    assert 0 < step < 40
    report = Quiet()
    train_stages(killed, ("coarse",), report)
    assert report.figures["coarse"][0][:2] == ("train", step + 1)

    ours, theirs = checkpoint(unbroken), checkpoint(killed)
    assert read_meta(ours) == read_meta(theirs)
    for name in STATES:
        one, other = read_state(ours, name), read_state(theirs, name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name


def kill_after_a_checkpoint(run: Run) -> None:
    """Train in another process, slowed down a little, and end it by SIGKILL amid its steps."""
    script = (
        "import sys, time, conftest\n"
        "from pathlib import Path\n"
        "from rapgen.training.pipeline import train_stages\n"
        "from rapgen.training.run import open_run\n"
        "class Slow(conftest.Quiet):\n"
        "    def training(self, stage, steps):\n"
        "        return lambda *step: time.sleep(0.05)\n"
        "train_stages(open_run(Path(sys.argv[1])), ('coarse',), Slow())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", script, str(run.folder)], env=environment)
    try:
        deadline = time.monotonic() + 120
        while latest_checkpoint(run.stage("coarse")) is None:
            assert process.poll() is None, "ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def test_a_finished_stage_is_left_as_it_is(tiny_run: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", load_recipe(tiny_run / "recipe.yaml"))
    shutil.copytree(tiny_run, run.folder)
    before = {path: path.stat().st_mtime_ns for path in run.stage("fine").rglob("*")}
    report = Quiet()
    train_stages(run, ("fine",), report)
    assert report.figures == {"fine": []}
    assert {path: path.stat().st_mtime_ns for path in run.stage("fine").rglob("*")} == before


# -------------------------------------------------------------------------------------------- checkpoints


def test_checkpoints_carry_what_they_depend_on(tiny_run: Path) -> None:
    recipe = load_recipe(tiny_run / "recipe.yaml")
    for stage in ("semantic", "coarse", "fine"):
        kept = sorted(path.name for path in (tiny_run / stage).iterdir())
        assert kept == ["step_00000010", "step_00000020"]
        assert len(kept) <= KEPT
        meta = read_meta(tiny_run / stage / kept[-1])
        assert meta["recipe_sha256"] == recipe.sha256
        assert meta["identities"].keys() >= {"codec", "semantic", "text_encoder", "mulan", "conditioners.groove"}
        assert meta["identities"]["codec"]["spec"]["hop_length"] == 160
        assert meta["progress"]["step"] == 20
        assert math.isfinite(meta["progress"]["valid"]["loss"])


def change_an_option(run: Run) -> Run:
    tree = run.recipe.model_dump(mode="json")
    tree["codec"]["codebook_size"] = 32
    return Run(run.folder, parse_recipe(tree, "toy.yaml"))


def change_a_state(run: Run) -> Run:
    """MuLaN trained anew from another seed."""
    tree = run.recipe.model_dump(mode="json") | {"seed": 7}
    shutil.rmtree(run.stage("mulan"))
    other = Run(run.folder, parse_recipe(tree, "toy.yaml"))
    train_stages(other, ("mulan",), Quiet())
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [(change_an_option, "spec was .*codebook_size=64"), (change_a_state, "mulan.*state_sha256 was")],
)
def test_another_part_does_not_fit(tiny_run: Path, tmp_path: Path, change: Any, message: str) -> None:
    run = Run(tmp_path / "run", load_recipe(tiny_run / "recipe.yaml"))
    shutil.copytree(tiny_run, run.folder)
    changed = change(run)
    for split in ("tokens", "no tokens"):  # the shards say so, and without them the checkpoint does
        if split == "no tokens":
            shutil.rmtree(run.folder / "tokens")
        with pytest.raises(MismatchError, match=message) as caught:
            train_stages(changed, ("coarse",), Quiet())
        assert "\n" not in str(caught.value)


def test_another_size_does_not_fit(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    tree = yaml.safe_load((tiny_run / "recipe.yaml").read_text())
    tree["stages"]["coarse"]["model"]["width"] = 64
    with pytest.raises(MismatchError, match="does not fit the recipe's sizes"):
        train_stages(Run(tmp_path / "run", parse_recipe(tree, "toy.yaml")), ("coarse",), Quiet())


def test_stages_say_what_they_lack(toy_recipe: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path, parse_recipe(toy_recipe, "toy.yaml"))
    with pytest.raises(ModelError, match="has no trained mulan; run `rapgen train mulan`"):
        train_stages(run, ("coarse",), Quiet())


# ------------------------------------------------------------------------------------------ a small stage


class Line(torch.nn.Module):
    """y = w x + b on made-up points; a stage with nothing around it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 1))
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        error = x @ self.weight + self.bias - x.sum(1, keepdim=True)
        return error.square().mean(), {"error": error.detach().abs().mean()}


def points(number: int, count: int) -> torch.Tensor:
    """f32 [count, 3]: batch `number` of one endless list."""
    rows = range(number * count, (number + 1) * count)
    return torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(row)) for row in rows])


def line_stage(**changes: Any) -> Stage:
    defaults = {"steps": 20, "batch_size": 8, "warmup_steps": 2, "learning_rate": 0.1, "weight_decay": 0.0}
    settings = Training(**(defaults | {"clip_norm": 1e6, "valid_every": 5, "ema_decay": 0.5} | changes))
    return Stage(
        name="line",
        settings=settings,
        model=Line(),
        batch=lambda number: (points(number, settings.batch_size),),
        valid_batches=lambda: [(points(HELD_OUT, 8),)],
    )


def train_line(folder: Path, **changes: Any) -> tuple[Stage, Progress, Quiet]:
    stage, report = line_stage(**changes), Quiet()
    return stage, train(stage, folder, seed=0, watch=report.training("line", stage.settings.steps)), report


def test_accumulated_batches_equal_one_of_their_size(tmp_path: Path) -> None:
    whole, _, _ = train_line(tmp_path / "whole", batch_size=8)
    parts, _, _ = train_line(tmp_path / "parts", batch_size=4, accumulate=2)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_training_stops_when_validation_no_longer_improves(tmp_path: Path) -> None:
    _, progress, report = train_line(tmp_path, steps=1000, learning_rate=1e-30, patience=3)
    assert progress.step == 5 * (1 + 3)
    assert report.figures["line"][-1][:2] == ("valid", 20)
    assert latest_checkpoint(tmp_path) == tmp_path / "step_00000020"
    _, again, report = train_line(tmp_path, steps=1000, learning_rate=1e-30, patience=3)
    assert again.step == 20
    assert report.figures["line"] == []


def test_validation_sees_the_averages_and_changes_nothing(tmp_path: Path) -> None:
    often, _, report = train_line(tmp_path / "often", valid_every=1)
    never, _, _ = train_line(tmp_path / "never", valid_every=20)
    for name, value in often.model.state_dict().items():
        assert torch.equal(value, never.model.state_dict()[name])
    model = Line()
    model.load_state_dict(read_state(tmp_path / "often" / "step_00000020", "ema"))
    loss, _ = model(points(HELD_OUT, 8))
    assert report.figures["line"][-1][2]["loss"] == pytest.approx(loss.item())


def test_divergence_is_one_error_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the loss is inf at step 1; lower the learning rate$"):
        train_line(tmp_path, learning_rate=1e30, warmup_steps=0)
    assert latest_checkpoint(tmp_path) is None


def test_a_diverging_token_stage_is_one_error(tiny_run: Path, tmp_path: Path) -> None:
    run = run_with(tiny_run, tmp_path / "run", {"learning_rate": 1e20, "clip_norm": 1e20}, stage="fine")
    with pytest.raises(ModelError, match=r"fine: the loss is (nan|inf) .*lower the learning rate$"):
        train_stages(run, ("fine",), Quiet())


# ---------------------------------------------------------------------------------- schedule and averages


@given(
    steps=st.integers(1, 10_000),
    warmup_steps=st.integers(0, 2_000),
    peak=st.floats(1e-6, 1.0),
)
def test_rate_rises_to_its_peak_then_falls_to_a_tenth(steps: int, warmup_steps: int, peak: float) -> None:
    settings = Training(steps=steps, warmup_steps=warmup_steps, learning_rate=peak)
    some = sorted({*range(0, steps + 1, max(1, steps // 50)), min(warmup_steps, steps), steps})
    rates = [learning_rate(settings, step) for step in some]
    assert all(0 < rate <= peak * (1 + 1e-9) for rate in rates)
    for step, rate, later in zip(some, rates, rates[1:], strict=False):
        assert later >= rate * (1 - 1e-9) if step < warmup_steps else later <= rate
    if steps > warmup_steps:
        assert learning_rate(settings, warmup_steps) == pytest.approx(peak)
        assert rates[-1] == pytest.approx(peak / 10)


@given(decay=st.floats(0, 1), steps=st.integers(1, 20), start=st.floats(-10, 10), end=st.floats(-10, 10))
def test_averages_move_geometrically_between_old_and_new(decay: float, steps: int, start: float, end: float) -> None:
    model = Line()
    torch.nn.init.constant_(model.weight, start)
    averages = {name: value.detach().clone() for name, value in model.named_parameters()}
    torch.nn.init.constant_(model.weight, end)
    for _ in range(steps):
        update_ema(averages, model, decay)
    torch.testing.assert_close(
        averages["weight"], torch.full((3, 1), end + (start - end) * decay**steps), atol=1e-4, rtol=1e-4
    )
    assert averaged_state(model, averages)["weight"] is not averages["weight"]


def test_batches_are_functions_of_their_number(tiny_run: Path) -> None:
    run = Run(tiny_run, load_recipe(tiny_run / "recipe.yaml"))
    parts = prepare_tokens(run, Quiet())
    stage, again = make_stage(run, "semantic", parts), make_stage(run, "semantic", parts)
    for number in (0, 3, 1000):
        (one, chance), (other, same_chance) = stage.batch(number), again.batch(number)
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(chance, same_chance)
    assert not torch.equal(stage.batch(0)[0]["target"], stage.batch(1)[0]["target"])
    assert len(Shards(run.tokens("train"))) == 8


@pytest.mark.parametrize(
    ("machine", "capability", "expected"),
    [
        ("x86_64", "AVX2", False),
        ("x86_64", "AVX512", True),
        ("arm64", "DEFAULT", True),
    ],
)
def test_bf16_is_left_alone_where_it_would_be_emulated(
    machine: str, capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    settings = Training(precision="bf16")
    assert computes_in_bf16(settings, torch.device("cpu")) is expected
    assert ("no bf16" in caplog.text) is not expected
    assert computes_in_bf16(settings, torch.device("cuda"))
    assert not computes_in_bf16(Training(precision="fp32"), torch.device("cpu"))
