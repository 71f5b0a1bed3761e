"""What the beatmaker composes: that it is on its grid, in its key and in its style, alike on every machine."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
from dataclasses import asdict, replace
from functools import cache
from itertools import pairwise

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rapgen.errors import RecipeError
from rapgen.groove import KEYS, STYLES
from rapgen.interfaces import DataSource
from rapgen_plugins.beatmaker import beatmaker
from rapgen_plugins.beatmaker import styles as beatmaker_styles
from rapgen_plugins.beatmaker.arrangement import arrange
from rapgen_plugins.beatmaker.captions import captions
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.heard import hear
from rapgen_plugins.beatmaker.midi import DRUM_NOTES, TICKS_PER_BEAT, write_midi
from rapgen_plugins.beatmaker.song import BASSES, DRUM_VOICES, INSTRUMENTS, PARTS, Note, Song
from rapgen_plugins.beatmaker.theory import SCALES, chord, voice

SONGS = 24  # of a style, where shares are counted


def compose(
    style: str, seed: int, *, duration_s: float | None = None, bars: int | None = None, split: str = "train"
) -> Song:
    dice = Dice(np.random.SeedSequence((seed,)))
    return arrange(beatmaker_styles.STYLES[style], dice, duration_s=duration_s, bars=bars, split=split)


@cache
def loops(style: str) -> list[Song]:
    return [compose(style, seed, bars=8) for seed in range(SONGS)]


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


def test_all_styles_that_a_prompt_can_name_are_composed() -> None:
    assert set(beatmaker_styles.STYLES) == set(STYLES)


def test_refs_are_stable_and_travel() -> None:
    source = beatmaker(num_clips=18)
    refs = list(source.refs())
    assert isinstance(source, DataSource)
    assert (refs[17].id, refs[17].track) == ("beat-000017", "train-0-000017")
    assert pickle.loads(pickle.dumps(refs)) == refs == list(source.refs())


# ------------------------------------------------------------------------------------------------ every song


@settings(max_examples=60, deadline=None)
@given(
    style=st.sampled_from(STYLES),
    seed=st.integers(0, 2**63),
    duration_s=st.none() | st.floats(1.0, 45.0),
    split=st.sampled_from(["train", "test"]),
)
def test_every_song_is_whole_and_lies_on_its_grid(style: str, seed: int, duration_s: float | None, split: str) -> None:
    song = compose(style, seed, duration_s=duration_s, split=split)
    clock, last = song.clock, 16 * song.num_bars
    assert song.groove.style == song.style == style
    assert song.groove.key in KEYS
    assert song.groove.tempo_bpm == clock.tempo_bpm
    assert 0.5 <= clock.swing < 0.67
    assert 0 <= song.energy <= 1
    assert song.moods
    assert clock.end_step <= last + 1e-6
    assert set(song.drums) <= set(DRUM_VOICES)
    for hits in song.drums.values():
        assert hits == tuple(sorted(hits))
        assert all(0 <= hit.step < last and 0 < hit.velocity <= 1 for hit in hits)
    assert [name for name in PARTS if name in song.parts] == list(song.parts)
    assert {"chords", "bass"} <= set(song.parts)
    for name, part in song.parts.items():
        assert part.instrument in (BASSES if name == "bass" else INSTRUMENTS)
        assert [note.step for note in part.notes] == sorted(note.step for note in part.notes)
        for note in part.notes:
            assert 0 <= note.step < note.step + note.length <= last + 1e-9
            assert 24 <= note.midi <= 100
            assert 0 < note.velocity <= 1
            assert note.slide_to is None or (name in ("bass", "lead") and 20 <= note.slide_to <= 105)
        if name != "chords":
            assert all(a.step + a.length <= b.step + 1e-9 for a, b in pairwise(part.notes))
    assert [section.bar for section in song.sections] == sorted({section.bar for section in song.sections})
    assert song.sections[0].bar == 0


@settings(max_examples=30, deadline=None)
@given(style=st.sampled_from(STYLES), seed=st.integers(0, 2**63), duration_s=st.none() | st.floats(1.0, 45.0))
def test_beats_are_where_the_tempo_puts_them(style: str, seed: int, duration_s: float | None) -> None:
    song = compose(style, seed, duration_s=duration_s)
    beat_s = 60 / song.clock.tempo_bpm
    assert np.allclose(np.diff(song.beats_s), beat_s, atol=1e-9)
    assert 0 <= song.beats_s[0] < beat_s
    assert song.beats_s[-1] < song.clock.duration_s <= song.beats_s[-1] + beat_s + 1e-6
    assert song.beats_s[0] == pytest.approx(song.clock.time_s(4 * np.ceil(song.clock.start_step / 4)), abs=1e-9)
    assert 0 <= song.first_beat < 32
    assert (song.groove.bars is None) == (song.clock.start_step % 16 != 0 or song.clock.duration_s < 4 * beat_s)


@pytest.mark.parametrize("bars", [8, 16])
def test_without_a_length_a_clip_is_a_loop_of_whole_bars(bars: int) -> None:
    for style in STYLES:
        song = compose(style, 3, bars=bars)
        assert song.clock.is_loop
        assert song.num_bars == song.groove.bars == bars
        assert len(song.beats_s) == 4 * bars
        assert song.clock.duration_s == pytest.approx(240 * bars / song.clock.tempo_bpm)


def test_windows_open_the_song_or_start_on_a_downbeat_or_anywhere() -> None:
    starts = [compose("boom bap", seed, duration_s=5.0).clock.start_step for seed in range(200)]
    assert 0.2 < share([start == 0 for start in starts]) < 0.4
    assert 0.4 < share([start % 16 == 0 for start in starts]) < 0.6
    assert not any(compose("trap", seed, duration_s=5.0).clock.is_loop for seed in range(5))


# ------------------------------------------------------------------------------------------- harmony and tunes


def scale(song: Song) -> set[int]:
    """Pitch classes of the key in any of its colours."""
    tonic, mode = (song.groove.key or "").split()
    names = ("minor", "harmonic minor", "dorian", "phrygian", "blues") if mode == "minor" else ("major", "mixolydian")
    root = [key.split()[0] for key in KEYS[::2]].index(tonic)
    return {(root + tone) % 12 for name in names for tone in SCALES[name]}


def notes_within(song: Song, name: str) -> tuple[Note, ...]:
    return song.parts[name].notes if name in song.parts else ()


@pytest.mark.parametrize("style", STYLES)
def test_tunes_and_chords_are_in_key(style: str) -> None:
    songs = loops(style)
    for name in ("lead", "chords", "counter"):
        found = [note.midi % 12 in scale(song) for song in songs for note in notes_within(song, name)]
        assert share(found) > 0.9, name


@cache
def spelt() -> dict[str, set[int]]:
    """Pitch classes of every chord of every style, by its name."""
    numerals = {
        numeral
        for style in beatmaker_styles.STYLES.values()
        for progression in style.harmony.minor + style.harmony.major
        for numeral in progression.replace("|", " ").split()
    }
    chords = [chord(numeral, tonic) for numeral in sorted(numerals) for tonic in range(12)]
    return {one.name: set(one.pitch_classes) for one in chords}


@pytest.mark.parametrize("style", STYLES)
def test_long_notes_and_basses_are_tones_of_their_chord(style: str) -> None:
    longs, basses = [], []
    for song in loops(style):
        sounding = {step: one.name for one in song.chords for step in range(int(one.step), 16 * song.num_bars)}
        for note in notes_within(song, "lead"):
            if note.step % 8 == 0 or (note.length >= 4 and note.step % 4 == 0):
                longs.append(note.midi % 12 in spelt()[sounding[int(note.step)]])
        firsts = [note for note in song.parts["bass"].notes if note.step % 16 == 0]
        basses += [note.midi % 12 in spelt()[sounding[int(note.step)]] for note in firsts]
    assert share(longs) > 0.97
    assert share(basses) > 0.97


@pytest.mark.parametrize("style", STYLES)
def test_a_tune_is_a_motif_that_returns_and_is_answered(style: str) -> None:
    returns, varied = [], []
    for song in (compose(style, seed, bars=16) for seed in range(SONGS // 2)):
        units: dict[int, list[tuple[float, float, int]]] = {}
        for note in notes_within(song, "lead"):
            units.setdefault(int(note.step // 32), []).append((note.step % 32, note.length, note.midi))
        if len(units) < 4:
            continue
        rhythms = [tuple(step for step, _, _ in unit) for unit in units.values()]
        returns.append(max(rhythms.count(rhythm) for rhythm in rhythms) >= 2)
        varied.append(len({tuple(unit) for unit in units.values()}) > 1)
    assert len(returns) > SONGS // 8
    assert share(returns) > 0.9
    assert share(varied) > 0.9


def test_voices_move_as_little_as_they_can() -> None:
    chords = [chord(numeral, 5) for numeral in ("ii9", "V13", "Imaj9", "vi9")]
    voicings = voice(chords, low=53, high=74, max_notes=4)
    for one, (before, after) in zip(chords[1:], pairwise(voicings), strict=True):
        assert {midi % 12 for midi in after} <= set(one.pitch_classes)
        assert sum(min(abs(midi - other) for other in before) for midi in after) <= 8
        assert abs(after[-1] - before[-1]) <= 5


@pytest.mark.parametrize(
    ("numeral", "name", "tones"),
    [("i9", "Am9", (9, 0, 4, 7, 11)), ("bVI", "F", (5, 9, 0)), ("V7b9", "E7b9", (4, 8, 11, 2, 5)),
     ("ii7b5", "Bm7b5", (11, 2, 5, 9)), ("#idim7", "A#dim7", (10, 1, 4, 7)), ("bVIImaj7", "Gmaj7", (7, 11, 2, 6))],
)  # fmt: skip
def test_chords_by_their_numerals(numeral: str, name: str, tones: tuple[int, ...]) -> None:
    assert chord(numeral, 9).name == name
    assert chord(numeral, 9).pitch_classes == tones


# ------------------------------------------------------------------------------------------------------ styles


def backbeat_steps(song: Song) -> set[float]:
    hits = [h for v in ("snare", "clap", "rim", "snap") for h in song.drums.get(v, ()) if h.velocity > 0.6]
    return {float(int(hit.step) % 16) for hit in hits}


@pytest.mark.parametrize("style", STYLES)
def test_the_backbeat_falls_where_the_style_has_it(style: str) -> None:
    wanted = {8.0} if beatmaker_styles.STYLES[style].feel == "half" else {4.0, 12.0}
    usual = [song for song in loops(style) if song.groove.feel == beatmaker_styles.STYLES[style].feel]
    assert len(usual) > 0.8 * SONGS
    assert all(wanted <= backbeat_steps(song) for song in usual)


@pytest.mark.parametrize("style", STYLES)
def test_the_feel_moves_the_backbeat(style: str) -> None:
    first = {"half": 8.0, "straight": 4.0, "double": 2.0}
    other = replace(beatmaker_styles.STYLES[style], odd_feel_percent=100)
    seeds = map(np.random.SeedSequence, range(8))
    odd = [arrange(other, Dice(seed), duration_s=None, bars=8, split="train") for seed in seeds]
    assert {song.groove.feel for song in odd} == {"half", "straight", "double"} - {other.feel}
    assert all(first[song.groove.feel or ""] in backbeat_steps(song) for song in odd)


def has_rolls(song: Song) -> bool:
    return any(0 < b.step - a.step < 0.9 for a, b in pairwise(song.drums.get("hat", ())))


def slides(song: Song, name: str) -> bool:
    return any(note.slide_to is not None for note in notes_within(song, name))


def walks(song: Song) -> bool:
    beats = [note.midi for note in song.parts["bass"].notes if note.step % 4 == 0]
    return len(beats) >= 2 * song.num_bars and share([a != b for a, b in pairwise(beats)]) > 0.7


def three_three_two(song: Song) -> bool:
    strong = [hit.step % 16 for hit in song.drums.get("hat", ()) if hit.velocity > 0.7]
    return sum(step in (3, 6, 11, 14) for step in strong) > 0.25 * len(strong)


MARKS = [  # what makes a style, and in what share of its beats at least
    ("boom bap", lambda s: "808" not in s.parts["bass"].instrument and s.clock.swing > 0.52, 1.0),
    ("boom bap", lambda s: any(hit.velocity < 0.4 for hit in s.drums.get("snare", ())), 0.4),
    ("trap", has_rolls, 0.7),
    ("trap", lambda s: s.parts["bass"].instrument == "808", 1.0),
    ("lo-fi", lambda s: sum(c.name[-1] == "9" or c.name[-1] == "7" for c in s.chords) * 2 >= len(s.chords), 0.8),
    ("lo-fi", lambda s: any(hit.step % 1 for hit in s.drums.get("snare", ()) + s.drums.get("rim", ())), 0.8),
    ("drill", lambda s: slides(s, "bass"), 0.9),
    ("drill", three_three_two, 0.6),
    ("drill", has_rolls, 0.6),
    ("g-funk", lambda s: s.parts["bass"].instrument == "synth bass", 1.0),
    ("g-funk", lambda s: "lead" in s.parts and s.parts["lead"].instrument == "lead synth", 0.35),
    ("g-funk", lambda s: slides(s, "lead"), 0.5),
    ("phonk", lambda s: "lead" in s.parts and s.parts["lead"].instrument == "cowbell", 0.35),
    ("crunk", lambda s: "clap" in s.drums, 1.0),
    ("crunk", lambda s: s.energy > 0.7, 0.8),
    ("jazz rap", lambda s: "ride" in s.drums, 0.6),
    ("jazz rap", walks, 0.4),
    ("jazz rap", lambda s: any(c.name.endswith(("9", "13", "11", "m7b5")) for c in s.chords), 0.9),
    ("cloud rap", lambda s: s.energy < 0.5, 0.9),
    ("old school", lambda s: bool({"cowbell", "tambourine", "conga", "tom"} & set(s.drums)), 0.75),
]


@pytest.mark.parametrize(("style", "mark", "least"), MARKS, ids=[f"{m[0]}-{i}" for i, m in enumerate(MARKS)])
def test_a_style_has_what_makes_it(style: str, mark, least: float) -> None:  # type: ignore[no-untyped-def]
    assert share([mark(song) for song in loops(style)]) >= least


def test_parts_come_and_go_and_fills_turn_the_page() -> None:
    songs = [compose(style, seed, bars=16) for style in STYLES for seed in range(5)]
    names = {section.name for song in songs for section in song.sections}
    assert names == {"intro", "main", "variation", "break"}
    for song in songs:
        kicks = {int(hit.step // 16) for hit in song.drums.get("kick", ())}
        assert len(kicks) >= 6, song.sections
    bars = {(song.style, i, bar): frozenset((v, h.step % 16) for v, hits in song.drums.items() for h in hits
            if int(h.step // 16) == bar) for i, song in enumerate(songs) for bar in (6, 7, 14, 15)}  # fmt: skip
    turns = [bars[s.style, i, 15] != bars[s.style, i, 14] for i, s in enumerate(songs)]
    assert share(turns) > 0.9


# ------------------------------------------------------------------------------------- one seed, one beat; MIDI


def digest(song: Song) -> str:
    """Of all notes, what is known of them, and what is said where every part is heard."""
    heard = hear(song, dict.fromkeys((*song.parts, *song.drums), -10.0), ("vinyl crackle",))
    told = captions(song, heard, Dice(np.random.SeedSequence(1)))
    known = {"song": asdict(song), "heard": asdict(heard), "captions": told, "beats_s": song.beats_s}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def test_one_seed_one_song_on_every_machine() -> None:
    songs = {style: (compose(style, 7), compose(style, 8, duration_s=20.0)) for style in STYLES}
    assert {style: tuple(map(digest, pair)) for style, pair in songs.items()} == DIGESTS


def test_the_words_of_dice_are_numpys() -> None:
    dice = Dice(np.random.SeedSequence(1))
    words = np.random.Philox(np.random.SeedSequence(1)).random_raw(256).tolist()
    assert [dice.below(1000) for _ in range(3)] == [word * 1000 >> 64 for word in words[::-1][:3]]


def test_composing_is_cheap() -> None:
    compose("trap", 0)
    start = time.process_time()
    songs = [compose(style, seed) for style in STYLES for seed in range(5)]
    assert (time.process_time() - start) / sum(song.clock.duration_s for song in songs) < 0.002


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("duration_s", [None, 6.5])
def test_midi_holds_the_notes_of_the_clip(style: str, duration_s: float | None) -> None:
    song = compose(style, 5, duration_s=duration_s)
    clock = song.clock
    file = mido.MidiFile(file=io.BytesIO(write_midi(song)))
    tracks = {track.name.split(":")[0]: track for track in file.tracks[1:]}
    assert list(tracks) == ["drums", *song.parts]
    metas = {message.type: message for message in file.tracks[0]}
    assert mido.tempo2bpm(metas["set_tempo"].tempo) == pytest.approx(clock.tempo_bpm, rel=1e-6)
    assert metas["key_signature"].key[0] in "ABCDEFG"
    tick_s = 60 / clock.tempo_bpm / TICKS_PER_BEAT
    for name, track in tracks.items():
        now, found = 0, []
        for message in track:
            now += message.time
            if message.type == "note_on":
                assert message.channel == 9 if name == "drums" else message.channel < 4
                found.append((now * tick_s, message.note))
        assert now * tick_s <= clock.duration_s + 2 * tick_s
        if name == "drums":
            events = [(hit.step, DRUM_NOTES[voice]) for voice, hits in song.drums.items() for hit in hits]
        else:
            events = [(note.step, note.midi) for note in song.parts[name].notes]
        inside = sorted((clock.time_s(s), n) for s, n in events if clock.holds(s))
        ringing = len(found) - len(inside)
        assert 0 <= ringing <= (6 if duration_s and name != "drums" else 0)
        later = sorted(found)[ringing:]
        assert np.allclose([at for at, _ in later], [at for at, _ in inside], atol=tick_s)
        assert sorted(note for _, note in later) == sorted(note for _, note in inside)


# --------------------------------------------------------------------------------------------------- bad options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"styles": ["boom-bap"]}, "did you mean 'boom bap'"),
        ({"styles": []}, "styles is empty"),
        ({"split": "validation"}, "did you mean 'valid'"),
        ({"num_clips": 0}, "num_clips is 0"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"bars": 12}, "bars is 12; give 8 or 16"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        beatmaker(**options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


DIGESTS: dict[str, tuple[str, ...]] = {
    "boom bap": ("19e4200f2d665e2e", "3e2d4b1b8ebcb8c7"),
    "trap": ("fadeb488fb69994f", "1b9483ba84a61b6a"),
    "lo-fi": ("861d4174febdec63", "2aa93eaf50d5499e"),
    "drill": ("407bf4fcb6a40f9b", "300d07697ba3efd6"),
    "g-funk": ("703667c2d03ebedb", "1808d42864559b87"),
    "phonk": ("021fbdeeac3fdd3a", "6a21b5576274edb2"),
    "jazz rap": ("c3155d5a4af43a54", "8eb61ebc26028263"),
    "cloud rap": ("417402936609497f", "b76263f64d2ba8d2"),
    "crunk": ("b4e9c7517558b1af", "72900b234504c4e4"),
    "old school": ("5189ec4454b3c538", "a4d9fad17c6ec6ba"),
}
