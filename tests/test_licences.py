"""The licences of weights that somebody else made are told, and travel with what is made."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import save_file
from typer.testing import CliRunner

from rapgen import __version__
from rapgen.cli.app import make_app
from rapgen.generation.export import export_bundle
from rapgen.generation.musiclm import MusicLM
from rapgen.identities import half, licences
from rapgen.parts import build_parts
from rapgen.recipe import load_recipe
from rapgen.registry import build
from rapgen.weights import tell_licence
from rapgen_plugins.toy import ToyCodec

RAPGEN = Path(sys.executable).with_name("rapgen")
LICENCE = "CC-BY-9.0 (a friend's)"


@pytest.fixture
def licensed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy codec has somebody else's weights."""
    monkeypatch.setattr(ToyCodec, "licence", LICENCE, raising=False)


def test_a_bundle_says_under_which_licences(licensed: None, tiny_run: Path, tmp_path: Path) -> None:
    export_bundle(tiny_run, tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle/meta.json").read_text())["licences"] == {"codec": LICENCE}


def test_a_beat_says_under_which_licences(licensed: None, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    command = ["generate", "trap", "--model", tiny_run, "-o", out, "--duration", "0.5", "--json"]
    done = CliRunner().invoke(make_app(), [str(word) for word in command])
    assert json.loads(done.stdout)["model"]["licences"] == {"codec": LICENCE}
    with soundfile.SoundFile(out) as file:
        assert file.copyright == f"made with weights of others, codec: {LICENCE}"
        assert file.software.startswith(f"rapgen {__version__}")


def test_a_round_trip_says_under_which_licence(licensed: None, tiny_run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.sin(np.arange(4000) / 9), 8000)
    words = ["codec", "roundtrip", tmp_path / "in.wav", tmp_path / "out.wav", "--model", tiny_run]
    assert CliRunner().invoke(make_app(), [str(word) for word in words]).exit_code == 0
    with soundfile.SoundFile(tmp_path / "out.wav") as file:
        assert file.copyright.endswith(LICENCE)


def test_what_is_rapgens_own_has_no_licence_of_others(tiny_run: Path, tmp_path: Path) -> None:
    (beat,) = MusicLM.load(tiny_run).generate("trap", duration_s=0.2)
    assert beat.licences == {}
    beat.save(tmp_path / "out.wav")
    with soundfile.SoundFile(tmp_path / "out.wav") as file:
        assert file.copyright == ""
    assert licences(build_parts(load_recipe("boombox"))) == {}


def test_the_licences_of_the_codecs() -> None:
    def licence(**node: object) -> str | None:
        return build("codec", node).licence

    assert licence(use="dac") == "MIT (Descript Audio Codec)"
    assert str(licence(use="encodec")).startswith("CC-BY-NC-4.0 (EnCodec")
    assert str(licence(use="encodec", sample_rate=48_000)).startswith("CC-BY-NC-4.0 (EnCodec")
    assert licence(use="dac", weights="mine.th") == "MIT (Descript Audio Codec), unless they are yours"
    assert licence(use="dac", weights="random") is licence(use="encodec", weights="random") is None


def test_a_licence_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tell_licence.cache_clear()
    with caplog.at_level(logging.INFO, logger="rapgen.weights"):
        for _ in range(3):
            tell_licence("codec 'mine'", "w.th", LICENCE)
        tell_licence("codec 'other'", "w.th", LICENCE)
    assert caplog.messages == [f"codec '{n}' uses weights of others, w.th: {LICENCE}" for n in ("mine", "other")]


def test_the_command_line_tells_a_licence_when_weights_are_read(tmp_path: Path) -> None:
    save_file(half(build("codec", {"use": "encodec", "weights": "random"}).state()), tmp_path / "w.safetensors")
    soundfile.write(tmp_path / "in.wav", 0.1 * np.sin(np.arange(4000) / 9), 8000)
    words = [RAPGEN, "codec", "roundtrip", tmp_path / "in.wav", tmp_path / "out.wav", "--recipe", "base"]
    words += ["--set", "codec.use=encodec", "--set", f"codec.weights={tmp_path / 'w.safetensors'}"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "COLUMNS": "300"})
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "codec 'encodec' uses weights of others, w.safetensors: CC-BY-NC-4.0 (EnCodec release 0.1.1" in line
    assert "8 codebooks, 6 kbps" in done.stdout
    with soundfile.SoundFile(tmp_path / "out.wav") as file:
        assert "codec: CC-BY-NC-4.0" in file.copyright


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--recipe", "base"], "codec 'boombox' of recipe 'base' is not trained yet; give a run of it with --model"),
        (["--recipe", "base", "--model", "x"], "give --model or --recipe, not both"),
        (["--set", "codec.use=encodec"], "--set changes a recipe; name one with --recipe"),
    ],
)
def test_a_round_trip_needs_a_codec_that_is_trained(words: list[str], told: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(100), 8000)
    start = ["codec", "roundtrip", str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    done = CliRunner().invoke(make_app(), [*start, *words])
    assert (done.exit_code, done.stderr) == (2, f"error: {told}\n")
