"""Any text of the web made plain: styled letters, links, handles, emojis and control characters."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_STYLED = re.compile(r"(?:LATIN LETTER SMALL CAPITAL|NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER) ([A-Z])")
_SIGNS = str.maketrans({**dict.fromkeys("‘’‛`´", "'"), **dict.fromkeys("“”„‟«»", '"'), **dict.fromkeys("‐‑‒–—−", "-")})
_LINK = re.compile(
    r"(?:\bhttps?:|\bwww\.)\S+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}"
    r"|\b[\w-]{1,64}(?:\.[\w-]{1,64}){0,3}\.(?:com|net|org|co|io|me|be|tv|fm|gg|ly|app|link|store|shop|uk|de)\b(?:/\S*)?",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@])@(?=[^\W\d])[\w.]+")  # "@140bpm" is a tempo
_PICTURES = ("So", "Sk", "Me", "Cs", "Co", "Cn")  # with their modifiers, and what is no character at all


def clean(text: str, *, max_chars: int = 1000) -> str:
    """`text` on one line in plain letters of whatever script, without links, handles, emojis and control characters.

    Styled letters become plain ones, quotes and dashes those of ASCII. What stands behind `max_chars` is not read.
    """
    plain = unicodedata.normalize("NFKC", _unstyled(text[:max_chars])).translate(_SIGNS)
    named = _HANDLE.sub(" ", _LINK.sub(" ", plain))
    return " ".join("".join(map(_visible, named)).split())


def _unstyled(text: str) -> str:
    """Small capitals and letters in dark boxes as letters; NFKC knows all other styles."""
    return text if text.isascii() else "".join(map(_letter, text))


@lru_cache(4096)
def _letter(char: str) -> str:
    styled = _STYLED.fullmatch(unicodedata.name(char, ""))
    return styled[1].lower() if styled else char


@lru_cache(4096)
def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f":  # joiners and variants of pictures have no width
        return ""
    return " " if category == "Cc" or (category in _PICTURES and char not in "♯♭") else char
