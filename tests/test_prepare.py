"""`rapgen data prepare`, whole: files of all kinds in, a dataset that trains out; stopped, started again, added to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from recordings import beats, encode, put
from typer.testing import CliRunner

from rapgen.audio.loudness import loudness_lufs
from rapgen.cli.app import make_app
from rapgen.data.prepare import track as track_module
from rapgen.data.prepare.dataset import write_dataset
from rapgen.data.prepare.pipeline import prepare
from rapgen.data.prepare.places import clip_path, print_path, record_path
from rapgen.data.prepare.raw import list_raw
from rapgen.data.prepare.records import PreparedClip, Record
from rapgen.data.prepare.settings import Settings
from rapgen.data.prepare.split import draw_split
from rapgen.data.prepare.track import prepare_track
from rapgen.data.storage import Storage
from rapgen.data.validate import validate
from rapgen.errors import RapgenError
from rapgen.registry import build

pytestmark = pytest.mark.xdist_group("prepare")
SETTINGS = Settings(segment_s=8.0)
TITLE = "[FREE] Griselda Type Beat 2024 | 'Cold'"


def ignore(done: int, total: int) -> None:
    """A report that nobody reads."""


def run(*arguments: object) -> tuple[int, str]:
    """Exit status and what the command line says."""
    result = CliRunner().invoke(make_app(), ["data", *map(str, arguments)])
    return result.exit_code, result.output


def rows(dataset: Path, split: str) -> list[dict[str, Any]]:
    path = dataset / split / "metadata.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def all_rows(dataset: Path) -> dict[str, dict[str, Any]]:
    """Rows by the clip's place, without the weight, which depends on all clips."""
    found = {f"{split}/{row['file_name']}": row for split in ("train", "valid", "test") for row in rows(dataset, split)}
    return {place: {name: value for name, value in row.items() if name != "weight"} for place, row in found.items()}


def contents(dataset: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    return {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    return beats(7, 20.0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, sounds: list[np.ndarray]) -> Path:
    """Five beats in five kinds of file, a copy of one, and what is of no use."""
    folder = tmp_path_factory.mktemp("raw")
    put(folder, "cold.mp3", sounds[0], id="a", extractor="site", title=TITLE, uploader="me", license="CC BY")
    put(
        folder,
        "sub/warm.webm",
        sounds[1],
        id="b",
        extractor="site",
        title="Warm | trap type beat",
        caption="a warm one",
    )
    put(folder, "plain boom bap.m4a", sounds[2])
    put(folder, "x\n雨.flac", sounds[3])
    put(folder, "y.wav", sounds[4])
    put(folder, "z copy.mp3", 0.5 * sounds[4][:, 44_100:])
    (folder / "notes.txt").write_text("not audio at all")
    (folder / "hiss.wav").write_bytes(encode(np.zeros((2, 441_000), np.float32), 44_100, "wav"))
    (folder / "short.wav").write_bytes(encode(sounds[0][:, :44_100], 44_100, "wav"))
    (folder / "long.flac").write_bytes(encode(np.zeros((2, 44_100 * 700), np.float32), 44_100, "flac"))
    (folder / "half.flac").write_bytes(encode(sounds[0], 44_100, "flac")[:400_000])
    (folder / "lost.info.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def dataset(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of it; to be read, not written."""
    folder = tmp_path_factory.mktemp("data") / "set"
    status, told = run("prepare", raw, "--out", folder, "--duration", 8, "--json")
    assert status == 0, told
    (folder.parent / "told.json").write_text(told[told.index("{") :])
    return folder


@pytest.fixture
def grown(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be changed at will."""
    return shutil.copytree(dataset, tmp_path / "set")


# ---------------------------------------------------------------------------------------------- the way


def test_the_funnel_tells_of_every_file(dataset: Path) -> None:
    told = json.loads((dataset.parent / "told.json").read_text())
    assert told["dropped"] == {
        "not audio": 1, "silent": 1, "too short": 1, "longer than --max-duration": 1, "cut short": 1,
        "a copy of another": 1, "metadata without its audio": 1,
    }  # fmt: skip
    assert [step["count"] for step in told["funnel"] if step["unit"] == "tracks"] == [11, 6, 5]
    assert sum(told["clips"].values()) == len(all_rows(dataset))
    assert "not audio at all" not in (dataset / "report.html").read_text()
    assert "notes.txt" in (dataset / "report.html").read_text()


def test_clips_are_whole_bars_at_one_rate_and_level(dataset: Path) -> None:
    found = all_rows(dataset)
    assert len({row["track"] for row in found.values()}) == 5
    for place, row in found.items():
        audio, rate = soundfile.read(dataset / place, always_2d=True, dtype="float32")
        assert soundfile.info(dataset / place).subtype == "PCM_16"
        assert (rate, audio.shape[1]) == (44_100, 2)
        assert np.abs(audio).max() < 1
        assert loudness_lufs(audio.T, rate) == pytest.approx(-14, abs=3)
        duration_s = len(audio) / rate
        if "beats_s" in row and row.get("bars"):
            assert len(row["beats_s"]) == 4 * row["bars"]
            assert duration_s == pytest.approx(row["bars"] * 240 / row["tempo_bpm"], rel=0.03)
        assert duration_s >= 4


def test_words_are_kept_and_made(dataset: Path) -> None:
    found = [*all_rows(dataset).values()]
    (cold,) = {row["text"] for row in found if row.get("title") == TITLE}
    assert cold
    assert {row["licence"] for row in found if row.get("title") == TITLE} == {"CC BY"}
    warm = [row for row in found if row.get("title") == "Warm | trap type beat"]
    assert {row["captions"][0] for row in warm} == {"a warm one"}
    assert {row["style"] for row in warm} == {"trap"}
    plain = [row for row in found if row.get("title") == "plain boom bap"]
    assert {row["style"] for row in plain} == {"boom bap"}
    assert all(len(row["captions"]) > 1 for row in found)


def test_it_is_valid_and_the_folder_source_loads_it(dataset: Path) -> None:
    status, told = run("validate", dataset)
    assert status == 0, told
    source = build("source", {"use": "folder", "path": str(dataset / "train")})
    refs = list(source.refs())
    assert len(refs) == len(rows(dataset, "train"))
    clip = source.load(refs[0])
    assert clip.sample_rate == 44_100
    assert clip.annotations.captions


def test_no_track_stands_in_two_splits(dataset: Path) -> None:
    tracks = {split: {row["track"] for row in rows(dataset, split)} for split in ("train", "valid", "test")}
    assert tracks["train"]
    assert tracks["valid"]
    assert not tracks["train"] & tracks["valid"]


def test_datasets_reads_it_with_its_splits(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # which takes seconds

    # datasets imports torchcodec where it meets audio, to encode arrays, of which there are none here; what PyPI has of
    # torchcodec does not load beside a CPU torch
    encoders = types.ModuleType("torchcodec.encoders")
    vars(encoders)["AudioEncoder"] = object
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", encoders)
    found = datasets.load_dataset("audiofolder", data_dir=str(dataset), cache_dir=str(tmp_path))
    assert {split: len(found[split]) for split in found} == {
        name: len(rows(dataset, split))
        for split, name in (("train", "train"), ("valid", "validation"), ("test", "test"))
        if rows(dataset, split)
    }
    train = found["train"].cast_column("audio", datasets.Audio(decode=False))
    assert [row["text"] for row in train] == [row["text"] for row in rows(dataset, "train")]
    assert soundfile.info(train[0]["audio"]["path"]).samplerate == 44_100


# --------------------------------------------------------------------------------------- again, and more


def test_a_second_start_redoes_nothing(raw: Path, grown: Path) -> None:
    before = contents(grown)
    times = {path: path.stat().st_mtime_ns for path in grown.rglob("*.flac")}
    reported: list[tuple[int, int]] = []
    prepare(str(raw), str(grown), SETTINGS, report=lambda *figures: reported.append(figures))
    assert reported == [(11, 11)]
    assert contents(grown) == before
    assert times == {path: path.stat().st_mtime_ns for path in grown.rglob("*.flac")}


def test_what_is_added_later_changes_nothing_before_it(
    raw: Path, grown: Path, tmp_path: Path, sounds: list[np.ndarray]
) -> None:
    more = shutil.copytree(raw, tmp_path / "raw")
    before = all_rows(grown)
    put(more, "0 new.wav", sounds[5])  # would come first by name
    put(more, "0 copy.mp3", 0.8 * sounds[2][:, 20_000:])
    put(more, "same id.wav", sounds[6], id="a", extractor="site")
    reported: list[tuple[int, int]] = []
    summary = prepare(str(more), str(grown), SETTINGS, report=lambda *figures: reported.append(figures))
    assert reported[0] == (11, 13)
    after = all_rows(grown)
    assert {place: after[place] for place in before} == before
    assert {row["title"] for place, row in after.items() if place not in before} == {"0 new"}
    assert summary.dropped["a copy of another"] == 2
    assert summary.dropped["an id that another file has"] == 1
    assert not validate(grown, report=ignore).findings


def test_a_file_that_was_mended_is_prepared_anew(
    raw: Path, grown: Path, tmp_path: Path, sounds: list[np.ndarray]
) -> None:
    more = shutil.copytree(raw, tmp_path / "raw")
    put(more, "half.flac", sounds[5])
    summary = prepare(str(more), str(grown), SETTINGS, report=ignore)
    assert "cut short" not in summary.dropped
    assert "half" in {row["title"] for row in all_rows(grown).values()}


def test_a_clip_that_was_moved_to_its_split_is_replaced_where_its_file_has_changed(
    raw: Path, grown: Path, tmp_path: Path, sounds: list[np.ndarray]
) -> None:
    more = shutil.copytree(raw, tmp_path / "raw")
    clip = grown / "valid" / rows(grown, "valid")[0]["file_name"]
    track = clip.stem.rpartition("-")[0]
    record = json.loads((grown / ".prepare" / "tracks" / f"{track}.json").read_text())
    assert draw_split(record["family"], SETTINGS.seed) == "train"
    before = clip.read_bytes()
    put(more, record["source"], sounds[6][:, 22_050:])
    prepare(str(more), str(grown), SETTINGS, report=ignore)
    assert clip.read_bytes() != before
    assert not validate(grown, report=ignore).findings


def test_a_clip_that_is_gone_is_told_and_made_anew(raw: Path, grown: Path) -> None:
    before = contents(grown)
    next((grown / "train").glob("*.flac")).unlink()
    with pytest.raises(RapgenError, match=r"is gone .* start again"):
        prepare(str(raw), str(grown), SETTINGS, report=ignore)
    prepare(str(raw), str(grown), SETTINGS, report=ignore)
    assert contents(grown) == before


def test_killed_it_goes_on_to_the_same(raw: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = [sys.executable, "-m", "rapgen", "data", "prepare", str(raw), "--out", str(out), "--duration", "8"]
    kill_after(command, lambda: len(finished(out)) >= 3)
    times = {name: (out / ".prepare" / "tracks" / name).stat().st_mtime_ns for name in finished(out)}
    assert not (out / "manifest.json").exists()
    (out / "train").mkdir(exist_ok=True)
    (out / "train" / ".begun-0.flac.x1.flac").write_bytes(b"half")
    subprocess.run(command, check=True, capture_output=True)
    assert times == {name: (out / ".prepare" / "tracks" / name).stat().st_mtime_ns for name in times}
    assert contents(out) == contents(dataset)


def test_stopped_while_the_dataset_is_made_it_goes_on_to_the_same(
    raw: Path, grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(grown)
    for name in ("manifest.json", "report.html", ".prepare/splits.json"):
        (grown / name).unlink()
    for path in [*grown.glob("*/*.flac")]:
        path.replace(grown / draw_split(path.name.rpartition("-")[0], 0) / path.name)
    write = Storage.write
    for stop_at in range(4):
        writes = count()

        def stop(self: Storage, *arguments: Any, stop_at: int = stop_at, writes: Iterator[int] = writes) -> None:
            if next(writes) == stop_at:
                raise KeyboardInterrupt
            write(self, *arguments)

        monkeypatch.setattr(Storage, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(str(raw), str(grown), SETTINGS, report=ignore)
        assert not (grown / "manifest.json").exists()
    monkeypatch.undo()
    prepare(str(raw), str(grown), SETTINGS, report=ignore)
    assert contents(grown) == before


def finished(out: Path) -> set[str]:
    return {path.name for path in (out / ".prepare" / "tracks").glob("[!.]*.json")}


def kill_after(command: list[str], is_enough: Callable[[], bool]) -> None:
    """Start a process and kill it, and it alone, as soon as it has done enough; its children end with it."""
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not is_enough() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    children = process.children(recursive=True)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(children, timeout=20)[1]


# ------------------------------------------------------------------------------------- what users do wrong


def test_other_settings_are_told(raw: Path, dataset: Path) -> None:
    status, told = run("prepare", raw, "--out", dataset, "--duration", 10, "--vocals", "keep")
    assert status == 2, told
    with pytest.raises(
        RapgenError, match=r"prepared otherwise \(segment_s was 8.0, is 10.0; vocals was 'drop', is 'keep'\)"
    ):
        prepare(
            str(raw), str(dataset), SETTINGS.model_copy(update={"segment_s": 10.0, "vocals": "keep"}), report=ignore
        )


def test_an_unknown_captioner_is_told_before_any_work_and_leaves_nothing(raw: Path, tmp_path: Path) -> None:
    status, told = run("prepare", raw, "--out", tmp_path / "set", "--captioner", "nope")
    assert (status, told.splitlines()[-1]) == (2, "error: no captioner is called 'nope'; known: phrases, toy")
    assert not (tmp_path / "set").exists()


def test_settings_by_which_nothing_was_prepared_bind_nobody(tmp_path: Path, sounds: list[np.ndarray]) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(RapgenError, match="nothing of RAW came through"):
        prepare(str(tmp_path / "raw"), str(tmp_path / "set"), SETTINGS, report=ignore)
    put(tmp_path / "raw", "y.wav", sounds[4])
    other = SETTINGS.model_copy(update={"vocals": "keep"})
    prepare(str(tmp_path / "raw"), str(tmp_path / "set"), other, report=ignore)
    assert json.loads((tmp_path / "set/manifest.json").read_bytes())["settings"]["vocals"] == "keep"


def told_of(raw: Path, out: Path) -> str:
    with pytest.raises(RapgenError) as error:
        prepare(str(raw), str(out), SETTINGS, report=ignore)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folders_that_cannot_be_used_are_told(raw: Path, tmp_path: Path) -> None:
    assert "there is no folder" in told_of(tmp_path / "nowhere", tmp_path / "out")
    assert "would lie within" in told_of(raw, raw / "data")
    assert "would lie within" in told_of(raw, raw)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.flac").write_bytes(b"x")
    assert "holds other files" in told_of(raw, other)
    killed = tmp_path / "killed" / ".prepare"
    killed.mkdir(parents=True)
    (killed / ".settings.json.x1.json").write_text("{")
    prepare(str(raw / "sub"), str(killed.parent), SETTINGS, report=ignore)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "nothing of" in told_of(empty, tmp_path / "out")
    (empty / "a.mp3").write_bytes(b"no audio")
    assert "not audio: 1" in told_of(empty, tmp_path / "out")
    assert "a.mp3" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_place_that_cannot_be_written_is_told_in_a_line(raw: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert "cannot write" in told_of(raw, blocked / "set")


def test_a_full_disk_stops_it_with_a_line(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    track = list_raw(Storage(str(raw))).tracks[0]
    monkeypatch.setattr("rapgen.files.Path.replace", full)
    with pytest.raises(RapgenError, match="free some space"):
        prepare_track(Storage(str(raw)), Storage(str(tmp_path / "set")), track, SETTINGS)


# -------------------------------------------------------------------------------------------- one track


def test_voices_cost_a_track_the_clips_they_are_in(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (track,) = (track for track in list_raw(Storage(str(raw))).tracks if track.source == "y.wav")
    out = Storage(str(tmp_path))

    def sung(*spans: tuple[float, float], **changes: object) -> Record:
        monkeypatch.setattr(track_module, "voiced", lambda mono, rate: list(spans))
        return prepare_track(Storage(str(raw)), out, track, SETTINGS.model_copy(update=changes))

    silent = sung()
    assert len(silent.clips) == 2
    assert silent.measured is not None
    assert silent.measured.vocals == 0
    intro = sung((0.0, 5.0))
    assert intro.clips == silent.clips[1:]
    assert intro.lost_clips == {"vocals": 1}
    assert sung((0.5, 1.0)).clips == silent.clips  # a producer's tag
    assert sung((0.0, 19.0)).dropped == "vocals"
    assert len(sung((0.0, 19.0), vocals="keep").clips) == 2


def test_what_nobody_has_thought_of_is_a_reason(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("of a kind")

    monkeypatch.setattr(track_module, "track_rhythm", fail)
    track = next(track for track in list_raw(Storage(str(raw))).tracks if track.source == "y.wav")
    record = prepare_track(Storage(str(raw)), Storage(str(tmp_path)), track, SETTINGS)
    assert (record.dropped, record.detail) == ("cannot be prepared", "ZeroDivisionError: of a kind")


# ------------------------------------------------------------------------------------------- many tracks


def made_up(out: Path, num: int, like: Record) -> Iterator[Record]:
    """Records of tracks that were never heard, with empty clips."""
    for folder in ("train", "valid", "test", ".prepare/tracks", ".prepare/prints"):
        (out / folder).mkdir(parents=True)
    for number in range(num):
        name = f"beat-{number:012x}"
        files = [f"{name}-{clip:03d}.flac" for clip in range(4)]
        clips = tuple(
            PreparedClip(
                file_name=file, start_s=0, duration_s=30, row={**like.clips[0].row, "file_name": file, "track": name}
            )
            for file in files
        )
        record = like.model_copy(update={"track": name, "family": name, "source": f"{number}.mp3", "clips": clips})
        (out / record_path(name)).write_text(record.model_dump_json())
        np.save(out / print_path(name), np.zeros(0, np.uint32))
        for file in files:
            (out / clip_path(draw_split(name, 0), file)).touch()
        yield record.lighter()


def test_what_needs_all_tracks_takes_time_by_their_number(dataset: Path, tmp_path: Path) -> None:
    records = (dataset / ".prepare" / "tracks").glob("*.json")
    like = next(record for path in records if (record := Record.model_validate_json(path.read_bytes())).clips)
    took_s = {}
    for num in (100, 1000):
        out = tmp_path / str(num)
        light = list(made_up(out, num, like))
        start = time.process_time()
        write_dataset(Storage(str(out)), SETTINGS, light, [])
        took_s[num] = time.process_time() - start
        assert len(all_rows(out)) == 4 * num
    assert took_s[1000] < 20 * took_s[100] + 1
    assert took_s[1000] < 20
