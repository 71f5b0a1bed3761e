"""What can be heard in a clip: of what was composed, only that which sounds within it and is loud enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from rapgen_plugins.beatmaker.song import Clock, Hit, Note, Song

AUDIBLE_DB = -30.0  # a part softer than this against the mix is not named
_AUDIBLE_DRUM_DB = -42.0  # over the whole clip, of which a drum sounds for moments
_COLOURS = ("ride", "shaker", "tambourine", "cowbell", "conga", "tom", "rim", "snap")
_EFFECT_MOODS = {"vinyl crackle": "dusty", "12-bit sampler": "gritty", "tape wow": "hazy", "side-chain": "pumping"}

Event = TypeVar("Event", Hit, Note)


@dataclass(frozen=True)
class Heard:
    """The facts that captions and annotations may name."""

    players: tuple[str, ...]  # pitched instruments, the loudest first, at least one
    colours: tuple[str, ...]  # percussion beside kick, snare and hats
    traits: tuple[str, ...]  # names in wordings.TRAITS
    effects: tuple[str, ...]
    moods: tuple[str, ...]


def hear(song: Song, levels_db: Mapping[str, float], effects: Sequence[str]) -> Heard:
    """Facts of a clip by its song, by each part's and drum's level against the mix, and by the effects in it."""
    drums = {voice: within(song.clock, hits) for voice, hits in song.drums.items()}
    drums = {voice: hits for voice, hits in drums.items() if hits and levels_db.get(voice, 0.0) > _AUDIBLE_DRUM_DB}
    parts = sorted((name for name in song.parts if name in levels_db), key=lambda name: -levels_db[name])
    loud = [name for name in parts if levels_db[name] > AUDIBLE_DB and within(song.clock, song.parts[name].notes)]
    players = tuple(dict.fromkeys(song.parts[name].instrument for name in loud or parts[:1] or ["chords"]))
    bare = () if {"lead", "counter"} & song.parts.keys() else ("sparse",)
    return Heard(
        players=players,
        colours=tuple(voice for voice in _COLOURS if voice in drums),
        traits=_traits(song, drums, loud),
        effects=tuple(effects),
        moods=(*song.moods, *bare, *(mood for effect, mood in _EFFECT_MOODS.items() if effect in effects)),
    )


def within(clock: Clock, events: Sequence[Event]) -> list[Event]:
    """Events that begin in the clip."""
    return [event for event in events if clock.holds(event.step)]


def _traits(song: Song, drums: Mapping[str, list[Hit]], loud: list[str]) -> tuple[str, ...]:
    hats, snares = drums.get("hat", []), drums.get("snare", [])
    bass = within(song.clock, song.parts["bass"].notes) if "bass" in loud else []
    names = [chord.name for chord in song.chords]
    gaps = [late.step - early.step for early, late in pairwise(hats)]
    holds = {
        "hat rolls": sum(0 < gap < 0.9 for gap in gaps) >= 3,
        "triplet hats": sum(abs(gap - 2 / 3) < 0.02 or abs(gap - 4 / 3) < 0.02 for gap in gaps) >= 2,
        "sliding bass": song.parts["bass"].instrument == "808" and sum(n.slide_to is not None for n in bass) >= 2,
        "walking bass": _walks(bass),
        "ghost notes": sum(hit.velocity < 0.4 for hit in snares) >= 3,
        "claps": "clap" in drums and "snare" not in drums,
        "rich chords": 2 * sum("9" in name or "13" in name or "11" in name for name in names) >= len(names) > 0,
        "swing": song.clock.swing >= 0.57,
        "melody": "lead" in loud,
    }
    return tuple(trait for trait, does in holds.items() if does)


def _walks(bass: list[Note]) -> bool:
    """A note on almost every beat, no two in a row alike more than now and then."""
    beats = [note for note in bass if note.step % 4 == 0]
    moves = sum(a.midi != b.midi for a, b in pairwise(beats))
    even = sum(b.step - a.step == 4 for a, b in pairwise(beats))
    return len(beats) >= 6 and min(moves, even) * 4 >= 3 * (len(beats) - 1)
