"""Checkpoints appear whole or not at all, the newest two are kept, and damage is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rapgen.checkpoint import latest_checkpoint, read_meta, read_state, save_checkpoint
from rapgen.errors import ModelError, RapgenError

STATE = {"weight": torch.arange(6.0).view(2, 3).T, "step": torch.tensor(3)}
META: dict[str, Any] = {"identities": {}, "progress": {"step": 3}}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "coarse", 3, {"model": STATE, "ema": {}}, META)
    assert path == tmp_path / "coarse" / "step_00000003" == latest_checkpoint(tmp_path / "coarse")
    assert sorted(p.name for p in path.iterdir()) == ["ema.safetensors", "meta.json", "model.safetensors"]
    state = read_state(path, "model")
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert read_state(path, "ema") == {}
    assert read_meta(path) == {"format": 1, "step": 3, **META}


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 90, 100, 1000):
        save_checkpoint(tmp_path, step, {"model": STATE}, META)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step_00000100", "step_00001000"]
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert read_meta(latest)["step"] == 1000


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"model": STATE, "old": STATE}, META)
    path = save_checkpoint(tmp_path, 1, {"model": {"weight": torch.ones(1)}}, META)
    assert sorted(p.name for p in path.iterdir()) == ["meta.json", "model.safetensors"]
    assert read_state(path, "model")["weight"].tolist() == [1]


def test_a_run_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "nowhere") is None


def test_what_was_broken_off_is_passed_over(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"model": STATE}, META)
    (tmp_path / "step_00000009").mkdir()
    (tmp_path / "step_00000009" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".step_00000010.tmp").mkdir()
    (tmp_path / ".step_00000010.tmp" / "meta.json").write_text("{}")
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.name == "step_00000001"
    save_checkpoint(tmp_path, 10, {"model": STATE}, META)
    assert not (tmp_path / ".step_00000010.tmp").exists()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 1, {"model": STATE}, META)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(RapgenError, match=r"step_00000002.*No space left on device; free some space") as raised:
        save_checkpoint(tmp_path, 2, {"model": STATE}, META)
    assert "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_torn_state_is_one_line(tmp_path: Path, keep: int) -> None:
    path = save_checkpoint(tmp_path, 1, {"model": STATE}, META)
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors is missing or damaged") as raised:
        read_state(path, "model")
    assert "\n" not in str(raised.value)


def test_a_missing_state_is_one_line(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, {"model": STATE}, META)
    with pytest.raises(ModelError, match=r"ema\.safetensors is missing or damaged"):
        read_state(path, "ema")


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "3", '{"format": 1}', '{"format": 1, "identities": 3}', "\xff"]
)
def test_a_damaged_meta_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "meta.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match=r"meta\.json.* damaged or not a model") as raised:
        read_meta(tmp_path)
    assert "\n" not in str(raised.value)


def test_another_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"format": 99, **META}))
    with pytest.raises(ModelError, match="has format 99, this rapgen reads 1"):
        read_meta(tmp_path)
