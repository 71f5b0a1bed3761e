"""What makes a style, as data: ranges to draw from and things to choose among."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Drumming:
    """Chances of a hit on each 16th of a bar, in the style's own feel."""

    kick: tuple[float, ...]  # the first is always played
    backbeat: tuple[int, ...]  # steps of the snare
    ghosts: tuple[float, ...]
    hats: tuple[str, ...]  # names in patterns.HATS
    backbeat_voices: tuple[tuple[str, ...], ...]
    ghost_voice: str
    roll_chance: float  # of a hat roll, each half bar
    open_hat_chance: float  # each bar


@dataclass(frozen=True)
class Style:
    """One style."""

    name: str
    tempo_bpm: tuple[int, int]
    swing: tuple[float, float]  # where in its pair the second 16th falls: 0.5 is straight, 0.667 a triplet
    feel: str  # the usual one
    odd_feel_chance: float
    minor_chance: float
    chord_size: tuple[int, int]  # notes, least and most
    chord_instruments: tuple[str, ...]
    comping: tuple[str, ...]  # names in harmony.COMPING
    lead_instruments: tuple[str, ...]
    lead_chance: float
    bass: str  # "808" or "bass"
    slide_chance: float  # of each 808 note
    drumming: Drumming
    kit: Mapping[str, Ranges]
    levels_db: Mapping[str, float]
    music_lowpass_hz: tuple[float, float]
    master_lowpass_hz: tuple[float, float]
    crackle_chance: float
    wow_ms: tuple[float, float]
    reverb_s: tuple[float, float]
    drive: tuple[float, float]


_ACOUSTIC: dict[str, Ranges] = {
    "kick": {
        "tune_hz": (48, 66), "decay_s": (0.07, 0.16), "punch": (1.0, 3.0), "fall_s": (0.012, 0.03),
        "click_hz": (1500, 5000), "click": (0.15, 0.6), "drive": (0.2, 2.5),
    },
    "snare": {
        "tune_hz": (165, 240), "mode": (1.5, 1.9), "decay_s": (0.06, 0.13), "low_hz": (500, 1500),
        "high_hz": (5000, 10000), "body": (0.25, 0.7), "drive": (0.3, 2.0),
    },
    "clap": {"gap_s": (0.007, 0.011), "decay_s": (0.05, 0.1), "low_hz": (700, 1200), "drive": (0.2, 1.5)},
    "rim": {"tune_hz": (600, 1100), "decay_s": (0.008, 0.02)},
    "hat": {"tune_hz": (280, 480), "decay_s": (0.018, 0.045), "air": (0.4, 0.9), "low_hz": (4500, 7500)},
    "open hat": {"tune_hz": (280, 480), "decay_s": (0.1, 0.2), "air": (0.4, 0.9), "low_hz": (4500, 7000)},
    "crash": {"tune_hz": (250, 420), "decay_s": (0.25, 0.45), "air": (0.6, 0.9), "low_hz": (3000, 5000)},
    "shaker": {"attack_s": (0.006, 0.014), "low_hz": (3500, 5500)},
    "perc": {"tune_hz": (180, 620), "decay_s": (0.03, 0.08), "bend": (0.0, 0.4)},
}  # fmt: skip
_DUSTY: dict[str, Ranges] = _ACOUSTIC | {
    "snare": {**_ACOUSTIC["snare"], "high_hz": (3500, 6500), "body": (0.3, 0.8), "drive": (0.0, 1.0)},
    "hat": {**_ACOUSTIC["hat"], "decay_s": (0.015, 0.035), "air": (0.6, 1.0)},
}
_ELECTRONIC: dict[str, Ranges] = _ACOUSTIC | {
    "kick": {
        "tune_hz": (42, 58), "decay_s": (0.09, 0.22), "punch": (2.0, 5.0), "fall_s": (0.015, 0.045),
        "click_hz": (3000, 9000), "click": (0.1, 0.5), "drive": (0.5, 4.0),
    },
    "snare": {
        "tune_hz": (170, 280), "mode": (1.5, 2.0), "decay_s": (0.07, 0.16), "low_hz": (800, 2500),
        "high_hz": (8000, 11500), "body": (0.1, 0.5), "drive": (0.5, 3.0),
    },
    "clap": {"gap_s": (0.006, 0.012), "decay_s": (0.06, 0.14), "low_hz": (800, 1600), "drive": (0.5, 3.0)},
    "hat": {"tune_hz": (320, 620), "decay_s": (0.012, 0.035), "air": (0.1, 0.7), "low_hz": (6500, 9000)},
    "open hat": {"tune_hz": (320, 620), "decay_s": (0.08, 0.2), "air": (0.1, 0.7), "low_hz": (6000, 8500)},
    "perc": {"tune_hz": (250, 1200), "decay_s": (0.02, 0.07), "bend": (0.0, 0.8)},
}  # fmt: skip

_BOOM_BAP = Style(
    name="boom bap", tempo_bpm=(80, 98), swing=(0.53, 0.61), feel="straight", odd_feel_chance=0.08,
    minor_chance=0.75, chord_size=(3, 5),
    chord_instruments=("piano", "rhodes", "organ", "vibes", "strings", "guitar"),
    comping=("hold", "stabs", "charleston", "broken"),
    lead_instruments=("piano", "flute", "vibes", "guitar", "strings", "bells"), lead_chance=0.65,
    bass="bass", slide_chance=0.0,
    drumming=Drumming(
        kick=(1, .05, .2, .3, 0, .1, .3, .45, .25, .15, .7, .15, 0, .1, .2, .2), backbeat=(4, 12),
        ghosts=(0, 0, 0, 0, 0, 0, 0, .2, 0, .2, 0, .1, 0, 0, 0, .15), hats=("8ths", "8ths", "16ths", "skip"),
        backbeat_voices=(("snare",), ("snare",), ("snare", "clap"), ("snare", "rim")), ghost_voice="snare",
        roll_chance=0.0, open_hat_chance=0.3,
    ),
    kit=_ACOUSTIC,
    levels_db={"kick": -5, "snare": -6, "hats": -16, "perc": -18, "bass": -17.5, "chords": -16.5, "lead": -18,
               "crackle": -42},
    music_lowpass_hz=(2200, 6500), master_lowpass_hz=(8500, 11500), crackle_chance=0.7, wow_ms=(0.0, 0.5),
    reverb_s=(0.25, 0.8), drive=(0.3, 1.0),
)  # fmt: skip

_TRAP = Style(
    name="trap", tempo_bpm=(128, 152), swing=(0.5, 0.5), feel="half", odd_feel_chance=0.04,
    minor_chance=0.92, chord_size=(3, 3),
    chord_instruments=("pad", "strings", "piano", "pluck", "bells", "organ"),
    comping=("hold", "hold", "broken", "pulse"),
    lead_instruments=("bells", "pluck", "flute", "piano", "guitar", "lead synth"), lead_chance=0.9,
    bass="808", slide_chance=0.12,
    drumming=Drumming(
        kick=(1, 0, .1, .4, .1, .05, .35, .15, 0, .1, .5, .1, .05, .1, .35, .05), backbeat=(8,),
        ghosts=(0, 0, 0, .05, 0, 0, 0, .1, 0, 0, 0, .1, 0, 0, .1, .1), hats=("8ths", "8ths", "16ths", "332"),
        backbeat_voices=(("clap",), ("snare",), ("snare", "clap"), ("snare", "clap")), ghost_voice="rim",
        roll_chance=0.3, open_hat_chance=0.3,
    ),
    kit=_ELECTRONIC,
    levels_db={"kick": -6, "snare": -6, "hats": -15, "perc": -17, "bass": -16.5, "chords": -18.5,
               "lead": -16.5},
    music_lowpass_hz=(5000, 11500), master_lowpass_hz=(11500, 11700), crackle_chance=0.0, wow_ms=(0.0, 0.0),
    reverb_s=(0.6, 1.8), drive=(0.5, 1.5),
)  # fmt: skip

_LO_FI = Style(
    name="lo-fi", tempo_bpm=(70, 86), swing=(0.56, 0.65), feel="straight", odd_feel_chance=0.08,
    minor_chance=0.5, chord_size=(4, 5),
    chord_instruments=("rhodes", "rhodes", "piano", "guitar", "vibes", "pad"),
    comping=("hold", "charleston", "broken", "hold"),
    lead_instruments=("rhodes", "vibes", "flute", "guitar", "piano", "bells"), lead_chance=0.6,
    bass="bass", slide_chance=0.0,
    drumming=Drumming(
        kick=(1, 0, .1, .2, 0, .05, .2, .55, .1, .05, .6, .1, 0, .1, .1, .1), backbeat=(4, 12),
        ghosts=(0, 0, 0, 0, 0, 0, 0, .1, 0, .15, 0, 0, 0, 0, 0, .1), hats=("8ths", "8ths", "skip"),
        backbeat_voices=(("snare",), ("rim",), ("snare", "rim"), ("snare",)), ghost_voice="rim",
        roll_chance=0.0, open_hat_chance=0.15,
    ),
    kit=_DUSTY,
    levels_db={"kick": -6, "snare": -9, "hats": -18, "perc": -20, "bass": -18, "chords": -16, "lead": -18,
               "crackle": -40},
    music_lowpass_hz=(1400, 3800), master_lowpass_hz=(6500, 10500), crackle_chance=0.8, wow_ms=(0.4, 1.6),
    reverb_s=(0.4, 1.2), drive=(0.1, 0.6),
)  # fmt: skip

_DRILL = Style(
    name="drill", tempo_bpm=(138, 146), swing=(0.5, 0.5), feel="half", odd_feel_chance=0.04,
    minor_chance=0.97, chord_size=(3, 3),
    chord_instruments=("piano", "strings", "pad", "piano", "guitar"),
    comping=("hold", "hold", "broken", "stabs"),
    lead_instruments=("piano", "strings", "bells", "flute", "pluck"), lead_chance=0.85,
    bass="808", slide_chance=0.4,
    drumming=Drumming(
        kick=(1, 0, .1, .5, .1, .1, .3, .1, 0, .1, .3, .4, .1, .1, .3, .05), backbeat=(8,),
        ghosts=(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .15, 0, 0, .65, 0), hats=("332", "332", "gallop"),
        backbeat_voices=(("snare",), ("snare", "clap"), ("snare", "rim")), ghost_voice="snare",
        roll_chance=0.2, open_hat_chance=0.25,
    ),
    kit=_ELECTRONIC,
    levels_db={"kick": -6, "snare": -6, "hats": -16, "perc": -15, "bass": -16, "chords": -17.5,
               "lead": -17.5},
    music_lowpass_hz=(3500, 10000), master_lowpass_hz=(11500, 11700), crackle_chance=0.0, wow_ms=(0.0, 0.0),
    reverb_s=(0.6, 1.8), drive=(0.5, 1.5),
)  # fmt: skip

STYLES = {style.name: style for style in (_BOOM_BAP, _TRAP, _LO_FI, _DRILL)}
