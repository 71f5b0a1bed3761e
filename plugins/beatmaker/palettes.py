"""How each style sounds, as data: ranges to draw from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rapgen_plugins.beatmaker.presets import Ranges

Range = tuple[float, float]

OFF = (0.0, 0.0)


@dataclass(frozen=True)
class Palette:
    """The sound of a style. Drums are levelled by their peak, parts by how loud they are where they sound."""

    kits: Mapping[str, float]  # how often "808", "909", "acoustic" and "layered"
    drums_db: Mapping[str, float]  # peaks by voice, against "kick" at 0
    drums: Range  # dB, peak of the kick
    bass_db: Range
    chords_db: Range
    lead_db: Range
    kit_ranges: Mapping[str, Ranges] = field(default_factory=dict)  # of voices whose settings are the style's own
    bass_ranges: Ranges = field(default_factory=dict)
    drum_lowpass_hz: Range = (14_000, 19_000)
    sampler_hz: Range = OFF  # an old sampler's rate; 0 leaves it out
    room_s: Range = (0.1, 0.25)
    room: Range = (0.1, 0.3)  # how much of it
    drum_drive: Range = (0.2, 0.8)
    music_lowpass_hz: Range = (5000, 12_000)
    music_highpass_hz: Range = (110, 160)
    music_sampler_chance: float = 0.0
    wow_ms: Range = OFF
    crackle_chance: float = 0.0
    crackle_db: Range = (-46, -38)
    hall_s: Range = (0.6, 1.4)
    hall_hz: Range = (3000, 6000)
    hall: Range = (0.12, 0.3)  # how much of it
    echo_chance: float = 0.3
    duck: Range = (0.3, 0.6)  # how far the bass gives way to the kick
    pump: Range = OFF  # how far the music does
    squeeze: Range = (1.4, 2.2)  # ratio of the compressor over everything


_LEVELS = {
    "kick": 0, "snare": -1.5, "clap": -3, "snap": -5, "rim": -6, "hat": -9.5, "open hat": -10, "crash": -9,
    "ride": -11, "shaker": -13, "tambourine": -12, "cowbell": -11, "tom": -5, "conga": -9,
}  # fmt: skip
_SHORT_KICK = {
    "kick": {
        "decay_s": (0.06, 0.13),
        "tune_hz": (50, 66),
        "punch": (2.0, 4.5),
        "fall_s": (0.008, 0.02),
        "click": (0.25, 0.7),
    }
}

_BOOM_BAP = Palette(
    kits={"acoustic": 3, "layered": 2, "909": 0.3}, drums_db=_LEVELS, drums=(-6, -4), bass_db=(-18, -15.5),
    chords_db=(-19, -16), lead_db=(-20, -17), drum_lowpass_hz=(8500, 14_000), sampler_hz=(22_000, 30_000),
    room=(0.2, 0.5), drum_drive=(0.4, 1.4), music_lowpass_hz=(3500, 8000), music_sampler_chance=0.6, wow_ms=(0.0, 0.5),
    crackle_chance=0.7, hall_s=(0.4, 1.0), hall=(0.08, 0.2), squeeze=(1.6, 2.6),
)  # fmt: skip

_TRAP = Palette(
    kits={"808": 2, "layered": 2, "909": 1}, drums_db=_LEVELS | {"hat": -8, "clap": -1.5, "open hat": -9},
    drums=(-6, -4.5), bass_db=(-15.5, -13), chords_db=(-20.5, -17.5), lead_db=(-20, -17.5), kit_ranges=_SHORT_KICK,
    room=OFF, music_lowpass_hz=(5000, 14_000), hall_s=(0.9, 2.0), hall=(0.15, 0.35), echo_chance=0.5,
    duck=(0.5, 0.85), pump=(0.0, 0.2),
)  # fmt: skip

PALETTES: dict[str, Palette] = {
    "boom bap": _BOOM_BAP,
    "trap": _TRAP,
    "lo-fi": replace(
        _BOOM_BAP, drums=(-8, -6), chords_db=(-17.5, -15), drum_lowpass_hz=(5500, 10_000), sampler_hz=(20_000, 28_000),
        music_lowpass_hz=(2200, 5000), music_sampler_chance=0.4, wow_ms=(0.5, 1.8), crackle_chance=0.85,
        crackle_db=(-43, -34), hall_s=(0.6, 1.4), hall=(0.1, 0.25), drum_drive=(0.1, 0.6), pump=(0.05, 0.35),
    ),
    "drill": replace(
        _TRAP, drums_db=_LEVELS | {"hat": -8.5, "clap": -2.5, "snare": -1}, bass_db=(-15, -12.5),
        bass_ranges={"tau_s": (0.7, 1.6), "drive": (1.0, 4.0)}, hall_s=(1.0, 2.2), music_lowpass_hz=(4000, 11_000),
    ),
    "g-funk": replace(
        _BOOM_BAP, kits={"909": 2, "layered": 2, "808": 1, "acoustic": 1}, bass_db=(-16.5, -14), lead_db=(-19, -16),
        drum_lowpass_hz=(12_000, 17_000), sampler_hz=OFF, music_lowpass_hz=(5000, 12_000), music_sampler_chance=0.0,
        wow_ms=OFF, crackle_chance=0.05, hall_s=(0.6, 1.4), hall=(0.12, 0.28), echo_chance=0.4,
    ),
    "phonk": replace(
        _TRAP, kits={"808": 3, "layered": 1}, drums_db=_LEVELS | {"cowbell": -6, "hat": -8.5}, drums=(-5, -3.5),
        bass_ranges={"drive": (2.0, 6.0), "tau_s": (0.4, 1.1)}, drum_lowpass_hz=(9000, 15_000),
        sampler_hz=(20_000, 32_000), drum_drive=(1.0, 3.0), music_lowpass_hz=(3000, 7500), music_sampler_chance=0.4,
        wow_ms=(0.2, 1.0), crackle_chance=0.55, pump=(0.1, 0.4), squeeze=(2.0, 4.0),
    ),
    "jazz rap": replace(
        _BOOM_BAP, kits={"acoustic": 4, "layered": 1}, bass_db=(-17.5, -15), chords_db=(-18, -15.5),
        drum_lowpass_hz=(10_000, 15_000), music_lowpass_hz=(4500, 10_000), music_sampler_chance=0.4, wow_ms=(0.0, 0.4),
        crackle_chance=0.6, hall_s=(0.5, 1.2), hall=(0.12, 0.26), drum_drive=(0.1, 0.7),
    ),
    "cloud rap": replace(
        _TRAP, drums=(-8, -6), bass_db=(-16.5, -14), chords_db=(-18, -15.5), lead_db=(-19, -16.5),
        drum_lowpass_hz=(9000, 16_000), music_lowpass_hz=(3000, 9000), wow_ms=(0.0, 0.8), hall_s=(1.4, 2.4),
        hall_hz=(4000, 8000), hall=(0.3, 0.6), echo_chance=0.75, pump=(0.1, 0.4), crackle_chance=0.1,
    ),
    "crunk": replace(
        _TRAP, kits={"808": 3, "layered": 2, "909": 1}, drums_db=_LEVELS | {"clap": -0.5, "snare": -1, "hat": -9.5},
        drums=(-5, -3.5), chords_db=(-19, -16.5), lead_db=(-18, -15.5), drum_drive=(0.6, 2.0), hall_s=(0.6, 1.3),
        hall=(0.08, 0.2), squeeze=(2.0, 3.5),
    ),
    "old school": replace(
        _BOOM_BAP, kits={"808": 3, "909": 2, "layered": 1}, drums_db=_LEVELS | {"clap": -2, "cowbell": -8},
        bass_db=(-17.5, -15), drum_lowpass_hz=(11_000, 16_000), sampler_hz=(24_000, 34_000),
        music_lowpass_hz=(4500, 10_000), music_sampler_chance=0.3, wow_ms=(0.0, 0.2), crackle_chance=0.3,
        hall_s=(0.5, 1.3), hall=(0.1, 0.25), echo_chance=0.3, room=(0.15, 0.45),
    ),
}  # fmt: skip
"""The palette of each of rapgen.groove.STYLES."""
