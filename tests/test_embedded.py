"""The model that comes with rapgen, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from rapgen import MusicLM
from rapgen.evaluation.beats import estimate_tempo_bpm
from rapgen.models.patterns import PAD
from rapgen.schema import Sampling

pytestmark = pytest.mark.xdist_group("embedded")
BUNDLE = Path(str(files("rapgen.bundles"))) / "boombox"
RAPGEN = Path(sys.executable).with_name("rapgen")
BAR_S = 4 * 60 / 90


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


def test_generating_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """An 8 s beat is to spend under 3 s outside of decoding: each of these takes a tenth of a second or a whole one."""
    code = """if True:
        import sys
        from rapgen.cli import main
        sys.argv = ["rapgen", "generate", "boom bap, 90 bpm", "--duration", "1", "-o", sys.argv[1]]
        try:
            main()
        finally:
            print(*sorted(sys.modules), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.wav"], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert {"torch", "rapgen.generation.musiclm"} <= loaded
    assert not loaded & {*UNUSED}


UNUSED = (
    "transformers", "accelerate", "torchaudio", "scipy", "pandas", "datasets", "tensorboard", "matplotlib", "librosa",
    "sklearn", "ray", "pyarrow", "sympy", "torch._dynamo", "torch._inductor", "encodec", "dac", "sounddevice", "av",
    "mido", "jinja2", "rapgen.training", "rapgen.data", "rapgen.tokens.shards", "rapgen_plugins.beatmaker.render",
)  # fmt: skip


def test_a_seed_is_a_beat(lm: MusicLM) -> None:
    same = [lm.generate("trap, 140 bpm", duration_s=1.5, seed=3)[0].audio for _ in range(2)]
    other = lm.generate("trap, 140 bpm", duration_s=1.5, seed=4)[0].audio
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], other)
    assert np.abs(same[0]).max() > 0.1


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_eight_bits_draw_what_fp32_draws(lm: MusicLM, stage: str) -> None:
    """The tokens' chances differ by less than a hundredth of a nat, from conditions alone and over random tokens."""
    model = lm.models[stage]
    torch.manual_seed(0)
    tokens = torch.randint(model.target.codebook_size, (2, 60, model.target.num_codebooks))
    with torch.inference_mode():
        x = model.embed_steps(tokens)
        exact = F.linear(model.transformer(x), model.heads()).unflatten(-1, (model.target.num_codebooks, -1))
        steps = lm.engine(stage).begin(2, 60, Sampling(guidance_scale=1))
        steps.restart(x[:, :0])
        before, noise = torch.full_like(tokens[:, 0], PAD), torch.zeros_like(exact[:, 0])
        beside, made = x - model.embed_steps(before)[:, None], []
        for n in range(60):
            steps.step(before, beside[:, n], noise)
            made.append(steps.logits.clone())
    chances, others = exact.log_softmax(-1), torch.stack(made, 1).log_softmax(-1)
    assert (chances.exp() * (chances - others)).sum(-1).mean() < 0.01


def test_ten_seconds_have_the_tempo(lm: MusicLM) -> None:
    beats = [lm.generate("boom bap, 90 bpm", duration_s=10, seed=seed)[0] for seed in range(3)]
    assert {beat.audio.shape for beat in beats} == {(1, 240_000)}
    near = [
        min(abs(estimate_tempo_bpm(beat.audio, beat.sample_rate) / octave - 90) for octave in (0.5, 1, 2)) < 1.8
        for beat in beats
    ]
    assert sum(near) >= 2


def test_bar_40_is_on_the_beat(lm: MusicLM) -> None:
    """Forty bars at 90 bpm have their exact length, and the last drums are as much on the grid as the first."""
    (beat,) = lm.generate("boom bap, 90 bpm", bars=40, seed=1)
    assert beat.audio.shape[1] == round(40 * BAR_S * 24_000)
    envelope = librosa.onset.onset_strength(y=beat.audio[0], sr=beat.sample_rate, hop_length=120, n_fft=1024)
    for first_bar in (0, 32):
        late_s, clarity = phase(envelope**2, beat.sample_rate / 120, first_bar)
        assert abs(late_s) < 0.02
        assert clarity > 0.3  # of four seeds, 0.35 to 0.64, in 8 bits as in fp32


def phase(onsets: np.ndarray, rate: float, first_bar: int) -> tuple[float, float]:
    """How late the onsets of eight bars are on the grid of eighths, in seconds, and how much they agree, 0 .. 1."""
    times = np.arange(len(onsets)) / rate
    here = (times >= first_bar * BAR_S) & (times < (first_bar + 8) * BAR_S)
    mean = (onsets[here] * np.exp(-2j * np.pi * times[here] / (BAR_S / 8))).sum() / onsets[here].sum()
    return float(-np.angle(mean) / (2 * np.pi) * BAR_S / 8), float(abs(mean))
