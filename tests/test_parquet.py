"""Parquet for others: a dataset's rows with their audio, a run's tokens with what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from rapgen.audio.io import read_audio, write_wav
from rapgen.cli.app import make_app
from rapgen.tokens import parquet as exporting
from rapgen.tokens.shards import Shards


def rapgen(*arguments: Any) -> Result:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Seven clips in two splits; columns that few rows have, and one that rapgen does not know."""
    folder = tmp_path / "data"
    for split, count in (("train", 5), ("valid", 2)):
        rows: list[dict[str, Any]] = []
        for number in range(count):
            write_wav(folder / split / f"{number}.wav", np.full((1, 800 + number), number / 10, np.float32), 8000)
            rows.append({"file_name": f"{number}.wav", "text": f"beat {number}", "tempo_bpm": 90 + number})
        rows[-1] |= {"tempo_bpm": 88.5, "chords": [{"start_s": 0.0, "name": "Am"}], "mine": {"deep": [1]}}
        (folder / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_dataset_comes_back(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_GROUP_ROWS", 2)
    monkeypatch.setattr(exporting, "_FILE_BYTES", 3000)  # a row group of two is over 3,000 bytes
    out = tmp_path / "out"
    assert "7 clips in" in rapgen("data", "export", dataset, "--parquet", out).output
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.parquet"))
    assert files == ["train/00000.parquet", "train/00001.parquet", "train/00002.parquet", "valid/00000.parquet"]
    assert len({pq.read_schema(out / name) for name in files}) == 1
    assert all(pq.ParquetFile(out / name).metadata.row_group(0).num_rows <= 2 for name in files)
    rows = [row for name in files[:3] for row in pq.read_table(out / name).to_pylist()]
    assert [row["file_name"] for row in rows] == [f"{number}.wav" for number in range(5)]
    assert [row["tempo_bpm"] for row in rows] == [90, 91, 92, 93, 88.5]
    assert rows[4]["mine"] == {"deep": [1]}
    assert rows[0]["mine"] is None
    for row in rows:
        assert row["audio"]["bytes"] == (dataset / "train" / row["audio"]["path"]).read_bytes()


def test_hugging_face_hears_it(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rapgen("data", "export", dataset, "--parquet", tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 5, "validation": 2}
    assert isinstance(loaded["train"].features["audio"], datasets.Audio)
    bare = loaded["train"].cast_column("audio", datasets.Audio(decode=False))[3]["audio"]
    (tmp_path / "back.wav").write_bytes(bare["bytes"])
    assert np.array_equal(read_audio(tmp_path / "back.wav")[0], read_audio(dataset / "train" / "3.wav")[0])


def test_tokens_come_back(tiny_run: Path, tmp_path: Path) -> None:
    assert "12 clips in" in rapgen("data", "export", tiny_run, "--parquet", tmp_path / "out").output
    shards = Shards(tiny_run / "tokens" / "train")
    table = pq.read_table(tmp_path / "out" / "train" / "00000.parquet")
    said = json.loads(table.schema.metadata[b"rapgen"])
    assert said["identities"] == shards.meta["identities"]
    for name, width in said["widths"].items():
        for clip, values in enumerate(table.column(name).to_pylist()):
            assert np.array_equal(np.reshape(values, (-1, width)), shards.row(name, clip))


def test_what_cannot_be_exported_is_one_line(dataset: Path, tmp_path: Path) -> None:
    def told(*arguments: Any) -> str:
        done = rapgen("data", "export", *arguments)
        assert done.exit_code == 2
        *_, line = done.output.splitlines()
        assert line.startswith("error: ")
        return line

    assert "is there already" in told(dataset, "--parquet", dataset)
    assert "holds no audio" in told(tmp_path / "none", "--parquet", tmp_path / "out")
    (dataset / "train" / "4.wav").unlink()
    assert "there is no file '4.wav'" in told(dataset, "--parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
