"""Sections: which parts are heard in which bars, and where fills fall."""

from __future__ import annotations

from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.fills import HATS
from rapgen_plugins.beatmaker.song import Section

LAYERS = {  # what can be left out together
    "kick": ("kick",),
    "backbeat": ("snare", "clap", "snap", "rim"),
    "hats": HATS,
    "percussion": ("cowbell", "tom", "conga"),
}
_DRUMS = tuple(LAYERS)
_OPENINGS = {  # by the bars of a block: (bar, section)
    8: (
        (("main", 0),),
        (("main", 0), ("variation", 4)),
        (("intro", 0), ("main", 2), ("variation", 6)),
        (("main", 0), ("break", 4), ("main", 6)),
        (("main", 0), ("variation", 4)),
        (("intro", 0), ("main", 4)),
    ),
    16: (
        (("intro", 0), ("main", 4), ("variation", 12)),
        (("main", 0), ("variation", 8)),
        (("main", 0), ("break", 8), ("variation", 10)),
        (("intro", 0), ("main", 4), ("break", 12), ("main", 14)),
        (("main", 0), ("variation", 8), ("break", 12), ("main", 14)),
        (("main", 0), ("variation", 4), ("main", 8), ("variation", 12)),
    ),
}
_LEFT_OUT = {  # of each section, what may be silent
    "intro": (
        (*_DRUMS, "bass", "counter"),
        ("kick", "backbeat", "percussion", "bass", "counter"),
        ("kick", "bass", "counter"),
        ("chords", "lead", "counter"),
        ("bass", "lead", "counter"),
        ("lead", "counter", "percussion"),
        ("chords", "bass", "counter", "kick"),
    ),
    "main": (("counter",), ("counter",), ("counter",), ()),
    "variation": ((), (), ("lead",), ("percussion",), ("hats",)),
    "break": (
        ("kick", "bass"),
        (*_DRUMS, "counter"),
        ("chords", "lead", "counter"),
        ("hats", "percussion", "lead"),
        ("kick", "backbeat", "percussion", "counter"),
        ("bass", "counter"),
    ),
}


def draw_sections(block_bars: int, num_bars: int, dice: Dice) -> tuple[Section, ...]:
    """Sections of a first block of 8 or 16 bars, then of as many blocks without an intro as `num_bars` take."""
    sections = []
    for start in range(0, num_bars, block_bars):
        plans = [plan for plan in _OPENINGS[block_bars] if start == 0 or plan[0][0] != "intro"]
        sections += [Section(start + bar, name) for name, bar in dice.one(plans) if start + bar < num_bars]
    return tuple(sections)


def draw_silences(sections: tuple[Section, ...], num_bars: int, dice: Dice) -> dict[str, set[int]]:
    """By part or layer, the bars in which it is silent; sections of one name leave out the same."""
    choice = {name: dice.one(options) for name, options in _LEFT_OUT.items()}
    silent: dict[str, set[int]] = {}
    ends = [section.bar for section in sections[1:]] + [num_bars]
    for section, end in zip(sections, ends, strict=True):
        for name in choice[section.name]:
            silent.setdefault(name, set()).update(range(section.bar, end))
    return silent


def fill_bars(sections: tuple[Section, ...], num_bars: int) -> list[tuple[int, bool]]:
    """(the bar in which a stretch ends, whether a section or phrase does) for each four bars."""
    starts = {section.bar for section in sections} | {num_bars} | set(range(8, num_bars, 8))
    return sorted([(bar - 1, True) for bar in starts if bar] + [(b, False) for b in range(3, num_bars, 8)])
