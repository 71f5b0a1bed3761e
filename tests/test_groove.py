"""Musical facts read from text, and written back."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.errors import PromptError
from rapgen.groove import FEELS, KEYS, STYLES, describe, read_groove
from rapgen.interfaces import Groove

TEMPOS = {
    "boom bap, 90 bpm": 90,
    "90bpm lofi": 90,
    "BPM: 90 trap": 90,
    "bpm=140": 140,
    "trap @ 90": 90,
    "boom bap at 90": 90,
    "boom bap 92": 92,
    "92 boom bap": 92,
    "around ninety": 90,
    "about 85 g-funk": 85,
    "ninety-two": 92,
    "drill, one forty": 140,
    "one-forty": 140,
    "a hundred and forty bpm": 140,
    "one twenty five bpm": 125,
    "one oh five bpm": 105,
    "two hundred bpm": 200,
    "80-90 bpm": 85,
    "80 – 90 BPM": 85,
    "80 bpm to 90 bpm": 85,
    "between 80 and 90 bpm": 85,
    "80 to 90": 85,
    "eighty to ninety": 85,
    "90.5 bpm": 90.5,
    "90 beats per minute": 90,
    "140ish bpm": 140,
    "tempo 75": 75,
    "dusty, 92, moody": 92,
    "trap - 140 - Fmin": 140,
    "half-time feel 140": 140,
    "140 F# minor": 140,
    "１４０ bpm": 140,
    "808 heavy trap, 16 bars at 140": 140,
    "type beat 3 - 90 bpm": 90,
    "Boom Bap Type Beat 2024 90BPM": 90,
}
NO_TEMPOS = (
    "",
    "slow lofi",
    "fast uptempo drill",
    "trap 2024",
    "boom bap 1996",
    "808 heavy trap",
    "high bpm 808",
    "90s boom bap",
    "boom bap '96",
    "boom bap, 8 bars",
    "90-bar loop",
    "90 seconds of trap",
    "around 90 seconds of trap",
    "type beat 3",
    "24k magic trap",
    "trap at 44.1kHz",
    "100% dusty boom bap",
    "juno-106 lo-fi",
    "mpc 60 boom bap",
    "make 50 trap loops",
    "a 4/4 trap beat",
    "1:40 of trap",
)
KEYS_READ = {
    "F# minor": "F# minor",
    "F#m": "F# minor",
    "f#m trap": "F# minor",
    "f sharp minor": "F# minor",
    "Gb min": "F# minor",
    "G♭ min": "F# minor",
    "F♯min": "F# minor",
    "Bb major": "A# major",
    "B-flat major": "A# major",
    "EB MINOR": "D# minor",
    "Cb major": "B major",
    "in C": "C major",
    "in C, 90 bpm": "C major",
    "in F# over vinyl": "F# major",
    "trap beat Am": "A minor",
    "A maj": "A major",
    "c harmonic minor": "C minor",
    "C# phrygian": "C# minor",
    "key of D minor": "D minor",
    "key of d": "D major",
    "key: a minor": "A minor",
    "in a minor, 90 bpm": "A minor",
    "a minor tweak": None,
    "A minor tweak": None,
    "a major hit": None,
    "in a major way": None,
    "in a flat voice": None,
    "dark minor trap": None,
    "I Am Legend type beat": None,
    "in G-funk style": None,
    "am I dreaming": None,
    "with Am7 chords": None,
}
STYLES_READ = {
    "boom-bap": "boom bap",
    "boombap": "boom bap",
    "90s east coast": "boom bap",
    "Griselda type beat": "boom bap",
    "TRAP": "trap",
    "lofi": "lo-fi",
    "lo fi": "lo-fi",
    "chillhop": "lo-fi",
    "uk drill": "drill",
    "NY drill": "drill",
    "g-funk": "g-funk",
    "westcoast": "g-funk",
    "memphis": "phonk",
    "jazzy hip-hop": "jazz rap",
    "cloud rap": "cloud rap",
    "get krunk": "crunk",
    "dirty south type beat": "crunk",
    "oldschool": "old school",
    "80s hip hop": "old school",
    "gangsta funk": "g-funk",
    "lo-fi boom bap": "boom bap",
    "boom bap, lo-fi": "boom bap",
    "boom bap with trap hats": "boom bap",
    "no trap, boom bap": "boom bap",
    "trapped in drills": None,
    "something nice": None,
}
FEELS_READ = {
    "double time": "double",
    "double-time drums": "double",
    "half-time feel": "half",
    "halftime": "half",
    "straight feel": "straight",
    "no double time": None,
    "double bass, half note": None,
}
BARS_READ = {"8 bars": 8, "16-bar loop": 16, "eight bars": 8, "one sixteen bar loop": 16, "1 bar": 1}
NO_BARS = ("0 bars", "a fill every 4 bars", "4 bar intro", "mars bars", "90 bpm")


@pytest.mark.parametrize(("text", "tempo_bpm"), [*TEMPOS.items(), *((text, None) for text in NO_TEMPOS)])
def test_tempo(text: str, tempo_bpm: float | None) -> None:
    assert read_groove(text).tempo_bpm == tempo_bpm


@pytest.mark.parametrize("text", ["900 bpm", "0 bpm", "trap, bpm: 900", "nine bpm"])
def test_impossible_tempo(text: str) -> None:
    with pytest.raises(PromptError, match="from 40 to 220 bpm"):
        read_groove(text)


@pytest.mark.parametrize(("text", "key"), KEYS_READ.items())
def test_key(text: str, key: str | None) -> None:
    assert read_groove(text).key == key


@pytest.mark.parametrize(("text", "style"), STYLES_READ.items())
def test_style(text: str, style: str | None) -> None:
    assert read_groove(text).style == style


@pytest.mark.parametrize(("text", "feel"), FEELS_READ.items())
def test_feel(text: str, feel: str | None) -> None:
    assert read_groove(text).feel == feel


@pytest.mark.parametrize(("text", "bars"), [*BARS_READ.items(), *((text, None) for text in NO_BARS)])
def test_bars(text: str, bars: int | None) -> None:
    assert read_groove(text).bars == bars


def test_everything_at_once() -> None:
    groove = read_groove("[FREE] Dark UK Drill type beat 2024 | 142 BPM | C♯ minor | half-time | 16 bars")
    assert groove == Groove(tempo_bpm=142, key="C# minor", style="drill", feel="half", bars=16)


def test_describe() -> None:
    assert describe(Groove(tempo_bpm=90, key="F# minor", style="boom bap")) == "boom bap, 90 bpm, F# minor"
    assert describe(Groove()) == ""


grooves = st.builds(
    Groove,
    tempo_bpm=st.none() | st.integers(80, 440).map(lambda halves: halves / 2),
    key=st.none() | st.sampled_from(KEYS),
    style=st.none() | st.sampled_from(STYLES),
    feel=st.none() | st.sampled_from(FEELS),
    bars=st.none() | st.integers(1, 999),
)


@given(grooves)
def test_what_is_described_is_read_back(groove: Groove) -> None:
    assert read_groove(describe(groove)) == groove


words = st.sampled_from(["90", "bpm", "808", "in", "A", "a", "minor", "#", "trap", "one", "hundred", "-", "\0", "to"])


@given(
    st.text(max_size=200) | st.lists(words, max_size=40).flatmap(lambda w: st.sampled_from([" ".join(w), "".join(w)]))
)
@settings(max_examples=150)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        groove = read_groove(text)
    except PromptError:
        return
    assert groove.tempo_bpm is None or 40 <= groove.tempo_bpm <= 220
    assert groove.key in (None, *KEYS)
    assert groove.style in (None, *STYLES)
    assert groove.feel in (None, *FEELS)
    assert groove.bars is None or groove.bars > 0


@pytest.mark.parametrize("unit", ["1", "90-", "90 to ", "one ", "hundred and ", "in a ", "lo", "#b", " ", "﷽"])
def test_long_text_is_read_quickly(unit: str) -> None:
    start = time.process_time()
    read_groove(unit * (10_000 // len(unit)))
    assert time.process_time() - start < 1
