"""The captioner `phrases`: what uploaders wrote and what was measured, said in many ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from rapgen.errors import PromptError, RecipeError
from rapgen.groove import KEYS, TEMPO_MAX_BPM, TEMPO_MIN_BPM, describe, read_groove
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Annotations, Captioner, Clip, Groove
from rapgen.uploads import UploadFacts, clean, read_upload
from rapgen_plugins.phrases.grammar import blanks_of, filled_lines

MAX_CHARS = 200  # of a caption


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
        lines = map(_shortened, chain([_plain(groove)], filled_lines(blanks_of(known, facts, groove), rng)))
        true = (line for line in lines if line and _agrees(line, groove))
        captions = [*_given(known), *islice(_unlike(true), self._num_captions)]
        return list(dict.fromkeys(captions)) or ["an instrumental"]


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
        style = groove.style and (read_groove(groove.style).style or groove.style)
    except PromptError:
        return False
    slack_bpm = 2.6 if "around" in caption else 0.6  # tempos are rounded
    is_tempo = said.tempo_bpm is None or abs(said.tempo_bpm - (groove.tempo_bpm or 0)) <= slack_bpm
    facts = ((said.key, groove.key), (said.style, style), (said.feel, groove.feel), (said.bars, None))
    return is_tempo and all(fact in (None, own) for fact, own in facts)


def _unlike(captions: Iterable[str]) -> Iterator[str]:
    """Those that are not written alike but for case and signs."""
    seen = set()
    for caption in captions:
        letters = "".join(filter(str.isalnum, caption.casefold()))
        if letters not in seen:
            seen.add(letters)
            yield caption
