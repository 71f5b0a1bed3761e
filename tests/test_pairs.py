"""Parts of different roles know nothing of each other: every two of them train together and generate."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DIM, LAYERS
from conftest import train_toy

from rapgen.generation.musiclm import MusicLM
from rapgen.tokens.streams import TOKEN_STAGES

PARTS: dict[str, dict[str, dict[str, Any]]] = {  # role -> name of the case -> node; a new part is a new line
    "codec": {
        "toy": {"use": "toy"},
        "boombox": {"use": "boombox", "codebook_size": 16, "width": 16, "latent_width": 16, "code_dim": 8},
        "encodec": {"use": "encodec", "weights": "random"},
        "encodec-48": {"use": "encodec", "sample_rate": 48_000, "weights": "random"},
        "dac": {"use": "dac", "sample_rate": 16_000, "num_codebooks": 3, "weights": "random"},
    },
    "semantic": {
        "toy": {"use": "toy"},
        "rhythm-kmeans": {"use": "rhythm-kmeans", "codebook_size": 8},
        "hubert": {"use": "hubert", "layer": LAYERS, "codebook_size": 8},
    },
    "text_encoder": {
        "toy": {"use": "toy"},
        "minilm": {"use": "minilm"},
        "hf": {"use": "hf", "dim": DIM},
        "hf-tuned": {"use": "hf", "dim": DIM, "fine_tune": True},
    },
}


def combinations() -> list[dict[str, str]]:
    """As few as hold every two parts of different roles: the two larger roles crossed, the third going round."""
    first, second, third = sorted(PARTS, key=lambda role: -len(PARTS[role]))
    last = list(PARTS[third])
    crossed = itertools.product(enumerate(PARTS[first]), enumerate(PARTS[second]))
    return [{first: a, second: b, third: last[(i + j) % len(last)]} for (i, a), (j, b) in crossed]


def test_no_pair_is_left_out() -> None:
    seen = {pair for row in combinations() for pair in itertools.combinations(sorted(row.items()), 2)}
    for one, other in itertools.combinations(sorted(PARTS), 2):
        for a, b in itertools.product(PARTS[one], PARTS[other]):
            assert ((one, a), (other, b)) in seen


@pytest.mark.parametrize("row", combinations(), ids=lambda row: "-".join(row[role] for role in PARTS))
def test_parts_train_together(
    row: dict[str, str], toy_recipe: dict[str, Any], tiny_checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """Two steps of each stage; then a moment from words."""
    for role, name in row.items():
        toy_recipe[role] = dict(PARTS[role][name])
        if toy_recipe[role]["use"] in tiny_checkpoints:
            toy_recipe[role]["path"] = str(tiny_checkpoints[toy_recipe[role]["use"]])
    for split, clips in (("train", 2), ("valid", 1)):
        toy_recipe["data"][split] |= {"num_clips": clips, "duration_s": 1.2}
    toy_recipe["stages"]["codec"] = {"crop_s": 0.4}
    for settings in toy_recipe["stages"].values():
        settings |= {"steps": 2, "batch_size": 2}
    report = train_toy(tmp_path / "run", toy_recipe)
    assert {"mulan", *TOKEN_STAGES} <= report.figures.keys()
    for figures in report.figures.values():
        assert [step for kind, step, _ in figures if kind == "train"] == [1, 2]
        assert all(np.isfinite(value) for _, _, found in figures for value in found.values())
    (beat,) = MusicLM.load(tmp_path / "run").generate("trap, 140 bpm, F# minor", duration_s=0.2)
    assert beat.audio.shape[1] == round(0.2 * beat.sample_rate)
    assert np.isfinite(beat.audio).all()
