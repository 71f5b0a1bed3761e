"""`rapgen data validate`: what is wrong with a folder of audio is found, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from recordings import beats
from typer.testing import CliRunner

from rapgen.audio.metadata import BLANKS, Row
from rapgen.cli.app import make_app
from rapgen.data.engine import run_jobs
from rapgen.data.validate import validate
from rapgen.errors import AudioError, RapgenError

pytestmark = pytest.mark.xdist_group("prepare")
RATE = 44_100


def ignore(done: int, total: int) -> None:
    """A report that nobody reads."""


def found(folder: Path) -> dict[str, list[str]]:
    """What is wrong, by item."""
    wrong: dict[str, list[str]] = {}
    for finding in validate(folder, report=ignore, workers=1).findings:
        wrong.setdefault(finding.item, []).append(finding.what)
    return wrong


def write(folder: Path, **files: tuple[np.ndarray, dict[str, Any]]) -> None:
    """FLAC files with their lines of metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, (audio, row) in files.items():
        soundfile.write(folder / f"{name}.flac", audio.T, RATE)
        lines.append(json.dumps({"file_name": f"{name}.flac", "text": name, **row}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines))


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    return beats(3, 12.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, sounds: list[np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write(
        folder / "train",
        a=(0.5 * sounds[0], {"track": "a", "style": "trap", "beats_s": [0, 0.5]}),
        b=(0.5 * sounds[1], {}),
    )
    write(folder / "valid", c=(0.5 * sounds[2], {"track": "c"}))
    manifest = {"clips": 3, "duration_s": 36.0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_nothing_is_wrong_with_a_good_folder(good: Path) -> None:
    assert found(good) == {}
    result = CliRunner().invoke(make_app(), ["data", "validate", str(good / "train")])
    assert result.exit_code == 0
    assert "2 clips, 0.01 hours: nothing is wrong" in result.output


def test_all_that_is_wrong_is_told_at_once(good: Path, tmp_path: Path, sounds: list[np.ndarray]) -> None:
    folder = shutil.copytree(good, tmp_path / "bad")
    write(
        folder / "test",
        late=(0.5 * sounds[1][:, :RATE], {"beats_s": [0.5, 7.0], "track": "a"}),
        hiss=(np.zeros((2, RATE)), {"text": " ", "captions": []}),
        loud=(np.clip(30 * sounds[2][:, :RATE], -1, 1), {"style": "polka"}),
        offset=(0.3 * sounds[2][:, : 2 * RATE] + 0.3, {}),
        copy=(0.3 * sounds[0], {}),
        broken=(sounds[0][:, :RATE], {}),
    )
    (folder / "test" / "broken.flac").write_bytes(b"no audio" * 1000)
    soundfile.write(folder / "test" / "extra.flac", np.ones(100) / 2, RATE)
    with (folder / "test" / "metadata.jsonl").open("a") as file:
        file.write(
            '{"file_name": "gone.flac"}\n{no json\n{"file_name": "../train/a.flac"}\n{"file_name": "copy.flac"}\n'
        )
        file.write('{"file_name": "broken.flac", "key": "H dur"}\n')
    wrong = found(folder)
    assert wrong["test/late.flac"] == ["beats from 0.5 s to 7 s do not lie within its 1 s"]
    assert {"it is silent", "it has no caption"} == set(wrong["test/hiss.flac"])
    assert "it is clipped" in wrong["test/loud.flac"]
    assert any("style 'polka' is none of" in what for what in wrong["test/loud.flac"])
    assert wrong["test/offset.flac"] == ["it has an offset"]
    assert wrong["test/copy.flac"] == ["it sounds like train/a.flac"]
    assert "give a" in wrong["test/broken.flac"][0]
    assert wrong["test/extra.flac"] == ["no line of metadata.jsonl names it"]
    assert len(wrong["test/metadata.jsonl"]) == 5
    assert wrong["a"] == ["the track stands in test and train"]
    assert any("says clips 3, there are 9" in what for what in wrong["manifest.json"])
    result = CliRunner().invoke(make_app(), ["data", "validate", str(folder), "--json"])
    assert result.exit_code == 1


@pytest.mark.parametrize("clips", ['"many"', "null", "1" + 400 * "0", "NaN", "{}"])
def test_a_manifest_of_nonsense_is_a_finding(good: Path, tmp_path: Path, clips: str) -> None:
    folder = shutil.copytree(good, tmp_path / "bad")
    (folder / "manifest.json").write_text(f'{{"clips": {clips}, "duration_s": 36.0}}')
    assert list(found(folder)) == ["manifest.json"]


def test_a_folder_without_metadata_will_do(tmp_path: Path, sounds: list[np.ndarray]) -> None:
    soundfile.write(tmp_path / "trap 140 bpm.wav", 0.5 * sounds[0].T, RATE)
    assert found(tmp_path) == {}
    with pytest.raises(AudioError, match="there is no folder"):
        found(tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    with pytest.raises(AudioError, match="holds no audio"):
        found(tmp_path / "none")


def test_what_stands_for_nothing_in_a_row_is_read_as_nothing() -> None:
    row = Row.model_validate({"file_name": "a.wav", **BLANKS})
    assert row == Row(file_name="a.wav")


# ------------------------------------------------------------------------------------------------ engine


def die(number: int, deadly: int) -> int:
    if number == deadly:
        os._exit(9)  # as the kernel ends a process that takes too much memory
    return number


def test_a_job_that_ends_its_process_costs_no_other() -> None:
    jobs = ((number, 3) for number in range(8))
    answers = run_jobs(die, jobs, engine="local", workers=2, lost=lambda number, deadly: -number)
    assert sorted(answers) == [-3, 0, 1, 2, 4, 5, 6, 7]


def test_an_engine_that_is_none_is_told() -> None:
    with pytest.raises(RapgenError, match="no engine 'steam'"):
        run_jobs(die, [], engine="steam", workers=1, lost=die)
