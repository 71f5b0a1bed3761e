"""The model that comes with rapgen, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rapgen import MusicLM
from rapgen.evaluation.beats import estimate_tempo_bpm
from rapgen.generation.musiclm import Beat

pytestmark = pytest.mark.xdist_group("embedded")
BUNDLE = Path(str(files("rapgen.bundles"))) / "boombox"
RAPGEN = Path(sys.executable).with_name("rapgen")
STEP_S = 60 / 90 / 4  # a sixteenth at 90 bpm


@pytest.fixture(scope="module")
def lm() -> MusicLM:
    return MusicLM.load()


def test_it_is_small_and_holds_no_code() -> None:
    kept = [p for p in BUNDLE.rglob("*") if p.is_file()]
    assert {p.suffix for p in kept} == {".safetensors", ".json", ".yaml", ".md"}
    assert sum(p.stat().st_size for p in kept) <= 48e6


def test_the_command_writes_what_it_says(tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    command = [RAPGEN, "generate", "boom bap, 90 bpm", "-o", out, "--duration", "2", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    told = told[0] if isinstance(told, list) else told
    assert told["tempo_bpm"] == 90
    assert told["style"] == "boom bap"
    assert told["real_time_factor"] > 0
    audio, rate = soundfile.read(out)
    assert (len(audio), rate) == (48_000, 24_000)


def test_a_users_error_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([RAPGEN, "generate", " ", "-o", tmp_path / "x.wav"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_it_loads_without_transformers() -> None:
    code = "import sys; from rapgen import MusicLM; MusicLM.load(); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_seed_is_a_beat(lm: MusicLM) -> None:
    same = [lm.generate("trap, 140 bpm", duration_s=1.5, seed=3)[0].audio for _ in range(2)]
    other = lm.generate("trap, 140 bpm", duration_s=1.5, seed=4)[0].audio
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], other)
    assert np.abs(same[0]).max() > 0.1


def test_ten_seconds_have_the_tempo(lm: MusicLM) -> None:
    beats = [lm.generate("boom bap, 90 bpm", duration_s=10, seed=seed)[0] for seed in range(3)]
    assert {beat.audio.shape for beat in beats} == {(1, 240_000)}
    near = [min(abs(estimate_tempo_bpm(beat) / octave - 90) for octave in (0.5, 1, 2)) < 1.8 for beat in beats]
    assert sum(near) >= 2


def test_bar_40_is_on_the_beat(lm: MusicLM) -> None:
    """Forty bars at 90 bpm are as long as they should be, and the drums of the last still fall on its grid."""
    (beat,) = lm.generate("boom bap, 90 bpm", bars=40, seed=1, guidance_scale=1)
    assert beat.audio.shape[1] == round(40 * 16 * STEP_S * 24_000)
    for first_bar in (0, 36):
        assert abs(drift_s(beat, first_bar)) < 0.02


def drift_s(beat: Beat, first_bar: int, bars: int = 4) -> float:
    """How far the onsets of some bars lie from the grid of eighths, by the phase of their energy, in seconds."""
    start = round(first_bar * 16 * STEP_S * beat.sample_rate)
    audio = beat.audio[0, start : start + round(bars * 16 * STEP_S * beat.sample_rate)]
    hop = 120
    energy = np.log(np.square(audio[: len(audio) // hop * hop]).reshape(-1, hop).mean(1) + 1e-5)
    rises = np.maximum(np.diff(energy, prepend=energy[0]), 0) ** 2
    turn = np.exp(-2j * np.pi * np.arange(len(rises)) * hop / beat.sample_rate / (2 * STEP_S))
    return float(np.angle((rises * turn).sum()) / (2 * np.pi) * -2 * STEP_S)
