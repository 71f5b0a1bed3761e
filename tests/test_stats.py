"""Figures of datasets with splits, uploaders and weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rapgen.cli.app import make_app
from rapgen.data.stats import describe, describe_dataset
from rapgen.interfaces import Annotations, Groove, Upload


def known(style: str, *, weight: float = 1.0, uploader: str = "", instruments: tuple[str, ...] = ()) -> Annotations:
    upload = Upload(uploader=uploader)
    return Annotations(Groove(style=style), upload=upload, weight=weight, instruments=instruments)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two clips for training, one for validation, none for testing."""
    for split, names in {"train": ("a", "b"), "valid": ("c",), "test": ()}.items():
        (tmp_path / split).mkdir()
        rows = [
            {"file_name": f"{name}.flac", "text": "trap", "uploader": "x\x1b[31m", "weight": 1.0 + n, "style": style}
            for n, (name, style) in enumerate(zip(names, ("trap", "drill"), strict=False))
        ]
        (tmp_path / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name in names:
            soundfile.write(tmp_path / split / f"{name}.flac", np.zeros(8000), 8000)
    return tmp_path


def test_uploaders_and_instruments_are_counted() -> None:
    stats = describe([
        (5.0, known("trap", uploader="ann", instruments=("piano", "808"))),
        (5.0, known("trap", uploader="bob", instruments=("piano",))),
        (5.0, known("drill", uploader="bob")),
    ])  # fmt: skip
    assert list(stats.uploader.items()) == [("bob", 2), ("ann", 1)]
    assert stats.instruments == {"piano": 2, "808": 1, "unknown": 1}
    assert stats.weights == {}


def test_weights_show_what_they_change() -> None:
    stats = describe(
        [(5.0, known("trap", weight=0.5)), (5.0, known("trap", weight=0.5)), (5.0, known("drill", weight=2))]
    )
    trap, drill = stats.weights["style"]
    assert (trap.before, trap.after) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (drill.before, drill.after) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert "uploader" not in stats.weights


def test_a_dataset_is_told_by_split(dataset: Path) -> None:
    stats = describe_dataset(dataset)
    assert {split: figures.clips for split, figures in stats.items()} == {"train": 2, "valid": 1}
    assert describe_dataset(dataset / "valid") == {"": stats["valid"]}


def test_the_command_prints_splits_and_no_control_characters(dataset: Path) -> None:
    out = CliRunner().invoke(make_app(), ["data", "stats", str(dataset)]).stdout
    assert "train\nclips       2" in out
    assert "valid\nclips       1" in out
    assert "weighed     style: drill: 50.0% -> 66.7%, trap: 50.0% -> 33.3%" in out
    assert "\x1b" not in out


def test_long_lists_are_cut(tmp_path: Path) -> None:
    rows = [{"file_name": f"{n:02}.flac", "uploader": f"u{n:02}"} for n in range(30)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        soundfile.write(tmp_path / row["file_name"], np.zeros(800), 8000)
    out = CliRunner().invoke(make_app(), ["data", "stats", str(tmp_path)]).stdout
    assert "u23: 1, and 6 more" in out
    assert "u24" not in out
