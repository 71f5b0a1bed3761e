"""Shards keep clips as they are, are read by crops, and are made again one by one where they are missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.errors import MismatchError, ModelError, RapgenError
from rapgen.identities import Parts
from rapgen.interfaces import Annotations, Chord, Groove, Upload
from rapgen.models.patterns import PAD
from rapgen.parts import bind, build_parts, freeze
from rapgen.recipe import parse_recipe
from rapgen.tokens import collect as collecting
from rapgen.tokens import shards as shard_files
from rapgen.tokens.batches import ClipOrder, padding_share
from rapgen.tokens.collect import AUDIO, collect, stored_clip
from rapgen.tokens.shards import Row, Shards, check_written, read_label, write_shard
from rapgen.tokens.tokenize import CODES, SEMANTIC, aligned_name, tokenize

WIDTHS = {"codes": 3, "semantic": 1}

grooves = st.builds(
    Groove,
    tempo_bpm=st.none() | st.floats(40, 220),
    key=st.none() | st.just("F# minor"),
    style=st.none() | st.text(max_size=5),
    bars=st.none() | st.integers(1, 64),
)
annotations = st.builds(
    Annotations,
    groove=grooves,
    beats_s=st.lists(st.floats(0, 100), max_size=4).map(tuple),
    first_beat=st.integers(0, 31),
    captions=st.lists(st.text(max_size=20), max_size=3).map(tuple),
    licence=st.none() | st.text(max_size=5),
    chords=st.lists(st.builds(Chord, st.floats(0, 100), st.just("F#m7")), max_size=2).map(tuple),
    energy=st.none() | st.floats(0, 1),
    upload=st.builds(Upload, title=st.text(max_size=5), tags=st.just(("trap",))),
    weight=st.floats(0.1, 5),
)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    lengths = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=7))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    found = []
    for number, counts in enumerate(lengths):
        streams = {
            name: rng.integers(-1, 1024, (count, width)).astype(np.int16)
            for (name, width), count in zip(WIDTHS.items(), counts, strict=True)
        }
        found.append(Row(f"clip {number}", f"track {number // 2}", draw(annotations), streams))
    return found


def store(folder: Path, stored: list[Row], size: int) -> Shards:
    for number in range(0, len(stored), size):
        write_shard(folder / f"{number:05d}.arrow", stored[number : number + size], {"about": "test"})
    return Shards(folder)


@given(stored=rows(), size=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_what_is_stored_comes_back(tmp_path_factory: pytest.TempPathFactory, stored: list[Row], size: int) -> None:
    shards = store(tmp_path_factory.mktemp("shards"), stored, size)
    assert len(shards) == len(stored)
    assert shards.meta["about"] == "test"
    assert shards.annotations == [r.annotations for r in stored]
    for name, width in WIDTHS.items():
        assert shards.width(name) == width
        assert shards.lengths(name).tolist() == [len(r.streams[name]) for r in stored]
        for number, row in enumerate(stored):
            assert np.array_equal(shards.row(name, number), row.streams[name])


@given(stored=rows(), size=st.integers(1, 4), data=st.data())
@settings(max_examples=40, deadline=None)
def test_gathering_equals_looking_up(
    tmp_path_factory: pytest.TempPathFactory, stored: list[Row], size: int, data: st.DataObject
) -> None:
    shards = store(tmp_path_factory.mktemp("shards"), stored, size)
    clips = data.draw(st.lists(st.integers(0, len(stored) - 1), min_size=1, max_size=5))
    length = data.draw(st.integers(1, 6))
    row = st.lists(st.integers(-5, 15), min_size=length, max_size=length)
    frames = data.draw(st.lists(row, min_size=len(clips), max_size=len(clips)))
    for name, width in WIDTHS.items():
        expected = np.full((len(clips), length, width), PAD, np.int16)
        for b, clip in enumerate(clips):
            for n, frame in enumerate(frames[b]):
                if 0 <= frame < len(stored[clip].streams[name]):
                    expected[b, n] = stored[clip].streams[name][frame]
        gathered = shards.gather(name, np.array(clips), np.array(frames))
        assert gathered.dtype == np.int16
        assert np.array_equal(gathered, expected)


def one_shard(folder: Path) -> Path:
    streams = {name: np.arange(60 * width, dtype=np.int16).reshape(-1, width) for name, width in WIDTHS.items()}
    write_shard(folder / "00000.arrow", [Row("a", "a", Annotations(), streams)], {})
    return folder / "00000.arrow"


@pytest.mark.parametrize("keep", [0, 4, 100, -100, -1])
def test_a_torn_shard_is_one_line(tmp_path: Path, keep: int) -> None:
    path = one_shard(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"00000.arrow is damaged \(.*remove it and run the same command") as raised:
        Shards(tmp_path)
    assert "\n" not in str(raised.value)


@given(content=st.binary(max_size=300))
@settings(deadline=None)
def test_what_is_no_shard_is_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "00000.arrow").write_bytes(content)
    with pytest.raises(ModelError, match=r"00000\.arrow is damaged") as raised:
        Shards(folder)
    assert "\n" not in str(raised.value)


def test_an_arrow_file_of_something_else_is_one_line(tmp_path: Path) -> None:
    import pyarrow as pa

    for number, header in enumerate([None, {b"rapgen": b"{"}, {b"rapgen": b"{}"}, {b"rapgen": b"[]"}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        table = pa.table({"a": [1]}).replace_schema_metadata(header)
        with pa.OSFile(str(folder / "0.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)
        with pytest.raises(ModelError, match="is damaged"):
            Shards(folder)


def test_what_a_killed_process_left_is_no_shard(tmp_path: Path) -> None:
    path = one_shard(tmp_path)
    (tmp_path / ".00001.arrow.x1y2.arrow").write_bytes(path.read_bytes()[:100])
    assert len(Shards(tmp_path)) == 1


def test_a_label_says_what_the_shard_does(tmp_path: Path) -> None:
    label = read_label(one_shard(tmp_path))
    assert label.ids == ("a",)
    assert label.meta == Shards(tmp_path).meta


def test_shards_that_another_machine_wrote_are_missed(tmp_path: Path) -> None:
    path = one_shard(tmp_path)
    check_written([path])
    with pytest.raises(RapgenError, match=r"1 shards, 00001.arrow first, .*a folder that all machines share"):
        check_written([path, tmp_path / "00001.arrow"])


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no shards in"):
        Shards(tmp_path)


# --------------------------------------------------------------------------------- collecting, tokenizing

SOURCE = {"use": "toy", "num_clips": 7, "duration_s": 1.0}


def unseen(done: int, total: int) -> None:
    pass


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of three clips, made in this process."""
    monkeypatch.setattr(collecting, "CLIPS_A_SHARD", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def gather_audio(folder: Path, **changes: Any) -> Shards:
    collect(SOURCE, folder, **{"sample_rate": 8000, "channels": 1, "report": unseen, **changes})
    return Shards(folder)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.glob("*.arrow"))}


@pytest.mark.usefixtures("one_core")
def test_collecting_makes_only_what_is_missing(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    shards = gather_audio(tmp_path, report=lambda done, total: told.append((done, total)))
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]
    assert len(shards) == 7
    first = contents(tmp_path)
    assert list(first) == ["00000.arrow", "00001.arrow", "00002.arrow"]
    (tmp_path / "00001.arrow").unlink()
    told.clear()
    gather_audio(tmp_path, report=lambda done, total: told.append((done, total)))
    assert told == [(4, 7), (7, 7)]
    again = contents(tmp_path)
    assert {n: c for n, (_, c) in again.items()} == {n: c for n, (_, c) in first.items()}
    assert [n for n in first if first[n][0] != again[n][0]] == ["00001.arrow"]


@pytest.mark.usefixtures("one_core")
def test_stored_audio_is_the_sources(tmp_path: Path) -> None:
    from rapgen.registry import build

    shards, source = gather_audio(tmp_path), build("source", SOURCE)
    for number, ref in enumerate(source.refs()):
        clip, stored = source.load(ref), stored_clip(shards, number)
        assert stored.annotations == clip.annotations
        assert stored.sample_rate == 8000
        if clip.sample_rate == 8000:
            assert np.abs(stored.audio - clip.audio.mean(0)).max() <= 1 / 32767
        assert np.abs(stored.audio).max() <= 1


@pytest.mark.usefixtures("one_core")
def test_audio_of_another_rate_is_not_taken_for_ours(tmp_path: Path) -> None:
    gather_audio(tmp_path)
    for change in ({"sample_rate": 16_000}, {"channels": 2}):
        with pytest.raises(MismatchError, match=r"(8000.*16000|1.*2).*remove") as raised:
            gather_audio(tmp_path, **change)
        assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("one_core")
def test_audio_of_another_source_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather_audio(tmp_path)
    monkeypatch.setitem(SOURCE, "seed", 0)  # the default
    gather_audio(tmp_path)
    monkeypatch.setitem(SOURCE, "seed", 3)
    with pytest.raises(MismatchError, match=r"source was .*'seed': 0.* and is .*'seed': 3.*; remove"):
        gather_audio(tmp_path)


def test_a_source_without_clips_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RapgenError, match="'toy'"):
        collect({**SOURCE, "num_clips": 0}, tmp_path, sample_rate=8000, channels=1, report=unseen)


@pytest.mark.usefixtures("one_core")
def test_several_processes_store_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather_audio(tmp_path / "one")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    gather_audio(tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {n: c for n, (_, c) in one.items()} == {n: c for n, (_, c) in two.items()}


@pytest.fixture
def parts(toy_recipe: dict[str, Any]) -> Parts:
    """Toy parts that need no training, with the grid."""
    tree = {**toy_recipe, "conditioners": {"tags": {"use": "toy"}, "grid": {"use": "grid"}}}
    for name in ("semantic", "coarse", "fine"):
        tree["stages"][name]["inputs"] = ["tags", "grid"]
    built = build_parts(parse_recipe(tree, "test"))
    del built["mulan"]
    for part in built.values():
        freeze(part)
    bind(built)
    return built


@pytest.fixture
def audio(tmp_path: Path, parts: Parts, one_core: None) -> Path:
    codec = parts["codec"].component
    gather_audio(tmp_path / "audio", sample_rate=codec.spec.sample_rate, channels=codec.channels)
    return tmp_path / "audio"


def make_tokens(audio: Path, parts: Parts, folder: Path) -> Shards:
    tokenize(audio, parts, folder, report=unseen)
    return Shards(folder)


def test_tokenizing_makes_only_what_is_missing(tmp_path: Path, audio: Path, parts: Parts) -> None:
    folder = tmp_path / "tokens"
    make_tokens(audio, parts, folder)
    first = contents(folder)
    (folder / "00001.arrow").unlink()
    tokens = make_tokens(audio, parts, folder)
    again = contents(folder)
    assert {n: c for n, (_, c) in again.items()} == {n: c for n, (_, c) in first.items()}
    assert [n for n in first if first[n][0] != again[n][0]] == ["00001.arrow"]
    assert tokens.annotations == Shards(audio).annotations


def test_token_shards_hold_what_the_parts_say(tmp_path: Path, audio: Path, parts: Parts) -> None:
    tokens, stored = make_tokens(audio, parts, tmp_path / "tokens"), Shards(audio)
    codec, semantic = parts["codec"].component, parts["semantic"].component
    for number in (0, 4, 6):
        wave = torch.from_numpy(stored_clip(stored, number).audio)[None]
        assert np.array_equal(tokens.row(CODES, number), codec.encode(wave)[0].numpy())
        assert np.array_equal(tokens.row(SEMANTIC, number), semantic.encode(wave)[0].numpy())
    frames = -(-stored.lengths(AUDIO) // codec.spec.hop_length)
    assert tokens.lengths(CODES).tolist() == tokens.lengths(aligned_name("grid", CODES)).tolist() == frames.tolist()
    assert tokens.lengths(SEMANTIC).tolist() == tokens.lengths(aligned_name("grid", SEMANTIC)).tolist()
    assert (tokens.lengths("tags") >= 1).all()


def test_tokens_of_other_parts_are_refused(tmp_path: Path, audio: Path, parts: Parts) -> None:
    import dataclasses

    make_tokens(audio, parts, tmp_path / "tokens")
    codec = parts["codec"]
    other = {**parts, "codec": dataclasses.replace(codec, options={**codec.options, "strange": 3})}
    with pytest.raises(MismatchError, match=r"option 'strange' was None .* is 3 now"):
        make_tokens(audio, other, tmp_path / "tokens")


# ------------------------------------------------------------------------------------------------- drawing clips


@settings(max_examples=50)
@given(weights=st.lists(st.floats(0.1, 5), min_size=1, max_size=40).map(np.array), epoch=st.integers(0, 5))
def test_an_epoch_has_each_clip_as_often_as_it_weighs(weights: np.ndarray, epoch: int) -> None:
    expected = weights / weights.mean()
    times = np.bincount(
        ClipOrder(weights, 0, "stage").clips(epoch * len(weights), len(weights)), minlength=len(weights)
    )
    assert (np.abs(times - expected) < 1 + 1e-9).all()


def test_clips_of_one_weight_come_once_an_epoch_and_in_the_same_order_whatever_it_is() -> None:
    drawn = ClipOrder(np.full(97, 0.3), 0, "stage").clips(3 * 97, 97)
    assert sorted(drawn) == list(range(97))
    assert np.array_equal(drawn, ClipOrder(np.ones(97), 0, "stage").clips(3 * 97, 97))


def test_weights_hold_on_average() -> None:
    weights = np.array([0.5, 1.0, 2.5])
    drawn = np.concatenate([ClipOrder(weights, 0, "stage").clips(3 * epoch, 3) for epoch in range(4000)])
    assert np.bincount(drawn) / 4000 == pytest.approx(3 * weights / weights.sum(), abs=0.03)


@given(
    clips=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 4)), min_size=1, max_size=9),
    crop=st.integers(1, 60),
)
def test_the_share_of_padding_is_what_crops_lack(clips: list[tuple[int, int]], crop: int) -> None:
    lengths, weights = (np.array(values) for values in zip(*clips, strict=True))
    rows = [length for length, weight in clips for _ in range(weight)]
    lacking = sum(max(0, crop - length) for length in rows)
    assert padding_share(lengths, weights, crop) == pytest.approx(lacking / (crop * len(rows)), abs=1e-12)


@given(stored=rows(), size=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_crops_are_slices_of_clips(
    tmp_path_factory: pytest.TempPathFactory, stored: list[Row], size: int, seed: int
) -> None:
    shards = store(tmp_path_factory.mktemp("shards"), stored, size)
    rng = np.random.default_rng(seed)
    clips, starts = rng.integers(0, len(stored), 6), rng.integers(0, 12, 6)
    for name in WIDTHS:
        found = shards.crops(name, clips, starts, 5)
        for row, clip, start in zip(found, clips, starts, strict=True):
            whole = stored[clip].streams[name][start : start + 5]
            assert np.array_equal(row[: len(whole)], whole)
            assert (row[len(whole) :] == PAD).all()
        assert np.array_equal(found, shards.gather(name, clips, starts[:, None] + np.arange(5)))


def test_weights_are_read_without_the_rest_of_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [Row(f"{n}", "t", Annotations(weight=n + 0.5), {"codes": np.zeros((1, 1), np.int16)}) for n in range(5)]
    shards = store(tmp_path / "new", stored, 2)
    assert shards.weights.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert "annotations" not in vars(shards)
    monkeypatch.setattr(shard_files, "_WEIGHT", "a column that older shards lack")
    assert Shards(tmp_path / "new").weights.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
