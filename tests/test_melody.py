"""Melodies: heard, read, made to fit, told to every frame, and followed by a command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from conftest import Quiet, train_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rapgen.audio.io import write_wav
from rapgen.audio.melody import melody_key, pitch_classes, read_melody, track_melody
from rapgen.cli.app import make_app
from rapgen.errors import AudioError, MismatchError, ModelError, PromptError, RecipeError
from rapgen.evaluation.melody import agreement, measure_melody
from rapgen.generation.export import export_bundle
from rapgen.generation.melody import fill_groove, fit_melody
from rapgen.generation.musiclm import MusicLM
from rapgen.groove import KEYS
from rapgen.interfaces import Clip, Groove, Melody, Note, Prompt, TokenSpec
from rapgen.recipe import load_recipe, parse_recipe
from rapgen.tokens.collect import collect
from rapgen.tokens.shards import Shards
from rapgen.tokens.tokenize import CODES, aligned_name
from rapgen.training.pipeline import prepare_tokens, train_stages
from rapgen.training.run import Run
from rapgen.training.stages import make_stage
from rapgen_plugins.melody import REST, melody

RATE = 22_050
TUNE = (60, 62, 64, 65, 67, 64, 60, 67)  # C major
SPEC = TokenSpec(1024, 4, 24_000, 960)


def notes(midi: Sequence[int], *, each_s: float = 0.5, gap_s: float = 0.1, start_s: float = 0.0) -> tuple[Note, ...]:
    return tuple(Note(start_s + n * each_s, start_s + (n + 1) * each_s - gap_s, m) for n, m in enumerate(midi))


def sung(line: tuple[Note, ...], *, cents: float = 0.0, tail_s: float = 0.3) -> np.ndarray:
    """f32 [1, S]: a voice of five harmonics that breathes in and out with every note."""
    audio = np.zeros(round((line[-1].end_s + tail_s) * RATE), np.float32)
    for note in line:
        start, end = round(note.start_s * RATE), round(note.end_s * RATE)
        hz = 440 * 2 ** ((note.midi - 69 + cents / 100) / 12)
        phase = 2 * np.pi * hz * np.arange(end - start) / RATE
        tone = sum(np.sin(k * phase) / k for k in range(1, 6))
        audio[start:end] += 0.2 * tone * np.sin(np.pi * np.linspace(0, 1, end - start)) ** 0.3
    return audio[None]


# ------------------------------------------------------------------------------------------------ hearing


@pytest.mark.parametrize("cents", [0, 35, -45])
def test_a_sung_line_is_heard_note_by_note(cents: float) -> None:
    line = notes(TUNE)
    heard = track_melody(sung(line, cents=cents), RATE)
    assert [note.midi for note in heard] == [note.midi for note in line]
    for note, sung_note in zip(heard, line, strict=True):
        assert note.start_s == pytest.approx(sung_note.start_s, abs=0.06)
        assert note.end_s == pytest.approx(sung_note.end_s, abs=0.08)


def test_drums_and_silence_are_no_melody(tmp_path: Path) -> None:
    hiss = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)
    for name, audio in {"silence": np.zeros((1, RATE), np.float32), "hiss": hiss}.items():
        assert track_melody(audio, RATE) == ()
        write_wav(tmp_path / f"{name}.wav", audio, RATE)
        with pytest.raises(AudioError, match=rf"{name}\.wav holds no melody that can be heard"):
            read_melody(tmp_path / f"{name}.wav")


def test_a_files_name_tells_tempo_and_key(tmp_path: Path) -> None:
    write_wav(tmp_path / "hook_92bpm_A-minor.wav", sung(notes(TUNE)), RATE)
    found = read_melody(tmp_path / "hook_92bpm_A-minor.wav")
    assert (found.tempo_bpm, found.key) == (92, "A minor")


def write_midi(path: Path, *, tempo_bpm: float = 100, key: str | None = "F#m") -> Path:
    """Two bars: a melody over held chords, and drums above both."""
    file = mido.MidiFile(ticks_per_beat=480)
    head, keys, drums = (mido.MidiTrack() for _ in range(3))
    file.tracks += [head, keys, drums]
    head.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo_bpm)))
    if key:
        head.append(mido.MetaMessage("key_signature", key=key))
    keys.append(mido.Message("note_on", note=40, velocity=80))
    for note in (66, 69, 73, 69):
        keys.append(mido.Message("note_on", note=note, velocity=80))
        keys.append(mido.Message("note_on", note=note, velocity=0, time=480))
        keys.append(mido.Message("note_on", note=50, velocity=1))
        keys.append(mido.Message("note_off", note=50, time=480))
    keys.append(mido.Message("note_off", note=40))
    drums.append(mido.Message("note_on", channel=9, note=120, velocity=90))
    drums.append(mido.Message("note_off", channel=9, note=120, time=3840))
    file.save(path)
    return path


def test_midi_gives_its_highest_line(tmp_path: Path) -> None:
    found = read_melody(write_midi(tmp_path / "tune.mid"))
    assert [note.midi for note in found.notes] == [66, 50, 69, 50, 73, 50, 69, 50]
    assert [note.start_s for note in found.notes] == pytest.approx([0.6 * n for n in range(8)])
    assert (found.tempo_bpm, found.key) == (pytest.approx(100), "F# minor")


_NO_TICKS = b"MThd\0\0\0\x06\0\0\0\x01\0\0MTrk\0\0\0\x0c\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"


@pytest.mark.parametrize("content", [b"", b"MThd", b"RIFF1234", None, _NO_TICKS])
def test_a_file_that_is_no_midi_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tune.mid"
    path.write_bytes(write_midi(path).read_bytes()[:60] if content is None else content)
    with pytest.raises(AudioError, match=r"tune\.mid (cannot be read as MIDI|holds no melody)") as caught:
        read_melody(path)
    assert "\n" not in str(caught.value)


def test_the_key_is_the_one_whose_notes_they_are() -> None:
    assert melody_key(Melody(notes((60, 64, 67, 72, 71, 67, 65, 62, 60)))) == "C major"
    assert melody_key(Melody(notes((69, 72, 76, 81, 80, 76, 74, 71, 69)))) == "A minor"
    assert melody_key(Melody(notes(TUNE), key="D minor")) == "D minor"
    assert melody_key(Melody(notes(range(60, 72)))) == "C major"  # all twelve tell nothing


# ------------------------------------------------------------------------------------------------ fitting


@given(
    midi=st.lists(st.integers(40, 90), min_size=1, max_size=30),
    tempo_bpm=st.floats(60, 180),
    own_bpm=st.one_of(st.none(), st.floats(60, 180)),
    key=st.sampled_from(KEYS),
    transpose=st.booleans(),
)
@settings(max_examples=60)
def test_a_fitted_tune_is_the_same_tune(
    midi: list[int], tempo_bpm: float, own_bpm: float | None, key: str, transpose: bool
) -> None:
    tune = Melody(notes(midi, start_s=0.7), tempo_bpm=own_bpm)
    fitted = fit_melody(tune, Groove(tempo_bpm=tempo_bpm, key=key), transpose=transpose)
    moved = {after.midi - before.midi for before, after in zip(tune.notes, fitted.notes, strict=True)}
    assert len(moved) == 1
    assert abs(moved.pop()) <= (6 if transpose else 0)
    lengths = [(n.end_s - n.start_s) for n in fitted.notes]
    assert max(lengths) == pytest.approx(min(lengths))
    assert 2**-0.51 < lengths[0] / 0.4 < 2**0.51
    assert fitted.loop_s is not None
    bars = fitted.loop_s * tempo_bpm / 240
    assert bars == pytest.approx(round(bars))
    if own_bpm is None:
        assert fitted.notes[0].start_s == 0


def test_a_known_tempo_is_stretched_by_the_octave() -> None:
    tune = Melody(notes(TUNE, start_s=0.5), tempo_bpm=100)
    assert fit_melody(tune, Groove(tempo_bpm=125), transpose=False).notes[1].start_s == pytest.approx(0.8)
    assert fit_melody(tune, Groove(tempo_bpm=200), transpose=False).notes[1].start_s == pytest.approx(1.0)
    assert fit_melody(tune, Groove(), transpose=False) == tune
    assert fit_melody(Melody(()), Groove(tempo_bpm=90), transpose=True) == Melody((), key=None)


@pytest.mark.parametrize("hummed_bpm", [116, 124, 152])
def test_a_hum_is_brought_to_the_beats_grid(hummed_bpm: float) -> None:
    eighth_s = 30 / hummed_bpm
    steps = (0, 2, 3, 4, 6, 8, 11, 12)
    rng = np.random.default_rng(0)
    late_s = rng.normal(0, 0.012, len(steps))
    line = [1.3 + n * eighth_s + late for n, late in zip(steps, late_s, strict=True)]
    tune = Melody(tuple(Note(start_s, start_s + 0.2, 60) for start_s in line))
    fitted = fit_melody(tune, Groove(tempo_bpm=140), transpose=False)
    eighths = np.array([note.start_s for note in fitted.notes]) / (30 / 140)
    assert np.abs(eighths - steps).max() < 0.25


def test_a_tune_moves_to_the_key_that_is_asked_for() -> None:
    tune = Melody(notes(TUNE), key="C major")
    for key, semitones in {"D major": 2, "A major": -3, "F# major": -6, "A minor": 0, "B minor": 2}.items():
        fitted = fit_melody(tune, Groove(tempo_bpm=90, key=key), transpose=True)
        assert fitted.notes[0].midi - tune.notes[0].midi == semitones
        assert fitted.key == key


def test_what_a_prompt_leaves_open_is_the_melodys() -> None:
    tune = Melody(notes(TUNE), tempo_bpm=88, key="C major")
    assert fill_groove(Groove(), tune, transpose=False) == Groove(tempo_bpm=88, key="C major")
    assert fill_groove(Groove(), tune, transpose=True) == Groove(tempo_bpm=88)
    asked = Groove(tempo_bpm=140, key="A minor")
    assert fill_groove(asked, tune, transpose=False) == asked


# -------------------------------------------------------------------------------------------- conditioner


def test_every_frame_is_told_its_pitch_class() -> None:
    prompt = Prompt("", melody=Melody(notes((60, 74), each_s=0.4, gap_s=0.2)))
    codes, valid = melody().encode([prompt, Prompt("")], spec=SPEC, num_frames=25)
    assert codes[0, :, 0].tolist() == [0] * 5 + [REST] * 5 + [2] * 5 + [REST] * 10
    assert valid[0].all()
    assert not valid[1].any()
    rests, _ = melody().encode([Prompt("", melody=Melody(()))], spec=SPEC, num_frames=5)
    assert (rests == REST).all()


@given(start=st.integers(0, 200), count=st.integers(0, 60), loop_s=st.one_of(st.none(), st.floats(0.5, 5)))
@settings(max_examples=40)
def test_windows_agree(start: int, count: int, loop_s: float | None) -> None:
    prompt = Prompt("", melody=Melody(notes(TUNE, each_s=0.37), loop_s=loop_s))
    whole, _ = melody().encode([prompt], spec=SPEC, num_frames=300)
    window, _ = melody().encode([prompt], spec=SPEC, start_frame=start, num_frames=count)
    assert torch.equal(window, whole[:, start : start + count])


def test_a_loop_comes_round() -> None:
    prompt = Prompt("", melody=Melody(notes(TUNE, each_s=0.53), loop_s=4.8))
    codes, _ = melody().encode([prompt], spec=SPEC, num_frames=240)
    assert torch.equal(codes[:, :120], codes[:, 120:])


def test_a_clips_tune_is_tracked_in_its_stem() -> None:
    line = notes(TUNE)
    stem = sung(line)
    noise = np.random.default_rng(0).normal(0, 0.3, stem.shape).astype(np.float32)
    with_stem, without = Clip(noise, RATE, stems={"lead": stem}), Clip(noise, RATE)
    codes, valid = melody().encode([with_stem, without], spec=SPEC, num_frames=100)
    wanted, _ = melody().encode([Prompt("", melody=Melody(line))], spec=SPEC, num_frames=100)
    assert (codes[0] == wanted[0]).float().mean() > 0.85
    assert (codes[1] == REST).float().mean() > 0.9
    assert valid.all()


# ------------------------------------------------------------------------------------- training, commands


@pytest.fixture(scope="module")
def melody_run(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A run that started from the toy run and hears melodies; trained once."""
    folder = tmp_path_factory.mktemp("melody")
    tree = melody_recipe(tiny_run)
    train_toy(folder, tree)
    return folder


def melody_recipe(tiny_run: Path) -> dict[str, Any]:
    import yaml

    tree: dict[str, Any] = yaml.safe_load((tiny_run / "recipe.yaml").read_text())
    tree |= {"name": "melody", "start_from": str(tiny_run)}
    tree["conditioners"]["melody"] = {"use": "melody"}
    for stage in ("semantic", "coarse", "fine"):
        tree["stages"][stage]["inputs"].insert(0, "melody")
        tree["stages"][stage]["steps"] = 2
    return tree


def test_a_run_starts_from_another_as_if_nothing_were_new(tiny_run: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", parse_recipe(melody_recipe(tiny_run), "melody.yaml"))
    train_stages(run, (), Quiet())
    parts = prepare_tokens(run, Quiet())
    old = MusicLM.load(tiny_run)
    for name in ("semantic", "coarse", "fine"):
        stage = make_stage(run, name, parts)
        batch, _ = stage.batch(0)
        assert (batch["melody"] >= 0).any()
        ours, theirs = stage.model.eval(), old.models[name]
        if name == "fine":
            results = [model.masked_hidden(batch["target"], batch, torch.tensor([2])) for model in (ours, theirs)]
        else:
            results = [model(batch)[0] for model in (ours, theirs)]
        torch.testing.assert_close(*results, rtol=1e-2, atol=1e-2)  # the other's weights are read at fp16


def test_a_run_refuses_to_start_from_other_parts(tiny_run: Path, tmp_path: Path) -> None:
    tree = melody_recipe(tiny_run)
    tree["mulan"]["dim"] = 8
    with pytest.raises(MismatchError, match="mulan"):
        train_stages(Run(tmp_path / "run", parse_recipe(tree, "melody.yaml")), ("coarse",), Quiet())
    tree = melody_recipe(tiny_run)
    tree["stages"]["coarse"]["model"]["width"] = 16
    with pytest.raises(MismatchError, match=r"coarse cannot start from .*other sizes"):
        train_stages(Run(tmp_path / "other", parse_recipe(tree, "melody.yaml")), ("coarse",), Quiet())


def test_tokens_hold_the_tune_of_every_clip(melody_run: Path) -> None:
    shards = Shards(melody_run / "tokens" / "train")
    for clip in range(len(shards)):
        tune = shards.row(aligned_name("melody", CODES), clip)
        assert tune.shape == (shards.lengths(CODES)[clip], 1)
        assert ((tune >= 0) & (tune <= REST)).all()


def test_generate_follows_a_file(melody_run: Path, tmp_path: Path) -> None:
    out, tune = tmp_path / "out.wav", write_midi(tmp_path / "tune.mid")
    words = ["generate", "90 bpm", "--melody", str(tune), "--transpose", "--model", str(melody_run)]
    result = CliRunner().invoke(make_app(), [*words, "-o", str(out), "--duration", "1", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["melody_notes"] == 8
    assert told["tempo_bpm"] == 90
    assert out.is_file()


def test_the_melody_reaches_the_model(melody_run: Path) -> None:
    lm = MusicLM.load(melody_run)
    state = lm.models["coarse"].embed_input["melody"]
    with torch.no_grad():
        state.table.normal_()  # as far from "not there" as can be
    tune = Melody(notes(TUNE))
    plain, one, again, other = (
        lm.generate("90 bpm", duration_s=1.0, melody=m)[0].audio
        for m in (None, tune, tune, replace(tune, notes=notes((61, 63, 66, 68))))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, plain)
    assert not np.array_equal(one, other)


def test_a_model_that_follows_no_melody_says_so(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="the model 'toy' follows no melody; train one"):
        MusicLM.load(tiny_run).generate("90 bpm", melody=Melody(notes(TUNE)))
    result = CliRunner().invoke(make_app(), ["generate", "90 bpm", "--transpose", "-o", str(tmp_path / "x.wav")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "give one with --melody" in result.stderr


# ---------------------------------------------------------------------------------------------- measuring


def test_agreement_is_one_for_the_tune_itself() -> None:
    line = notes(TUNE)
    clip = Clip(sung(line), RATE)
    assert agreement(clip, Melody(line)) > 0.95
    shifted = tuple(replace(note, midi=note.midi + 1) for note in line)
    assert agreement(clip, Melody(shifted)) < 0.1
    assert np.isnan(agreement(clip, Melody(())))
    assert pitch_classes(Melody(line), np.arange(5) / 10).tolist() == [0] * 4 + [-1]


def test_a_run_is_measured_beside_itself_without_the_tune(melody_run: Path, tmp_path: Path) -> None:
    rows = [{"file_name": f"{n}.wav", "tempo_bpm": 120, "beats_s": [b / 2 for b in range(8)]} for n in range(3)]
    for number, row in enumerate(rows):
        line = () if number == 2 else notes(TUNE[number:])  # the last one has no tune
        audio = sung(line) if line else np.zeros((1, 4 * RATE), np.float32)
        write_wav(tmp_path / row["file_name"], audio, RATE)
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    node = {"use": "folder", "path": str(tmp_path)}
    collect(node, tmp_path / "shards", sample_rate=8000, channels=1, report=lambda done, total: None)
    audio = Shards(tmp_path / "shards")
    lm = MusicLM.load(melody_run)
    figures = measure_melody(lm, audio, clips=3, duration_s=1.0, report=lambda done, total: None)
    assert figures["clips"] == 2
    assert figures["the_clip_itself"] > 0.8
    assert figures["chance"] == pytest.approx(1 / 12)
    assert all(0 <= figures[name] <= 1 for name in ("with_its_tune", "without_a_tune", "with_another_tune"))
    assert measure_melody(lm, audio, clips=3, duration_s=9.0, report=lambda done, total: None)["clips"] == 0


# ------------------------------------------------------------------------------------------- starting from


def test_a_run_of_its_own_does_not_start_from_another(tiny_run: Path, tmp_path: Path) -> None:
    """Its tokens would be of other parts than the weights."""
    tree = melody_recipe(tiny_run)
    own = Run(tmp_path / "run", parse_recipe(tree | {"start_from": None, "seed": 9}, "melody.yaml"))
    train_stages(own, ("mulan",), Quiet())
    with pytest.raises(MismatchError, match="state_sha256"):
        train_stages(Run(own.folder, parse_recipe(tree, "melody.yaml")), ("semantic",), Quiet())


def test_a_run_that_has_begun_needs_the_other_no_more(melody_run: Path, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(melody_run, tmp_path / "run")
    tree = melody_recipe(tiny_run) | {"start_from": str(tmp_path / "gone")}
    tree["stages"]["fine"]["steps"] = 3
    report = Quiet()
    train_stages(Run(tmp_path / "run", parse_recipe(tree, "melody.yaml")), ("fine",), report)
    assert [step for kind, step, _ in report.figures["fine"] if kind == "train"] == [3]


def test_what_cannot_be_started_from_says_so(tiny_run: Path, tmp_path: Path) -> None:
    tree = melody_recipe(tiny_run)
    with pytest.raises(RecipeError, match=r"which brings mulan; take `start_from` out"):
        train_stages(Run(tmp_path / "a", parse_recipe(tree, "melody.yaml")), ("mulan",), Quiet())
    bare = Run(tmp_path / "bare", parse_recipe(tree | {"start_from": None}, "melody.yaml"))
    bare.save_recipe()
    tree["start_from"] = str(bare.folder)
    with pytest.raises(ModelError, match="bare has no trained mulan, so nothing can start from it"):
        train_stages(Run(tmp_path / "b", parse_recipe(tree, "melody.yaml")), ("semantic",), Quiet())


def test_a_bundle_does_not_say_where_it_started(melody_run: Path, tmp_path: Path) -> None:
    export_bundle(melody_run, tmp_path / "bundle")
    assert load_recipe(tmp_path / "bundle" / "recipe.yaml").start_from is None
    assert str(melody_run.parent) not in (tmp_path / "bundle" / "recipe.yaml").read_text()


def test_a_conditioner_that_came_later_needs_new_tokens(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    tree = melody_recipe(tiny_run) | {"start_from": None}
    with pytest.raises(
        MismatchError, match=r"was made without conditioners\.melody; remove .*tokens and go on"
    ) as caught:
        train_stages(Run(tmp_path / "run", parse_recipe(tree, "melody.yaml")), ("coarse",), Quiet())
    assert "\n" not in str(caught.value)
