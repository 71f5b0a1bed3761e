"""The command line: what it prints, where it writes, and how it fails."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
import yaml
from typer.testing import CliRunner, Result

from rapgen import __version__
from rapgen.cli import doctor
from rapgen.cli.app import make_app
from rapgen.cli.generate import _batches

COMMANDS = [
    *["generate", "train", "export", "doctor", "codec roundtrip", "mulan score", "semantic fit"],
    *[f"{stage} {verb}" for stage in ("codec", "mulan", "semantic", "coarse", "fine") for verb in ("train", "info")],
    *[
        "data fetch",
        "data synth",
        "data tokenize",
        "data stats",
        "recipes list",
        "recipes show",
        "recipes validate",
        "plugins list",
        "plugins check",
        "plugins new",
    ],
]


def rapgen(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments])


def fails(result: Result, *told: str) -> None:
    """A user's error: exit status 2, nothing on stdout, what is wrong on stderr without a traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines()), result.stderr
    for words in told:
        assert words in result.stderr


def fails_in_one_line(result: Result, *told: str) -> None:
    fails(result, *told)
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A second of a decaying tone."""
    path = tmp_path / "in.wav"
    time_s = np.arange(8000) / 8000
    soundfile.write(path, 0.5 * np.exp(-3 * time_s) * np.sin(440 * time_s), 8000)
    return path


@pytest.fixture(scope="session")
def bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "bundle"
    assert rapgen("export", tiny_run, path).exit_code == 0
    return path


# --------------------------------------------------------------------------------------------- help


def test_help_imports_nothing_heavy() -> None:
    code = """if True:
        import sys
        from rapgen.cli import main
        sys.argv = ["rapgen", "--help"]
        try:
            main()
        finally:
            heavy = {"torch", "numpy", "pydantic", "scipy", "rich.console", "rapgen_plugins"} & set(sys.modules)
            print(sorted(heavy), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(f"\n  {command.split()[0]} " in done.stdout for command in COMMANDS)


def test_nothing_is_looked_through_at_the_end() -> None:
    """What a command leaves to the garbage collector it would search for cycles once more before Python ends."""
    code = """if True:
        import gc, sys
        from rapgen.cli import main
        sys.argv = ["rapgen", "--version"]
        try:
            main()
        finally:
            print(len(gc.get_objects()), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stderr) < 1000


def test_entry_point_is_installed() -> None:
    command = Path(sys.executable).with_name("rapgen")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"rapgen {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = rapgen(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"\n  rapgen {command}" in result.stdout


def test_a_misspelled_option_is_told() -> None:
    result = rapgen("generate", "trap", "--sede", "3")
    assert result.exit_code == 2
    assert "--seed" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_misspelled_command_is_told() -> None:
    result = rapgen("genrate")
    assert result.exit_code == 2
    assert "'generate'" in result.stderr


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stages.coarse.stpes=3", "did you mean 'steps'?"),
        ("codec.use=boombx", "did you mean 'boombox'?"),
        ("codec.num_codebook=3", "did you mean 'num_codebooks'?"),
        ("nonsense", "key.path=value"),
    ],
)
def test_recipe_errors(override: str, told: str) -> None:
    fails_in_one_line(rapgen("train", "codec", "--recipe", "tiny", "--set", override), told)


def test_all_recipe_errors_at_once() -> None:
    overrides = ["--set", "stages.coarse.stpes=3", "--set", "seeed=1"]
    result = rapgen("recipes", "show", "tiny", *overrides)
    fails(result, "stages.coarse.stpes", "seeed")
    assert len(result.stderr.splitlines()) == 2


def test_unknown_recipe() -> None:
    fails_in_one_line(rapgen("train", "--recipe", "tinny"), "did you mean 'tiny'?")
    fails_in_one_line(rapgen("train"), "--recipe")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([""], "empty"),
        (["  \n "], "empty"),
        ([], "give one prompt"),
        (["x" * 10_000], "10000 characters"),
        (["boom\x07bap"], "control characters"),
        (["trap, 900 bpm"], "900"),
        (["trap", "--duration", "0"], "0 s"),
        (["trap", "--duration", "-1"], "-1 s"),
        (["trap", "--duration", "nan"], "nan"),
        (["trap", "--duration", "3600"], "3600 s"),
        (["trap", "--bars", "0"], "0 bars"),
        (["trap", "--bars", "4", "--duration", "4"], "not both"),
        (["trap", "--negative", ""], "negative prompt is empty"),
        (["trap", "-o", "beat.mp3"], ".wav"),
        (["trap", "--model", "nowhere"], "no run or bundle 'nowhere'"),
        (["trap", "--device", "abacus"], "device 'abacus'"),
        (["trap", "--continue-from", "nowhere.wav"], "no audio file"),
        (["--prompts", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)
def test_what_cannot_be_generated(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    fails_in_one_line(rapgen("generate", *arguments), told)
    assert list(tmp_path.iterdir()) == []


def test_an_option_out_of_range(tiny_run: Path, tmp_path: Path) -> None:
    result = rapgen("generate", "trap", "--temperature", "-1", "-m", tiny_run, "-o", tmp_path / "a.wav")
    fails_in_one_line(result, "temperature")
    assert rapgen("generate", "trap", "--num", "0").exit_code == 2


def test_a_place_that_cannot_be_written(tmp_path: Path, wav: Path) -> None:
    fails_in_one_line(rapgen("generate", "trap", "-o", tmp_path), "is a folder")
    fails_in_one_line(rapgen("generate", "trap", "-o", wav / "out.wav"), "cannot write")
    fails_in_one_line(rapgen("codec", "roundtrip", wav, wav / "out.wav"), "cannot write")


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_audio_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(content)
    fails_in_one_line(rapgen("codec", "roundtrip", bad, tmp_path / "out.wav"), str(bad))
    fails_in_one_line(rapgen("mulan", "score", "trap", bad), str(bad))
    fails_in_one_line(rapgen("generate", "trap", "--continue-from", bad, "-o", tmp_path / "out.wav"), str(bad))
    assert not (tmp_path / "out.wav").exists()


def test_damaged_bundle(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    for file in ("stages/coarse.safetensors", "parts/mulan.safetensors", "meta.json"):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(bundle, copy)
        damaged = bytearray((copy / file).read_bytes())
        damaged[-9] ^= 0x55
        (copy / file).write_bytes(damaged)
        fails_in_one_line(rapgen("generate", "trap", "-m", copy, "-o", tmp_path / "out.wav"), "damaged")
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ValueError("two\nlines"), 1, "error: ValueError: two lines; this is a bug"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: x: no space left on device"),
        (MemoryError(), 2, "error: out of memory"),
        (KeyboardInterrupt(), 130, "stopped; run the same command to go on"),
    ],
)
def test_errors_come_out_as_one_line(
    error: BaseException, status: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks() -> None:
        raise error

    monkeypatch.setattr("rapgen.recipe.recipe_paths", breaks)
    result = rapgen("recipes", "list")
    assert result.exit_code == status
    assert result.stderr.startswith(told)
    assert len(result.stderr.splitlines()) == 1
    debugged = rapgen("--debug", "recipes", "list")
    assert debugged.exit_code == status
    assert "Traceback" in debugged.stderr


# ----------------------------------------------------------------------------------------- generate


def test_generate_tells_what_was_drawn(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.wav"
    result = rapgen("generate", "boom bap, 90 bpm", "--bars", 1, "-m", tiny_run, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: boom bap, 90 bpm, ")
    assert "(key and feel drawn); 2.7 s, " in result.stdout
    assert "tokens/s" in result.stdout
    assert "x real time" in result.stdout
    assert soundfile.info(out).frames == round(4 * 60 / 90 * 8000)


def test_json_is_all_of_stdout(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    asked = ["--duration", 0.5, "--seed", 7, "--json", "-m", bundle, "-o", out]
    row = json.loads(rapgen("generate", "trap", *asked).stdout)
    assert row["path"] == str(out)
    assert (row["prompt"], row["seed"], row["style"], row["duration_s"]) == ("trap", 7, "trap", 0.5)
    assert row["drawn"] == ["tempo_bpm", "key", "feel"]
    assert row["tempo_bpm"] > 0
    assert row["tokens_per_s"] > 0
    assert row["real_time_factor"] > 0
    assert row["model"]["name"] == "toy"
    assert len(row["model"]["parts_sha256"]["mulan"]) == 64


def test_many_beats_are_numbered_and_do_not_depend_on_each_other(tiny_run: Path, tmp_path: Path) -> None:
    asked = ["--duration", 0.5, "-m", tiny_run, "-o"]
    assert rapgen("generate", "trap", "--num", 5, *asked, tmp_path / "many.wav").exit_code == 0
    assert rapgen("generate", "trap", *asked, tmp_path / "one.wav").exit_code == 0
    many = [tmp_path / f"many-{n}.wav" for n in range(1, 6)]
    assert sorted(tmp_path.iterdir()) == [*many, tmp_path / "one.wav"]
    assert many[0].read_bytes() == (tmp_path / "one.wav").read_bytes()
    assert len({path.read_bytes() for path in many}) == 5


def test_a_file_of_prompts(tiny_run: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# mine\n\nboom bap\n  trap, 140 bpm\n")
    asked = ["--prompts", prompts, "--duration", 0.5, "-m", tiny_run, "-o"]
    rows = json.loads(rapgen("generate", *asked, tmp_path / "a", "--json").stdout)
    assert [(r["path"], r["prompt"]) for r in rows] == [
        (str(tmp_path / "a/0001.wav"), "boom bap"),
        (str(tmp_path / "a/0002.wav"), "trap, 140 bpm"),
    ]
    assert rapgen("generate", *asked, tmp_path / "b", "--num", 2).exit_code == 0
    assert [p.name for p in sorted((tmp_path / "b").iterdir())] == [
        *["0001-1.wav", "0001-2.wav", "0002-1.wav", "0002-2.wav"]
    ]


def test_bad_prompt_in_a_file_is_told_by_line(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("trap\nboom\x07bap\n")
    fails_in_one_line(rapgen("generate", "--prompts", prompts, "-o", tmp_path / "a"), f"line 2 of {prompts}")
    prompts.write_text("# nothing\n")
    fails_in_one_line(rapgen("generate", "--prompts", prompts), "no prompt")
    prompts.write_bytes(b"\xff\xfe")
    fails_in_one_line(rapgen("generate", "--prompts", prompts), "UTF-8")
    fails_in_one_line(rapgen("generate", "trap", "--prompts", prompts), "give one prompt")


@pytest.mark.parametrize(("lines", "num"), [(1, 1), (1, 9), (9, 1), (3, 2), (2, 5), (5, 3)])
def test_batches_are_small_and_in_order(lines: int, num: int) -> None:
    prompts = [str(n) for n in range(lines)]
    batches = list(_batches(prompts, num))
    assert all(len(texts) * len(items) <= 4 for texts, items in batches)
    made = [(text, item) for texts, items in batches for text in texts for item in items]
    assert made == [(text, item) for text in prompts for item in range(num)]


# ----------------------------------------------------------------------------- training and the rest


def test_training_goes_on_and_logs(tiny_run: Path, toy_recipe: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    steps = toy_recipe["stages"]["fine"]["steps"]
    result = rapgen("fine", "train", "--run", run, "--set", f"stages.fine.steps={steps + 2}")
    assert result.exit_code == 0, result.output
    assert "was begun with other values of stages.fine.steps" in result.stderr
    assert f"fine goes on from step {steps} of {steps + 2}" in result.stderr
    assert f"fine step {steps + 2}/{steps + 2} valid: loss" in result.stderr
    assert list((run / "logs" / "fine").glob("events.out.tfevents.*"))
    assert f"checkpoint: step {steps + 2}" in rapgen("fine", "info", "-m", run).stdout


def test_a_stage_before_its_parts(toy_recipe: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy_recipe))
    result = rapgen("train", "coarse", "--recipe", path, "--run", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith("run `rapgen train mulan` with this recipe first")


@pytest.mark.parametrize("stage", ["codec", "mulan", "semantic", "coarse", "fine"])
def test_info(stage: str, tiny_run: Path, bundle: Path) -> None:
    of_run = rapgen(stage, "info", "--model", tiny_run)
    assert of_run.exit_code == 0, of_run.output
    assert f"stages.{stage}:" in of_run.stdout
    assert "codebook" in of_run.stdout
    assert f"bundle: {bundle}" in rapgen(stage, "info", "--model", bundle).stdout
    assert rapgen(stage, "info", "--recipe", "tiny").exit_code == 0


def test_codec_roundtrip(tiny_run: Path, wav: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    result = rapgen("codec", "roundtrip", wav, out, "-m", tiny_run)
    assert result.exit_code == 0, result.output
    assert "kbps" in result.stdout
    assert "SI-SDR" in result.stdout
    assert soundfile.info(out).frames == 8000
    fails_in_one_line(rapgen("codec", "roundtrip", wav, out, "-m", tiny_run, "--codebooks", 99), "codebooks")


def test_mulan_score(tiny_run: Path, wav: Path) -> None:
    result = rapgen("mulan", "score", "boom bap", "trap", wav, "-m", tiny_run)
    assert result.exit_code == 0, result.output
    cosines = [float(line.split()[0]) for line in result.stdout.splitlines()]
    assert len(cosines) == 2
    assert all(-1 <= c <= 1 for c in cosines)


def test_data_synth_and_stats(tmp_path: Path, tiny_run: Path) -> None:
    out = tmp_path / "beats"
    result = rapgen("data", "synth", "--num", 1, "--seed", 7, "--duration", 1, "--style", "trap", "--out", out)
    assert result.exit_code == 0, result.output
    stats = rapgen("data", "stats", out).stdout
    assert "clips       1" in stats
    assert "trap: 1" in stats
    assert "train\nclips" in rapgen("data", "stats", tiny_run).stdout


def test_recipes() -> None:
    assert "tiny" in rapgen("recipes", "list").stdout
    shown = rapgen("recipes", "show", "tiny").stdout
    assert "# coarse: " in shown
    assert "sequential steps a second" in shown
    assert yaml.safe_load(shown)["name"] == "tiny"
    result = rapgen("recipes", "validate", "tiny", "nowhere")
    assert result.exit_code == 2
    assert result.stdout == "tiny: ok\n"
    assert result.stderr.startswith("error: no recipe 'nowhere'")


def test_plugins_list() -> None:
    result = rapgen("plugins", "list")
    assert result.exit_code == 0
    assert any(line.split()[:2] == ["codec", "boombox"] for line in result.stdout.splitlines())


def test_plugins_add_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    def rapgen_commands(app: typer.Typer) -> None:
        app.command("sing", help="Sing.")(lambda: typer.echo("la"))

    good = SimpleNamespace(
        name="good", dist=SimpleNamespace(name="choir"), load=lambda: SimpleNamespace(rapgen_commands=rapgen_commands)
    )
    broken = SimpleNamespace(name="broken", dist=SimpleNamespace(name="band"), load=lambda: 1 / 0)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken, good])
    assert rapgen("sing").stdout == "la\n"


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = {name: check for name, check in doctor.CHECKS.items() if name != "embedded model"}
    monkeypatch.setattr(doctor, "CHECKS", healthy)
    result = rapgen("doctor")
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in result.stdout.splitlines()] == list(healthy)
    monkeypatch.setattr(doctor, "CHECKS", {"drums": lambda: ("fail", "too quiet; play louder")})
    broken = rapgen("doctor")
    assert broken.exit_code == 1
    assert broken.stdout == "fail  drums: too quiet; play louder\n"
