"""The captioner `phrases`: what uploaders wrote and what was measured, said in many ways."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise, zip_longest
from string import Formatter, capwords

import numpy as np

from rapgen.errors import PromptError, RecipeError
from rapgen.groove import KEYS, TEMPO_MAX_BPM, TEMPO_MIN_BPM, describe, read_groove
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Annotations, Captioner, Clip, Groove
from rapgen.uploads import UploadFacts, clean, read_upload

MAX_CHARS = 200  # of a caption
_SWUNG, _CALM, _WILD = 0.56, 0.3, 0.7  # from where a listener would say so

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
_FLATS = {"C#": "Db", "D#": "Eb", "G#": "Ab", "A#": "Bb"}
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


@hookimpl
def rapgen_components(register: Register) -> None:
    register("captioner", "phrases", phrases)


def phrases(*, num_captions: int = 5) -> Captioner:
    """Captions of at most 200 characters: those given, then `num_captions` or fewer in unlike wording.

    They say what the annotations and the upload tell and nothing else; the same clip gets the same ones. Raises
    RecipeError where `num_captions` is under 1.
    """
    if num_captions < 1:
        raise RecipeError(f"phrases: num_captions must be 1 or more, got {num_captions}")
    return PhrasesCaptioner(num_captions)


class PhrasesCaptioner(Captioner):
    """A grammar whose choices depend on the upload and on where the clip starts in it, alone."""

    def __init__(self, num_captions: int) -> None:
        self._num_captions = num_captions

    def caption(self, clip: Clip) -> list[str]:
        """Given captions, cleaned, then the plainest, then as engineers, uploaders and listeners put it."""
        known = clip.annotations
        facts = read_upload(known.upload)
        groove = _groove(known.groove, facts)
        digest = hashlib.sha256("\0".join(_identity(known)).encode(errors="replace")).digest()
        rng = np.random.default_rng(list(digest))
        made = _make(_blanks(known, facts, groove), rng)
        true = [caption for caption in (_plain(groove), *made) if caption and _agrees(caption, groove)] or [
            "an instrumental"
        ]
        unlike = list({caption.casefold(): caption for caption in true}.values())
        return list(dict.fromkeys([*_given(known), *unlike[: self._num_captions]]))


def _identity(known: Annotations) -> Iterator[str]:
    """What tells a clip from others: its upload, else its words; and where it starts."""
    yield from (known.upload.url or known.upload.title, str(known.first_beat))
    if not (known.upload.url or known.upload.title):
        yield from (describe(known.groove), *known.captions)


def _groove(measured: Groove, facts: UploadFacts) -> Groove:
    """What is known of tempo, key, style and feel: measured ones first; a guessed style is not known."""
    said = replace(facts.groove, style=None) if facts.is_style_guessed else facts.groove
    is_guess = facts.is_style_guessed and measured.style == facts.groove.style
    style = said.style if measured.style is None or is_guess else clean(measured.style).lower()
    tempo_bpm = measured.tempo_bpm if measured.tempo_bpm is not None else said.tempo_bpm
    is_playable = tempo_bpm is not None and TEMPO_MIN_BPM <= tempo_bpm <= TEMPO_MAX_BPM
    key = measured.key or said.key
    return Groove(
        tempo_bpm=tempo_bpm if is_playable else None,
        key=key if key in KEYS else None,
        style=style or None,
        feel=measured.feel or said.feel,
    )


def _plain(groove: Groove) -> str:
    """Style, tempo and key; empty where none is known."""
    return describe(replace(_rounded(groove), feel=None))


def _rounded(groove: Groove) -> Groove:
    return groove if groove.tempo_bpm is None else replace(groove, tempo_bpm=round(groove.tempo_bpm))


def _given(known: Annotations) -> list[str]:
    cleaned = [_shortened(clean(text)) for text in known.captions]
    return [text for text in cleaned if any(map(str.isalnum, text))]


def _shortened(text: str) -> str:
    """At most 200 characters, cut between words where there are any."""
    if len(text) <= MAX_CHARS:
        return text
    words, blank, _ = text[: MAX_CHARS + 1].rpartition(" ")
    return words if blank else text[:MAX_CHARS]


def _agrees(caption: str, groove: Groove) -> bool:
    """Whether a caption, read again, says nothing that is not known: an uploader's wording may."""
    try:
        said = read_groove(caption)
    except PromptError:
        return False
    style = groove.style and (read_groove(groove.style).style or groove.style)
    slack_bpm = 2.6 if "around" in caption else 0.6  # tempos are rounded
    is_tempo = said.tempo_bpm is None or abs(said.tempo_bpm - (groove.tempo_bpm or 0)) <= slack_bpm
    facts = ((said.key, groove.key), (said.style, style), (said.feel, groove.feel), (said.bars, None))
    return is_tempo and all(fact in (None, own) for fact, own in facts)


# ---------------------------------------------------------------------------------------------------- the grammar


def _blanks(known: Annotations, facts: UploadFacts, groove: Groove) -> dict[str, list[str]]:
    """The ways in which each blank can be filled; none where it is not known."""
    styles = list(_STYLES.get(groove.style or "", [groove.style] if groove.style else []))
    artists = [" x ".join(facts.artists[:2])] if facts.artists else []
    moods = [clean(mood) for mood in known.moods or facts.moods] + _energies(known.energy)
    sounds = [_PLAYED.get(sound, clean(sound)) for sound in known.instruments or facts.instruments][:4]
    tempo_bpm = groove.tempo_bpm and round(groove.tempo_bpm)
    drums = [*_FEELS.get(groove.feel or "", ()), *(_SWINGS if (known.swing or 0.5) >= _SWUNG else ())]
    beats = [f"{style} {noun}" for style in styles for noun in _NOUNS] + [f"{artist} type beat" for artist in artists]
    return {
        "type": beats,
        "beat": beats or list(_NOUNS),
        "style": styles,
        "Style": [capwords(style) for style in styles],
        "artists": artists,
        "wording": [facts.wording] if facts.wording else [],
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


def _make(blanks: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Iterator[str]:
    """Filled lines of all three kinds by turns; those that tell what others told come last."""
    kinds = [[line for line in lines if all(map(blanks.get, _names(line)))] for lines in (_EXACT, _UPLOADED, _HEARD)]
    turns = zip_longest(*([lines[n] for n in rng.permutation(len(lines))] for lines in kinds))
    lines = list(filter(None, chain.from_iterable(turns)))
    first = {frozenset(_names(line)): line for line in reversed(lines)}.values()
    for line in sorted(lines, key=lambda line: line not in first):
        filled = {name: blanks[name][int(rng.integers(len(blanks[name])))] for name in _names(line)}
        yield _shortened(_ARTICLE.sub("an", line.format(**filled)))


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
