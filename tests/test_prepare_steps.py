"""The steps of `rapgen data prepare`, one by one: listing, decoding, trimming, levelling, cutting, splitting."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import KINDS, encode

from rapgen.audio.io import read_audio
from rapgen.audio.loudness import loudness_lufs
from rapgen.data.prepare.decode import RATE, Decoded, decode
from rapgen.data.prepare.level import level_to, sounding, true_peak
from rapgen.data.prepare.raw import Raw, list_raw
from rapgen.data.prepare.records import Known, Track, Unfit
from rapgen.data.prepare.segments import cut_bars, cut_lengths
from rapgen.data.prepare.split import assign_splits, draw_split
from rapgen.data.prepare.verdicts import keep_order
from rapgen.data.storage import Storage
from rapgen.errors import AudioError

pytestmark = pytest.mark.xdist_group("prepare")
RNG = np.random.default_rng(0)


def tone(
    duration_s: float, rate: int = RATE, *, hz: float = 440.0, channels: int = 2, level: float = 0.3
) -> np.ndarray:
    sine = level * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate)) / rate)
    return np.stack([sine] * channels).astype(np.float32)


def wav(audio: np.ndarray, rate: int) -> bytes:
    """A WAV of 32 bit floats, which keep whatever they are given."""
    file = io.BytesIO()
    soundfile.write(file, audio.T, rate, "FLOAT", format="WAV")
    return file.getvalue()


def decoded(content: bytes, **options: float | None) -> Decoded:
    return decode(io.BytesIO(content), **{"max_duration_s": 60.0, **options})  # type: ignore[arg-type]


def why_unfit(content: bytes, **options: float) -> Unfit:
    with pytest.raises(Unfit) as unfit:
        decoded(content, **options)
    return unfit.value


# ------------------------------------------------------------------------------------------------ decode


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_every_kind_are_decoded_at_one_rate(kind: str) -> None:
    rate = KINDS[kind][2]
    track = decoded(encode(tone(3.0, rate), rate, kind))
    assert (track.sample_rate, track.channels) == (rate, 2)
    assert track.audio.dtype == np.float32
    assert track.audio.shape[1] / RATE == pytest.approx(3.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(track.audio[0, RATE : 2 * RATE]))
    assert spectrum.argmax() == 440
    assert np.abs(track.audio[:, RATE : 2 * RATE]).max() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("rate", [22_050, 96_000, 192_000])
def test_any_rate_is_brought_to_ours(rate: int) -> None:
    track = decoded(wav(tone(2.0, rate), rate))
    assert track.audio.shape[1] == pytest.approx(2 * RATE, abs=2)
    expected = tone(2.0)
    assert np.abs(track.audio[:, 1000:-1000] - expected[:, 1000 : track.audio.shape[1] - 1000]).max() < 1e-3


def test_mono_is_the_same_on_both_sides_and_surround_is_mixed_down() -> None:
    mono = decoded(wav(tone(1.0, channels=1), RATE))
    assert mono.channels == 1
    assert np.array_equal(*mono.audio)
    assert np.abs(mono.audio).max() == pytest.approx(0.3, abs=1e-3)
    six = np.stack([tone(1.0, 48_000, hz=hz)[0] for hz in (300, 500, 700, 60, 900, 1100)])
    surround = decoded(encode(six, 48_000, "flac", "5.1"))
    assert surround.channels == 6
    left, right = (np.abs(np.fft.rfft(side[:RATE])) for side in surround.audio)
    heard = [hz for hz in (300, 500, 700, 60, 900, 1100) if left[hz] > 0.05 * left.max()]
    assert heard == [300, 700, 900]  # front left, centre, back left; neither the right nor the LFE
    assert right[500] > 10 * right[300]


def test_a_section_is_taken_where_it_lies() -> None:
    ramp = np.linspace(-0.5, 0.5, 10 * RATE, dtype=np.float32)
    section = decoded(wav(np.stack([ramp, ramp]), RATE), start_s=2.0, end_s=4.5)
    assert section.audio.shape[1] == round(2.5 * RATE)
    part = ramp[2 * RATE : round(4.5 * RATE)]
    assert np.allclose(section.audio[0], part - part.mean(), atol=1e-4)  # without its offset
    assert section.offset == pytest.approx(abs(part.mean()), abs=1e-4)
    assert why_unfit(wav(np.stack([ramp, ramp]), RATE), start_s=11.0).reason == "no samples"


def test_an_offset_is_taken_away() -> None:
    track = decoded(wav(tone(1.0) + 0.2, RATE))
    assert track.offset == pytest.approx(0.2, abs=1e-3)
    assert abs(track.audio.mean()) < 1e-5


def test_clipping_is_measured() -> None:
    assert decoded(wav(tone(1.0, level=0.9), RATE)).clipped == 0
    assert decoded(wav(np.clip(tone(1.0, level=3.0), -1, 1), RATE)).clipped > 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused(bad: float) -> None:
    audio = tone(1.0)
    audio[1, 12_345] = bad
    assert why_unfit(wav(audio, RATE)).reason == "samples that are not numbers"


def test_long_files_are_refused_by_their_header_or_as_they_pass() -> None:
    assert why_unfit(wav(tone(5.0), RATE), max_duration_s=4.0).reason == "longer than --max-duration"
    mp3 = encode(tone(9.0, 44_100), 44_100, "mp3")
    without_header = mp3[mp3.index(b"\xff\xfb", 2000) :]
    assert why_unfit(without_header, max_duration_s=4.0).reason == "longer than --max-duration"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no audio at all " * 100,
        b"\0" * 5000,
        b"RIFF",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
)
def test_what_is_not_audio_is_refused(content: bytes) -> None:
    assert why_unfit(content).reason == "not audio"


def test_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode(tone(0.3, 44_100), 44_100, "wav"))
    content[20] = 0  # the format's tag
    assert why_unfit(bytes(content)).reason == "not audio"
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav cannot be read as audio"):
        read_audio(tmp_path / "a.wav")


def test_files_cut_short_are_refused() -> None:
    noise = RNG.normal(0, 0.1, (2, 10 * 48_000)).astype(np.float32)
    for kind in ("webm", "flac"):
        content = encode(noise, 48_000, kind)
        assert why_unfit(content[: len(content) // 2]).reason == "cut short", kind


def test_what_is_sampled_too_slowly_is_refused() -> None:
    unfit = why_unfit(wav(tone(1.0, 7000), 7000))
    assert (unfit.reason, unfit.detail) == ("sampled at less than 16000 Hz", "7000 Hz")


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=2000), kind=st.sampled_from([*KINDS, ""]), place=st.integers(0, 3000))
def test_no_bytes_do_more_than_be_refused(content: bytes, kind: str, place: int) -> None:
    if kind:
        whole = encode(tone(0.3, KINDS[kind][2]), KINDS[kind][2], kind)
        content = whole[:place] + content + whole[place + len(content) :]
    try:
        track = decoded(content)
    except Unfit:
        return
    assert np.isfinite(track.audio).all()


# ------------------------------------------------------------------------------------------------ level


def test_silence_at_both_ends_is_cut_off() -> None:
    hush = np.zeros((2, RATE), np.float32)
    audio = np.concatenate([hush, hush, tone(1.0), 1e-4 * hush + 1e-5, tone(1.0), hush], 1)
    heard = sounding(audio, RATE)
    assert heard.start / RATE == pytest.approx(2.0, abs=0.02)
    assert heard.stop / RATE == pytest.approx(5.0, abs=0.02)
    with pytest.raises(Unfit, match="silent"):
        sounding(hush, RATE)


@pytest.mark.parametrize("level", [0.01, 0.1, 0.9])
def test_tracks_come_to_the_target(level: float) -> None:
    audio = tone(3.0, level=level)
    before, gain_db = level_to(audio, RATE, -20.0)
    assert loudness_lufs(audio, RATE) == pytest.approx(-20.0, abs=0.1)
    assert before + gain_db == pytest.approx(-20.0, abs=0.01)


def test_gain_stops_where_a_true_peak_would_clip() -> None:
    audio = tone(5.0, level=0.01)
    audio[:, RATE] = 0.5  # one click
    level_to(audio, RATE, -14.0)
    assert true_peak(audio, RATE) == pytest.approx(10 ** (-1 / 20), rel=0.01)
    assert loudness_lufs(audio, RATE) < -30


def test_a_true_peak_lies_between_samples() -> None:
    quarter = np.sin(2 * np.pi * np.arange(RATE) / 4 + np.pi / 4).astype(np.float32)  # samples of 0.707 only
    peak = true_peak(np.stack([quarter, 0 * quarter])[:, 100:], RATE)
    assert peak == pytest.approx(1.0, abs=0.05)


# --------------------------------------------------------------------------------------------- segments


@settings(max_examples=200, deadline=None)
@given(
    tempo=st.floats(60, 200),
    duration_s=st.floats(0.1, 300),
    pickup_s=st.floats(0, 2),
    first=st.integers(0, 3),
    segment_s=st.floats(1, 40),
    jitter=st.integers(0, 99),
)
def test_cuts_are_whole_bars_from_downbeats(
    tempo: float, duration_s: float, pickup_s: float, first: int, segment_s: float, jitter: int
) -> None:
    beat_s = 60 / tempo
    beats_s = np.arange(pickup_s, duration_s, beat_s)
    beats_s += np.random.default_rng(jitter).uniform(0, 0.1 * beat_s, len(beats_s))
    downbeats = [*beats_s[first::4]]
    cuts = cut_bars(duration_s, beats_s.tolist(), first, segment_s)
    for cut in cuts:
        assert cut.start_s in downbeats
        assert cut.end_s in downbeats or cut is cuts[-1]
        assert 0 <= cut.start_s < cut.end_s <= duration_s
        assert cut.bars is not None
        assert len(cut.beats_s) == 4 * cut.bars
        assert cut.beats_s[0] == 0
        assert cut.end_s - cut.start_s >= segment_s / 2
        assert cut.end_s - cut.start_s < segment_s + 4.5 * beat_s
    for cut, later in pairwise(cuts):
        assert cut.end_s == later.start_s
        assert cut.end_s - cut.start_s >= segment_s - 0.01
    left_s = (downbeats[-1] if downbeats else 0) - (cuts[-1].end_s if cuts else downbeats[0] if downbeats else 0)
    assert left_s < segment_s / 2 + 0.01


def test_a_loop_keeps_its_last_bar() -> None:
    beats_s = np.arange(32) * 0.5  # eight bars of 120 bpm, exactly
    (cut,) = cut_bars(16.0, beats_s.tolist(), 0, 16.0)
    assert (cut.start_s, cut.end_s, cut.bars) == (0, 16.0, 8)
    assert [cut.end_s for cut in cut_bars(16.0, beats_s.tolist(), 0, 4.0)] == [4, 8, 12, 16]


def test_without_beats_cuts_are_of_one_length() -> None:
    assert [(cut.start_s, cut.end_s) for cut in cut_lengths(25.0, 10.0)] == [(0, 10), (10, 20), (20, 25)]
    assert [(cut.start_s, cut.end_s) for cut in cut_lengths(24.0, 10.0)] == [(0, 10), (10, 20)]
    assert cut_lengths(4.0, 10.0) == []


# ------------------------------------------------------------------------------------------------ split


def test_splits_have_their_shares_and_never_change() -> None:
    tracks = [f"track-{number}" for number in range(10_000)]
    counts = Counter(draw_split(track, 0) for track in tracks)
    assert 130 < counts["valid"] < 270
    assert 130 < counts["test"] < 270
    assert draw_split("a", 0) == draw_split("a", 0)
    assert [draw_split(track, 0) for track in tracks] != [draw_split(track, 1) for track in tracks]


@given(num=st.integers(1, 12), more=st.integers(0, 12), seed=st.integers(0, 50))
def test_few_tracks_have_one_for_training_and_one_for_validation(num: int, more: int, seed: int) -> None:
    first = assign_splits([f"t{n}" for n in range(num)], {}, seed)
    assert "train" in first.values()
    assert num == 1 or "valid" in first.values()
    later = assign_splits([f"t{n}" for n in range(num + more)], first, seed)
    assert {track: later[track] for track in first} == first
    assert num + more == 1 or "valid" in later.values()


# -------------------------------------------------------------------------------------------------- raw


def listed(folder: Path) -> Raw:
    return list_raw(Storage(str(folder)))


def only(raw: Raw) -> Track:
    (track,) = raw.tracks
    return track


def test_an_uploads_words_stand_beside_it(tmp_path: Path) -> None:
    (tmp_path / "cold.webm").write_bytes(b"x")
    info = {
        "id": "abc", "extractor_key": "Youtube", "title": "[FREE] 'Cold' | 88 BPM", "tags": ["boom bap", 3],
        "uploader": "me", "license": "CC BY", "webpage_url": "https://example.org/abc",
        "url": "https://media.example.org", "caption": "dusty",
        "start_s": 10, "end_s": 20.5, "description": "long " * 10_000,
    }  # fmt: skip
    (tmp_path / "cold.info.json").write_text(json.dumps(info))
    raw = listed(tmp_path)
    known = only(raw).known
    assert not raw.drops
    assert known.id == "Youtube:abc"
    assert known.upload.title == "[FREE] 'Cold' | 88 BPM"
    assert known.upload.tags == ("boom bap",)
    assert known.upload.url == "https://example.org/abc"
    assert len(known.upload.description) == 10_000
    assert (known.licence, known.captions, known.start_s, known.end_s) == ("CC BY", ("dusty",), 10.0, 20.5)


@pytest.mark.parametrize("extractor", ["generic", "html5"])
def test_files_of_one_name_from_two_pages_are_two_tracks(tmp_path: Path, extractor: str) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.mp3").write_bytes(b"x")
        info = {"id": "beat", "extractor": extractor, "webpage_url": f"https://site{number}.example.org/beat.mp3"}
        (tmp_path / f"{number}.info.json").write_text(json.dumps(info))
    assert len({track.family for track in listed(tmp_path).tracks}) == 2


def test_metadata_by_audiofolders_convention_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.wav").write_bytes(b"x")
    rows = [
        {"file_name": "a.wav", "text": "gritty", "tempo_bpm": 90, "key": "f# min", "style": "boombap"},
        {"file_name": "../../etc/passwd"},
        {"file_name": "gone.wav"},
        {"file_name": "a.wav", "text": "again"},
        {"text": "of nothing"},
        ["no object"],
    ]
    lines = [json.dumps(row) for row in rows] + ["{no json", ""]
    (tmp_path / "sub" / "metadata.jsonl").write_text("\n".join(lines))
    raw = listed(tmp_path)
    known = only(raw).known
    assert (known.captions, known.tempo_bpm, known.key, known.style) == (("gritty",), 90.0, "F# minor", "boom bap")
    assert Counter(drop.reason for drop in raw.drops) == {
        "metadata without its audio": 2,
        "metadata that stands twice": 1,
        "metadata that cannot be read": 3,
    }


def test_metadata_that_are_pipes_are_told_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    for name in ("metadata.jsonl", "a.info.json"):
        os.mkfifo(tmp_path / name)
    raw = listed(tmp_path)
    assert only(raw).source == "a.wav"
    assert [(drop.item, drop.reason, drop.detail) for drop in raw.drops] == [
        (name, "metadata that cannot be read", "not a regular file") for name in ("metadata.jsonl", "a.info.json")
    ]


def test_sections_of_one_upload_are_tracks_of_one_family(tmp_path: Path) -> None:
    (tmp_path / "mix.mp3").write_bytes(b"x")
    sections = [{"caption": "a", "end_s": 10}, {"caption": "b", "start_s": 10, "end_s": 20.5}, "no section"]
    (tmp_path / "mix.info.json").write_text(json.dumps({"id": "mix", "title": "Mix", "sections": sections}))
    one, other = listed(tmp_path).tracks
    assert one.family == other.family
    assert {one.name, other.name} == {f"{one.family}-0-10000", f"{one.family}-10000-20500"}
    assert (one.known.captions, other.known.captions) == (("a",), ("b",))


def test_every_file_that_is_no_track_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "half.webm.part").write_bytes(b"x")
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "alone.info.json").write_text("{}")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.mp3").write_bytes(b"x")
    (tmp_path / "fetch.jsonl").write_text("{}\n")
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "dead.mp3").symlink_to(tmp_path / "nowhere")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9.mp3")).write_bytes(b"x")
    raw = listed(tmp_path)
    assert not raw.tracks
    assert {drop.item: drop.reason for drop in raw.drops} == {
        "half.webm.part": "unfinished download",
        "empty.mp3": "empty file",
        "alone.info.json": "metadata without its audio",
        "pipe.mp3": "not a regular file",
        "dead.mp3": "not a regular file",
        "latin-?.mp3": "file name that is not UTF-8",
    }


@pytest.mark.parametrize(
    "stem", ["a\nb", "a..", "x" * 240, "дождь", "雨の夜", "a b'\"`$(rm -rf)", "-rf", " ", "con", "\\..\\x", "\t\r"]
)
def test_any_file_name_makes_a_safe_one(tmp_path: Path, stem: str) -> None:
    (tmp_path / f"{stem}.mp3").write_bytes(b"x")
    track = only(listed(tmp_path))
    assert track.source == f"{stem}.mp3"
    assert len(track.name) <= 80
    assert set(track.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@settings(max_examples=25, deadline=None)
@given(
    info=st.dictionaries(
        st.sampled_from(["id", "title", "tags", "caption", "captions", "start_s", "end_s", "tempo_bpm", "key", "style",
                         "license", "uploader", "description", "webpage_url", "sections", "extractor"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.text(max_size=50),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start_s", "caption"]), inner),
            max_leaves=5,
        ),
    )
)  # fmt: skip
def test_any_metadata_is_read_or_passed_over(tmp_path_factory: pytest.TempPathFactory, info: dict[str, object]) -> None:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "a.mp3").write_bytes(b"x")
    (folder / "a.info.json").write_text(json.dumps(info))
    for track in listed(folder).tracks:
        track.model_dump_json().encode()


def test_of_new_tracks_those_with_words_come_first_then_the_larger_and_all_stay_there(tmp_path: Path) -> None:
    def track(name: str, size: int, *captions: str) -> Track:
        return Track(source=name, size=size, known=Known(id=name, captions=captions))

    bare, told, large = track("a.wav", 9), track("b.wav", 1, "dusty"), track("c.wav", 10)
    out = Storage(str(tmp_path))
    assert keep_order(out, [bare, told, large]) == [told.name, large.name, bare.name]
    late = track("d.wav", 99, "cold")
    assert keep_order(out, [bare, late]) == [told.name, large.name, bare.name, late.name]
