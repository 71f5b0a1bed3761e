"""Distributions of strangers, built and installed: their parts train, generate and are listed, with rapgen as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
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
SMALL = {  # two steps a stage, on what little there is
    "data.train": "{use: toy, num_clips: 4, duration_s: 3}",
    "data.valid": "{use: toy, num_clips: 2, duration_s: 3, seed: 1}",
    "mulan": "{dim: 16, width: 16, layers: 1, heads: 2, crop_s: 2, codebook_size: 8, num_codebooks: 2}",
    "conditioners.mulan.window_s": "2",
    **{f"stages.{stage}.steps": "2" for stage in ("mulan", "semantic", "coarse", "fine")},
    **{f"stages.{stage}.batch_size": "2" for stage in ("mulan", "semantic", "coarse", "fine")},
    **{f"stages.{stage}.crop_s": "2" for stage in ("mulan", "semantic", "coarse", "fine")},
    **{f"stages.{stage}.model": "{width: 16, layers: 1, heads: 2}" for stage in ("semantic", "coarse", "fine")},
}


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


def python(site: Path, *arguments: str, stdin: str = "") -> str:
    """What a fresh interpreter prints that finds the strangers' packages."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, env=environment, cwd=site
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_commands(name: str, folder: Path) -> list[list[str]]:
    """A new plugin's recipe, cut down but for what is the plugin's own."""
    small = {key: value for key, value in SMALL.items() if name != NEW["source"] or not key.startswith("data")}
    if name == NEW["source"]:
        small |= {"data.train.num_clips": "4", "data.valid.num_clips": "2", "data.train.duration_s": "3"}
    changes = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    run, out = str(folder / name), str(folder / f"{name}.wav")
    return [
        ["train", "all", "--recipe", name, "--run", run, *changes],
        ["generate", "quiet trap", "--model", run, "--duration", "1", "-o", out],
    ]


_RUN = """
import contextlib, io, json, sys
from rapgen.cli.app import make_app
for arguments in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        status = make_app()(arguments, prog_name="rapgen", standalone_mode=False)
    print(json.dumps([status or 0, told.getvalue()]))
"""


@dataclass(frozen=True)
class Session:
    """Commands that were run in one process (importing torch takes long), and what they said."""

    folder: Path
    told: dict[str, tuple[int, str]]

    def __getitem__(self, command: str) -> str:
        """What a command said that begins like this; it has to have ended well."""
        (found,) = [answer for line, answer in self.told.items() if line.startswith(command)]
        assert found[0] == 0, found[1]
        return found[1]


@pytest.fixture(scope="module")
def session(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("session")
    run, bundle = str(folder / "tape"), str(folder / "bundle")
    beat = ["--duration", "2", "-o"]
    commands = [
        *(["plugins", "list"], ["recipes", "list"], ["tape", "--levels", "17"]),
        *(["plugins", "check", "codec", "tape"], ["plugins", "check", "conditioner", "reels"]),
        ["train", "all", "--recipe", "tape", "--run", run],
        ["generate", "boom bap", "--model", run, *beat, str(folder / "tape.wav")],
        ["export", run, bundle],
        ["generate", "boom bap", "--model", bundle, *beat, str(folder / "bundle.wav")],
        *(command for name in WITH_RECIPE for command in new_commands(name, folder)),
    ]
    answers = python(site, "-c", _RUN, stdin=json.dumps(commands)).splitlines()
    return Session(folder, {" ".join(c): json.loads(a) for c, a in zip(commands, answers, strict=True)})


def test_what_strangers_bring_is_listed_and_their_command_runs(session: Session) -> None:
    rows = [line.split()[:5] for line in session["plugins list"].splitlines()]
    assert ["codec", "tape", "tape", "(rapgen-tape", "0.3.0)"] in rows
    assert ["conditioner", "reels"] in [row[:2] for row in rows]
    for role, name in NEW.items():
        assert [role, name, name, f"({name}", "0.1.0)"] in rows
    assert {"tape", *WITH_RECIPE} <= {line.split()[0] for line in session["recipes list"].splitlines()}
    assert session["tape --levels"] == "0.98 kbit/s\n"


def test_a_strangers_recipe_trains_and_generates(session: Session) -> None:
    assert session["train all --recipe tape"]
    assert session["generate boom bap --model " + str(session.folder / "tape")]
    audio, rate = soundfile.read(session.folder / "tape.wav")
    assert (audio.shape, rate) == ((12_000, 2), 6000)
    assert audio.std() > 0
    with safe_open(session.folder / "tape" / "parts" / "codec.safetensors", framework="pt") as file:
        identity = json.loads(file.metadata()["identity"])
        assert 0 < float(file.get_tensor("peak")) < 1  # it was fitted
    assert (identity["name"], identity["distribution"], identity["version"]) == ("tape", "rapgen-tape", "0.3.0")
    assert identity["options"] == {"levels": 17}


def test_a_strangers_bundle_makes_the_same_beat(session: Session) -> None:
    assert session["export"]
    assert session["generate boom bap --model " + str(session.folder / "bundle")]
    assert (session.folder / "bundle.wav").read_bytes() == (session.folder / "tape.wav").read_bytes()


def test_a_strangers_parts_keep_all_rules(session: Session) -> None:
    for role, name in (("codec", "tape"), ("conditioner", "reels")):
        told = session[f"plugins check {role} {name}"].splitlines()
        assert [line.split()[0] for line in told] == ["ok"] * len(rules(role))


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_a_new_plugins_recipe_trains_and_generates(session: Session, name: str) -> None:
    assert session[f"train all --recipe {name}"]
    assert session["generate quiet trap --model " + str(session.folder / name)]
    audio, rate = soundfile.read(session.folder / f"{name}.wav")
    assert len(audio) == rate


def test_new_plugins_pass_their_own_tests(packages: Path, site: Path) -> None:
    folders = [str(packages / name) for name in NEW.values()]
    told = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *folders)
    passed = int(re.search(r"(\d+) passed", told)[1])  # type: ignore[index]
    assert passed == sum(len(rules(role)) for role in NEW) + len(WITH_RECIPE)
    assert not re.search(r"failed|skipped|error", told)


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
