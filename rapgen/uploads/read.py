"""Titles, tags and descriptions of beats to facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from rapgen.interfaces import Groove, Upload
from rapgen.uploads.artists import usual_style
from rapgen.uploads.text import clean
from rapgen.uploads.title import read_title
from rapgen.uploads.words import groove_in, instruments_in, moods_in

T = TypeVar("T")
_MAX_TITLE_CHARS, _MAX_LINES, _MAX_LINE_CHARS, _MAX_TAGS, _MAX_TAG_CHARS = 300, 300, 200, 50, 60
_STATES = re.compile(r"\b(?:[0-9]*bpm|tempo|beats per minute|key|scale)\b", re.IGNORECASE)
_LABEL = re.compile(r"\W*(?:genre|style|moods?|instruments?) ?[:=-]", re.IGNORECASE)
_NO_TEMPO = re.compile(  # phones, prices, dates
    r"\+?\(?[0-9]{2,4}\)?[ .-][0-9]{3,4}[ .-][0-9]{2,4}(?:[ .-][0-9]{2,4})?"
    r"|[$€£] ?[0-9][0-9.,]*|[0-9][0-9.,]* ?(?:[$€£]|usd|eur)|\b[0-9]{1,4}[/.][0-9]{1,2}[/.][0-9]{1,4}\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class UploadFacts:
    """What an uploader says of a beat; empty, or None, where nothing is said."""

    groove: Groove  # `bars` is None: how long a track is does not tell of its clips
    artists: tuple[str, ...] = ()  # whose type of beat the title says it is
    moods: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    name: str = ""  # of the beat: "Tea Time"
    wording: str = ""  # what the title says of the beat in the uploader's words, without tempo, key and name
    is_style_guessed: bool = False  # no word names the style; it is the one that the artists stand for


def read_upload(upload: Upload) -> UploadFacts:
    """The facts in a title, a description and tags, of which the title counts first and the tags last.

    A description is read where it labels what it says ("BPM: 92 | Key: Am"). A style that nobody names is the one
    that the artists usually stand for. A tempo that cannot be played is passed over. Any text will do: other scripts,
    control characters, 100 KB, of which the start is read.
    """
    title = read_title(clean(upload.title, max_chars=_MAX_TITLE_CHARS))
    titled = groove_in(title.facts)
    stated, labelled = _described(upload.description)
    tags = [clean(tag, max_chars=_MAX_TAG_CHARS).replace("#", "") for tag in upload.tags[:_MAX_TAGS]]
    texts = (title.facts, "; ".join(labelled), "; ".join(tags))
    grooves = [titled, *map(groove_in, stated), *(groove_in(tag) for tag in tags if _STATES.search(tag))]
    style, is_guessed = _style([titled, *map(groove_in, labelled)], title.artists, tags)
    return UploadFacts(
        groove=Groove(
            tempo_bpm=_first(groove.tempo_bpm for groove in grooves),
            key=_first(chain((groove.key for groove in grooves), (groove_in(tag).key for tag in tags))),
            style=style,
            feel=titled.feel,
        ),
        artists=title.artists,
        moods=_first(map(moods_in, texts)) or (),
        instruments=_first(map(instruments_in, texts)) or (),
        name=title.name,
        wording=title.wording,
        is_style_guessed=is_guessed,
    )


def _described(description: str) -> tuple[list[str], list[str]]:
    """Lines that state tempo or key, and those that label a genre, moods or instruments."""
    lines = [
        clean(line, max_chars=_MAX_LINE_CHARS) for line in description[: 100 * _MAX_LINES].splitlines()[:_MAX_LINES]
    ]
    stated = [_NO_TEMPO.sub(" ", line) for line in lines if _STATES.search(line)]
    return stated, [line for line in lines if _LABEL.match(line)]


def _style(said: Sequence[Groove], artists: Sequence[str], tags: Sequence[str]) -> tuple[str | None, bool]:
    """The style, and whether it is guessed."""
    if style := _first(groove.style for groove in said):
        return style, False
    if style := usual_style(artists):
        return style, True
    tagged = [style for tag in tags if (style := groove_in(tag).style)]
    if tagged:
        return max(tagged, key=tagged.count), False
    style = usual_style(artist for tag in tags for artist in read_title(tag).artists)
    return style, style is not None


def _first(values: Iterable[T]) -> T | None:
    """The first that is known."""
    return next(filter(None, values), None)
