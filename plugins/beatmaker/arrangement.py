"""Composing: a style and chance to a song, laid out over all its bars."""

from __future__ import annotations

from math import ceil

from rapgen.groove import FEELS
from rapgen.interfaces import Groove
from rapgen_plugins.beatmaker.basslines import draw_bass
from rapgen_plugins.beatmaker.dice import Dice
from rapgen_plugins.beatmaker.fills import BASS_STOP, FILLS
from rapgen_plugins.beatmaker.harmony import Changes, draw_changes, draw_comping
from rapgen_plugins.beatmaker.moods import energy_percent, moods_of
from rapgen_plugins.beatmaker.motifs import draw_counter, draw_tune
from rapgen_plugins.beatmaker.patterns import Pattern, draw_drums, loosen
from rapgen_plugins.beatmaker.sections import LAYERS, draw_sections, draw_silences, fill_bars
from rapgen_plugins.beatmaker.song import (
    BARS_PER_PHRASE,
    STEPS_PER_BAR,
    ChordAt,
    Clock,
    Hit,
    Note,
    Part,
    Section,
    Song,
)
from rapgen_plugins.beatmaker.style import Style

BLOCK_BARS = (8, 16)
_START_PARTS = 60  # of a step, on which windows start


def arrange(style: Style, dice: Dice, *, duration_s: float | None, bars: int | None, split: str) -> Song:
    """Compose a song: without `duration_s` a loop of 8 or 16 `bars`, with it a window into a song that goes on."""
    tempo_bpm, swing = dice.between(*style.tempo_bpm), dice.between(*style.swing) / 100
    block_bars = bars or dice.one(BLOCK_BARS)
    clock = _clock(tempo_bpm, swing, block_bars, duration_s, dice)
    num_bars = block_bars if clock.is_loop else BARS_PER_PHRASE * ceil(clock.end_step / STEPS_PER_BAR / BARS_PER_PHRASE)
    feel = style.feel
    if dice.chance(style.odd_feel_percent):
        feel = dice.one([other for other in FEELS if other != feel])

    changes = draw_changes(style.harmony, dice)
    sections = draw_sections(block_bars, num_bars, dice)
    hits, parts = _draw_score(style, feel, changes, sections, num_bars, dice)
    energy = energy_percent(style, tempo_bpm, feel, hits, num_bars)
    return Song(
        style=style.name,
        split=split,
        groove=Groove(
            tempo_bpm=float(tempo_bpm), key=changes.key, style=style.name, feel=feel, bars=_whole_bars(clock)
        ),
        clock=clock,
        num_bars=num_bars,
        drums=hits,
        parts=parts,
        chords=_chord_names(changes, num_bars),
        sections=sections,
        moods=moods_of(style, changes, swing, energy),
        energy=energy / 100,
    )


def _clock(tempo_bpm: int, swing: float, block_bars: int, duration_s: float | None, dice: Dice) -> Clock:
    """The clip's place: of windows a quarter open the song, a quarter start on a downbeat, half anywhere."""
    steps = block_bars * STEPS_PER_BAR
    if duration_s is None:
        return Clock(tempo_bpm, swing, 0.0, steps * 15 / tempo_bpm, True)
    quarter = dice.below(4)
    start = {0: 0.0, 1: float(STEPS_PER_BAR * dice.below(block_bars))}.get(
        quarter, dice.below(steps * _START_PARTS) / _START_PARTS
    )
    return Clock(tempo_bpm, swing, start, duration_s, False)


def _whole_bars(clock: Clock) -> int | None:
    """Whole bars in the clip where it starts on a downbeat."""
    if clock.start_step % STEPS_PER_BAR:
        return None
    return int(clock.duration_s / (STEPS_PER_BAR * clock.step_s) + 1e-9) or None


def _draw_score(
    style: Style, feel: str, changes: Changes, sections: tuple[Section, ...], num_bars: int, dice: Dice
) -> tuple[dict[str, tuple[Hit, ...]], dict[str, Part]]:
    """Drums and parts over the whole song, less what its sections leave out."""
    drums = draw_drums(style.drumming, feel=feel, usual_feel=style.feel, num_bars=num_bars, dice=dice)
    parts = _draw_parts(style, changes, sorted(drums["kick"]), num_bars, dice)
    silent = draw_silences(sections, num_bars, dice)
    if "lead" in parts:  # where both would be silent, the chords play
        silent["chords"] = silent.get("chords", set()) - silent.get("lead", set())
    _silence_drums(drums, silent)
    stops = _fill(drums, style, sections, num_bars, dice)
    hits = {voice: strokes for voice, strokes in loosen(drums, style.drumming, dice).items() if strokes}
    for name, part in parts.items():
        parts[name] = _thinned(part, silent.get(name, set()), stops if name == "bass" else [])
    return hits, {name: part for name, part in parts.items() if part.notes or name in ("chords", "bass")}


def _draw_parts(style: Style, changes: Changes, kicks: list[float], num_bars: int, dice: Dice) -> dict[str, Part]:
    """Every pitched part over the whole song, in the order of song.PARTS."""
    chords = Part(dice.one(style.harmony.instruments), draw_comping(style.harmony, changes, num_bars, dice))
    parts = {"chords": chords, "bass": Part(*draw_bass(style.bass, changes, kicks, num_bars, dice))}
    if dice.chance(style.lead.percent):
        parts["lead"] = Part(dice.one(style.lead.instruments), draw_tune(style.lead, changes, num_bars, dice))
    if dice.chance(style.counter_percent):
        taken = {part.instrument for part in parts.values()}
        free = [name for name in style.counter if name not in taken]
        if free:
            parts["counter"] = Part(dice.one(free), draw_counter(style.lead, changes, num_bars, dice))
    return parts


def _silence_drums(drums: dict[str, Pattern], silent: dict[str, set[int]]) -> None:
    for layer, voices in LAYERS.items():
        for voice in voices:
            hits = drums.get(voice, {})
            for step in [step for step in hits if int(step // STEPS_PER_BAR) in silent.get(layer, set())]:
                del hits[step]


def _fill(
    drums: dict[str, Pattern], style: Style, sections: tuple[Section, ...], num_bars: int, dice: Dice
) -> list[tuple[int, int]]:
    """Put in fills and crashes; the (start, end) steps in which a fill silences the bass."""
    names = style.drumming.fills
    big, small = dice.some(names, 2) if len(set(names)) > 1 else (names[0], names[0])
    stops = []
    for bar, ends_section in fill_bars(sections, num_bars):
        end = (bar + 1) * STEPS_PER_BAR
        if ends_section or dice.chance(45):
            fill = big if ends_section else small
            FILLS[fill](drums, end, dice)
            if fill in (BASS_STOP, "drop"):
                stops.append((end - 8, end))
    if dice.chance(45):
        after_rest = [s.bar for s in sections if s.name in ("main", "variation") and (s.bar or dice.chance(30))]
        drums["crash"] = {float(bar * STEPS_PER_BAR): 55 for bar in after_rest}
    return stops


def _thinned(part: Part, silent_bars: set[int], stops: list[tuple[int, int]]) -> Part:
    """A part without what falls into its silences; what rings into one is cut where it begins."""
    holes = [(bar * STEPS_PER_BAR, (bar + 1) * STEPS_PER_BAR) for bar in silent_bars] + stops
    if not holes:
        return part
    notes: list[Note] = []
    for note in part.notes:
        if any(start <= note.step < end for start, end in holes):
            continue
        cut = min((start for start, _ in holes if start > note.step), default=note.step + note.length)
        notes.append(note._replace(length=min(note.length, cut - note.step)))
    return Part(part.instrument, tuple(notes))


def _chord_names(changes: Changes, num_bars: int) -> tuple[ChordAt, ...]:
    """Every change of chord."""
    names: list[ChordAt] = []
    for start, _, index in changes.spans(num_bars):
        name = changes.chords[index].name
        if not names or names[-1].name != name:
            names.append(ChordAt(float(start), name))
    return tuple(names)
