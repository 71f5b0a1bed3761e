"""Distributions of strangers, built and installed: their parts train, generate and are listed, with rapgen as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from safetensors import safe_open
from typer.testing import CliRunner

from rapgen.cli.app import make_app
from rapgen.interfaces import ROLES
from rapgen.testing import rules

pytestmark = pytest.mark.xdist_group("third_party")  # builds and installs once

STRANGER = Path(__file__).parent / "stranger"
NEW = {role: f"new-{role.replace('_', '-')}" for role in ROLES}
WITH_RECIPE = [name for role, name in NEW.items() if role not in ("captioner", "metric")]
SHORT = [  # two steps a stage, on what little there is
    *[f"stages.{stage}.steps=2" for stage in ("mulan", "semantic", "coarse", "fine")],
    *["data.train.num_clips=4", "data.valid.num_clips=2"],
    *["stages.mulan.batch_size=4", "stages.semantic.batch_size=2", "stages.coarse.batch_size=2"],
]


def pip(*arguments: str) -> None:
    """Run pip without a network."""
    offline = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, *offline], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources: the stranger's, and one that `rapgen plugins new` wrote for each role."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.copytree(STRANGER, folder / "stranger")
    for role, name in NEW.items():
        result = CliRunner().invoke(make_app(), ["plugins", "new", name, "--role", role, "--out", str(folder)])
        assert result.exit_code == 0, result.output
        assert f"pip install -e {folder / name}" in result.stdout
    return folder


@pytest.fixture(scope="module")
def site(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which wheels of them all are installed, beside nothing else."""
    folder = tmp_path_factory.mktemp("site")
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(wheels), *map(str, sorted(packages.iterdir())))
    pip("install", "--target", str(folder), *map(str, sorted(wheels.glob("*.whl"))))
    return folder


_RUN = """
import json, sys
from rapgen.cli.app import make_app
for arguments in json.loads(sys.argv[1]):
    status = make_app()(arguments, prog_name="rapgen", standalone_mode=False)
    if status:
        sys.exit(status)
"""


def python(site: Path, *arguments: str) -> str:
    """What a fresh interpreter prints that finds the strangers' packages."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=site)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rapgen(site: Path, *commands: list[str]) -> str:
    """What commands of the CLI print, one after the other in one process."""
    return python(site, "-c", _RUN, json.dumps(commands))


def test_what_strangers_bring_is_listed_and_their_command_runs(site: Path) -> None:
    told = rapgen(site, ["plugins", "list"], ["recipes", "list"], ["tape", "--levels", "17"])
    rows = [line.split() for line in told.splitlines()]
    assert ["codec", "tape", "tape", "(rapgen-tape", "0.3.0)"] in [row[:5] for row in rows]
    assert ["conditioner", "reels"] in [row[:2] for row in rows]
    for role, name in NEW.items():
        assert [role, name, name, f"({name}", "0.1.0)"] in [row[:5] for row in rows]
    assert {"tape", *WITH_RECIPE} <= {row[0] for row in rows}
    assert told.splitlines()[-1] == "0.98 kbit/s"


def test_a_strangers_recipe_trains_and_generates(site: Path, tmp_path: Path) -> None:
    recipe, out, run = ["--recipe", "tape"], tmp_path / "out.wav", tmp_path / "run"
    rapgen(
        site,
        ["train", "all", *recipe, "--run", str(run)],
        ["generate", "boom bap", "--model", str(run), "--duration", "2", "-o", str(out)],
        ["export", str(run), str(tmp_path / "bundle")],
        ["generate", "boom bap", "--model", str(tmp_path / "bundle"), "--duration", "2", "-o", str(tmp_path / "2.wav")],
    )
    audio, rate = soundfile.read(out)
    assert (audio.shape, rate) == ((12_000, 2), 6000)
    assert audio.std() > 0
    assert (tmp_path / "2.wav").read_bytes() == out.read_bytes()
    with safe_open(run / "parts" / "codec.safetensors", framework="pt") as file:
        identity = json.loads(file.metadata()["identity"])
        assert 0 < float(file.get_tensor("peak")) < 1  # it was fitted
    assert (identity["name"], identity["distribution"], identity["version"]) == ("tape", "rapgen-tape", "0.3.0")
    assert identity["options"] == {"levels": 17}


def test_recipes_of_new_plugins_train_and_generate(site: Path, tmp_path: Path) -> None:
    commands = []
    for name in WITH_RECIPE:
        run = str(tmp_path / name)
        short = [word for key in SHORT for word in ("--set", key)]
        commands += [
            ["train", "all", "--recipe", name, "--run", run, *short],
            ["generate", "quiet trap", "--model", run, "--duration", "1", "-o", str(tmp_path / f"{name}.wav")],
        ]
    rapgen(site, *commands)
    for name in WITH_RECIPE:
        audio, rate = soundfile.read(tmp_path / f"{name}.wav")
        assert len(audio) == rate, name


def test_new_plugins_pass_their_own_tests(packages: Path, site: Path) -> None:
    folders = [str(packages / name) for name in NEW.values()]
    told = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *folders)
    passed = int(re.search(r"(\d+) passed", told)[1])  # type: ignore[index]
    assert passed == sum(len(rules(role)) for role in NEW) + len(WITH_RECIPE)
    assert not re.search(r"failed|skipped|error", told)


def test_the_stranger_keeps_all_rules(site: Path) -> None:
    told = rapgen(site, ["plugins", "check", "codec", "tape"], ["plugins", "check", "conditioner", "reels"])
    assert {line.split()[0] for line in told.splitlines()} == {"ok"}
    assert len(told.splitlines()) == len(rules("codec")) + len(rules("conditioner"))


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "role", "told"),
    [
        ("My-Codec", "codec", "cannot name a package"),
        ("../codec", "codec", "cannot name a package"),
        ("my--codec", "codec", "cannot name a package"),
        ("codec$x", "codec", "cannot name a package"),
        ("-", "codec", "cannot name a package"),
        ("x" * 61, "codec", "cannot name a package"),
        ("class", "codec", "a module 'class' exists already"),
        ("json", "codec", "a module 'json' exists already"),
        ("torch", "codec", "a module 'torch' exists already"),
        ("boombox", "codec", "a codec 'boombox' is installed already"),
        ("tiny", "codec", "a recipe 'tiny' exists already"),
        ("my-codec", "guitar", "'guitar' is not a role; roles are codec, "),
    ],
)
def test_a_name_that_cannot_be_used_is_told(tmp_path: Path, name: str, role: str, told: str) -> None:
    result = CliRunner().invoke(make_app(), ["plugins", "new", "--role", role, "--out", str(tmp_path), "--", name])
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "my-codec").mkdir()
    arguments = ["plugins", "new", "my-codec", "--role", "codec", "--out"]
    result = CliRunner().invoke(make_app(), [*arguments, str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "my-codec is there already; choose another name or --out" in result.stderr
    assert not list((tmp_path / "my-codec").iterdir())
    (tmp_path / "file").touch()
    result = CliRunner().invoke(make_app(), [*arguments, str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
