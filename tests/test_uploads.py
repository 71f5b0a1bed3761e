"""What uploaders write, read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rapgen.groove import FEELS, KEYS, STYLES, TEMPO_MAX_BPM, TEMPO_MIN_BPM
from rapgen.interfaces import Groove, Upload
from rapgen.uploads import UploadFacts, clean, read_upload
from rapgen.uploads.artists import ARTISTS

NOTHING = UploadFacts(Groove())


def facts(groove: Groove = NOTHING.groove, **others: Any) -> UploadFacts:
    return replace(NOTHING, groove=groove, **others)


TITLES = {
    "[FREE] Griselda Type Beat 2024 | 'Cold' | 88 BPM F# minor": facts(
        Groove(88, "F# minor", "boom bap"),
        artists=("Griselda",),
        moods=("cold",),
        name="Cold",
        wording="Griselda Type Beat",
    ),
    '(FREE) Lil Baby x Gunna Type Beat - "Pain"': facts(
        Groove(style="trap"),
        artists=("Lil Baby", "Gunna"),
        name="Pain",
        wording="Lil Baby x Gunna Type Beat",
        is_style_guessed=True,
    ),
    "MF DOOM x Madlib Type Beat ~ Tea Time": facts(
        Groove(style="boom bap"),
        artists=("MF DOOM", "Madlib"),
        name="Tea Time",
        wording="MF DOOM x Madlib Type Beat",
        is_style_guessed=True,
    ),
    '[FREE FOR PROFIT] Drake Type Beat "Late Night" | R&B Type Beat 2023': facts(
        Groove(style="trap"),
        artists=("Drake",),
        name="Late Night",
        wording="Drake Type Beat, R&B Type Beat",
        is_style_guessed=True,
    ),
    "Dark UK Drill Type Beat [140bpm / C#m] prod. X": facts(
        Groove(140, "C# minor", "drill"), moods=("dark",), wording="Dark UK Drill Type Beat"
    ),
    "Chill Lofi Hip Hop Instrumental": facts(
        Groove(style="lo-fi"), moods=("chill",), wording="Chill Lofi Hip Hop Instrumental"
    ),
    "🔥🔥 𝐃𝐚𝐫𝐤 𝐓𝐫𝐚𝐩 𝐓𝐲𝐩𝐞 𝐁𝐞𝐚𝐭 🔥🔥": facts(
        Groove(style="trap"), moods=("dark",), wording="Dark Trap Type Beat"
    ),
    "ＳＡＤ　ＰＩＡＮＯ　ＴＹＰＥ　ＢＥＡＴ　９０ＢＰＭ": facts(
        Groove(90), moods=("sad",), instruments=("piano",), wording="sad piano type beat"
    ),
    "ᴅᴀʀᴋ 🅳🆁🅸🅻🅻 ᴛʏᴘᴇ ʙᴇᴀᴛ": facts(Groove(style="drill"), moods=("dark",), wording="dark drill type beat"),
    "Lil Nas X x 21 Savage Type Beat (Prod. By Yung Kid) 2022": facts(
        Groove(style="trap"),
        artists=("Lil Nas X", "21 Savage"),
        wording="Lil Nas X x 21 Savage Type Beat",
        is_style_guessed=True,
    ),
    "2Pac x Dr. Dre Type Beat | Trap House": facts(
        Groove(style="g-funk"),
        artists=("2Pac", "Dr. Dre"),
        name="Trap House",
        wording="2Pac x Dr. Dre Type Beat",
        is_style_guessed=True,
    ),
    "[FREE] A$AP Rocky Type Beat + Soulful Flute | Am | 75 bpm": facts(
        Groove(75, "A minor", "cloud rap"),
        artists=("ASAP Rocky",),
        moods=("soulful",),
        instruments=("flute",),
        wording="A$AP Rocky Type Beat + Soulful Flute",
        is_style_guessed=True,
    ),
    "Type Beat Ninho 140 bpm": facts(Groove(140), artists=("Ninho",), wording="Type Beat Ninho"),
    "Темный трэп бит «Ночь» 140 bpm": facts(Groove(140), name="Ночь"),
    "Instrumental De Rap - \"Calle\" | Base De Rap | 92 BPM": facts(
        Groove(92), name="Calle", wording="Instrumental De Rap, Base De Rap"
    ),
    "#lofi #typebeat": facts(Groove(style="lo-fi"), wording="lofi type beat"),
    '"Dark" Type Beat': facts(moods=("dark",), wording="Dark Type Beat"),
    "90s Old School Boom Bap Beat": facts(Groove(style="boom bap"), wording="90s Old School Boom Bap Beat"),
    "Tyler, The Creator Type Beat - ''Flower''": facts(
        artists=("Tyler The Creator",), name="Flower", wording="Tyler, The Creator Type Beat"
    ),
    '(Free) "In My Bag" Type Beat Rod Wave x Polo G | piano type beat 155bpm / E minor': facts(
        Groove(155, "E minor", "trap"),
        artists=("Rod Wave", "Polo G"),
        instruments=("piano",),
        name="In My Bag",
        wording="Type Beat Rod Wave x Polo G, piano type beat",
        is_style_guessed=True,
    ),
    "Yung Lean - Type Beat [Cloud Rap] Dreamy": facts(
        Groove(style="cloud rap"), artists=("Yung Lean",), moods=("dreamy",), wording="Yung Lean Type Beat, Cloud Rap"
    ),
    "crunk beat 1 hour loop half-time": facts(
        Groove(style="crunk", feel="half"), wording="crunk beat 1 hour loop half-time"
    ),
    "Sad Trap Beat 1000bpm": facts(Groove(style="trap"), moods=("sad",), wording="Sad Trap Beat"),
    "Nine Bpm Type Beat": facts(artists=("Nine",), wording="Nine Type Beat"),
    "Tea Time": NOTHING,
    "": NOTHING,
}  # fmt: skip
NO_TEMPO = (
    "Free Trap Beat $90",
    "Trap Beat 1996",
    "50 Cent Type Beat",
    "42 Dugg Type Beat",
    "Drake Type Beat 300 BPM",
    "Trap Beat | 100K special",
    "Beat Tape 90 tracks",
)
DESCRIPTIONS = {
    "bpm: 92 key: Am": (92, "A minor"),
    "Hello!\n\n🎹 BPM : 140\n🎵 Key: C# Minor\nBuy: https://beats.shop/90bpm": (140, "C# minor"),
    "Tempo - 87bpm | Scale - F minor": (87, "F minor"),
    "140 BPM / G minor\r\nPrice: $29.99": (140, "G minor"),
    "Key: F#m": (None, "F# minor"),
    "Call me: +1 555 140 90 or 90 555 140": (None, None),
    "mp3 90 dollars, exclusive 140 euros": (None, None),
    "0:00 intro\n1:40 drop\n2:20 outro": (None, None),
    "bpm: 999 but key: Am": (None, "A minor"),
    "@beats140 www.beats.com/140bpm": (None, None),
    "I made this in a minor hurry": (None, None),
}


@pytest.mark.parametrize("title", TITLES)
def test_titles(title: str) -> None:
    assert read_upload(Upload(title=title)) == TITLES[title]


@pytest.mark.parametrize("title", NO_TEMPO)
def test_numbers_that_are_no_tempo(title: str) -> None:
    assert read_upload(Upload(title=title)).groove.tempo_bpm is None


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_descriptions(description: str) -> None:
    groove = read_upload(Upload(title="Night", description=description)).groove
    assert (groove.tempo_bpm, groove.key) == DESCRIPTIONS[description]


def test_labels_in_a_description() -> None:
    told = "Genre: Boom Bap\nMood: dark, moody\nInstruments - piano, strings\nmy others are lofi, happy, with flute"
    found = read_upload(Upload(title="Night", description=told))
    assert (found.groove.style, found.moods, found.instruments) == ("boom bap", ("dark", "moody"), ("piano", "strings"))


def test_the_title_counts_before_the_description_and_that_before_tags() -> None:
    upload = Upload("Trap Beat 140 bpm", "bpm: 70\nkey: Am\ngenre: drill", ("90 bpm", "C minor", "lofi", "sad"))
    found = read_upload(upload)
    assert found.groove == Groove(140, "A minor", "trap")
    assert found.moods == ("sad",)


def test_tags_tell_what_nothing_else_does() -> None:
    tags = ("#phonk", "phonk type beat", "trap", "95 bpm", "Dm", "dark", "cowbell", "50 cent", "flute beat")
    assert read_upload(Upload("Night", tags=tags)).groove == Groove(95, "D minor", "phonk")
    assert read_upload(Upload("Night", tags=tags)).instruments == ("flute",)


def test_a_style_is_guessed_from_artists_only_where_no_word_names_it() -> None:
    assert not read_upload(Upload("Drake Drill Type Beat")).is_style_guessed
    assert read_upload(Upload("Drake Drill Type Beat")).groove.style == "drill"
    tagged = read_upload(Upload("Night", tags=("nujabes type beat",)))
    assert (tagged.groove.style, tagged.is_style_guessed, tagged.artists) == ("jazz rap", True, ())


def test_artists_are_those_whose_type_of_beat_it_is() -> None:
    assert read_upload(Upload("Future")).artists == ()
    assert read_upload(Upload("Future Type Beat")).artists == ("Future",)
    assert read_upload(Upload("Sad Emotional Storytelling Type Beat")).artists == ()
    assert read_upload(Upload("Larry June & Cardo Type Beat")).artists == ("Larry June", "Cardo")
    assert read_upload(Upload("dark freddie gibbs type beat")).artists == ("Freddie Gibbs",)
    assert read_upload(Upload("DARK MIDNIGHT TYPE BEAT")).artists == ()


def test_known_artists_are_found_and_their_styles_are_ours() -> None:
    assert len(ARTISTS) >= 150
    assert set(ARTISTS.values()) == {None, *STYLES}
    for artist, style in ARTISTS.items():
        found = read_upload(Upload(f"[FREE] {artist} Type Beat"))
        assert found.groove.style == style, artist
        assert found.artists == (artist,)


def test_words_without_links_handles_and_emojis() -> None:
    text = "Get it 🎹 at https://x.org/a?b=1 or beats.com/x, me@x.org, @maker\x00\n– “F♯”"
    assert clean(text) == 'Get it at or , - "F♯"'
    assert clean("暗い夜 – тёмная ночь") == "暗い夜 - тёмная ночь"
    assert clean("👩‍🎤👍🏽1️⃣") == "1"
    assert clean("@140bpm") == "@140bpm"


texts = st.text(max_size=300) | st.lists(
    st.sampled_from([
        "type beat", "[FREE]", '"', "'", "x", "&", "|", "-", "~", "bpm", "140", "999 bpm", "9999bpm", "Nine", "Am",
        "Drake", "Lil Nas X", "prod.", "#", "🎹", "\x00",
        "\u202e", "\ud800", "𝐃𝐚𝐫𝐤", "暗い", "key:", "Night", "(", ")", ".", "2024", "$20",
        "@me", "trap",
    ])
).map(" ".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(texts, texts, st.lists(texts, max_size=4))
@example("-" * 400, "\n" * 400, ["x" * 400])
def test_any_text_is_read(title: str, description: str, tags: list[str]) -> None:
    found = read_upload(Upload(title, description, tuple(tags)))
    groove = found.groove
    assert groove.tempo_bpm is None or TEMPO_MIN_BPM <= groove.tempo_bpm <= TEMPO_MAX_BPM
    assert groove.key in (None, *KEYS)
    assert groove.style in (None, *STYLES)
    assert groove.feel in (None, *FEELS)
    assert groove.bars is None
    assert all(artist.strip() for artist in found.artists)
    assert "\n" not in found.wording + found.name


@pytest.mark.parametrize(
    "text",
    ["a" * 100_000, " " * 100_000, "'" * 100_000, "type beat " * 10_000, "x " * 50_000, "[(" * 50_000, "1" * 100_000,
     "@a" * 50_000, "a.b" * 33_000, "free " * 20_000, "Key: A bpm 9\n" * 8000, "прод " * 20_000, "暗" * 100_000,
     "www." * 25_000, "in a " * 20_000, "1 2 3-4 " * 12_000, "prod " * 20_000, "a-" * 50_000],
    ids=lambda text: text[:5],
)  # fmt: skip
def test_a_hundred_kilobytes_take_no_time(text: str) -> None:
    start_s = time.perf_counter()
    read_upload(Upload(text, text, (text,) * 100))
    assert time.perf_counter() - start_s < 2
