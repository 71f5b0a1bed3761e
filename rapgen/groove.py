"""Musical facts in words: tempo, key, style, feel and bars, read from free text and written back.

Two tempos are told apart. The *grid* tempo, `Groove.tempo_bpm`, is the number a prompt names: four of its
beats make a bar. The *felt* tempo is the drums' pulse: half of that in half time, twice that in double time.
"""

from __future__ import annotations

import re
import unicodedata

from rapgen.errors import PromptError
from rapgen.interfaces import Groove

NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(f"{note} {mode}" for note in NOTES for mode in ("major", "minor"))
STYLES = ("boom bap", "trap", "lo-fi", "drill", "g-funk", "phonk", "jazz rap", "cloud rap", "crunk", "old school")
FEELS = ("straight", "half", "double")
TEMPO_MIN_BPM, TEMPO_MAX_BPM = 40.0, 220.0
BEATS_A_BAR = 4


def read_groove(text: str) -> Groove:
    """The musical facts that `text` names; None where it names none, or only hints ("slow").

    A range of tempos gives its midpoint. Of several styles the first counts, but in a run of them the last,
    which is the noun ("lo-fi boom bap" is boom bap). A key without a mode is major. Numbers that are no tempo
    (years, bars, drum machines) are passed over. Raises PromptError where a BPM is outside 40 .. 220.
    """
    plain = _plain(text)
    lower = _SPELT.sub(_spelt_value, plain.lower())
    feel = _FEEL.search(lower)
    bars = next((int(match[1]) for match in _BARS.finditer(lower) if int(match[1])), None)
    return Groove(
        tempo_bpm=_read_tempo(lower),
        key=_read_key(plain),
        style=_read_style(lower),
        feel=FEELS[feel.lastindex - 1] if feel and feel.lastindex else None,
        bars=bars,
    )


def describe(groove: Groove) -> str:
    """What is known of `groove`, in words that `read_groove` reads back: "boom bap, 90 bpm, F# minor"."""
    facts = (
        groove.style,
        None if groove.tempo_bpm is None else f"{groove.tempo_bpm:g} bpm",
        groove.key,
        None if groove.feel is None else f"{groove.feel} time",
        None if groove.bars is None else f"{groove.bars} bar{'s' * (groove.bars != 1)}",
    )
    return ", ".join(fact for fact in facts if fact)


# ---------------------------------------------------------------------------------- plain text, plain numbers

_SIGNS = str.maketrans("♯♭’‘‐‑‒–—−", "#b''------")


def _plain(text: str) -> str:
    """`text` in plain forms, with every run of blanks and control characters made one space."""
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


_ONE = "one|two|three|four|five|six|seven|eight|nine"
_TEEN = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TEN = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_VALUES = {word: value for value, word in enumerate(f"{_ONE}|{_TEEN}".split("|"), start=1)}
_VALUES |= {word: 10 * value for value, word in enumerate(_TEN.split("|"), start=2)}
_TENS_ONES = rf"(?:{_TEN})(?:[ -](?:{_ONE}))?"
_SPELT = re.compile(
    rf"\b(?:(?:(?:a|one|two)[ -])?hundred(?:[ -](?:and[ -])?(?:{_TENS_ONES}|{_TEEN}|{_ONE}))?"
    rf"|one[ -](?:{_TENS_ONES}|{_TEEN}|oh[ -](?:{_ONE}))(?![ -]bars?\b)"  # "one sixteen bar loop" is 16 bars
    rf"|{_TENS_ONES}|{_TEEN}|{_ONE})\b"
)


def _spelt_value(match: re.Match[str]) -> str:
    """The digits of "a hundred and forty" or "one-forty"."""
    total = 0
    for word in re.split("[ -]", match[0]):
        value = _VALUES.get(word, 0)
        if word == "hundred":
            total = max(total, 1) * 100
        elif word == "oh" or (total == 1 and value >= 10):
            total = 100 + value
        else:
            total += value
    return str(total)


# ------------------------------------------------------------------------------------------ style, feel, bars

_ALIASES = (  # in the order of STYLES: the group that matched tells the style
    r"boom[ -]?bap|(?:(?:90'?s|nineties) )?east[ -]?coast|(?:90'?s|nineties) (?:rap|hip[ -]?hop)"
    r"|griselda|golden[ -](?:age|era)|wu[ -]?tang",
    r"trap(?:[ -]?soul)?|atlanta",
    r"low?[ -]?fi(?: hip[ -]?hop)?|chill[ -]?hop",
    r"drill",
    r"west[ -]?coast|g[ -]?funk|gangsta[ -]funk|bay area|hyphy",
    r"phonk|memphis(?: rap)?",
    r"jazz[ -]?hop|jazzy?[ -](?:rap|hip[ -]?hop)",
    r"cloud[ -]?(?:rap|trap)|plugg(?:nb)?",
    r"[ck]runk|dirty[ -]south",
    r"old[ -]?school(?: rap| hip[ -]?hop)?|(?:80'?s|eighties|electro) (?:rap|hip[ -]?hop)",
)
_AFFIRMED = r"(?<!\bno )(?<!\bnot )(?<!\bwithout )(?<!\bnon-)(?<![\w'])"
_STYLE = re.compile(rf"{_AFFIRMED}(?:{'|'.join(f'({alias})' for alias in _ALIASES)})(?![\w'])")
_FEEL = re.compile(  # in the order of FEELS
    rf"{_AFFIRMED}(?:(straight[ -]?(?:time|feel|drums|beat))|(half[ -]?time)|(double[ -]?time))\b"
)
_BARS = re.compile(
    r"(?<!every )(?<!each )(?<!after )(?<![\w.,'$#])([0-9]{1,4})[ -]?bars?\b"
    r"(?! (?:fills?|intro|outro|breaks?|drops?|hook|verse|phrases?|melody|riff|chorus|bridge|patterns?)\b)"
)


def _read_style(text: str) -> str | None:
    style, end = None, None
    for match in _STYLE.finditer(text):
        if end is not None and text[end : match.start()] not in (" ", "-"):
            break
        style, end = STYLES[(match.lastindex or 1) - 1], match.end()
    return style


# ------------------------------------------------------------------------------------------------------ tempo

_DIGITS = r"[0-9]{1,6}(?:[.,][0-9]{1,6})?"
_START = r"(?<![\w.'$#£€])(?<![0-9][,:])(?<![a-z]-)(?<!\bmpc )(?<!\bjuno )(?<!\bvol )(?<!\bvol\. )"
_UNITS = (
    r"bars?|measures?|beats|s|secs?|seconds?|m|mins?|minutes?|hours?|k?hz|kbps|db|percent|years?|tracks?|songs?"
    r"|loops|samples?|steps?|voices?|layers?|bits?|cents?|times|lines?"
)
_END = rf"(?![\w%:/]| %|'\w|[.,][0-9])(?![ -](?:{_UNITS})\b)"
_NUMBER = rf"{_START}({_DIGITS}){_END}"
_BPM = r"(?:bpm|b\.p\.m\.?|beats per minute)(?!\w)"
_CUE = r"(?:\b(?:bpm|tempo(?: of| is)?|at|around|about|approx(?:imately)?|roughly|circa|ca\.?)|[@~])"
_STYLES, _TIME = "|".join(_ALIASES), r"(?:half|double)[ -]?time"
_BEFORE = rf"(?:{_STYLES}|{_TIME}(?: feel)?|[a-g][#b]?m|min(?:or)?|maj(?:or)?|(?<!type )(?:beat|loop))"
_AFTER = rf"(?:{_STYLES}|{_TIME}|[a-g][#b]?(?:m|[ -]?min(?:or)?|[ -]?maj(?:or)?))"

_BPM_RANGE = re.compile(rf"{_START}({_DIGITS})(?: ?{_BPM})? ?(?:-|to|and) ?({_DIGITS}) ?-?{_BPM}")
_IN_BPM = re.compile(rf"{_START}({_DIGITS})(?:-?ish)?[ -]?{_BPM}|\bbpm ?[:=] ?{_NUMBER}")
_HINTED = tuple(  # the surest first
    re.compile(pattern)
    for pattern in (
        rf"{_START}({_DIGITS}) ?(?:-|to|and) ?({_DIGITS}){_END}",
        rf"{_CUE} ?[:=-]? ?{_NUMBER}",
        rf"(?<!\w){_BEFORE}(?: type)?(?: beat| instrumental| loop)?,? {_NUMBER}",
        rf"{_NUMBER},? {_AFTER}(?!\w)(?! (?:beats|loops|tracks|songs|instrumentals)\b)",
        rf"(?:^|[,;|(\[.] ?| - ){_NUMBER}(?= ?(?:$|[,;|)\]])| - |\. |\.$)",
    )
)


def _read_tempo(text: str) -> float | None:
    for match in _BPM_RANGE.finditer(text):
        if tempo_bpm := _plausible_tempo_bpm(match):
            return tempo_bpm
    if stated := _IN_BPM.search(text):
        if tempo_bpm := _plausible_tempo_bpm(stated):
            return tempo_bpm
        raise PromptError(
            f"a tempo of {stated[1] or stated[2]} bpm cannot be played:"
            f" name one from {TEMPO_MIN_BPM:g} to {TEMPO_MAX_BPM:g} bpm"
        )
    hints = (_plausible_tempo_bpm(match) for pattern in _HINTED for match in pattern.finditer(text))
    return next((tempo_bpm for tempo_bpm in hints if tempo_bpm), None)


def _plausible_tempo_bpm(match: re.Match[str]) -> float | None:
    """The number that was matched, or the midpoint of two; None unless all could be tempos."""
    tempos_bpm = [float(number.replace(",", ".")) for number in match.groups() if number]
    if not all(TEMPO_MIN_BPM <= tempo_bpm <= TEMPO_MAX_BPM for tempo_bpm in tempos_bpm):
        return None
    return sum(tempos_bpm) / len(tempos_bpm)


# -------------------------------------------------------------------------------------------------------- key

_NOTE = r"(?<![\w'#])(?P<note>[a-g])"
_CONTEXT = r"(?P<context>\bin |\bkey(?: of| is)? ?[:=]? ?)"
_PHRASE_END = r"(?= ?(?:$|[^\w\s#'-])| (?:[0-9-]|(?:at|with|around|about|and|for)\b))"
_NAMED_KEY = re.compile(
    rf"{_CONTEXT}?{_NOTE}(?P<accidental> ?#|b|[ -]?sharp|[ -]?flat)?[ -]?"
    rf"(?:(?:natural|harmonic|melodic)[ -])?(?P<mode>min(?:or)?|maj(?:or)?|aeolian|dorian|phrygian)\b"
    r"(?P<noun> (?:key|tweak|change|way|mood|tone|hit|thing|one|problem|fix|deal)\b)?"
    rf"(?P<end>{_PHRASE_END})?",
    re.IGNORECASE,
)
_MINOR_KEY = re.compile(  # "F#m", "Am" but not "I Am", "Am I"
    r"(?<![\w'#])(?<!\bI )(?P<note>[A-G](?=#?m|bm)|[a-g](?=#))(?P<accidental>#|b)?m(?![\w'#]| I\b)"
)
_TONIC = re.compile(
    rf"{_CONTEXT}{_NOTE}(?P<accidental>(?: ?#|b)(?!\w)|[ -]?(?:sharp|flat){_PHRASE_END}|{_PHRASE_END})",
    re.IGNORECASE,
)


def _read_key(text: str) -> str | None:
    for named in _NAMED_KEY.finditer(text):
        if not _is_article(named):
            return _key(named, "major" if named["mode"].lower().startswith("maj") else "minor")
    if minor := _MINOR_KEY.search(text):
        return _key(minor, "minor")
    for tonic in _TONIC.finditer(text):
        if tonic["accidental"] or tonic["note"].isupper() or tonic["context"].lower() != "in ":
            return _key(tonic, "major")
    return None


def _is_article(match: re.Match[str]) -> bool:
    """Whether the "a" before "minor" or "major" is no note: "a minor tweak"."""
    if match["accidental"] or match["note"] not in "aA":
        return False
    stands_alone = match["note"] == "A" or (match["context"] and match["end"] is not None)
    return bool(match["noun"]) or not stands_alone


def _key(match: re.Match[str], mode: str) -> str:
    accidental = (match["accidental"] or "").lower().strip(" -")
    shift = {"#": 1, "sharp": 1, "b": -1, "flat": -1}.get(accidental, 0)
    return f"{NOTES[(NOTES.index(match['note'].upper()) + shift) % len(NOTES)]} {mode}"
