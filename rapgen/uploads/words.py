"""Words for grooves, moods and instruments, as uploaders write them."""

from __future__ import annotations

import re
from dataclasses import replace

from rapgen.errors import PromptError
from rapgen.groove import read_groove
from rapgen.interfaces import Groove

_MOODS = {  # how it is told: how it is written besides
    "aggressive": "angry|rage", "bouncy": "bounce", "bright": "", "calm": "calming|peaceful", "chill": "chilled",
    "cinematic": "", "cold": "", "confident": "", "dark": "", "dreamy": "dreamlike", "dusty": "", "eerie": "",
    "emotional": "", "energetic": "energy", "epic": "", "ethereal": "", "evil": "", "funky": "", "gloomy": "",
    "gritty": "grimy", "groovy": "", "happy": "", "hard": r"hard[ -]?hitting", "haunting": "haunted", "heartfelt": "",
    "heavy": "", "hypnotic": "", "inspiring": "inspirational|motivational", "jazzy": "", "laid-back": r"laid[ -]?back",
    "lonely": "", "melancholic": "melancholy", "mellow": "", "melodic": "", "menacing": "", "moody": "",
    "mysterious": "", "nostalgic": "nostalgia", "ominous": "", "raw": "", "relaxing": "relaxed|relax", "romantic": "",
    "sad": "", "scary": "horror", "sentimental": "", "sinister": "", "smooth": "", "soft": "", "somber": "sombre",
    "soulful": "", "spacey": "spacy", "spooky": "", "sunny": "", "tense": "", "triumphant": "", "uplifting": "",
    "upbeat": "", "vintage": "", "warm": "", "wavy": "", "weird": "",
}  # fmt: skip
_INSTRUMENTS = {
    "808": "808s", "accordion": "", "bass guitar": "", "bells": "bell", "brass": "horns?", "cello": "", "choir": "",
    "clarinet": "", "drums": "", "flute": "", "guitar": "guitars?", "harmonica": "",
    "harp": "", "harpsichord": "", "koto": "", "mandolin": "", "marimba": "", "music box": "",
    "orchestra": "orchestral", "organ": "", "pad": "pads", "piano": "pianos?", "rhodes": "electric piano",
    "saxophone": "sax", "sitar": "",
    "strings": "", "synth": "synths?|synthesizers?", "trumpet": "trumpets?", "upright bass": "double bass",
    "vibraphone": "", "violin": "violins?",
}  # fmt: skip
_BPM = re.compile(r"bpm|b\.p\.m|beats per minute", re.IGNORECASE)
_FIGURE = re.compile(r"[0-9.,]+(?:bpm|k|'?s)?|[a-g](?:#|b)?(?:m|min|maj)?")  # numbers, tempos, keys
# What stands around an artist's name without being one.
_GENERIC_WORDS = (
    "the a an and with type style beat beats instrumental instrumentals instru track rap hip hop hiphop hip-hop"
    " music free new best fire freestyle storytelling underground drumless sample sampled samples loop loops club"
    " soul r&b rnb pop rock melody melodies vocal vocals hook hooks no on for of my your this lit banger bangers"
    " slow fast uptempo midtempo uk fr ny nyc us usa french spanish german italian latin afro jersey detroit chicago"
    " atlanta memphis bay area west east coast south side westcoast eastcoast boom bap boombap boom-bap trap"
    " trapsoul drill lofi lo-fi lo fi chillhop g-funk gfunk funk phonk drift jazz jazzhop cloud plugg pluggnb"
    " crunk krunk old school oldschool old-school 80s 90s 2000s golden age era classic modern conscious gangsta"
    " gangster street anime ambient night late summer winter love life battle cypher diss study sleep vibe vibes"
    " mood key bpm tempo minor major min maj"
)


def _pattern(words: dict[str, str]) -> re.Pattern[str]:
    spelt = "|".join(f"({re.escape(word)}{f'|{others}' if others else ''})" for word, others in words.items())
    return re.compile(rf"(?<!\bno )(?<!\bnot )(?<!\bwithout )(?<![\w'-])(?:{spelt})(?![\w'-])", re.IGNORECASE)


_MOOD, _INSTRUMENT, _GENERIC = _pattern(_MOODS), _pattern(_INSTRUMENTS), frozenset(_GENERIC_WORDS.split())


def groove_in(text: str) -> Groove:
    """What `text` says of a groove, but for bars; of one whose tempo cannot be played, what it says besides."""
    try:
        return replace(read_groove(text), bars=None)
    except PromptError:
        return replace(read_groove(_BPM.sub(" ", text)), tempo_bpm=None, bars=None)


def moods_in(text: str) -> tuple[str, ...]:
    """Moods that a text names, in its order, each once: "sad", "dark"."""
    return _named(text, _MOOD, tuple(_MOODS))


def instruments_in(text: str) -> tuple[str, ...]:
    """Instruments that a text names, in its order, each once."""
    return _named(text, _INSTRUMENT, tuple(_INSTRUMENTS))


def is_description(word: str) -> bool:
    """Whether a word describes a beat, as against naming an artist or a beat."""
    plain = word.casefold().strip(".!?*'")
    patterns = (_MOOD, _INSTRUMENT, _FIGURE)
    return len(plain) < 2 or plain in _GENERIC or any(pattern.fullmatch(plain) for pattern in patterns)


def _named(text: str, pattern: re.Pattern[str], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names[(match.lastindex or 1) - 1] for match in pattern.finditer(text)))
