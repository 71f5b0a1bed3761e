"""Words for a beat, by a small grammar; every fact named is true of the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import capwords

import numpy as np

from rapgen_plugins.beatmaker.arrangement import Song

_HEARD_DB = -26.0  # a track softer than this against the whole is not named
_STYLES = {
    "boom bap": ("boom bap", "boom bap", "boom bap", "boombap", "90s boom bap"),
    "trap": ("trap",),
    "lo-fi": ("lo-fi", "lofi", "lo-fi hip hop", "lofi hip hop"),
    "drill": ("drill", "drill", "uk drill"),
}
_FEELS = {
    "straight": ("straight",),
    "half": ("half-time", "half time"),
    "double": ("double-time", "double time"),
}
_PLAYERS = {"bass": "bassline", "vibes": "vibraphone", "pluck": "plucks", "lead synth": "synth lead"}
_FLATS = {"C#": "Db", "D#": "Eb", "G#": "Ab", "A#": "Bb"}
_ONES = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

# What an engineer, an uploader and a listener would write; each blank is drawn afresh.
_EXACT = (
    "{style}, {tempo} bpm, {key}",
    "{style} beat at {tempo} bpm in {key}",
    "{style} {tempo}bpm {key}",
    "{style} instrumental, {key}, {tempo} bpm",
    "{mood} {style}, {tempo} bpm",
    "{style} with {sound}, {tempo} bpm",
    "{tempo} bpm {style} in {key} with {pair}",
    "{style} at {tempo} bpm with {feel} drums",
)
_TITLES = (
    "[FREE] {mood} {style} type beat {tempo} BPM {key}",
    "(free) {style} type beat - {tempo} bpm",
    "{mood} {style} type beat {tempo} bpm {key}",
    "[FREE] {Style} Instrumental | {tempo} BPM | {key}",
    "{mood} {style} type beat with {sound}",
    "{Style} Type Beat, {Mood}, {tempo} BPM",
)
_PARTIAL = (
    "{mood} {style} with {pair}",
    "{style} beat with {sound}",
    "{style} in {key}",
    "a {mood} {style} beat, {pace}",
    "{pace} {style} with {sound}",
    "a {mood} rap beat with {pair}",
    "{style} with {feel} drums",
    "{mood} hip hop instrumental, {pace}, {sound}",
    "{mood} {style}",
    "{style}",
)


def captions(song: Song, levels_db: Mapping[str, float], rng: np.random.Generator) -> tuple[str, ...]:
    """Four to six different captions: the plainest, then as searchers, uploaders and listeners put it.

    `levels_db` is what each track measured against the mix; only what is heard is named.
    """
    groove, players = song.groove, _players(song, levels_db)
    tempo, moods, styles = round(groove.tempo_bpm or 0), _moods(song, levels_db), _STYLES[song.style.name]
    sounds = [*players, *_traits(song, levels_db)]

    def fill(template: str) -> str:
        return template.format(
            style=_one(styles, rng),
            Style=capwords(_one(styles, rng)),
            tempo=tempo,
            key=_one(_key_names(groove.key or ""), rng),
            mood=_one(moods, rng),
            Mood=_one(moods, rng).title(),
            sound=_one(sounds, rng),
            pair=" and ".join(rng.permutation(players)[:2]),
            feel=_one(_FEELS[groove.feel or ""], rng),
            pace=_pace(tempo, rng),
        )

    templates = [
        *_some(_EXACT, int(rng.integers(1, 3)), rng),
        *_some(_TITLES, 1, rng),
        *_some(_PARTIAL, 2, rng),
    ]
    return tuple(dict.fromkeys([f"{groove.style}, {tempo} bpm", *map(fill, templates)]))


def _players(song: Song, levels_db: Mapping[str, float]) -> list[str]:
    """The pitched instruments that are heard, at least one."""
    parts = sorted(song.parts.items(), key=lambda part: -levels_db[part[0]])
    heard = [part for name, part in parts if levels_db[name] > _HEARD_DB] or [parts[0][1]]
    return list(dict.fromkeys(_PLAYERS.get(part.instrument, part.instrument) for part in heard))


def _traits(song: Song, levels_db: Mapping[str, float]) -> list[str]:
    """What else is heard."""
    return _that_hold({
        "vinyl crackle": levels_db.get("crackle", -99) > -36,
        "a sliding 808": any(note.slide_to is not None for note in song.parts["bass"].notes),
        "hi-hat rolls": any(hit.step % 1 for hit in song.drums["hat"]),
        "jazzy chords": song.num_chord_notes > 3,
        "swung drums": song.clock.swing > 0.56,
        "a melody": levels_db.get("lead", -99) > _HEARD_DB,
        "claps": "clap" in song.drums and "snare" not in song.drums,
    })  # fmt: skip


def _moods(song: Song, levels_db: Mapping[str, float]) -> list[str]:
    """Adjectives that hold, at least one: every key is major or minor."""
    minor = (song.groove.key or "").endswith("minor")
    soft = song.style.name == "lo-fi"
    return _that_hold({
        "dark": minor, "moody": minor, "menacing": minor and song.style.name == "drill",
        "bright": not minor, "sunny": not minor, "mellow": soft, "chill": soft, "laid-back": soft,
        "dusty": levels_db.get("crackle", -99) > -36, "warm": song.music_lowpass_hz < 3000,
        "hard": song.drive > 0.9, "gritty": song.drive > 0.7 and not soft,
        "bouncy": any(hit.step % 1 for hit in song.drums["hat"]), "swinging": song.clock.swing > 0.58,
        "melodic": levels_db.get("lead", -99) > -20, "sparse": "lead" not in song.parts,
    })  # fmt: skip


def _key_names(key: str) -> list[str]:
    """A key as people write it: "F# minor", "F#m", and with a flat where that is usual."""
    note, mode = key.split()
    short = f"{note}m" if mode == "minor" else f"{note} maj"
    return [key, key, short, *([f"{_FLATS[note]} {mode}"] if note in _FLATS else [])]


def _pace(tempo_bpm: int, rng: np.random.Generator) -> str:
    speed = "slow" if tempo_bpm < 82 else "mid-tempo" if tempo_bpm < 110 else "fast"
    near = 5 * round(tempo_bpm / 5)
    return _one([speed, f"around {spell(near)} bpm", f"around {near} bpm", f"{spell(tempo_bpm)} bpm"], rng)


def spell(number: int) -> str:
    """A tempo in words, as it is said: "ninety-five", "one forty", "one oh five"."""
    tens, ones = divmod(number % 100, 10)
    rest = "-".join(word for word in (_TENS[tens], _ONES[ones]) if word)
    if number < 100:
        return rest
    if tens == 0:
        return f"one oh {_ONES[ones]}" if ones else "one hundred"
    return f"one {rest}"


def _that_hold(facts: Mapping[str, bool]) -> list[str]:
    return [name for name, holds in facts.items() if holds]


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _some(choices: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    return [str(choice) for choice in rng.permutation(choices)[:count]]
