"""The captioner `phrases`: many ways to say what is known, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rapgen.errors import RecipeError
from rapgen.groove import FEELS, KEYS, STYLES, read_groove
from rapgen.interfaces import Annotations, Clip, Groove, Upload
from rapgen.registry import build

SOUND = np.zeros((1, 8), np.float32)
KNOWN = Annotations(
    groove=Groove(89.7, "F# minor", "boom bap", "half", 8),
    moods=("dark", "cold"),
    instruments=("piano", "strings", "808"),
    energy=0.8,
    swing=0.6,
    upload=Upload("[FREE] Griselda Type Beat 2024 | 'Cold' | 88 BPM F# minor", url="https://x.org/1"),
)


def captions(annotations: Annotations = KNOWN, **options: Any) -> list[str]:
    found: list[str] = build("captioner", {"use": "phrases", **options}).caption(Clip(SOUND, 8000, annotations))
    return found


def at_every_start(annotations: Annotations, clips: int = 30, **options: Any) -> list[str]:
    """What many clips of one track are told to be."""
    return [text for n in range(clips) for text in captions(replace(annotations, first_beat=16 * n), **options)]


def test_the_plainest_comes_first() -> None:
    found = captions()
    assert found[0] == "boom bap, 90 bpm, F# minor"
    assert len(found) == 5
    assert len(captions(num_captions=2)) == 2


def test_given_captions_come_first_and_are_kept() -> None:
    given_captions = ("my own words", "тёмный бит", "暗い夜のビート")
    found = captions(replace(KNOWN, captions=given_captions))
    assert tuple(found[:3]) == given_captions
    assert found[3] == "boom bap, 90 bpm, F# minor"


def test_given_captions_are_cleaned_and_cut() -> None:
    wild = ("dusty\n drums 🎹 by @me, https://x.org/a", "word " * 20_000, "暗" * 100_000, "🎹", "  ")
    found = captions(replace(KNOWN, captions=wild))
    assert found[:3] == ["dusty drums by ,", ("word " * 40).strip(), "暗" * 200]
    assert len(found) == 8


def test_the_same_clip_gets_the_same_and_others_get_others() -> None:
    assert captions() == captions()
    assert captions() != captions(replace(KNOWN, first_beat=16))
    assert captions() != captions(replace(KNOWN, upload=replace(KNOWN.upload, url="https://x.org/2")))


def test_wordings_are_many_and_unlike() -> None:
    told = at_every_start(KNOWN)
    assert len(set(told)) > 70
    for words in (
        "Griselda type beat",
        "piano",
        "dark",
        "high-energy",
        "half",
        "swung",
        "around 90 bpm",
        "F#m",
        "Gb minor",
    ):
        assert any(words in caption for caption in told), words
    for n in range(30):
        found = captions(replace(KNOWN, first_beat=16 * n))
        assert len({"".join(filter(str.isalnum, caption.lower())) for caption in found}) == len(found)


def test_nothing_is_told_where_nothing_is_known() -> None:
    assert captions(Annotations()) == ["an instrumental"]
    assert captions(Annotations(upload=Upload("Tea Time"))) == ["an instrumental"]
    assert captions(Annotations(captions=("hm",))) == ["hm"]


def test_a_guessed_style_is_not_told() -> None:
    known = Annotations(Groove(style="trap"), upload=Upload('(FREE) Lil Baby x Gunna Type Beat - "Pain"'))
    told = at_every_start(known)
    assert "trap" not in " ".join(told)
    assert any("Lil Baby x Gunna type beat" in caption for caption in told)
    assert "Pain" not in " ".join(told)


def test_an_uploaders_wording_that_contradicts_is_left_out() -> None:
    known = Annotations(Groove(140, "C minor", "drill"), upload=Upload("Chill Lofi Hip Hop Instrumental 80 bpm"))
    told = " ".join(at_every_start(known)).lower()
    assert "lofi" not in told
    assert "80 bpm" not in told


def test_articles_fit() -> None:
    known = Annotations(Groove(style="old school"), moods=("eerie",), instruments=("808",))
    told = " ".join(at_every_start(known))
    assert "an eerie" in told
    assert "a eerie" not in told
    assert "a old" not in told


grooves = st.builds(
    Groove,
    tempo_bpm=st.none() | st.floats(1, 400),
    key=st.none() | st.sampled_from(KEYS),
    style=st.none() | st.sampled_from(STYLES),
    feel=st.none() | st.sampled_from(FEELS),
)
uploads = st.builds(
    Upload,
    title=st.text(max_size=60)
    | st.sampled_from(
        ["Dark Trap Type Beat 140 bpm Am", "Griselda Type Beat", "Sad Drill Type Beat", "{beat} type beat"]
    ),
    url=st.text(max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        Annotations,
        groove=grooves,
        captions=st.lists(st.text(max_size=30), max_size=2).map(tuple),
        swing=st.none() | st.floats(0.5, 0.7),
        instruments=st.lists(
            st.sampled_from(["piano", "808", "lead synth", "{x}"]) | st.text(max_size=9), max_size=4
        ).map(tuple),
        moods=st.lists(st.sampled_from(["dark", "sad"]) | st.text(max_size=9), max_size=4).map(tuple),
        energy=st.none() | st.floats(0, 1),
        upload=uploads,
    )
)
@example(Annotations(Groove(style="999 bpm"), upload=Upload("Nine Bpm Type Beat")))
@example(Annotations(Groove(style="jersey club"), moods=("🎹",), instruments=("🎹",)))
def test_what_is_told_is_what_is_known(known: Annotations) -> None:
    from rapgen.uploads import clean, read_upload

    made = captions(replace(known, captions=()))
    said = read_upload(known.upload).groove
    for caption in made:
        assert caption == clean(caption, max_chars=300)
        assert 0 < len(caption) <= 200
        told = read_groove(caption)
        assert told.key in (None, known.groove.key or said.key), caption
        assert told.style in (None, known.groove.style or said.style), caption
        assert told.feel in (None, known.groove.feel or said.feel), caption
        assert told.bars is None
        if told.tempo_bpm is not None:
            tempo_bpm = known.groove.tempo_bpm or said.tempo_bpm
            assert tempo_bpm is not None
            assert told.tempo_bpm == pytest.approx(tempo_bpm, abs=2.6), caption
    assert len(set(made)) == len(made)
    assert all(0 < len(caption) <= 200 for caption in captions(known))


def test_how_many_must_be_one_or_more() -> None:
    with pytest.raises(RecipeError, match="num_captions must be 1 or more"):
        captions(num_captions=0)
