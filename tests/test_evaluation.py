"""`rapgen evaluate` and the figures behind it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rapgen.cli.app import make_app
from rapgen.evaluation.beats import estimate_tempo_bpm, measure_ceiling
from rapgen.evaluation.gates import unigram
from rapgen.interfaces import Annotations, Clip, Groove

RATE = 24_000


def clicks(tempo_bpm: float) -> np.ndarray:
    """f32 [1, 10 s] of short bursts of noise on every beat."""
    audio = np.zeros(10 * RATE, np.float32)
    burst = np.random.default_rng(0).normal(0, 0.3, 600).astype(np.float32) * np.linspace(1, 0, 600, dtype=np.float32)
    for start in np.arange(0, 9.9, 60 / tempo_bpm):
        audio[round(start * RATE) :][:600] = burst
    return audio[None]


@pytest.mark.parametrize("tempo_bpm", [84.0, 90.0, 97.0, 133.0, 140.0])
def test_the_estimator_is_finer_than_its_bins(tempo_bpm: float) -> None:
    found = estimate_tempo_bpm(clicks(tempo_bpm), RATE)
    assert min(abs(found / tempo_bpm / octave - 1) for octave in (0.5, 1, 2)) < 0.005


def test_the_ceiling_counts_octaves_apart_and_leaves_out_unknown_tempos() -> None:
    clips = [Clip(clicks(90), RATE, Annotations(Groove(tempo_bpm=t))) for t in (90, 180, 120, None)]
    found = measure_ceiling(clips)
    assert found["beats"] == 3
    assert found["tempo_hit_octaves_allowed"] == pytest.approx(2 / 3)
    assert found["tempo_hit"] == pytest.approx(1 / 3)


def test_unigram_is_the_best_constant_guess() -> None:
    tokens = torch.tensor([[0, 3], [0, 3], [1, 3], [-1, 3]])
    found = unigram(tokens, 4)
    assert found["unigram_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["unigram_loss"] == pytest.approx((math.log(3) - 2 / 3 * math.log(2)) / 2)


def test_every_stage_of_a_run_is_measured(tiny_run: Path) -> None:
    done = CliRunner().invoke(make_app(), ["evaluate", str(tiny_run), "--clips", "3", "--seeds", "0", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert list(figures) == ["codec", "mulan", "semantic", "coarse", "fine"]
    assert figures["codec"]["kbit_per_s"] > 0
    assert 0 <= figures["mulan"]["recall@1 a2t"] <= 1
    for stage in ("semantic", "coarse", "fine"):
        assert 0 <= figures[stage]["accuracy"] <= 1
        assert figures[stage]["unigram_loss"] > 0
