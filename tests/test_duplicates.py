"""Copies of a beat are found; other beats are none."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from voices import RATE as VOICE_RATE
from voices import babble

from rapgen.audio.io import resample
from rapgen.data.duplicates import find_duplicates, fingerprint
from rapgen.registry import build

Beats = list[tuple[np.ndarray, int]]


@pytest.fixture(scope="module")
def beats() -> Beats:
    """Two beats of each of two styles, 40 s long: mono f32 [S] and rates."""
    node = {"use": "beatmaker", "num_clips": 2, "duration_s": 40.0, "seed": 3}
    sources = [build("source", node | {"styles": [style]}) for style in ("boom bap", "trap")]
    clips = [source.load(ref) for source in sources for ref in source.refs()]
    return [(clip.audio.mean(0), clip.sample_rate) for clip in clips]


@pytest.fixture(scope="module")
def prints(beats: Beats) -> list[np.ndarray]:
    return [fingerprint(mono, rate) for mono, rate in beats]


def compressed(mono: np.ndarray, rate: int, path: Path) -> np.ndarray:
    soundfile.write(path, mono, rate, compression_level=0.9)
    return soundfile.read(path, dtype="float32")[0]


def stretched(mono: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """`factor` times as fast at its pitch."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    graph.link_nodes(source, graph.add("atempo", str(factor)), graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    graph.push(frame)
    graph.push(None)
    pieces = []
    while True:
        try:
            pieces.append(graph.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(pieces)


def with_tag(mono: np.ndarray, rate: int) -> np.ndarray:
    tag = resample(babble(4.0)[None], VOICE_RATE, rate)[0]
    audio = mono.copy()
    audio[10 * rate : 10 * rate + len(tag)] += tag
    return audio


COPIES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "quieter": lambda mono, rate: 0.1 * mono,
    "clipped": lambda mono, rate: np.clip(2 * mono / np.abs(mono).max(), -1, 1),
    "trimmed": lambda mono, rate: mono[5 * rate : -7 * rate],
    "an excerpt": lambda mono, rate: mono[12 * rate : 28 * rate],
    "later": lambda mono, rate: np.pad(mono, (int(3.33 * rate), 0)),
    "slower": lambda mono, rate: stretched(mono, rate, 0.95),
    "faster": lambda mono, rate: stretched(mono, rate, 1.05),
    "tagged": with_tag,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_found(copy: Callable[[np.ndarray, int], np.ndarray], beats: Beats, prints: list[np.ndarray]) -> None:
    copies = [fingerprint(copy(mono, rate), rate) for mono, rate in beats]
    assert find_duplicates([*prints, *copies]) == [None] * 4 + [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_a_re_encoded_copy_is_found(suffix: str, beats: Beats, prints: list[np.ndarray], tmp_path: Path) -> None:
    copies = [fingerprint(compressed(mono, rate, tmp_path / f"a.{suffix}"), rate) for mono, rate in beats]
    assert find_duplicates([*prints, *copies]) == [None] * 4 + [0, 1, 2, 3]


def test_a_copy_at_another_rate_is_found(beats: Beats, prints: list[np.ndarray]) -> None:
    copies = [fingerprint(resample(mono[None], rate, 44_100)[0], 44_100) for mono, rate in beats]
    assert find_duplicates([*prints, *copies]) == [None] * 4 + [0, 1, 2, 3]


def test_a_copy_of_a_copy_names_the_one_that_is_kept(prints: list[np.ndarray]) -> None:
    assert find_duplicates([prints[1], prints[0], prints[0], prints[0]]) == [None, None, 1, 1]


def test_copies_do_not_crowd_out_what_they_copy(prints: list[np.ndarray]) -> None:
    tracks = [prints[0], *[prints[0][start:] for start in range(40)]]
    assert find_duplicates(tracks) == [None] + [0] * 40


def test_a_beat_at_another_pitch_is_another(prints: list[np.ndarray]) -> None:
    transposed = [p[(p % 64) < 47] + np.uint32(3) for p in prints]
    assert find_duplicates([*prints, *transposed]) == [None] * 8


def melody(rng: np.random.Generator, beat: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Plucked notes of a scale on every beat, some held over the next, as long as `beat`, at 8 kHz."""
    audio = np.zeros(len(beat), np.float32)
    step = 4000
    for at in range(0, len(beat) - step, step):
        length = step * int(rng.integers(1, 3))
        time_s = np.arange(min(length, len(beat) - at)) / 8000
        hz = 440 * 2 ** (float(rng.choice(scale)) / 12)
        audio[at : at + len(time_s)] += 0.3 * np.sin(2 * np.pi * hz * time_s) * np.exp(-time_s)
    return audio


def test_beats_over_one_drum_loop_are_two() -> None:
    rng = np.random.default_rng(0)
    hit = rng.standard_normal(1200) * np.exp(-np.arange(1200) / 300)
    drums = np.zeros(40 * 8000, np.float32)
    for at in range(0, len(drums) - 4000, 4000):
        drums[at : at + 1200] += 0.5 * hit
    minor = np.array([0, 2, 3, 5, 7, 8, 10, 12, 14, 15])
    songs = [fingerprint(drums + melody(rng, drums, minor), 8000) for _ in range(6)]
    assert find_duplicates(songs) == [None] * 6
    assert find_duplicates([*songs, songs[2]])[-1] == 2


@pytest.mark.parametrize("style", ["boom bap", "g-funk"])
def test_beats_over_the_drums_of_another_are_others(style: str) -> None:
    """Drums of a room and tuned drums ring, and once made copies of what was played over them."""
    node = {"use": "beatmaker", "num_clips": 6, "duration_s": 30.0, "seed": 7, "styles": [style], "stems": True}
    source = build("source", node)
    first, *others = [source.load(ref) for ref in source.refs()]
    drums = first.stems["drums"]
    over = [clip.audio - clip.stems["drums"] + drums for clip in others]
    prints = [fingerprint(audio.mean(0), first.sample_rate) for audio in (first.audio, *over)]
    assert find_duplicates(prints) == [None] * 6


@settings(max_examples=10)
@given(order=st.permutations(range(8)), count=st.integers(0, 8))
def test_what_comes_later_changes_nothing(order: list[int], count: int, prints: list[np.ndarray]) -> None:
    tracks = [*prints, *(p[len(p) // 4 :] for p in prints)]
    given = [tracks[i] for i in order]
    verdicts = find_duplicates(given)
    assert find_duplicates(given[:count]) == verdicts[:count]
    assert all(v is None or (v < i and order[v] % 4 == order[i] % 4) for i, v in enumerate(verdicts))
    assert sum(v is None for v in verdicts) == 4


def test_a_print_is_small(prints: list[np.ndarray]) -> None:
    assert all(p.dtype == np.uint32 and p.ndim == 1 for p in prints)
    assert all(len(p) > 100 and p.nbytes <= 40 * 60 for p in prints)  # of 40 s; 60 bytes a second is 3.6 kB a minute


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(1), np.zeros(80_000), np.ones(80_000), np.ones(3000)])
def test_what_holds_no_notes_copies_nothing(audio: np.ndarray, prints: list[np.ndarray]) -> None:
    empty = fingerprint(audio.astype(np.float32), 8000)
    assert find_duplicates([empty, *prints, empty]) == [None] * 6
    assert find_duplicates([]) == []
