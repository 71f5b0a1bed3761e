"""What makes training fast, or fit, changes nothing else: pieces, checkpointing, compiled blocks, batches ahead."""

from __future__ import annotations

import io
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from test_token_loss import make
from test_training import run_with
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rapgen.cli import progress
from rapgen.cli.progress import bars
from rapgen.errors import ModelError, RapgenError
from rapgen.models.token_lm import TokenLM
from rapgen.parts import build_parts, load_parts
from rapgen.recipe import load_recipe
from rapgen.schema import TokenStage
from rapgen.tokens.shards import Shards
from rapgen.tokens.tokenize import CODES
from rapgen.training import compiling, fit, stages
from rapgen.training.ahead import ahead, pieces
from rapgen.training.compiling import compile_blocks
from rapgen.training.estimate import training_memory
from rapgen.training.fit import Plan
from rapgen.training.loop import train
from rapgen.training.speed import Meter, Work, peak_flops, token_flops
from rapgen.training.stages import make_stage

CPU = torch.device("cpu")
VALID = {"loss", "accuracy"}
DEEP = "stages.coarse.model={width: 64, layers: 32, heads: 2}"  # activations of blocks weigh most


def trained(tiny_run: Path, folder: Path, stage: str, *, cut: int = 1, **changes: Any) -> dict[str, torch.Tensor]:
    """Weights of a token stage after some steps, its batches in pieces."""
    run = run_with(tiny_run, folder, {"steps": 3, "batch_size": 8, "condition_dropout": 0.2} | changes, stage)
    made = make_stage(run, stage, load_parts(run.folder, run.recipe))
    progress = train(made, run.stage(stage), seed=0, watch=lambda *step: None, pieces=cut)
    return made.model.state_dict() | {name: torch.tensor(progress.valid[name]) for name in VALID}


# ------------------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("stage", ["coarse", "fine"])  # `fine` predicts another number of tokens in every row
def test_how_a_step_is_cut_changes_rounding_alone(tiny_run: Path, tmp_path: Path, stage: str) -> None:
    whole = trained(tiny_run, tmp_path / "whole", stage)
    for name, cut in {
        "pieces": trained(tiny_run, tmp_path / "pieces", stage, cut=3),  # 3, 3 and 2 rows
        "micro-batches": trained(tiny_run, tmp_path / "micro", stage, batch_size=4, accumulate=2),
    }.items():
        if name == "micro-batches":  # validation goes by them
            cut |= {key: whole[key] for key in VALID}
        for key, value in whole.items():
            torch.testing.assert_close(cut[key], value, atol=2e-5, rtol=1e-3, msg=f"{name}: {key}")


def test_pieces_are_all_rows_in_order() -> None:
    batch = ({"target": torch.arange(14).view(7, 2)}, torch.arange(7))
    cut = pieces(batch, 3)
    assert [len(piece[1]) for piece in cut] == [3, 2, 2]
    assert torch.equal(torch.cat([piece[0]["target"] for piece in cut]), batch[0]["target"])
    assert pieces(batch, 1)[0] is batch


# ------------------------------------------------------------------------------------------- checkpointing


def gradients(model: TokenLM, batch: Any) -> list[torch.Tensor]:
    torch.manual_seed(1)
    loss, _ = model.train()(batch)
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("pattern", ["flat", "masked"])
def test_checkpointing_leaves_gradients_as_they_are(pattern: str) -> None:
    model, batch = make(pattern)
    for block in model.transformer.blocks:
        block.dropout.p = block.attention.dropout = 0.3
    usual = gradients(model, batch)
    model.transformer.checkpointing = True
    for one, other in zip(gradients(model, batch), usual, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_checkpointing_is_seen_by_the_estimate() -> None:
    recipes = [load_recipe("boombox", [DEEP, f"stages.coarse.checkpointing={on}"]) for on in ("false", "true")]
    usual, less = (training_memory(r, build_parts(r), "coarse", on_gpu=True) for r in recipes)
    assert usual is not None
    assert less is not None
    assert less.held == usual.held
    assert less.step < usual.step / 2


# ----------------------------------------------------------------------------------------------- compiling


def stage_settings(**changes: Any) -> TokenStage:
    return TokenStage(pattern="flat", **changes)


def test_compiled_blocks_compute_the_same_under_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, batch = make("flat")
    compiled, _ = make("flat")
    own = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: own(self, backend="aot_eager"))  # without the C++ compiler
    monkeypatch.setattr(compiling, "_cannot_compile", lambda device: None)
    compile_blocks(compiled, stage_settings(compiled=True), CPU)
    assert all(block._compiled_call_impl is not None for block in compiled.transformer.blocks)
    assert compiled.state_dict().keys() == usual.state_dict().keys()
    for one, other in zip(gradients(compiled, batch), gradients(usual, batch), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nowhere/c++",))
    model, _ = make("flat")
    compile_blocks(model, stage_settings(compiled=True), CPU)
    (told,) = (r.getMessage() for r in caplog.records if r.name == compiling.log.name)
    assert told.startswith("training goes on without torch.compile")
    assert "compiler" in told
    assert "\n" not in told
    assert all(block._compiled_call_impl is None for block in model.transformer.blocks)


def test_a_cpu_compiles_when_asked_to_alone() -> None:
    model, _ = make("flat")
    compile_blocks(model, stage_settings(), CPU)
    assert all(block._compiled_call_impl is None for block in model.transformer.blocks)


# ------------------------------------------------------------------------------------------------- batches


def test_batches_are_made_ahead_in_order() -> None:
    made: list[int] = []
    with ahead(lambda n: made.append(n) or n, iter([3, 1, 4, 1, 5])) as batches:
        assert next(batches) == 3
        deadline = time.monotonic() + 10
        while made != [3, 1] and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made == [3, 1]  # one ahead, no more
        assert list(batches) == [1, 4, 1, 5]


def test_what_goes_wrong_in_a_batch_is_told_where_it_is_taken() -> None:
    def fail(number: int) -> int:
        if number == 2:
            raise ModelError("damaged")
        return number

    with ahead(fail, itertools.count()) as batches:
        assert [next(batches), next(batches)] == [0, 1]
        with pytest.raises(ModelError, match="damaged"):
            next(batches)


def test_crops_longer_than_all_clips_are_not_padded(tiny_run: Path, tmp_path: Path) -> None:
    run = run_with(tiny_run, tmp_path / "run", {"crop_s": 60.0}, "coarse")
    stage = make_stage(run, "coarse", load_parts(run.folder, run.recipe))
    tokens, _ = stage.batch(0)
    assert tokens["target"].shape == (4, 200, 2)  # 4 s, as the clips
    assert (tokens["target"] >= 0).all()


def test_much_padding_is_told(tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_with(tiny_run, tmp_path / "run", {"crop_s": 60.0}, "coarse")
    parts = load_parts(run.folder, run.recipe)
    make_stage(run, "coarse", parts)
    assert not caplog.records
    shards = Shards(run.tokens("train"))
    stages._tell_padding("coarse", shards, CODES, 400)  # as where one clip is twice as long
    assert "coarse: 50 % of its batches is padding" in caplog.text


# -------------------------------------------------------------------------------------------------- memory


def plan(room: int, stage: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(fit, "_device_memory", lambda: (room, room, "a toy"))
    recipe = load_recipe("boombox", [DEEP])
    return fit.fit(recipe, build_parts(recipe), stage)


def test_batches_are_cut_as_memory_asks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rapgen.training.fit")
    ample = plan(10**12, "coarse", monkeypatch)
    assert ample == Plan(needed=ample.needed)
    assert "coarse takes" in caplog.text
    tight = plan(ample.needed * 2 // 3, "coarse", monkeypatch)
    assert 1 < tight.pieces < 8
    assert tight.needed <= ample.needed * 2 // 3
    assert not tight.checkpointing
    assert f"in {tight.pieces} pieces, which trains the same" in caplog.text


def test_where_no_row_fits_checkpointing_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("boombox", [DEEP])
    row = training_memory(recipe, build_parts(recipe), "coarse", on_gpu=False, rows=1)
    assert row is not None
    found = plan(row.held + row.step // 2, "coarse", monkeypatch)
    assert found.checkpointing
    assert found.needed <= row.held + row.step // 2


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("coarse", "for a row at a time; set stages.coarse.sharded: true on several GPUs, or crop_s"),
        ("mulan", "stages.mulan.batch_size .now 48. or crop_s lower: mulan contrasts a batch as a whole"),
        ("codec", "moves its codebooks by the batch"),
    ],
)
def test_what_cannot_fit_is_one_error(stage: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RapgenError, match=message) as caught:
        plan(10**6, stage, monkeypatch)
    assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_one_error(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(tiny_run, tmp_path / "run", {}, "coarse")
    stage = make_stage(run, "coarse", load_parts(run.folder, run.recipe))

    def fail(*batch: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore lines")

    monkeypatch.setattr(stage.model, "forward", fail)
    with pytest.raises(
        ModelError, match=r"coarse: out of memory in a step; set stages.coarse.batch_size lower"
    ) as caught:
        train(stage, run.stage("coarse"), seed=0, watch=lambda *step: None)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------- speed


@pytest.mark.parametrize("pattern", ["flat", "delay", "masked"])
def test_flops_are_those_that_torch_counts(pattern: str) -> None:
    model, batch = make(pattern)
    chance = torch.full((4, model.num_chances(7)), 0.5)
    with FlopCounterMode(display=False) as counter:
        model(batch, chance)[0].backward()
    length = (21 if pattern == "flat" else 7) + 2
    # torch counts all of attention, and in its backward pass the scores once more: 10 against our 3 x 4 by width.
    whole = 4 * 2 * 16 * length**2 * 4
    ours = token_flops(model, batch) - 3 * whole / (1 if pattern == "masked" else 2)
    theirs = counter.get_total_flops()
    attention = {k: v for k, v in counter.get_flop_counts()["Global"].items() if "attention" in str(k)}
    assert ours == pytest.approx(theirs - sum(attention.values()), rel=0.05)


def test_the_meter_leaves_out_what_is_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    meter = Meter(Work("tokens", 100.0, flops=1e9), rows=4, device=CPU, dtype=torch.float32)
    peak_flops.cache_clear()
    monkeypatch.setattr("rapgen.training.speed.measured_flops", lambda device, dtype: 8e9)
    figures = {}
    for _ in range(20):
        meter.start()
        now += 1.0
        figures = meter.step()
        now += 10.0
    peak_flops.cache_clear()
    assert figures == {"tokens_per_s": 400.0, "mfu": 0.5}


def test_a_line_every_few_seconds_where_no_bar_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(progress, "console", lambda: Console(file=told, width=40))
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    with bars(tmp_path) as report:
        watch = report.training("coarse", 100)
        watch("train", 7, {"loss": 3.214, "tokens_per_s": 4130.4, "mfu": 0.412})
        watch("train", 8, {"loss": 3.1, "audio_s_per_s": 12.34})
    assert "coarse step 7/100: loss 3.21, 4,130 tokens/s, MFU 41%\n" in told.getvalue()
    assert "coarse step 8/100: loss 3.1, 12.3 s of audio/s\n" in told.getvalue()
    assert list((tmp_path / "coarse").iterdir())
