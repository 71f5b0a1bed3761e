"""The beatmaker: what it renders, and that all it says about a clip is so."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import stft

from rapgen.errors import RecipeError
from rapgen.groove import FEELS, KEYS, NOTES, read_groove
from rapgen.interfaces import Annotations, Clip, DataSource
from rapgen_plugins.beatmaker import beatmaker
from rapgen_plugins.beatmaker.captions import spell

STYLES = ["boom bap", "trap", "lo-fi", "drill"]


def load(index: int, **options: object) -> Clip:
    source = beatmaker(num_clips=index + 1, **options)  # type: ignore[arg-type]
    return source.load(list(source.refs())[index])


def test_refs_are_stable_and_travel() -> None:
    source = beatmaker(num_clips=18)
    refs = list(source.refs())
    assert isinstance(source, DataSource)
    assert refs[17].id == refs[17].track == "beat-000017"
    assert pickle.loads(pickle.dumps(refs)) == refs == list(source.refs())


def test_a_clip_is_the_same_whatever_was_loaded_before() -> None:
    first, second = beatmaker(num_clips=3, duration_s=4.0), beatmaker(num_clips=9, duration_s=4.0)
    refs = list(first.refs())
    forwards, backwards = [first.load(ref) for ref in refs], [second.load(ref) for ref in reversed(refs)]
    for clip, again in zip(forwards, reversed(backwards), strict=True):
        assert np.array_equal(clip.audio, again.audio)
        assert clip.annotations == again.annotations


def test_splits_and_seeds_share_no_clip() -> None:
    options = [{"split": split, "seed": seed} for split in ("train", "valid", "test") for seed in (0, 1)]
    clips = [load(index, duration_s=2.0, **option) for option in options for index in range(2)]
    assert len({clip.audio.tobytes() for clip in clips}) == len(clips)


@settings(max_examples=15, deadline=None)
@given(
    duration_s=st.floats(1.0, 6.0),
    style=st.sampled_from(STYLES),
    seed=st.integers(0, 2**63),
    index=st.integers(0, 50),
)
def test_every_clip_is_clean_and_its_beats_lie_on_the_grid(
    duration_s: float, style: str, seed: int, index: int
) -> None:
    clip = load(index, duration_s=duration_s, styles=[style], seed=seed)
    audio, notes = clip.audio, clip.annotations
    assert audio.shape == (1, round(duration_s * clip.sample_rate))
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() < 1
    assert -22 < 20 * np.log10(audio.std()) < -9
    beat_s = 60 / (notes.groove.tempo_bpm or 0)
    beats_s = np.array(notes.beats_s)
    assert np.allclose(np.diff(beats_s), beat_s, atol=1e-9)
    assert 0 <= beats_s[0] < beat_s
    assert beats_s[-1] < duration_s <= beats_s[-1] + beat_s + 1e-9
    assert 0 <= notes.first_beat < 32
    assert notes.groove.style == style
    assert notes.groove.key in KEYS
    assert notes.groove.feel in FEELS
    assert notes.licence == "CC0-1.0"


@pytest.fixture(scope="module")
def many() -> list[Annotations]:
    """What is said of many short clips."""
    source = beatmaker(num_clips=36, duration_s=1.0)
    return [source.load(ref).annotations for ref in source.refs()]


def test_about_half_of_the_clips_start_on_a_downbeat(many: list[Annotations]) -> None:
    on_downbeat = [note for note in many if note.beats_s[0] == 0.0]
    assert 10 <= len(on_downbeat) <= 26
    assert all(note.first_beat % 4 == 0 for note in on_downbeat)


def test_whole_bars_are_counted_from_a_downbeat(many: list[Annotations]) -> None:
    notes = [load(index, duration_s=4.0).annotations for index in range(8)]
    assert all((note.groove.bars is not None) == (note.beats_s[0] == 0.0) for note in notes)
    assert all(note.groove.bars is None for note in many)


@pytest.mark.parametrize("style", STYLES)
def test_sound_sets_in_on_the_annotated_beats(style: str) -> None:
    lags, contrasts = [], []
    for index in range(3):
        clip = load(index, styles=[style], duration_s=8.0, seed=3)
        flux, frame_s, offset_s = onset_flux(clip)
        frames = np.round((np.array(clip.annotations.beats_s) - offset_s) / frame_s).astype(int)
        frames = frames[(frames > 10) & (frames < len(flux) - 10)]
        around = np.array([flux[frames + lag].mean() for lag in range(-10, 11)])
        lags.append(abs(int(around.argmax()) - 10) * frame_s)
        contrasts.append(around.max() / flux.mean())
    assert np.median(lags) <= 0.005
    assert min(contrasts) > 1.5


def onset_flux(clip: Clip) -> tuple[np.ndarray, float, float]:
    """Rise in log magnitude from frame to frame, the frames' spacing, and the time the first one hears."""
    rate, hop, window = clip.sample_rate, 120, 480
    spectrum = np.abs(stft(clip.audio[0], rate, nperseg=window, noverlap=window - hop, boundary=None)[2])
    rise = np.maximum(np.diff(np.log1p(100 * spectrum), axis=1), 0).sum(axis=0)
    return rise, hop / rate, (window - hop + hop / 3) / rate


def test_the_notes_played_belong_to_the_key() -> None:
    source = beatmaker(num_clips=8, duration_s=10.0, seed=5)
    clips = [source.load(ref) for ref in source.refs()]
    in_scale = [scale_rank(clip) for clip in clips]
    assert sum(rank < 3 for rank in in_scale) >= 6


def scale_rank(clip: Clip) -> int:
    """How many of the twelve diatonic scales fit the clip's chroma better than its own key's."""
    freq_hz, _, spectrum = stft(clip.audio[0], clip.sample_rate, nperseg=8192)
    heard = (freq_hz > 100) & (freq_hz < 1500)
    level = np.log1p(10 * np.abs(spectrum[heard])).mean(axis=1)
    pitch_class = np.round(12 * np.log2(freq_hz[heard] / 440) + 69).astype(int) % 12
    chroma = np.array([level[pitch_class == pc].mean() for pc in range(12)])
    fits = [chroma[(np.array([0, 2, 4, 5, 7, 9, 11]) + tonic) % 12].sum() for tonic in range(12)]
    note, mode = (clip.annotations.groove.key or "").split()
    relative_major = (NOTES.index(note) + (3 if mode == "minor" else 0)) % 12
    return sum(fit > fits[relative_major] for fit in fits)


def test_captions_say_nothing_untrue(many: list[Annotations]) -> None:
    for notes in many:
        groove, captions = notes.groove, notes.captions
        assert 4 <= len(captions) <= 6
        assert len(set(captions)) == len(captions)
        assert captions[0] == f"{groove.style}, {groove.tempo_bpm:g} bpm"
        for caption in captions:
            said = read_groove(caption)
            assert said.key in (None, groove.key), caption
            assert said.style in (None, groove.style), caption
            assert said.feel in (None, groove.feel), caption
            slack_bpm = 2.5 if "around" in caption else 0
            assert said.tempo_bpm is None or abs(said.tempo_bpm - (groove.tempo_bpm or 0)) <= slack_bpm, caption
            assert "808" not in caption or groove.style in ("trap", "drill"), caption
            assert "vinyl crackle" not in caption or groove.style in ("boom bap", "lo-fi"), caption


def test_captions_name_what_a_listener_would(many: list[Annotations]) -> None:
    words = " ".join(" ".join(notes.captions) for notes in many)
    for word in ("[FREE]", "type beat", "808", "piano", "rhodes", "vinyl crackle", "minor", "dark", "around"):
        assert word in words


@pytest.mark.parametrize(
    ("number", "words"), [(80, "eighty"), (95, "ninety-five"), (100, "one hundred"), (142, "one forty-two")]
)
def test_tempos_in_words(number: int, words: str) -> None:
    assert spell(number) == words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"styles": ["boom-bap"]}, "did you mean 'boom bap'"),
        ({"styles": []}, "styles is empty"),
        ({"split": "validation"}, "did you mean 'valid'"),
        ({"num_clips": 0}, "num_clips is 0"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        beatmaker(**options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
