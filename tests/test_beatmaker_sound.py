"""The beatmaker's sound: in tune, evenly loud, stems that add up, loops that close; one seed, one beat."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import stft

from rapgen.audio.io import write_wav
from rapgen.errors import RecipeError
from rapgen.groove import STYLES
from rapgen.interfaces import Groove
from rapgen_plugins.beatmaker.bass import BASSES, draw_bass, slide
from rapgen_plugins.beatmaker.instruments import INSTRUMENTS, draw_patch
from rapgen_plugins.beatmaker.kits import build_kit
from rapgen_plugins.beatmaker.palettes import PALETTES
from rapgen_plugins.beatmaker.presets import HELD_OUT, draw_settings
from rapgen_plugins.beatmaker.render import Rendered, render
from rapgen_plugins.beatmaker.song import BASSES as BASS_NAMES
from rapgen_plugins.beatmaker.song import DRUM_VOICES, Clock, Hit, Note, Part, Song
from rapgen_plugins.beatmaker.song import INSTRUMENTS as INSTRUMENT_NAMES
from rapgen_plugins.beatmaker.sounds import licence, open_sounds
from rapgen_plugins.beatmaker.synth import SAMPLE_RATE, hz_to_midi, midi_to_hz

STEMS = ("drums", "bass", "music", "effects")
STEP = 1 / 32767  # of 16 bits


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))


def beat(
    style: str = "boom bap",
    *,
    is_loop: bool = True,
    bars: int = 2,
    bpm: int = 100,
    start_step: float = 0.0,
    split: str = "train",
    parts: Mapping[str, Part] | None = None,
    drums: Mapping[str, tuple[Hit, ...]] | None = None,
) -> Song:
    """A plain beat in A minor."""
    steps = range(0, 16 * bars, 4)
    if drums is None:
        drums = {
            "kick": tuple(Hit(step, 0.95) for step in steps[::2]),
            "snare": tuple(Hit(step, 0.9) for step in steps[1::2]),
            "hat": tuple(Hit(step, 0.5 + 0.1 * (step % 5)) for step in range(0, 16 * bars, 2)),
        }
    if parts is None:
        bass = "808" if style in ("trap", "drill", "phonk", "crunk", "cloud rap") else "bass guitar"
        parts = {
            "chords": Part("rhodes", tuple(Note(step, 7, midi, 0.7) for step in steps[::2] for midi in (57, 60, 64))),
            "bass": Part(bass, tuple(Note(step, 5, 33, 0.9) for step in steps[::2])),
            "lead": Part("bells", tuple(Note(step + 2, 2, 69 + step % 3, 0.8) for step in steps)),
        }
    clock = Clock(bpm, 0.5, start_step, 16 * bars * 60 / bpm / 4, is_loop)
    groove = Groove(float(bpm), "A minor", style)
    return Song(style, split, groove, clock, bars, drums, parts, (), (), (), 0.5)


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10((audio.astype(float) ** 2).mean() + 1e-20))


def nearest_partial_hz(audio: np.ndarray, freq_hz: float) -> float:
    """The middle of the power around a frequency, where all players of a section, or a vibrato, count."""
    size = 2**19
    channels = np.atleast_2d(audio) * np.hanning(audio.shape[-1])
    power = (np.abs(np.fft.rfft(channels, size)) ** 2).sum(axis=0)
    hz = np.arange(len(power)) * SAMPLE_RATE / size
    near = np.abs(hz / freq_hz - 1) < 0.035
    around = (np.abs(hz / freq_hz - 1) < 0.09) & ~near
    assert power[near].sum() > 3 * power[around].sum(), "no partial there"
    return float((hz * power)[near].sum() / power[near].sum())


# ------------------------------------------------------------------------------------------------ instruments


def test_every_instrument_and_drum_of_a_song_can_be_played() -> None:
    assert set(INSTRUMENTS) == set(INSTRUMENT_NAMES)
    assert set(BASSES) == set(BASS_NAMES)
    assert set(PALETTES) == set(STYLES)
    assert all(set(palette.drums_db) == set(DRUM_VOICES) for palette in PALETTES.values())


@pytest.mark.parametrize("name", INSTRUMENT_NAMES)
def test_instruments_are_in_tune(name: str) -> None:
    for seed, midi in enumerate((45, 57, 69, 81)):
        note = draw_patch(name, stream(seed), held_out=False).play(midi_to_hz(midi), 0.7, 3 * SAMPLE_RATE)
        assert note.shape == (2, 3 * SAMPLE_RATE)
        assert note.dtype == np.float32
        cents = 100 * (hz_to_midi(nearest_partial_hz(note, midi_to_hz(midi))) - midi)
        assert abs(cents) < 5, (midi, cents)


@pytest.mark.parametrize("name", BASS_NAMES)
def test_basses_are_in_tune_and_glide_to_where_they_should(name: str) -> None:
    n = 2 * SAMPLE_RATE
    for seed, midi in enumerate((29, 33, 40)):
        tone = draw_bass(name, {}, stream(seed), held_out=False)
        note = tone(midi_to_hz(midi), 0.8, n)
        body = note[SAMPLE_RATE // 8 :]  # after an 808's knock
        assert abs(hz_to_midi(nearest_partial_hz(body, midi_to_hz(midi))) - midi) < 0.05
        glided = slide(tone, midi, midi + 7, 0.8, n, slide_s=0.1)
        assert len(glided) == n
        after = glided[n // 2 + SAMPLE_RATE // 8 :]
        assert abs(hz_to_midi(nearest_partial_hz(after, midi_to_hz(midi + 7))) - midi - 7) < 0.05


@pytest.mark.parametrize("name", ["rhodes", "piano", "guitar", "strings", "brass", "lead synth"])
def test_a_note_struck_hard_is_brighter(name: str) -> None:
    soft, hard = (
        draw_patch(name, stream(), held_out=False).play(220.0, velocity, SAMPLE_RATE) for velocity in (0.2, 1)
    )
    assert centroid_hz(hard) > 1.05 * centroid_hz(soft)


def centroid_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio.mean(axis=0))) ** 2
    return float((spectrum * np.fft.rfftfreq(audio.shape[-1], 1 / SAMPLE_RATE)).sum() / spectrum.sum())


@pytest.mark.parametrize("style", STYLES)
def test_every_drum_sounds_at_once(style: str) -> None:
    kit = build_kit(PALETTES[style], open_sounds(None, None), stream(), held_out=False)
    for voice in DRUM_VOICES:
        soft, hard = kit(voice, 0.1, 0), kit(voice, 1.0, 0)
        for shot in (soft, hard):
            assert shot.shape[0] == 2
            assert np.isfinite(shot).all()
            assert 0.3 < np.abs(shot).max() < 2, voice
            early = np.abs(shot).max(axis=0)
            assert np.argmax(early > 0.2 * early.max()) < 0.03 * SAMPLE_RATE, voice
            assert np.abs(shot[:, -5:]).max() < 0.02, f"{voice} is cut off"


@pytest.mark.parametrize("voice", ["kick", "snare", "hat", "tom", "rim", "conga", "ride", "clap"])
def test_a_drum_struck_hard_is_brighter(voice: str) -> None:
    for seed in range(3):
        kit = build_kit(PALETTES["g-funk"], open_sounds(None, None), stream(seed), held_out=False)
        assert centroid_hz(kit(voice, 1.0, 0)) > 1.03 * centroid_hz(kit(voice, 0.1, 0))


def test_hats_are_not_one_sample_repeated() -> None:
    kit = build_kit(PALETTES["trap"], open_sounds(None, None), stream(), held_out=False)
    takes = [kit("hat", 0.9, stroke) for stroke in range(4)]
    assert len({take.tobytes() for take in takes}) == 4


def test_no_two_kits_are_alike() -> None:
    kicks = [
        build_kit(PALETTES["trap"], open_sounds(None, None), stream(seed), held_out=False)("kick", 1.0, 0)
        for seed in range(6)
    ]
    for first in range(6):
        for second in range(first):
            n = min(kicks[first].shape[1], kicks[second].shape[1])
            assert np.abs(kicks[first][:, :n] - kicks[second][:, :n]).max() > 0.1


def test_a_part_of_every_range_is_kept_for_the_test_split() -> None:
    ranges = {"tune_hz": (40.0, 80.0), "decay_s": (0.0, 1.0)}
    low, high = (40 + 40 * share for share in HELD_OUT)
    train = [draw_settings(ranges, stream(seed), held_out=False) for seed in range(300)]
    test = [draw_settings(ranges, stream(seed), held_out=True) for seed in range(300)]
    assert all(40 <= drawn["tune_hz"] < low or high <= drawn["tune_hz"] <= 80 for drawn in train)
    assert all(low <= drawn["tune_hz"] < high for drawn in test)
    assert min(drawn["tune_hz"] for drawn in train) < 42
    assert max(drawn["tune_hz"] for drawn in train) > 78
    assert np.std([drawn["decay_s"] for drawn in test]) > 0.2


def test_songs_of_the_test_split_have_sounds_of_their_own() -> None:
    train, valid, test = (render(beat(split=split), stream()).mix for split in ("train", "valid", "test"))
    assert np.array_equal(train, valid)
    assert np.abs(train - test).max() > 0.05


# ------------------------------------------------------------------------------------------------ the mix


@pytest.fixture(scope="module")
def rendered() -> dict[str, Rendered]:
    """A loop of each style."""
    return {style: render(beat(style, bars=4), stream(index)) for index, style in enumerate(STYLES)}


@pytest.mark.parametrize("style", STYLES)
def test_stems_add_up_to_a_mix_of_even_loudness_that_never_clips(rendered: dict[str, Rendered], style: str) -> None:
    clip = rendered[style]
    mix, n = clip.mix, round(16 * 0.6 * SAMPLE_RATE)
    assert mix.shape == (2, n)
    assert mix.dtype == np.float32
    assert set(clip.stems) == {*STEMS, "lead"}
    assert all(stem.shape == mix.shape and stem.dtype == np.float32 for stem in clip.stems.values())
    assert np.abs(sum(clip.stems[name] for name in STEMS) - mix).max() < STEP
    assert np.abs(mix).max() < 0.98
    loudness = pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(mix.T.astype(float))
    assert abs(loudness + 14) < 0.5
    assert 8 < 20 * np.log10(np.abs(mix).max()) - level_db(mix) < 18  # crest factor
    assert np.abs(mix.mean(axis=1)).max() < 2e-3


@pytest.mark.parametrize("style", STYLES)
def test_the_mix_is_wide_and_holds_in_mono(rendered: dict[str, Rendered], style: str) -> None:
    clip = rendered[style]
    left, right = clip.mix
    assert np.abs(left - right).max() > 0.02
    assert np.corrcoef(left, right)[0, 1] > 0.5
    assert level_db(clip.mix.mean(axis=0)) > level_db(clip.mix) - 1.5
    assert np.abs(clip.stems["bass"][0] - clip.stems["bass"][1]).max() < STEP
    low = np.abs(np.fft.rfft(clip.mix, axis=1))[:, : int(90 * clip.mix.shape[1] / SAMPLE_RATE)]
    side = np.abs(np.fft.rfft(left - right))[: low.shape[1]]
    assert (side**2).sum() < 0.02 * (low**2).sum()  # what is deep stands in the middle


@pytest.mark.parametrize("style", STYLES)
def test_the_spectrum_is_that_of_such_music(rendered: dict[str, Rendered], style: str) -> None:
    mix = rendered[style].mix
    power = (np.abs(np.fft.rfft(mix, axis=1)) ** 2).sum(axis=0)
    hz = np.fft.rfftfreq(mix.shape[1], 1 / SAMPLE_RATE)
    edges_hz = 60 * 2.0 ** np.arange(8)
    octaves_db = [10 * np.log10(power[(hz >= low) & (hz < 2 * low)].mean()) for low in edges_hz]
    tilt_db = np.polyfit(np.arange(8), octaves_db, 1)[0]
    assert -9 < tilt_db < -2.5
    if style in ("trap", "drill", "phonk"):
        assert power[hz < 90].sum() > 0.2 * power.sum()


def test_lo_fi_is_duller_than_trap(rendered: dict[str, Rendered]) -> None:
    treble_db = {style: sum_db(spectrum_db(clip.mix)[-2:]) for style, clip in rendered.items()}  # above 5 kHz
    assert treble_db["lo-fi"] < treble_db["trap"] - 4


def sum_db(levels_db: list[float]) -> float:
    return float(10 * np.log10((10 ** (np.array(levels_db) / 10)).sum()))


def test_the_lead_is_a_part_of_the_music_and_silent_where_there_is_none() -> None:
    song = beat()
    clip = render(song, stream())
    assert level_db(clip.stems["lead"]) > -50
    assert level_db(clip.stems["music"] - clip.stems["lead"]) > -50
    without = {name: part for name, part in song.parts.items() if name != "lead"}
    assert not render(beat(parts=without), stream()).stems["lead"].any()


def test_onsets_fall_on_the_grid() -> None:
    drums = {"snare": tuple(Hit(float(step), 0.9) for step in (0, 5, 11, 16, 22.5, 28))}
    for style in STYLES:
        song = beat(style, drums=drums, is_loop=False)
        stem = render(song, stream()).stems["drums"].mean(axis=0)
        hop, window = 44, 176
        spectrum = np.abs(stft(stem, SAMPLE_RATE, nperseg=window, noverlap=window - hop, boundary=None)[2])
        rise = np.maximum(np.diff(np.log1p(300 * spectrum), axis=1), 0).sum(axis=0)
        for hit in drums["snare"][1:]:
            at = song.clock.time_s(hit.step)
            around = int((at - 0.02) * SAMPLE_RATE / hop), int((at + 0.02) * SAMPLE_RATE / hop)
            heard = (around[0] + int(rise[around[0] : around[1]].argmax()) + 1) * hop + window / 2
            assert abs(heard / SAMPLE_RATE - at) < 0.005, (style, hit)


def test_the_bass_gives_way_to_the_kick() -> None:
    parts = {"chords": Part("pad", (Note(0, 4, 57, 0.1),)), "bass": Part("synth bass", (Note(0, 32, 33, 0.9),))}
    drums = {"kick": (Hit(16, 1.0),)}
    stems = render(beat("trap", parts=parts, drums=drums, is_loop=False), stream()).stems
    at = round(2.4 * SAMPLE_RATE)
    before, during = stems["bass"][0, at - 4000 : at - 400], stems["bass"][0, at + 200 : at + 3800]
    assert level_db(during) < level_db(before) - 2


def test_levels_and_effects_are_told(rendered: dict[str, Rendered]) -> None:
    for clip in rendered.values():
        assert {"chords", "lead", "bass", "kick", "snare", "hat"} <= set(clip.levels_db)
        assert all(-60 < level < 1 for level in clip.levels_db.values())
        assert ("vinyl crackle" in clip.effects) == ("vinyl crackle" in clip.levels_db)
        assert clip.sounds == {"synthesized": "CC0-1.0"}
        assert licence(clip.sounds) == "CC0-1.0"


# ------------------------------------------------------------------------------------------------ loops, windows


@pytest.mark.parametrize("style", ["boom bap", "lo-fi", "cloud rap", "phonk"])
def test_a_loop_has_no_seam(style: str) -> None:
    drums = {"kick": (Hit(8, 1.0), Hit(20, 1.0)), "snare": (Hit(12, 0.9), Hit(30, 0.9)), "open hat": (Hit(29, 0.9),)}
    parts = {  # nothing begins at the seam, much goes on over it
        "chords": Part("pad", tuple(Note(22, 20, midi, 0.7) for midi in (57, 60, 64))),
        "bass": Part("808", (Note(10, 8, 33, 0.9), Note(24, 14, 36, 0.9))),
        "lead": Part("rhodes", (Note(28, 10, 72, 0.9),)),
    }
    for seed in range(2):
        mix = render(beat(style, drums=drums, parts=parts), stream(seed)).mix.astype(float)
        around = np.concatenate([mix[:, -4000:], mix[:, :4000]], axis=1)
        assert level_db(around[:, 4000:]) > -35
        bend = np.abs(np.diff(around, n=2, axis=1))
        assert bend[:, 3997:4000].max() <= 1.5 * bend[:, 1000:3900].max()


def test_what_rings_at_the_end_of_a_loop_is_heard_in_its_start() -> None:
    parts = {"chords": Part("bells", (Note(30, 2, 81, 0.9),))}
    loop, opening = (render(beat(parts=parts, drums={}, is_loop=is_loop), stream()).mix for is_loop in (True, False))
    start = slice(0, SAMPLE_RATE // 4)
    assert level_db(loop[:, start]) > -45
    assert level_db(opening[:, start]) < level_db(loop[:, start]) - 15


def test_a_window_hears_what_began_before_it() -> None:
    parts = {"chords": Part("pad", (Note(0, 32, 57, 0.9),))}
    inside = render(beat(parts=parts, drums={}, is_loop=False, start_step=9.5), stream())
    assert level_db(inside.stems["music"][:, :2000]) > -40


def test_a_song_opens_without_delay() -> None:
    mix = render(beat(is_loop=False), stream()).mix
    assert np.argmax(np.abs(mix).max(axis=0) > 0.05) < 0.005 * SAMPLE_RATE


# ------------------------------------------------------------------------------------------------ one seed, one beat

_RENDER = """
import sys, numpy as np
sys.path.insert(0, {tests!r})
from test_beatmaker_sound import beat, render, stream
np.save({out!r}, np.stack([render(beat(style), stream(7)).mix for style in ("lo-fi", "phonk")]))
"""


def test_one_seed_is_one_beat_on_every_processor(tmp_path: Path) -> None:
    every, again = ([render(beat(style), stream(7)).mix for style in ("lo-fi", "phonk")] for _ in range(2))
    assert np.array_equal(every, again)
    code = _RENDER.format(tests=str(Path(__file__).parent), out=str(tmp_path / "plain.npy"))
    plain = {"NPY_DISABLE_CPU_FEATURES": features(), "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=os.environ | plain, check=True)
    assert np.abs(np.load(tmp_path / "plain.npy") - every).max() <= STEP


def features() -> str:
    """All that numpy chose for this processor beyond its baseline."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # type: ignore[index]
    return " ".join(found)


@pytest.mark.parametrize(
    ("style", "rms_db", "octaves_db"),
    [
        ("boom bap", -15.684, [-4.92, -8.79, -7.46, -5.81, -15.42, -15.48, -16.43, -17.3, -25.5]),
        ("lo-fi", -15.749, [-5.98, -10.08, -6.26, -5.04, -14.06, -14.44, -18.96, -21.56, -32.83]),
        ("trap", -15.845, [-4.37, -14.61, -8.1, -4.81, -13.97, -14.56, -18.02, -17.57, -22.4]),
        ("phonk", -15.378, [-2.57, -11.54, -8.53, -8.86, -18.33, -16.78, -15.2, -14.74, -21.64]),
    ],
)
def test_what_beats_sound_like_is_pinned(style: str, rms_db: float, octaves_db: list[float]) -> None:
    """Whoever changes a sound changes these figures, and knows it."""
    mix = render(beat(style), stream(11)).mix
    assert level_db(mix) == pytest.approx(rms_db, abs=0.005)
    assert spectrum_db(mix) == pytest.approx(octaves_db, abs=0.02)


def spectrum_db(mix: np.ndarray) -> list[float]:
    """Power by octaves from 40 Hz on."""
    power, hz = (np.abs(np.fft.rfft(mix, axis=1)) ** 2).sum(axis=0), np.fft.rfftfreq(mix.shape[1], 1 / SAMPLE_RATE)
    edges_hz = 40 * 2.0 ** np.arange(9)
    return [float(10 * np.log10(power[(hz >= low) & (hz < 2 * low)].sum() / power.sum())) for low in edges_hz]


# ------------------------------------------------------------------------------------------------ sounds of the user


@pytest.fixture
def own_shots(tmp_path: Path) -> Path:
    """A folder of one-shots: a kick in mono at 48 kHz behind a silence, two snares in a folder, notes on licences."""
    root = tmp_path / "my shots"
    (root / "Snares").mkdir(parents=True)
    t = np.arange(9600) / 48_000
    kick = np.concatenate([np.zeros(4800), np.sin(2 * np.pi * 97 * t) * np.exp(-20 * t)])
    write_wav(root / "Kick_01.wav", kick[None].astype(np.float32), 48_000)
    for number, hz in enumerate((1230, 1777)):
        shot = np.stack([np.sin(2 * np.pi * hz * t) * np.exp(-30 * t)] * 2).astype(np.float32)
        write_wav(root / "Snares" / f"{number}.flac.wav", 0.3 * shot, 44_100)
    (root / "readme.txt").write_text("mine")
    return root


def test_a_producers_one_shots_are_played_on_the_grid(own_shots: Path) -> None:
    drums = {"kick": (Hit(0, 0.95), Hit(16, 0.95)), "snare": (Hit(8, 0.95),)}
    clip = render(beat(drums=drums, is_loop=False), stream(), samples_dir=str(own_shots))
    stem = clip.stems["drums"].mean(axis=0)
    assert np.argmax(np.abs(stem) > 0.02) < 0.005 * SAMPLE_RATE  # the silence before it is gone
    assert nearest_partial_hz(stem[: SAMPLE_RATE // 2], 97.0) == pytest.approx(97, abs=1)
    assert clip.sounds["one-shots of my shots"] == "as theirs, of the user"
    assert "CC0" not in licence(clip.sounds)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "hat.wav").write_bytes(b"no sound"), "hat.wav cannot be read"),
        (lambda root: write_wav(root / "clap.wav", np.zeros((1, 900), np.float32), 44_100), "clap.wav is silent"),
        (lambda root: (root / "rim.wav").write_bytes(b""), "rim.wav"),
        (lambda root: [path.rename(path.with_suffix(".txt")) for path in root.rglob("*.wav")], "named after a drum"),
        (lambda root: root.rename(root.with_name("gone")), "is no folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(own_shots: Path, spoil: object, message: str) -> None:
    spoil(own_shots)  # type: ignore[operator]
    with pytest.raises(RecipeError, match=message) as error:
        open_sounds(None, str(own_shots))
    assert "\n" not in str(error.value)
    assert "samples_dir" in str(error.value)


def write_sf2(path: Path, *, presets: list[tuple[int, int]]) -> None:
    """The least soundfont there is: one looped sine of 441 Hz, root key 69 (A4, off by +4 cents), for each preset."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def named(name: str) -> bytes:
        return name.encode().ljust(20, b"\0")

    wave = (20_000 * np.sin(2 * np.pi * np.arange(4410) / 100)).astype("<i2")
    info = chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"isng", b"EMU8000\0") + chunk(b"INAM", b"Tiny\0\0")
    phdr, pbag, pgen = b"", b"", b""
    for number, (bank, program) in enumerate(sorted(presets)):
        phdr += named(f"p{bank}-{program}") + struct.pack("<HHHIII", program, bank, number, 0, 0, 0)
        pbag += struct.pack("<HH", number, 0)
        pgen += struct.pack("<HH", 41, 0)  # instrument 0
    phdr += named("EOP") + struct.pack("<HHHIII", 0, 0, len(presets), 0, 0, 0)
    pbag += struct.pack("<HH", len(presets), 0)
    pgen += struct.pack("<HH", 0, 0)
    tables = {
        b"phdr": phdr,
        b"pbag": pbag,
        b"pmod": bytes(10),
        b"pgen": pgen,
        b"inst": named("sine") + struct.pack("<H", 0) + named("EOI") + struct.pack("<H", 1),
        b"ibag": struct.pack("<HHHH", 0, 0, 2, 0),
        b"imod": bytes(10),
        b"igen": struct.pack("<HHHHHH", 54, 1, 53, 0, 0, 0),  # loops, sample 0
        b"shdr": named("sine") + struct.pack("<IIIIIBbHH", 0, 4400, 0, 4400, 44_100, 69, 0, 0, 1)
        + named("EOS") + bytes(26),
    }  # fmt: skip
    body = chunk(b"LIST", b"INFO" + info)
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", wave.tobytes() + bytes(92)))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(name, data) for name, data in tables.items()))
    path.write_bytes(chunk(b"RIFF", b"sfbk" + body))


def test_a_soundfont_plays_what_it_has(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    font = tmp_path / "Tiny.sf2"
    write_sf2(font, presets=[(0, 4), (0, 33), (128, 0)])
    sounds = open_sounds(str(font), None)
    assert sounds.patch("flute") is None
    rhodes = sounds.patch("rhodes")
    assert rhodes is not None
    for midi in (57, 69, 72):
        note = rhodes.play(midi_to_hz(midi), 0.8, SAMPLE_RATE)
        assert nearest_partial_hz(note, midi_to_hz(midi)) == pytest.approx(midi_to_hz(midi) * 441 / 440, rel=1e-3)
        assert np.array_equal(note, rhodes.play(midi_to_hz(midi), 0.8, SAMPLE_RATE))
    clip, again = (render(beat(), stream(), soundfont=str(font)) for _ in range(2))
    assert np.array_equal(clip.mix, again.mix)
    assert np.abs(clip.mix - render(beat(), stream()).mix).max() > 0.05
    assert np.abs(clip.mix).max() < 0.98
    assert clip.sounds["soundfont Tiny.sf2"] == "as the font's, of the user"
    assert "CC0" not in licence(clip.sounds)


@pytest.mark.parametrize(("content", "message"), [(b"RIFF....nothing", "cannot be read"), (None, "no soundfont at")])
def test_a_bad_soundfont_is_told_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    pytest.importorskip("tinysoundfont")
    path = tmp_path / "font.sf2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as error:
        open_sounds(str(path), None)
    assert "\n" not in str(error.value)
