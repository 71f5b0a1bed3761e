"""Put together real music whose tempo, beats or key are known exactly, for `benchmarks/analysis.py --real DIR`.

    pip install --no-deps tinysoundfont music21 more_itertools chardet jsonpickle webcolors mido
    apt-get install fluid-soundfont-gm openttd-openmsx freedoom sonic-pi-samples hydrogen hydrogen-data lmms
    python benchmarks/real_music.py DIR

Four kinds, none of which goes into the repository:

- songs: MIDI of people's compositions, of OpenMSX (GPL-2) and Freedoom (BSD), played by FluidR3 (MIT). Taken are those
  in four with drums, one tempo from end to end and most notes on its 16ths or 8th triplets: tempo, beats and downbeats
  are the file's own.
- loops: recorded drums and percussion of Sonic Pi (CC0), over and over; they hold whole beats, so their length is the
  tempo. Which octave of it is meant the length does not say: 80 to 160 bpm is assumed.
- projects: demo songs of Hydrogen and LMMS (GPL), rendered by these with their own sounds; tempos are the files'.
- scores: Bach's chorales from music21 (BSD; the works are in the public domain), played by FluidR3; of the two keys
  that a score's signature allows, the one it ends on. Songs whose file names a key other than C, which is what files
  say that say nothing, have one too.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile

from rapgen.groove import NOTES, read_groove

RATE, LENGTH_S = 44_100, 60.0
SHARE = Path("/usr/share")
LOOP_BEATS = {
    "3d_printer": 16, "amen": 4, "amen_full": 16, "breakbeat": 4, "compus": 16, "electric": 4, "garzul": 16,
    "industrial": 2, "mehackit1": 4, "mehackit2": 4, "mika": 16, "perc1": 4, "perc2": 4, "safari": 16, "tabla": 16,
}  # fmt: skip
NUM_SCORES = 24
PROGRAMS = (0, 4, 19, 24, 48)  # piano, electric piano, organ, guitar, strings


def main() -> None:
    """Write recordings and `truths.jsonl` to a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=Path, default=SHARE, help="where the Debian packages' files are")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    share = options.share
    for name, audio, truth in chain(songs(share), loops(share), projects(share), scores(share)):
        soundfile.write(options.out / f"{name}.flac", audio, RATE)
        rows.append({"file_name": f"{name}.flac"} | truth)
        print(name, {key: value for key, value in truth.items() if not key.endswith("_s")}, flush=True)
    (options.out / "truths.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def songs(share: Path) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Songs that are MIDI files, rendered: tempo, beats and, where the file tells it, key."""
    files = {path.stem: path.read_bytes() for path in sorted(share.glob("games/openttd/baseset/openmsx/*.mid"))}
    for wad in sorted(share.glob("games/doom/freedoom[12].wad")):
        files |= {f"{wad.stem}-{name}": data for name, data in _lumps(wad.read_bytes()) if data[:4] == b"MThd"}
    for name, data in {data: (name, data) for name, data in files.items()}.values():  # some stand there twice
        midi = mido.MidiFile(file=io.BytesIO(data))
        if tempo_bpm := _steady_tempo_bpm(midi):
            beats = np.arange(0, min(midi.length, LENGTH_S), 60 / tempo_bpm).round(4).tolist()
            truth = {"kind": "songs", "tempo_bpm": tempo_bpm, "beats_s": beats, "downbeats_s": beats[::4]} | _key(midi)
            yield name, play(midi, share), truth


def _lumps(wad: bytes) -> Iterator[tuple[str, bytes]]:
    count, at = struct.unpack("<ii", wad[4:12])
    for offset, size, name in struct.iter_unpack("<ii8s", wad[at : at + 16 * count]):
        yield name.rstrip(b"\0").decode("latin-1"), wad[offset : offset + size]


def _steady_tempo_bpm(midi: mido.MidiFile) -> float | None:
    """The tempo of a file in four with drums that holds it and plays on its grid; None for others."""
    now, drums, onsets, tempos = 0, 0, [], set()
    for message in mido.merge_tracks(midi.tracks):
        now += message.time
        if message.type == "set_tempo":
            tempos.add(round(mido.tempo2bpm(message.tempo), 2))
        elif message.type == "time_signature" and (message.numerator, message.denominator) != (4, 4):
            return None
        elif message.type == "note_on" and message.velocity:
            onsets.append(now / midi.ticks_per_beat)
            drums += message.channel == 9
    on_grid = max(abs(np.exp(2j * np.pi * parts * np.array(onsets)).mean()) for parts in (4, 3))
    return tempos.pop() if len(tempos) == 1 and drums >= 100 and on_grid >= 0.9 else None


def _key(midi: mido.MidiFile) -> dict[str, str]:
    names = {message.key for track in midi.tracks for message in track if message.type == "key_signature"}
    key = read_groove(f"key: {names.pop()}").key if len(names) == 1 else None
    return {"key": key} if key not in (None, "C major") else {}


def loops(share: Path) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Sonic Pi's loops, over and over: their beats are counted by name."""
    for name, beats in LOOP_BEATS.items():
        loop, rate = soundfile.read(share / f"sonic-pi/samples/loop_{name}.flac", always_2d=True)
        period_s = len(loop) / rate / beats
        audio = np.tile(loop, (int(np.ceil(30 / (len(loop) / rate))), 1))
        times = np.arange(0, len(audio) / rate, period_s).round(4).tolist()
        truth = {"kind": "loops", "tempo_bpm": 60 / period_s, "beats_s": times, "downbeats_s": times[::4]}
        assert rate == RATE
        yield f"loop-{name}", audio.astype(np.float32), truth


def projects(share: Path) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Demo songs of Hydrogen and LMMS, rendered by them: the project tells the tempo."""
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 240}
    quiet["env"] = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    for path in sorted(share.glob("hydrogen/data/demo_songs/*.h2song")) + sorted(share.glob("lmms/projects/*/*.mmpz")):
        is_lmms = path.suffix == ".mmpz"
        text = zlib.decompress(path.read_bytes()[4:]).decode() if is_lmms else path.read_text()
        tempo = re.search(r'<head[^>]* bpm="([0-9.]+)"' if is_lmms else r"<bpm>([0-9.]+)", text)
        if tempo is None:  # it changes on the way
            continue
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "song.wav"
            render = ["lmms", "--allowroot", "render", path, "-o", wav]
            try:
                subprocess.run(render if is_lmms else ["h2cli", "-d", "null", "-s", path, "-o", wav], **quiet)
                audio, rate = soundfile.read(wav, dtype="float32", frames=int(LENGTH_S * RATE), always_2d=True)
            except (subprocess.TimeoutExpired, soundfile.LibsndfileError):
                continue
        if rate == RATE and len(audio) > 10 * RATE:
            yield path.stem, audio, {"kind": "projects", "tempo_bpm": float(tempo[1])}


def scores(share: Path) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Bach's chorales, rendered: the score tells the key."""
    from music21 import converter, corpus

    rng = np.random.default_rng(0)
    chorales = sorted(path for path in corpus.getComposer("bach") if path.suffix == ".mxl")
    taken = 0
    for index in rng.permutation(len(chorales)):
        if taken == NUM_SCORES:
            break
        score = converter.parse(chorales[index])
        key = _stated_key(score)
        if key is None:
            continue
        taken += 1
        with tempfile.TemporaryDirectory() as folder:
            midi = mido.MidiFile(score.write("midi", Path(folder) / "score.mid"))
        program = int(rng.choice(PROGRAMS))
        yield f"score-{chorales[index].stem}", play(midi, share, program), {"kind": "scores", "key": key}


def _stated_key(score: Any) -> str | None:
    """Of the two keys that a score's signature allows, the one on whose tonic it ends; None where it ends elsewhere."""
    signatures = {signature.sharps for signature in score.recurse().getElementsByClass("KeySignature")}
    if len(signatures) != 1:
        return None
    major = 7 * signatures.pop() % 12
    last = score.chordify().recurse().getElementsByClass("Chord")[-1].root().pitchClass
    names = {major: f"{NOTES[major]} major", (major + 9) % 12: f"{NOTES[(major + 9) % 12]} minor"}
    return names.get(last)


def play(midi: mido.MidiFile, share: Path, program: int | None = None) -> np.ndarray:
    """f32 [S, 2]: the first minute by FluidR3, with `program` for all voices or the file's own."""
    import tinysoundfont

    synth = tinysoundfont.Synth(gain=-12, samplerate=RATE)
    font = synth.sfload(str(share / "sounds/sf2/FluidR3_GM.sf2"))
    for channel in range(16):
        synth.program_select(channel, font, 128 if channel == 9 else 0, 0 if channel == 9 else program or 0)
    parts, due, done = [], 0.0, 0
    for message in midi:
        due += message.time
        ahead = round(min(due, LENGTH_S) * RATE) - done
        if ahead > 0:
            parts.append(np.frombuffer(bytes(synth.generate(ahead)), np.float32).reshape(-1, 2))
            done += ahead
        if due >= LENGTH_S:
            break
        _send(synth, font, message, keep_program=program is not None)
    audio = np.concatenate(parts)
    return audio * min(1.0, 0.95 / max(float(np.abs(audio).max()), 1e-6))


def _send(synth: Any, font: int, message: Any, *, keep_program: bool) -> None:
    if message.type == "note_on" and message.velocity:
        synth.noteon(message.channel, message.note, message.velocity)
    elif message.type in ("note_on", "note_off"):
        synth.noteoff(message.channel, message.note)
    elif message.type == "control_change":
        synth.control_change(message.channel, message.control, message.value)
    elif message.type == "pitchwheel":
        synth.pitchbend(message.channel, message.pitch + 8192)
    elif message.type == "program_change" and not keep_program:
        synth.program_change(message.channel, message.program, message.channel == 9)


if __name__ == "__main__":
    main()
