"""Toy parts, folders of audio, and what is written and counted of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.audio.metadata import annotations_of, make_row
from rapgen.data.audiofolder import write_audiofolder
from rapgen.data.stats import describe, describe_folder
from rapgen.errors import AudioError, RapgenError, RecipeError
from rapgen.groove import FEELS, KEYS, STYLES
from rapgen.interfaces import Annotations, Clip, ClipRef, DataSource, Groove, Prompt
from rapgen.registry import build
from rapgen.tokens.collect import AUDIO
from rapgen.tokens.shards import Shards

RATE = 8000
TOY = {"use": "toy", "num_clips": 10, "duration_s": 2.0}


def ignore(done: int, total: int) -> None:
    """A report that nobody reads."""


def write_wav(path: Path, duration_s: float = 1.0, channels: int = 1) -> None:
    """A ramp, so that every sample tells where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(-0.5, 0.5, round(duration_s * RATE))
    soundfile.write(path, np.stack([ramp] * channels, 1), RATE, subtype="FLOAT")


def write_metadata(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def source(folder: Path, **options: Any) -> DataSource:
    found: DataSource = build("source", {"use": "folder", "path": str(folder), **options})
    return found


def clips(folder: Path, **options: Any) -> list[tuple[ClipRef, Clip]]:
    found = source(folder, **options)
    return [(ref, found.load(ref)) for ref in found.refs()]


# ------------------------------------------------------------------------------------------------ toy parts


def toy_audio() -> torch.Tensor:
    toys = build("source", TOY)
    return torch.from_numpy(np.stack([toys.load(ref).audio for ref in toys.refs()]))


def test_toy_codec_keeps_the_bass() -> None:
    codec, audio = build("codec", {"use": "toy"}), toy_audio()
    codes = codec.encode(audio)
    played = codec.decode(codes)[..., : audio.shape[-1]]
    assert np.corrcoef(audio.flatten(), played.flatten())[0, 1] > 0.95
    assert not codec.decode(codec.encode(torch.zeros(1, 1, 1000))).any()


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 1000),
    batch=st.integers(1, 3),
    hop_length=st.sampled_from([160, 200]),
    num_codebooks=st.integers(1, 8),
    codebook_size=st.integers(3, 64),
    seed=st.integers(0, 9),
)
def test_toy_tokens_have_the_shapes_and_ranges_of_their_specs(
    samples: int, batch: int, hop_length: int, num_codebooks: int, codebook_size: int, seed: int
) -> None:
    sizes = {"hop_length": hop_length, "num_codebooks": num_codebooks, "codebook_size": codebook_size}
    codec, semantic = build("codec", {"use": "toy", **sizes}), build("semantic", {"use": "toy"})
    audio = 2 * torch.rand(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) - 1
    for part in (codec, semantic):
        tokens = part.encode(audio)
        assert tokens.shape == (batch, -(-samples // part.spec.hop_length), part.spec.num_codebooks)
        assert tokens.dtype == torch.int64
        assert tokens.min() >= 0
        assert tokens.max() < part.spec.codebook_size
    codes = codec.encode(audio)
    assert codec.decode(codes).shape == (batch, 1, codes.shape[1] * hop_length)


def test_toy_text_encoder_knows_words_wherever_they_stand() -> None:
    encoder = build("text_encoder", {"use": "toy"})
    vectors, mask = encoder.encode(["Trap, 140 bpm", "140", ""])
    assert vectors.shape == (3, 3, encoder.dim)
    assert mask.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert torch.equal(vectors[0, 1], vectors[1, 0])
    assert not vectors[~mask].any()


def test_toy_conditioner_hears_clips_and_reads_prompts() -> None:
    conditioner = build("conditioner", {"use": "toy"})
    clip = Clip(np.full((1, 100), 0.5, np.float32), RATE, Annotations(captions=("trap",)))
    codes, valid = conditioner.encode([clip, Prompt("trap"), Clip(clip.audio, RATE)])
    assert codes.shape == valid.shape == (3, conditioner.spec.num_codebooks)
    assert codes.max() < conditioner.spec.codebook_size
    assert valid.tolist() == [[True, True], [True, False], [False, True]]
    assert codes[0, 0] == codes[1, 0]


def test_toy_source_is_deterministic_and_true_to_its_annotations() -> None:
    first, again, other = (build("source", {**TOY, "seed": seed}) for seed in (0, 0, 1))
    ref = list(first.refs())[3]
    clip = first.load(ref)
    assert np.array_equal(clip.audio, again.load(ref).audio)
    assert not np.array_equal(clip.audio, other.load(ref).audio)
    tempo_bpm = clip.annotations.groove.tempo_bpm
    assert np.diff(clip.annotations.beats_s) == pytest.approx(60 / tempo_bpm)
    assert build("captioner", {"use": "toy"}).caption(clip) == [clip.annotations.captions[0]]


def test_toy_metric_over_shards_equals_the_whole() -> None:
    generated = [Clip(np.zeros((1, n * RATE), np.float32), RATE) for n in (1, 2, 3)]
    whole, first, rest = (build("metric", {"use": "toy"}) for _ in range(3))
    whole.update(generated, [Prompt("")] * 3)
    first.update(generated[:1], [Prompt("")])
    rest.update(generated[1:], [Prompt("")] * 2)
    first.merge(rest)
    assert first.compute() == whole.compute() == {"clips": 3.0, "duration_s": 2.0}


# ------------------------------------------------------------------------------------------ source: folder


def test_folder_without_metadata_lists_audio_and_reads_names(tmp_path: Path) -> None:
    for name in ("b/dusty_boom-bap_90bpm.wav", "a.WAV", "b/notes.txt", ".hidden.wav"):
        write_wav(tmp_path / name) if name.lower().endswith("wav") else (tmp_path / name).write_text("no audio")
    found = clips(tmp_path)
    assert [ref.id for ref, _ in found] == ["a.WAV", "b/dusty_boom-bap_90bpm.wav"]
    annotations = found[1][1].annotations
    assert annotations.captions == ("dusty boom bap 90bpm",)
    assert annotations.groove == Groove(tempo_bpm=90.0, style="boom bap")


def test_folder_reads_metadata(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", channels=2)
    write_wav(tmp_path / "a.wav")
    rows: list[dict[str, Any]] = [
        {"file_name": "x.wav", "text": "trap, 140 bpm", "captions": ["dark"], "tempo_bpm": 141, "key": "f#m", "bpm": 3},
        {"file_name": "a.wav", "caption": "lo-fi", "beats_s": [0.1, 0.6], "first_beat": 3, "track": "t", "bars": None},
    ]
    write_metadata(tmp_path, *rows)
    (ref_a, a), (ref_x, x) = clips(tmp_path)
    assert (ref_a.id, ref_a.track, ref_x.track) == ("a.wav", "t", "x.wav")
    assert x.audio.shape == (2, RATE)
    assert x.annotations.captions == ("trap, 140 bpm", "dark")
    assert x.annotations.groove == Groove(tempo_bpm=141.0, key="F# minor", style="trap")
    assert (a.annotations.beats_s, a.annotations.first_beat) == ((0.1, 0.6), 3)
    assert a.annotations.groove.style == "lo-fi"


def test_a_stem_comes_with_its_clip_at_the_same_rate_and_length(tmp_path: Path) -> None:
    write_wav(tmp_path / "beat.wav", duration_s=3.0)
    write_wav(tmp_path / "stems" / "tune.wav", duration_s=2.5)
    write_metadata(tmp_path, {"file_name": "beat.wav", "stems": {"lead": "stems/tune.wav"}})
    ((_, whole),) = clips(tmp_path)
    assert whole.stems["lead"].shape == whole.audio.shape
    assert not whole.stems["lead"][:, round(2.5 * whole.sample_rate) :].any()
    parts = [clip for _, clip in clips(tmp_path, duration_s=1.5)]
    stems = [clip.stems["lead"] for clip in parts]
    assert np.array_equal(np.concatenate(stems, 1), whole.stems["lead"])


def test_facts_that_cannot_be_played_are_not_read_from_captions(tmp_path: Path) -> None:
    write_wav(tmp_path / "a 900 bpm.wav")
    assert clips(tmp_path)[0][1].annotations.groove == Groove()


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 4 * RATE), duration_s=st.floats(0.2, 2.0))
def test_long_files_are_cut_without_gap_or_overlap(
    samples: int, duration_s: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, total_s = tmp_path_factory.mktemp("long"), samples / RATE
    write_wav(folder / "a.wav", total_s)
    beats_s = np.arange(0.05, total_s, 0.25).tolist()
    write_metadata(folder, {"file_name": "a.wav", "beats_s": beats_s, "first_beat": 2, "bars": 8})
    whole = clips(folder)[0][1].audio
    found = clips(folder, duration_s=duration_s)
    joined = np.concatenate([clip.audio for _, clip in found], 1)
    assert np.array_equal(joined, whole[:, : joined.shape[1]])
    assert whole.shape[1] - joined.shape[1] <= duration_s * RATE / 2 + 1
    assert all(clip.audio.shape[1] <= duration_s * RATE + 1 for _, clip in found)
    assert len({ref.id for ref, _ in found}) == len(found)
    assert {ref.track for ref, _ in found} == {"a.wav"}
    for number, (_, clip) in enumerate(found):
        for place, beat_s in enumerate(clip.annotations.beats_s):
            index = clip.annotations.first_beat - 2 + place
            assert beat_s + number * duration_s == pytest.approx(beats_s[index])
    assert found[0][1].annotations.groove.bars == (8 if total_s <= duration_s else None)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_files_that_only_ffmpeg_reads_are_cut_too(tmp_path: Path, name: str, codec: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 72_000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        container.mux([*stream.encode(silence), *stream.encode(None)])
    found = clips(tmp_path, duration_s=0.5)
    assert [ref.id for ref, _ in found] == [f"{name}#{number:04d}" for number in range(3)]
    assert all(clip.audio.shape[1] / clip.sample_rate == pytest.approx(0.5, abs=0.1) for _, clip in found)


def spoil(folder: Path, text: str) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "a.wav"}\n\n' + text + "\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "line 3 is not JSON"),
        ("[1]", "line 3: the line: "),
        ("{}", "line 3: file_name: Field required"),
        ('{"file_name": "../a.wav"}', "line 3: '../a.wav' leads out of the folder"),
        ('{"file_name": "/etc/passwd"}', "line 3: '/etc/passwd' leads out of the folder"),
        ('{"file_name": "a\\u0000.wav"}', "line 3: .* is no file name"),
        (f'{{"file_name": "{5000 * "a"}.wav"}}', "line 3: 'a{99,100}' is no file name"),
        ('{"file_name": "loop.wav"}', "line 3: .*'loop.wav'"),
        (100_000 * "[", "line 3 is not JSON"),
        ('{"file_name": "gone.wav"}', "line 3: there is no file 'gone.wav'"),
        ('{"file_name": "a.wav"}', "line 3: 'a.wav' has a line already"),
        ('{"file_name": "b.wav", "tempo_bpm": "fast"}', "line 3: tempo_bpm: .*'fast'"),
        ('{"file_name": "b.wav", "tempo_bpm": NaN}', "line 3: tempo_bpm: "),
        ('{"file_name": "b.wav", "key": "Q"}', "line 3: key: .*F# minor"),
        ('{"file_name": "b.wav", "beats_s": [1, 1]}', "line 3: beats_s: .*rise"),
    ],
)
def test_bad_metadata_is_one_line_that_names_the_place(tmp_path: Path, line: str, message: str) -> None:
    write_wav(tmp_path / "a.wav")
    write_wav(tmp_path / "b.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    spoil(tmp_path, line)
    with pytest.raises(AudioError, match=message) as caught:
        list(source(tmp_path).refs())
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="there is no folder"):
        list(source(tmp_path / "gone").refs())
    with pytest.raises(AudioError, match="holds no audio"):
        list(source(tmp_path).refs())
    with pytest.raises(RecipeError, match="duration_s must be over 0"):
        source(tmp_path, duration_s=0)
    (tmp_path / "a.wav").write_text("this is no audio")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        list(source(tmp_path, duration_s=1).refs())


# ----------------------------------------------------------------------------------------- AudioFolder

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
known = st.builds(
    Annotations,
    groove=st.builds(
        Groove,
        tempo_bpm=st.floats(40, 220),
        key=st.sampled_from(KEYS),
        style=st.sampled_from(STYLES),
        feel=st.sampled_from(FEELS),
        bars=st.integers(1, 64),
    ),
    beats_s=st.lists(st.floats(-10, 600), unique=True, max_size=9).map(lambda beats: tuple(sorted(beats))),
    first_beat=st.integers(-4, 99),
    captions=st.lists(texts, unique=True, min_size=1, max_size=4).map(tuple),
    licence=st.none() | texts,
)


@given(annotations=known)
def test_rows_read_back_as_they_were_written(annotations: Annotations) -> None:
    row = make_row("a.wav", "track", annotations)
    assert annotations_of(type(row).model_validate_json(row.model_dump_json())) == annotations


def test_written_folder_is_the_source_again(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    assert write_audiofolder(TOY, tmp_path, report=lambda done, total: reports.append((done, total))) == 10
    assert (reports[0], reports[-1]) == ((0, 10), (10, 10))
    toys = build("source", TOY)
    for ref, (again, clip) in zip(toys.refs(), clips(tmp_path), strict=True):
        original = toys.load(ref)
        assert again.track == ref.track
        assert clip.annotations == original.annotations
        assert np.abs(clip.audio - original.audio).max() < 1e-4
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"] for row in rows] == sorted(path.name for path in tmp_path.glob("*.flac"))
    assert len({tuple(row) for row in rows}) == 1
    assert json.loads((tmp_path / "manifest.json").read_text())["duration_s"] == pytest.approx(20)


def test_writing_goes_on_where_it_stopped(tmp_path: Path) -> None:
    small = {**TOY, "num_clips": 3}
    write_audiofolder(small, tmp_path, report=ignore)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = (tmp_path / "toy-0000.flac").stat().st_mtime_ns
    for name in ("toy-0001.flac", "metadata.jsonl", "manifest.json"):
        (tmp_path / name).unlink()
    reports: list[int] = []
    write_audiofolder(small, tmp_path, report=lambda done, total: reports.append(done))
    assert reports == [2, 3]
    assert (tmp_path / "toy-0000.flac").stat().st_mtime_ns == kept
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def remove_all_clips(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder)
    return {**TOY, "num_clips": 0}


def change_the_seed(folder: Path) -> dict[str, Any]:
    return {**TOY, "num_clips": 1, "seed": 1}


def damage_a_clip(folder: Path) -> dict[str, Any]:
    (folder / "toy-0000.flac").write_bytes(b"")
    return {**TOY, "num_clips": 1}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_all_clips, "holds no clips"),
        (change_the_seed, "was not made from this source"),
        (damage_a_clip, "was not made from this source"),
    ],
)
def test_writing_refuses(tmp_path: Path, spoil: Callable[[Path], dict[str, Any]], message: str) -> None:
    out = tmp_path / "out"
    write_audiofolder({**TOY, "num_clips": 1}, out, report=ignore)
    with pytest.raises(RapgenError, match=message):
        write_audiofolder(spoil(out), out, report=ignore)


# ------------------------------------------------------------------------------------------------ figures


def test_stats_of_a_folder_and_of_shards_agree(tmp_path: Path, tiny_run: Path) -> None:
    shards = Shards(tiny_run / "audio" / "train")
    stats = describe(zip(shards.lengths(AUDIO) / RATE, shards.annotations, strict=True))
    write_audiofolder({"use": "toy", "num_clips": 8, "duration_s": 4.0}, tmp_path, report=ignore)
    assert describe_folder(tmp_path) == stats
    assert (stats.clips, stats.hours) == (8, pytest.approx(32 / 3600))
    assert stats.duration_s == {"0-4": 8}
    assert stats.captions == {"3": 8}
    for counts in (stats.tempo_bpm, stats.key, stats.style):
        assert sum(counts.values()) == 8


def test_stats_count_by_range_and_frequency() -> None:
    grooves = [Groove(tempo_bpm=89.9, style="trap"), Groove(tempo_bpm=90.0, style="drill"), Groove(style="trap")]
    stats = describe((5.0 * n, Annotations(groove=groove)) for n, groove in enumerate(grooves))
    assert list(stats.tempo_bpm.items()) == [("unknown", 1), ("80-89", 1), ("90-99", 1)]
    assert list(stats.style.items()) == [("trap", 2), ("drill", 1)]
    assert stats.duration_s == {"0-4": 1, "5-9": 1, "10-14": 1}
    assert stats.key == {"unknown": 3}
