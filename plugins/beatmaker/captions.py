"""Words for a beat: wordings whose blanks are filled with facts; every fact named is true of the clip."""

from __future__ import annotations

from string import Formatter, capwords

from rapgen_plugins.beatmaker import wordings as words
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.heard import Heard
from rapgen_plugins.beatmaker.song import Song

_FLATS = {"C#": "Db", "D#": "Eb", "G#": "Ab", "A#": "Bb"}
_ONES = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_BASSES = ("808", "bass guitar", "upright bass", "synth bass")
_TRAIN = (words.ENGINEER, words.UPLOADER, words.LISTENER)
_TEST = (words.TEST_ENGINEER, words.TEST_UPLOADER, words.TEST_LISTENER)

Blanks = dict[str, list[str]]  # what may stand in each


def captions(song: Song, heard: Heard, dice: Dice) -> tuple[str, ...]:
    """Five or six different captions: the plainest, then as engineers, uploaders and listeners put it."""
    blanks = _blanks(song, heard)
    engineer, uploader, listener = _TEST if song.split == "test" else _TRAIN
    chosen = [
        *_some(engineer, dice.between(1, 2), blanks, dice),
        *_some(uploader, 1, blanks, dice),
        *_some(listener, dice.between(2, 3), blanks, dice),
    ]
    plainest = f"{song.style}, {round(song.groove.tempo_bpm or 0)} bpm"
    return tuple(dict.fromkeys([plainest, *(_filled(wording, blanks, dice) for wording in chosen)]))


def _some(wordings: tuple[str, ...], count: int, blanks: Blanks, dice: Dice) -> list[str]:
    """A few wordings whose blanks can all be filled."""
    return dice.some([w for w in wordings if all(blanks.get(name) for name in _names(w))], count)


def _names(wording: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(wording) if name]


def _filled(wording: str, blanks: Blanks, dice: Dice) -> str:
    """A wording with its blanks filled; what is named once is not named again."""
    filled: dict[str, str] = {}
    for name in _names(wording):
        fresh = [text for text in blanks[name] if not any(text in said or said in text for said in filled.values())]
        filled[name] = dice.one(fresh or blanks[name])
    return wording.format(**filled)


def _blanks(song: Song, heard: Heard) -> Blanks:
    """What may stand in each blank; nothing where nothing true can."""
    groove, tempo_bpm = song.groove, round(song.groove.tempo_bpm or 0)
    styles = list(words.STYLES[song.style])
    players = [name for player in heard.players for name in words.PLAYERS[player]]
    traits = [name for trait in heard.traits for name in words.TRAITS[trait]]
    textures = [name for effect in heard.effects for name in words.EFFECTS.get(effect, ())]
    colours = [words.COLOURS[voice] for voice in heard.colours]
    chords = song.parts["chords"].instrument
    return {
        "style": styles,
        "Style": [capwords(style) for style in styles],
        "tempo": [str(tempo_bpm)],
        "key": _key_names(groove.key or ""),
        "mood": list(heard.moods),
        "mood2": list(heard.moods) if len(heard.moods) > 1 else [],
        "Mood": [mood.title() for mood in heard.moods],
        "a_mood": [f"{'an' if mood[0] in 'aeiou' else 'a'} {mood}" for mood in heard.moods],
        "player": [words.PLAYERS[chords][0]] if chords in heard.players else [],
        "sound": players + traits + textures + colours,
        "sounds": _pairs(heard.players),
        "drums": [*(name for t in ("hat rolls", "triplet hats", "ghost notes", "claps", "swing") if t in heard.traits
                    for name in words.TRAITS[t]), *colours],
        "bass": [
            *(name for player in heard.players if player in _BASSES for name in words.PLAYERS[player]),
            *(name for t in ("sliding bass", "walking bass") if t in heard.traits for name in words.TRAITS[t]),
        ],
        "chords": list(words.TRAITS["rich chords"]) if "rich chords" in heard.traits else [],
        "changes": _changes(song),
        "texture": textures,
        "feel": [words.FEELS[groove.feel or ""]],
        "bars": [str(groove.bars)] if song.clock.is_loop else [],
        "pace": _paces(tempo_bpm, song.energy),
        "title": list(words.TITLES),
    }  # fmt: skip


def _pairs(players: tuple[str, ...]) -> list[str]:
    """Two of the players, in both orders."""
    return [
        f"{words.PLAYERS[one][a]} and {words.PLAYERS[other][b]}"
        for one in players
        for other in players
        if one != other
        for a in (0, 1)
        for b in (0, 1)
    ]


def _changes(song: Song) -> list[str]:
    """The first chords by name, where their names cannot be taken for a key's."""
    names = list(dict.fromkeys(chord.name for chord in song.chords))[:4]
    return [" ".join(names)] if len(names) > 1 and all(name[-1].isdigit() for name in names) else []


def _key_names(key: str) -> list[str]:
    """A key as people write it: "F# minor", "F#m", and with a flat where that is usual."""
    note, mode = key.split()
    short = f"{note}m" if mode == "minor" else f"{note} maj"
    return [key, key, short, *([f"{_FLATS[note]} {mode}"] if note in _FLATS else [])]


def _paces(tempo_bpm: int, energy: float) -> list[str]:
    near = 5 * ((tempo_bpm + 2) // 5)
    speed = ["slow"] if tempo_bpm < 82 else ["mid-tempo"] if tempo_bpm < 112 else ["fast"] if energy >= 0.6 else []
    return [*speed, f"around {spell(near)} bpm", f"around {near} bpm", f"{spell(tempo_bpm)} bpm"]


def spell(number: int) -> str:
    """A tempo in words, as it is said: "ninety-five", "one forty", "one oh five"."""
    tens, ones = divmod(number % 100, 10)
    if tens == 1 and ones:
        teens = ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
        rest = teens[ones - 1]
    else:
        rest = "-".join(word for word in (_TENS[tens], _ONES[ones]) if word)
    if number < 100:
        return rest
    if tens == 0:
        return f"one oh {_ONES[ones]}" if ones else "one hundred"
    return f"one {rest}"
