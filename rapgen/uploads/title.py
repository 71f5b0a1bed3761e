"""A beat's title in its parts: "[FREE] Lil Baby x Gunna Type Beat 2024 - "Pain" (prod. X)"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from rapgen.uploads.artists import find_artists, known_artist
from rapgen.uploads.words import groove_in, is_description

Span = tuple[int, int]  # first word, word after the last

_MAX_NAME_WORDS, _MAX_ARTIST_WORDS = 7, 3
_OFFER = re.compile(
    r"\b(?:100% )?free(?: (?:for (?:non[ -]?)?profit|(?:non[ -]?)?profit|download|dl|use|to use|no tags?|untagged))*\b"
    r"|\b(?:sold|for sale|no tags?|untagged|buy [0-9x]+ get [0-9x]+|copyright free|royalty free|official audio)\b",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"\b(?:prod(?:uced)?\b\.?(?: ?by\b)?|(?:beat|made|music) by\b)[^|\[\](){}~\"]{0,60}", re.IGNORECASE
)
_YEAR = re.compile(r"(?<![\w#.])(?:19[89]|20[0-4])[0-9](?![\w.'])")
_HASH = re.compile(r"(?<![\w#])(?<![A-Ga-g] )#(?=[^\W\d]{2})")
_JOINED = re.compile(r"(?:(?<=\w)\s+-\s+)?\b(type) ?(beats?)\b", re.IGNORECASE)  # "typebeat", "Drake - Type Beat"
_DESCRIBES = re.compile(r"\W*(?:(?:type|style) )?(?:beat|instrumental)s?\b(?=\s*(?:$|[^\w\s]))", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"]{1,80})\"|(?<![\w'])'((?:[^']|(?<=\w)'(?=\w)){1,80})'(?![\w'])")
_BREAK = re.compile(r"[|\[\](){}<>~*•·;]+|-+(?=\s|$)|(?<!\S)-+|(?<!\S)/+(?!\S)|(?<=\w{3})\.\s")
_TYPE = re.compile(r"\b(?:type|style) ?(?:beats?|instrumentals?)\b|\binspired\b", re.IGNORECASE)
_BEAT = re.compile(r"\b(?:beats?|instrumentals?|instru|rap|hip[ -]?hop)\b", re.IGNORECASE)
_JOINING = frozenset(("x", "×", "feat", "feat.", "ft", "ft.", "vs", "vs.", "and", "with", "&", "+", ",", "/"))
_SIGN = re.compile(r"([,/+×]|(?<!\S)&(?!\S))")
_TEMPO = re.compile(r"(?:\bat )?\b[0-9]{1,6}(?:[.,][0-9]+)?[ -]?bpm\b|\b(?:bpm|tempo)\b[ :=-]*[0-9.,]*", re.IGNORECASE)
_KEY = re.compile(
    r"(?:\b(?:in|key(?: of)?)\b[ :=-]*)?(?:\b[a-g](?: ?#|b)?[ -]?(?:sharp |flat )?(?:natural |harmonic )?"
    r"(?:min(?:or)?|maj(?:or)?)\b|\b(?-i:[A-G](?:#|b)?m)\b(?!'))|\bkey\b[ :=-]*[a-g](?:#|b)?(?!\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Title:
    """What a title is made of; empty where it has no such part."""

    artists: tuple[str, ...]
    name: str
    wording: str  # what describes the beat, artists included
    facts: str  # all but artists, name, offers, credits and years


def read_title(text: str) -> Title:
    """The parts of a title that has been cleaned."""
    text = _HASH.sub("", text)
    text = _YEAR.sub(" ", _CREDIT.sub("|", _OFFER.sub(" ", text)))
    text, name = _take_quoted(_JOINED.sub(r" \1 \2", text))
    segments = [stripped for segment in _BREAK.split(text) if (stripped := segment.strip(" ,.:!?-"))]
    describes = [bool(_BEAT.search(segment)) for segment in segments]
    if not name and any(describes):
        after = describes.index(True) + 1
        if after < len(segments) and _is_name(segments[after]):
            name = segments.pop(after)
            describes.pop(after)
    found = [_artists(segment) for segment in segments]
    return Title(
        artists=tuple(dict.fromkeys(artist for artists, _ in found for artist in artists)),
        name=name,
        wording=_wording([segment for segment, does in zip(segments, describes, strict=True) if does]),
        facts=" | ".join([rest for _, rest in found] + [name] * (name != "" and is_description(name))),
    )


def _take_quoted(text: str) -> tuple[str, str]:
    """A title without its quoted name, and that name; what is quoted before "type beat" is none."""
    text = text.replace("''", '"')
    for quoted in _QUOTED.finditer(text):
        words = (quoted[1] or quoted[2]).strip()
        if words and not _DESCRIBES.match(text, quoted.end()):
            return f"{text[: quoted.start()]} | {text[quoted.end() :]}".replace('"', " "), words
    return text.replace('"', " "), ""


def _is_name(segment: str) -> bool:
    """Whether what stands behind "type beat" names it, and is no fact, credit or further description."""
    words = segment.split()
    is_fact = _BEAT.search(segment) or _TEMPO.search(segment) or _KEY.search(segment)
    return not is_fact and len(words) <= _MAX_NAME_WORDS and not all(map(is_description, words))


def _artists(segment: str) -> tuple[list[str], str]:
    """Whose type of beat it is, and what else the segment says."""
    pieces = _TYPE.split(segment)
    if len(pieces) < 2:
        return [], segment
    is_behind = not pieces[0].strip()  # "Type Beat Ninho"
    named, other = (pieces[1:], "") if is_behind else (pieces[:-1], pieces[-1])
    words = _SIGN.sub(r" \1 ", " , ".join(named)).split()
    long = [(start, end) for start, end in find_artists(words) if end - start > 1]
    spans = sorted([*long, *_rest_of_names(words, long, is_shouted=segment.isupper())])
    artists = [known_artist(words[start:end]) or " ".join(words[start:end]) for start, end in spans]
    rest = [word for n, word in enumerate(words) if not any(start <= n < end for start, end in spans)]
    kept = [name for name in artists if groove_in(name).style]  # Griselda is a style too
    return artists, " ".join([*kept, *rest, other])


def _rest_of_names(words: list[str], long: list[Span], *, is_shouted: bool) -> Iterator[Span]:
    """Names between joining words and those found already, without what describes a beat around them.

    One that is not known is a few words with capitals, in a title where capitals tell.
    """
    taken = {n for start, end in long for n in range(start, end)}
    breaks = [n for n in range(len(words)) if n in taken or _joins(words, n)]
    for before, end in pairwise([-1, *breaks, len(words)]):
        start = before + 1
        while start < end and is_description(words[start]):
            start += 1
        while start < end and is_description(words[end - 1]):
            end -= 1
        is_name = 0 < end - start <= _MAX_ARTIST_WORDS and not is_shouted and all(map(_is_proper, words[start:end]))
        if is_name or known_artist(words[start:end]):
            yield start, end


def _joins(words: list[str], n: int) -> bool:
    """Whether a word stands between two names; the X of "Lil Nas X" and "Lil Nas X x Drake" does not."""
    joins = words[n].casefold() in _JOINING
    return joins and (words[n] != "X" or (n + 1 < len(words) and words[n + 1].casefold() not in _JOINING))


def _is_proper(word: str) -> bool:
    return word[0].isalpha() and not word[0].islower() and not any(map(str.isdigit, word))


def _wording(segments: list[str]) -> str:
    """What segments say of a beat, without tempo and key, which are measured or told apart."""
    told = [" ".join(_KEY.sub(" ", _TEMPO.sub(" ", segment)).split()).strip(" ,.:/-") for segment in segments]
    wording = ", ".join(dict.fromkeys(line for line in told if not _DESCRIBES.fullmatch(line)))
    said = groove_in(wording)
    if said.tempo_bpm or said.key:
        return ""
    return wording.lower() if wording.isupper() else wording
