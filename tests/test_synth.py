"""`rapgen data synth`: a folder that others read, with MIDI and stems, that a stopped run goes on with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import datasets
import mido
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rapgen.audio.metadata import annotations_of, read_rows
from rapgen.cli.app import make_app
from rapgen.registry import build

SYNTH = ("data", "synth", "--num", "5", "--seed", "7", "--duration", "1.5", "--stems")


def rapgen(*args: object) -> str:
    result = CliRunner().invoke(make_app(), [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three excerpts with their stems, of a dataset that has one each to validate and to test with besides."""
    out = tmp_path_factory.mktemp("synth") / "beats"
    assert "train 3, valid 1, test 1" in rapgen(*SYNTH, "--out", out)
    return out / "train"


@pytest.fixture
def no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets imports torchcodec, which needs FFmpeg's libraries, even where nothing is encoded or decoded."""
    encoders = ModuleType("torchcodec.encoders")
    encoders.AudioEncoder = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", encoders)
    monkeypatch.setattr(datasets.config, "TORCHCODEC_AVAILABLE", False)


@pytest.mark.usefixtures("no_codec")
def test_datasets_reads_it_with_all_columns(folder: Path, tmp_path: Path) -> None:
    whole = datasets.load_dataset("audiofolder", data_dir=str(folder.parent), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in whole.items()} == {"train": 3, "validation": 1, "test": 1}
    loaded = whole["train"].cast_column("audio", datasets.Audio(decode=False))
    rows = read_rows(folder)
    assert len(loaded) == len(rows) == 3
    for found, row in zip(loaded, rows, strict=True):
        assert Path(found["audio"]["path"]).name == row.file_name
        assert found["text"] == row.text
        assert found["tempo_bpm"] == row.tempo_bpm
        assert found["key"] == row.key
        assert tuple(found["beats_s"]) == row.beats_s
        assert [chord["name"] for chord in found["chords"]] == [chord.name for chord in row.chords or ()]
        assert found["midi"] == row.midi
        assert found["stems"] == row.stems


def test_rows_say_all_that_the_source_knows(folder: Path) -> None:
    source = build("source", {"use": "beatmaker", "num_clips": 3, "seed": 7, "duration_s": 1.5, "stems": True})
    for ref, row in zip(source.refs(), read_rows(folder), strict=True):
        assert annotations_of(row) == source.load(ref).annotations


def test_stems_add_up_and_midi_reads(folder: Path) -> None:
    for row in read_rows(folder):
        mix, rate = soundfile.read(folder / row.file_name, dtype="float32")
        assert rate == 44_100
        assert mix.shape == (round(1.5 * rate), 2)
        stems = {name: soundfile.read(folder / file)[0] for name, file in (row.stems or {}).items()}
        assert set(stems) == {"drums", "bass", "music", "effects", "lead"}
        total = sum(stems[name] for name in ("drums", "bass", "music", "effects"))
        assert np.abs(total - mix).max() <= 4 / 32768  # four roundings
        assert mido.MidiFile(folder / (row.midi or "")).length <= 1.6


def test_a_second_start_makes_only_what_is_missing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    stamps = {path: path.stat().st_mtime_ns for path in before if path.suffix == ".flac" and path.parent == folder}
    (folder / "beat-000001.flac").unlink()
    (folder / "midi" / "beat-000002.mid").unlink()
    (folder / "stems" / "beat-000002" / "bass.flac").unlink()
    (folder / "manifest.json").unlink()
    rapgen(*SYNTH, "--out", folder.parent)
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    kept = folder / "beat-000000.flac"
    assert kept.stat().st_mtime_ns == stamps[kept]


def test_whole_loops_are_the_default(tmp_path: Path) -> None:
    rapgen("data", "synth", "--num", 1, "--style", "crunk", "--bars", 8, "--out", tmp_path)
    (row,) = read_rows(tmp_path / "train")
    assert row.style == "crunk"
    assert row.bars == 8
    assert row.stems is None
    info = soundfile.info(tmp_path / "train" / row.file_name)
    assert info.frames == round(8 * 240 / (row.tempo_bpm or 0) * info.samplerate)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["clips"] == 1
    assert manifest["splits"] == {"train": 1}
    assert manifest["source"]["styles"] == ["crunk"]


def test_no_beat_stands_in_two_splits_and_nothing_is_wrong_with_them(folder: Path) -> None:
    sounds = [path.read_bytes() for path in folder.parent.glob("*/*.flac")]
    assert len(set(sounds)) == len(sounds) == 5
    rapgen("data", "validate", folder.parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bars", "7"), "bars is 7"),
        (("--style", "polka"), "unknown style 'polka'"),
        (("--duration", "0.1"), "duration_s is 0.1"),
    ],
)
def test_a_wrong_option_is_one_line(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(make_app(), ["data", "synth", "--num", "1", *options, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()
