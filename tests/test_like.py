"""Beats that sound like a reference: the conditioners `mulan` and `audio` given a clip, and `--like`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rapgen.audio.io import write_wav
from rapgen.cli.app import make_app
from rapgen.errors import PromptError
from rapgen.generation.musiclm import MusicLM
from rapgen.interfaces import Clip, Prompt
from rapgen.parts import load_parts
from rapgen.recipe import load_recipe
from rapgen_plugins.mulan import audio, mulan

RATE = 8000


def tone(hz: float, seed: int = 0) -> Clip:
    time_s = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time_s))
    return Clip((0.5 * np.sin(2 * np.pi * hz * time_s) + noise)[None].astype(np.float32), RATE)


@pytest.fixture(scope="module")
def bound(tiny_run: Path) -> dict[str, Any]:
    """Both conditioners, bound to the toy run's MuLaN."""
    parts = load_parts(tiny_run, load_recipe(tiny_run / "recipe.yaml"))
    made = {"mulan": mulan(window_s=2.0), "audio": audio(window_s=2.0)}
    for conditioner in made.values():
        conditioner.bind({"mulan": parts["mulan"].component})
    return made


def test_the_weight_goes_from_the_words_to_the_sound(bound: dict[str, Any]) -> None:
    conditioner, like = bound["mulan"], tone(100)
    text, _ = conditioner.encode([Prompt("trap")])
    sound, _ = conditioner.encode([like])
    codes, valid = conditioner.encode([Prompt("trap", like=like, like_weight=w) for w in (0.0, 1.0)])
    assert torch.equal(codes, torch.cat([text, sound]))
    assert valid.all()
    part = conditioner._part
    ways = [
        part.quantizer.among_audio(part.module.embed_text(["trap"])),
        part.module.embed_audio(torch.from_numpy(like.audio)[None]),
    ]
    half, _ = conditioner.encode([Prompt("trap", like=like, like_weight=0.5)])
    assert torch.equal(half, part.quantizer.encode((ways[0] + ways[1]) / 2))


def test_sound_alone_needs_no_words(bound: dict[str, Any]) -> None:
    for conditioner in bound.values():
        codes, valid = conditioner.encode([Prompt("", like=tone(100)), Prompt("")])
        assert valid.all(1).tolist() == [True, False]
        assert torch.equal(codes[:1], conditioner.encode([tone(100)])[0])


def test_audio_hears_references_and_reads_no_words(bound: dict[str, Any]) -> None:
    _, valid = bound["audio"].encode([Prompt("trap"), Prompt("trap", like=tone(100), like_weight=0.0), tone(90)])
    assert valid.all(1).tolist() == [False, True, True]
    views = bound["audio"].views(tone(100))
    assert views
    assert all(isinstance(view, Clip) for view in views)


def test_generate_sounds_like_a_file(tiny_run: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "ref.wav", tone(100).audio, RATE)
    words = ["generate", "90 bpm", "--model", str(tiny_run), "--duration", "1", "--json", "-o"]
    made = {}
    for name, more in {
        "words": [],
        "like": ["--like", "ref.wav"],
        "mixed": ["--like", "ref.wav", "--like-weight", "0"],
    }.items():
        more = [str(tmp_path / word) if word == "ref.wav" else word for word in more]
        result = CliRunner().invoke(make_app(), [*words, str(tmp_path / f"{name}.wav"), *more])
        assert result.exit_code == 0, result.output
        made[name] = (tmp_path / f"{name}.wav").read_bytes()
        assert json.loads(result.stdout)["prompt"] == "90 bpm"
    assert made["words"] == made["mixed"]


def test_the_reference_reaches_the_model(tiny_run: Path) -> None:
    lm = MusicLM.load(tiny_run)
    with torch.no_grad():
        for model in lm.models.values():
            if "mulan" in model.embed_input:
                model.embed_input["mulan"].table *= 30
    one, again, other = (
        lm.generate("90 bpm", duration_s=1.0, like=clip, seed=3)[0].audio for clip in (tone(60), tone(60), tone(1500))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"), [({"like_weight": 1.5}, "a weight of 1.5"), ({"like": "no.wav"}, "no audio file")]
)
def test_what_cannot_be_followed_is_one_line(tiny_run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        MusicLM.load(tiny_run).generate("90 bpm", duration_s=1.0, **options)
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_listen_says_so(tiny_run: Path) -> None:
    lm = MusicLM.load(tiny_run)
    lm.parts["conditioners.mulan"].component.hears = frozenset()
    with pytest.raises(PromptError, match="the model 'toy' cannot listen to audio"):
        lm.generate("90 bpm", like=tone(100))


def test_a_weight_without_a_reference_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        make_app(), ["generate", "90 bpm", "--like-weight", "0.5", "-o", str(tmp_path / "x.wav")]
    )
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "give one with --like" in result.stderr
