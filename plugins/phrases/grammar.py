"""How facts of a beat are put in words: ways for each fact, lines for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise, zip_longest
from string import Formatter, capwords

import numpy as np

from rapgen.interfaces import Annotations, Groove
from rapgen.uploads import UploadFacts, clean

_SWUNG, _CALM, _WILD = 0.56, 0.3, 0.7  # from where a listener would say so
_MAX_SOUNDS = 4  # that a caption names

# How each fact may be put. Styles are spelt so that `read_groove` reads them back.
_STYLES = {
    "boom bap": ("boom bap", "boom bap", "boom-bap", "boombap"),
    "trap": ("trap",),
    "lo-fi": ("lo-fi", "lofi", "lo-fi hip hop", "lofi hip hop"),
    "drill": ("drill",),
    "g-funk": ("g-funk", "west coast", "g funk"),
    "phonk": ("phonk", "memphis rap"),
    "jazz rap": ("jazz rap", "jazzy hip hop"),
    "cloud rap": ("cloud rap",),
    "crunk": ("crunk",),
    "old school": ("old school", "old school hip hop", "oldschool rap"),
}
_NOUNS = ("beat", "beat", "instrumental", "track")
_FLATS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
_PLAYED = {"808": "808 bass", "lead synth": "a synth lead", "pad": "pads", "pluck": "plucks", "vibes": "vibraphone"}
_FEELS = {"half": ("half-time drums", "drums in half time"), "double": ("double-time drums", "drums in double time")}
_SWINGS = ("swung drums", "swinging drums", "a swing in the drums")
_ENERGIES = {"calm": ("calm", "low-energy"), "wild": ("energetic", "high-energy")}

_ARTICLE = re.compile(r"\ba(?= (?:[aeio]|8|u(?!k)))")

# What an engineer, an uploader and a listener would write; a line is used where all of its blanks are known.
_EXACT = (
    "{beat}, {tempo}, {key}",
    "{beat} at {tempo} in {key}",
    "{tempo} {beat} in {key}",
    "{tempo} {beat} in {key} with {sounds}",
    "{beat} in {key}, {tempo}, {drums}",
    "{beat}, {key}",
    "{beat} in {key}",
    "{beat} at {tempo}",
    "{tempo}, {beat}",
    "{beat} with {sounds}, {tempo}",
    "{adjective} {beat}, {tempo}, {key}",
)
_UPLOADED = (
    "{wording}",
    "{wording}, {tempo}",
    "{wording} in {key}",
    "{wording} | {tempo} | {key}",
    "{wording} with {sounds}",
    "{artists} type beat, {tempo}",
    "{adjective} {artists} type beat",
    "{artists} type beat with {sounds}, {key}",
    "{Adjective} {Style} Type Beat, {tempo}",
    "{Style} Type Beat | {tempo} | {key}",
    "{adjective} {style} type beat with {sound}",
)
_HEARD = (
    "a {adjective} {beat} with {sounds}",
    "a {adjective} {beat}, {near}",
    "{sounds} over {drums}, {adjective}",
    "{adjectives} {beat}",
    "{adjectives}, {sounds}, {near}",
    "a {beat} built on {sound}, {adjective}",
    "a {beat} with {sounds}",
    "a {beat} with {drums}, {near}",
    "{adjective} {style}, {drums}",
    "{adjective} {beat}",
    "{beat} with {drums}",
    "a {beat}, {near}",
    "{style}",
    "a {type}",
)
# Blanks that tell the same.
_ALIKE = {
    **dict.fromkeys(("type", "style", "Style", "artists"), "beat"),
    **dict.fromkeys(("Adjective", "adjectives"), "adjective"),
    "near": "tempo",
    "sound": "sounds",
}


def blanks_of(known: Annotations, facts: UploadFacts, groove: Groove) -> dict[str, list[str]]:
    """The ways in which each blank can be filled; none where it is not known."""
    styles = list(_STYLES.get(groove.style or "", [groove.style] if groove.style else []))
    artists = [" x ".join(facts.artists[:2])] if facts.artists else []
    moods = [*filter(None, map(clean, known.moods or facts.moods)), *_energies(known.energy)]
    heard = filter(None, map(clean, known.instruments or facts.instruments))
    sounds = [_PLAYED.get(sound, sound) for sound in heard][:_MAX_SOUNDS]
    tempo_bpm = groove.tempo_bpm and round(groove.tempo_bpm)
    drums = [*_FEELS.get(groove.feel or "", ()), *(_SWINGS if (known.swing or 0.5) >= _SWUNG else ())]
    beats = [f"{style} {noun}" for style in styles for noun in _NOUNS] + [f"{artist} type beat" for artist in artists]
    return {
        "type": beats,
        "beat": beats or list(_NOUNS),
        "style": styles,
        "Style": [capwords(style) for style in styles],
        "artists": artists,
        "wording": [] if facts.wording.casefold() in ("", *map(str.casefold, beats)) else [facts.wording],
        "tempo": [f"{tempo_bpm} bpm", f"{tempo_bpm} BPM", f"{tempo_bpm}bpm"] if tempo_bpm else [],
        "near": [f"around {5 * round(tempo_bpm / 5)} bpm"] if tempo_bpm else [],
        "key": _keys(groove.key) if groove.key else [],
        "adjective": moods,
        "Adjective": [capwords(mood) for mood in moods],
        "adjectives": [f"{one}{joint}{two}" for one, two in pairwise(moods) for joint in (", ", " and ")],
        "sound": sounds,
        "sounds": _together(sounds),
        "drums": drums,
    }


def filled_lines(blanks: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Iterator[str]:
    """Filled lines of all three kinds by turns; those that tell what others told come last."""
    kinds = [[line for line in lines if all(map(blanks.get, _names(line)))] for lines in (_EXACT, _UPLOADED, _HEARD)]
    turns = zip_longest(*([lines[n] for n in rng.permutation(len(lines))] for lines in kinds))
    lines = list(filter(None, chain.from_iterable(turns)))
    first = {frozenset(_ALIKE.get(name, name) for name in _names(line)): line for line in reversed(lines)}.values()
    for line in sorted(lines, key=lambda line: line not in first):
        filled = {name: blanks[name][int(rng.integers(len(blanks[name])))] for name in _names(line)}
        yield _ARTICLE.sub("an", line.format(**filled))


def _together(sounds: Sequence[str]) -> list[str]:
    """A few sounds and all of them, in words: "piano and strings"."""
    few = " and ".join(sounds[:2])
    return [few, f"{', '.join(sounds[:-1])} and {sounds[-1]}"] if sounds[2:] else [few] * bool(sounds)


def _names(line: str) -> list[str]:
    """The blanks of a line."""
    return [name for _, name, _, _ in Formatter().parse(line) if name]


def _keys(key: str) -> list[str]:
    """A key as people write it: "F# minor", "F#m", and with a flat where that is usual."""
    note, mode = key.split()
    short = f"{note}m" if mode == "minor" else f"{note} maj"
    return [key, key, short, *([f"{_FLATS[note]} {mode}"] if note in _FLATS else [])]


def _energies(energy: float | None) -> list[str]:
    if energy is None or _CALM < energy < _WILD:
        return []
    return list(_ENERGIES["calm" if energy <= _CALM else "wild"])
