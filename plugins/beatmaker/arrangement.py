"""A song: everything a clip plays, as notes and hits on a grid, before any sound is made."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rapgen.interfaces import Groove
from rapgen_plugins.beatmaker.harmony import Note, draw_bass, draw_chords, draw_harmony, draw_lead
from rapgen_plugins.beatmaker.patterns import (
    BARS_PER_PHRASE,
    FEELS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    STEPS_PER_PHRASE,
    Drums,
    draw_drums,
)
from rapgen_plugins.beatmaker.styles import Style
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE


@dataclass(frozen=True)
class Clock:
    """Turns steps, counted from the start of a phrase, into time within the clip."""

    tempo_bpm: int
    swing: float  # where in its pair the second 16th falls
    start_step: float  # where the clip starts
    duration_s: float

    @property
    def step_s(self) -> float:
        """The length of a 16th."""
        return 60 / self.tempo_bpm / STEPS_PER_BEAT

    @property
    def num_phrases(self) -> int:
        """Phrases that the clip touches."""
        return ceil((self.start_step + self.duration_s / self.step_s) / STEPS_PER_PHRASE)

    def sample(self, step: float) -> int:
        """The sample of the clip on which a swung step falls."""
        pair, within = divmod(step, 2)
        late = within * 2 * self.swing if within < 1 else 2 * self.swing + (within - 1) * (2 - 2 * self.swing)
        return round((2 * pair + late - self.start_step) * self.step_s * SAMPLE_RATE)


@dataclass(frozen=True)
class Part:
    """A pitched part: who plays it, and one phrase of notes."""

    instrument: str
    notes: list[Note]


@dataclass(frozen=True)
class Song:
    """What a clip plays. Parts and drums hold one phrase; `active` says in which bars each is heard."""

    style: Style
    groove: Groove
    clock: Clock
    opens: bool  # the clip is the very start: nothing rings into it
    drums: Drums
    parts: dict[str, Part]  # "chords", "bass" and perhaps "lead"
    active: dict[str, NDArray[np.bool_]]  # of each part, "drums" and "hats": [bars], the first phrase's first
    num_chord_notes: int
    music_lowpass_hz: float
    drive: float

    @property
    def beats_s(self) -> tuple[float, ...]:
        """Every beat within the clip."""
        beat_s = STEPS_PER_BEAT * self.clock.step_s
        first = ceil(self.clock.start_step / STEPS_PER_BEAT)
        offset_s = first * beat_s - self.clock.start_step * self.clock.step_s
        count = ceil((self.clock.duration_s - offset_s) / beat_s)
        return tuple(offset_s + beat * beat_s for beat in range(count))

    @property
    def first_beat(self) -> int:
        """The number of the clip's first beat within its phrase."""
        return ceil(self.clock.start_step / STEPS_PER_BEAT) % (STEPS_PER_PHRASE // STEPS_PER_BEAT)


def arrange(style: Style, duration_s: float, rng: np.random.Generator) -> Song:
    """Compose a song in a style and choose where in its phrase the clip starts."""
    start_step, opens = _draw_start(rng)
    clock = Clock(
        tempo_bpm=int(rng.integers(style.tempo_bpm[0], style.tempo_bpm[1] + 1)),
        swing=float(rng.uniform(*style.swing)),
        start_step=start_step,
        duration_s=duration_s,
    )
    feel = style.feel
    if rng.random() < style.odd_feel_chance:
        feel = str(rng.choice([other for other in FEELS if other != feel]))
    harmony = draw_harmony(minor_chance=style.minor_chance, chord_size=style.chord_size, rng=rng)
    drums = draw_drums(style.drumming, feel=feel, usual_feel=style.feel, rng=rng)
    low = int(rng.integers(27, 31)) if style.bass == "808" else int(rng.integers(29, 36))
    bass = draw_bass(harmony, drums["kick"], low=low, slide_chance=style.slide_chance, rng=rng)
    chords = draw_chords(harmony, _pick(style.comping, rng), rng)
    parts = {
        "chords": Part(_pick(style.chord_instruments, rng), chords),
        "bass": Part(style.bass, bass),
    }
    if rng.random() < style.lead_chance:
        parts["lead"] = Part(_pick(style.lead_instruments, rng), draw_lead(harmony, rng))
    on_downbeat = start_step % STEPS_PER_BAR == 0
    bar_s = STEPS_PER_BAR * clock.step_s
    return Song(
        style=style,
        groove=Groove(
            tempo_bpm=float(clock.tempo_bpm),
            key=harmony.key,
            style=style.name,
            feel=feel,
            bars=(int(duration_s / bar_s + 1e-9) or None) if on_downbeat else None,
        ),
        clock=clock,
        opens=opens,
        drums=drums,
        parts=parts,
        active=_draw_activity(clock.num_phrases, rng),
        num_chord_notes=harmony.chord_size,
        music_lowpass_hz=float(rng.uniform(*style.music_lowpass_hz)),
        drive=float(rng.uniform(*style.drive)),
    )


def _draw_start(rng: np.random.Generator) -> tuple[float, bool]:
    """A quarter of clips open the song, a quarter start on a downbeat within it, half anywhere."""
    chance = rng.random()
    if chance < 0.25:
        return 0.0, True
    if chance < 0.5:
        return float(STEPS_PER_BAR * rng.integers(BARS_PER_PHRASE)), False
    return float(rng.uniform(0, STEPS_PER_PHRASE)), False


def _draw_activity(num_phrases: int, rng: np.random.Generator) -> dict[str, NDArray[np.bool_]]:
    """Bars in which each part plays: parts come and go by half phrases, drums stop for two bars at most."""
    halves = {
        name: rng.random(2 * num_phrases) < chance
        for name, chance in {"chords": 0.95, "lead": 0.85, "bass": 0.94, "hats": 0.94}.items()
    }
    halves["chords"] |= ~halves["lead"]
    active = {name: np.repeat(on, BARS_PER_PHRASE // 2) for name, on in halves.items()}
    active["drums"] = np.ones(num_phrases * BARS_PER_PHRASE, bool)
    if rng.random() < 0.2:
        bar = int(rng.integers(num_phrases)) * BARS_PER_PHRASE + int(rng.choice([0, 2, 4, 6]))
        active["drums"][bar : bar + 2] = False
    return active


def _pick(names: tuple[str, ...], rng: np.random.Generator) -> str:
    return names[rng.integers(len(names))]
