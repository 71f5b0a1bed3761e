"""What does not fit into memory, or onto a device that is not there, is told before anything is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from rapgen import memory
from rapgen.cli.app import explain, make_app
from rapgen.errors import PromptError, RapgenError
from rapgen.generation.musiclm import MusicLM
from rapgen.generation.need import check_memory
from rapgen.memory import free_memory


@pytest.fixture(scope="module")
def lm(tiny_run: Path) -> MusicLM:
    return MusicLM.load(tiny_run)


def test_more_beats_than_memory_are_refused_before_they_are_planned(lm: MusicLM) -> None:
    with pytest.raises(PromptError, match=r"1000000000 beats .* GB free; ask for fewer") as raised:
        lm.generate("trap, 140 bpm", duration_s=600, num=10**9)
    assert "\n" not in str(raised.value)


def test_audio_that_memory_does_not_hold_is_refused(lm: MusicLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes at 8 kHz are 38 MB in pieces and whole; written as they come they take none of it."""
    monkeypatch.setattr("rapgen.generation.need.free_memory", lambda: 20_000_000)
    with pytest.raises(PromptError, match=r"a beat of this length takes 0\.0 GB of memory, and this machine has"):
        lm.generate("trap, 140 bpm", duration_s=600)
    assert next(lm.stream_audio("trap, 140 bpm", duration_s=600)).size
    assert lm.generate("trap, 140 bpm", duration_s=0.5)


def test_the_command_tells_it_in_one_line(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rapgen.generation.need.free_memory", lambda: 1000)
    done = CliRunner().invoke(make_app(), ["generate", "trap", "-m", str(tiny_run), "-o", str(tmp_path / "a.wav")])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: a beat of this length takes")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_counted_is_what_is_taken(lm: MusicLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caches that are counted are those that the decoders make, to a few positions of a prefix."""
    asked: list[int] = []
    monkeypatch.setattr("rapgen.generation.need.free_memory", lambda: 10**18)
    monkeypatch.setattr("rapgen.generation.need._check", lambda beats, needed, free, where: asked.append(needed))
    check_memory(lm, lm.recipe.sampling, beats=1)
    check_memory(lm, lm.recipe.sampling, beats=3)
    assert asked[1] == 3 * asked[0]
    check_memory(lm, lm.recipe.sampling, beats=1, samples=1000)
    assert asked[2] - asked[0] == 2 * 4 * 1000
    net = lm.models["coarse"].transformer
    rows = 2 if lm.recipe.sampling.coarse.guidance_scale != 1 else 1
    crop = round(lm.recipe.stages.coarse.crop_s * lm.models["coarse"].target.frame_rate)
    assert asked[0] > net.make_cache(rows, crop).nbytes


# ---------------------------------------------------------------------------------------- free memory


def test_free_memory_is_some_of_the_machines() -> None:
    free = free_memory()
    assert free > 10**7


def test_a_limit_counts() -> None:
    code = """if True:
        import resource
        from rapgen.memory import free_memory
        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))
        print(free_memory())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 * 10**8 < int(done.stdout) < 10**9


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(type(Path())):  # type: ignore[misc]
        def __new__(cls, path: str) -> Any:
            return Path(path if "cgroup" not in path else tmp_path)

    monkeypatch.setattr(memory, "Path", Elsewhere)
    assert memory._container_free() is None
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 2000000\ninactive_file 500000\n")
    assert memory._container_free() == 2_500_000
    assert free_memory() == 2_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_free() is None


def test_running_out_on_the_way_is_one_line() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert explain(raised.value) == (
        "error: out of memory; ask for less at once: a shorter duration, a smaller batch_size",
        2,
    )


# ------------------------------------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda:7", "cuda", "meta", "abacus"])
def test_a_device_that_is_not_there_is_one_line(tiny_run: Path, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RapgenError, match=f"device '{device}' cannot be used .*try --device cpu") as raised:
        MusicLM.load(tiny_run, device=device)
    assert "\n" not in str(raised.value)
