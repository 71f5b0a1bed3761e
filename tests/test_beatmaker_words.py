"""What the beatmaker says of its beats: many wordings, each fact true, some kept for the test split."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.groove import STYLES, read_groove
from rapgen.interfaces import Annotations, Clip
from rapgen_plugins.beatmaker import beatmaker, wordings
from rapgen_plugins.beatmaker.arrangement import arrange
from rapgen_plugins.beatmaker.captions import captions, spell
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.heard import Heard, hear
from rapgen_plugins.beatmaker.song import Note, Part, Song
from rapgen_plugins.beatmaker.styles import STYLES as COMPOSED

TRAIN = wordings.ENGINEER + wordings.UPLOADER + wordings.LISTENER
TEST = wordings.TEST_ENGINEER + wordings.TEST_UPLOADER + wordings.TEST_LISTENER


def compose(style: str, seed: int, *, duration_s: float | None = None, split: str = "train") -> Song:
    return arrange(
        COMPOSED[style], Dice(np.random.SeedSequence((seed,))), duration_s=duration_s, bars=None, split=split
    )


def all_heard(song: Song, *effects: str) -> Heard:
    """Everything that is played, loud."""
    return hear(song, dict.fromkeys((*song.parts, *song.drums), -10.0), effects)


@settings(max_examples=150, deadline=None)
@given(
    style=st.sampled_from(STYLES),
    seed=st.integers(0, 2**32),
    duration_s=st.sampled_from([None, 4.0, 20.0]),
    split=st.sampled_from(["train", "valid", "test"]),
    effects=st.sets(st.sampled_from(sorted(wordings.EFFECTS))),
)
def test_captions_say_nothing_untrue(
    style: str, seed: int, duration_s: float | None, split: str, effects: set[str]
) -> None:
    song = compose(style, seed, duration_s=duration_s, split=split)
    heard = all_heard(song, *sorted(effects))
    told = captions(song, heard, Dice(np.random.SeedSequence((seed, 1))))
    groove = song.groove
    assert told[0] == f"{style}, {groove.tempo_bpm:g} bpm"
    assert 4 <= len(told) <= 7
    assert len(set(told)) == len(told)
    for caption in told:
        assert "{" not in caption
        said = read_groove(caption)
        assert said.key in (None, groove.key), caption
        assert said.style in (None, style), caption
        assert said.feel in (None, groove.feel), caption
        assert said.bars in (None, groove.bars), caption
        slack_bpm = 2.5 if "around" in caption else 0
        assert said.tempo_bpm is None or abs(said.tempo_bpm - (groove.tempo_bpm or 0)) <= slack_bpm, caption
        assert "808" not in caption or song.parts["bass"].instrument == "808", caption
        for effect, names in wordings.EFFECTS.items():
            assert effect in effects or not any(name in caption for name in names), caption
        for name in ("flute", "choir", "organ", "vibraphone", "tambourine", "congas"):
            assert name not in caption or any(name[:5] in made for made in (*heard.players, *heard.colours, "vibra" *
                   ("vibes" in heard.players))), caption  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_style_names_are_read_back(style: str) -> None:
    for name in wordings.STYLES[style]:
        for text in (name, name.upper(), f"dark {name} type beat", f"a {name} beat with piano"):
            assert read_groove(text).style == style, text


def pattern(wording: str) -> re.Pattern[str]:
    """What a wording can come out as."""
    return re.compile(re.sub(r"\\{\w+\\}", "(.+)", re.escape(wording)))


def test_the_test_split_has_wordings_of_its_own() -> None:
    assert not set(TRAIN) & set(TEST)
    for split, others in (("train", TEST), ("valid", TEST), ("test", TRAIN)):
        told = [
            caption
            for seed in range(40)
            for song in [compose(STYLES[seed % len(STYLES)], seed, split=split)]
            for caption in captions(song, all_heard(song, "vinyl crackle"), Dice(np.random.SeedSequence(seed)))[1:]
        ]
        own = TEST if split == "test" else TRAIN
        assert all(any(pattern(wording).fullmatch(caption) for wording in own) for caption in told)
        if split != "test":  # a short wording of train ("{style}") fits whatever test says
            assert not any(pattern(wording).fullmatch(caption) for wording in others for caption in told)


def test_every_wording_and_name_is_used() -> None:
    told = []
    for seed in range(500):
        song = compose(STYLES[seed % len(STYLES)], seed, split="train" if seed % 3 else "test")
        told += captions(song, all_heard(song, *wordings.EFFECTS), Dice(np.random.SeedSequence(seed)))
    text = "\n".join(told)
    for wording in TRAIN + TEST:
        assert any(pattern(wording).fullmatch(caption) for caption in told), wording
    for names in (*wordings.PLAYERS.values(), *wordings.TRAITS.values(), *wordings.EFFECTS.values()):
        assert any(name in text for name in names), names


def test_only_what_sounds_in_the_clip_is_heard() -> None:
    song = compose("trap", 3)
    levels_db = {**dict.fromkeys(song.drums, -10.0), "chords": -12.0, "bass": -8.0, "lead": -60.0, "counter": -60.0}
    heard = hear(song, levels_db, ())
    assert heard.players == ("808", song.parts["chords"].instrument)
    assert "melody" not in heard.traits
    late = Part("flute", (Note(16.0 * song.num_bars - 4, 4.0, 70, 0.8),))
    first_bar = replace(
        song, clock=replace(song.clock, duration_s=2.0, is_loop=False), parts={**song.parts, "lead": late}
    )
    assert "flute" not in hear(first_bar, dict.fromkeys(first_bar.parts, -10.0), ()).players


@pytest.mark.parametrize(
    ("number", "words"),
    [(80, "eighty"), (95, "ninety-five"), (100, "one hundred"), (104, "one oh four"), (112, "one twelve"),
     (142, "one forty-two")],
)  # fmt: skip
def test_tempos_in_words(number: int, words: str) -> None:
    assert spell(number) == words
    assert read_groove(f"{words} bpm").tempo_bpm == number


# ------------------------------------------------------------------------------------------------- whole clips


def load(index: int, **options: object) -> Clip:
    source = beatmaker(num_clips=index + 1, **options)  # type: ignore[arg-type]
    return source.load(list(source.refs())[index])


def test_a_clip_is_the_same_whatever_was_loaded_before() -> None:
    first, second = beatmaker(num_clips=3, duration_s=2.0), beatmaker(num_clips=9, duration_s=2.0)
    refs = list(first.refs())
    forwards, backwards = [first.load(ref) for ref in refs], [second.load(ref) for ref in reversed(refs)]
    for clip, again in zip(forwards, reversed(backwards), strict=True):
        assert np.array_equal(clip.audio, again.audio)
        assert clip.annotations == again.annotations
        assert clip.midi == again.midi


def test_splits_and_seeds_share_no_clip() -> None:
    options = [{"split": split, "seed": seed} for split in ("train", "valid", "test") for seed in (0, 1)]
    clips = [load(index, duration_s=1.0, **option) for option in options for index in range(2)]
    assert len({clip.audio.tobytes() for clip in clips}) == len(clips)
    assert len({clip.midi for clip in clips}) == len(clips)


def told(clip: Clip) -> Annotations:
    return clip.annotations


@pytest.mark.parametrize("style", ["boom bap", "drill", "jazz rap"])
def test_annotations_tell_all_that_is_known(style: str) -> None:
    clip = load(1, styles=[style], duration_s=9.0, seed=2)
    known = told(clip)
    assert known.groove.style == style
    assert known.swing is not None
    assert known.energy is not None
    assert known.moods
    assert known.licence == "CC0-1.0"
    assert known.chords[0].start_s == 0
    assert all(0 <= chord.start_s < 9.0 for chord in known.chords)
    beats_s = np.array(known.beats_s)
    for chord in known.chords[1:]:
        assert np.abs(beats_s - chord.start_s).min() < 1e-9
    assert set(known.instruments) <= set(wordings.PLAYERS) | set(wordings.COLOURS)
    assert clip.midi is not None
    assert clip.midi[:4] == b"MThd"
