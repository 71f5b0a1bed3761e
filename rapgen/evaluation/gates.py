"""A gate a stage: figures on held-out clips that say whether a model learned anything, beside what guessing gives."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rapgen.errors import ModelError
from rapgen.evaluation.beats import Figures, measure_ceiling
from rapgen.evaluation.melody import measure_melody
from rapgen.generation.musiclm import MusicLM
from rapgen.models.spectral_loss import MelDistance, si_sdr
from rapgen.schema import Node
from rapgen.tokens.batches import generator
from rapgen.tokens.collect import collect, stored_clip
from rapgen.tokens.shards import Shards
from rapgen.tokens.streams import crop_frames, gather
from rapgen.tokens.tokenize import tokenize

Report = Callable[[str], Callable[[int, int], None]]
ROWS = 16  # clips a batch


def measure(lm: MusicLM, *, clips: int, beats_s: float | None, report: Report) -> dict[str, Figures]:
    """Figures of codec, MuLaN and the token stages on the first `clips` held-out clips of the model's recipe.

    `beats_s` adds how well the tempo estimator does on the clips themselves and, where the model follows melodies, how
    well it follows those of the clips in beats of that length.
    """
    with tempfile.TemporaryDirectory(prefix="rapgen-") as folder:
        codec = lm.parts["codec"].component
        node: Node = lm.recipe.data.valid
        sound, words = Path(folder) / "audio", Path(folder) / "tokens"
        collect(
            node,
            sound,
            sample_rate=codec.spec.sample_rate,
            channels=codec.channels,
            report=report("held-out audio"),
            limit=clips,
        )
        tokenize(sound, lm.parts, words, report=report("held-out tokens"))
        audio, tokens = Shards(sound), Shards(words)
        count = min(clips, len(audio))
        figures = {"codec": measure_codec(lm, audio, tokens, count), "mulan": measure_mulan(lm, audio, count)}
        for stage in lm.models:
            figures[stage] = measure_stage(lm, stage, tokens, count)
        if beats_s is not None:
            figures["tempo of held-out clips"] = measure_ceiling(stored_clip(audio, i) for i in range(count))
        if beats_s is not None and lm.hears("melody"):
            bar = report("melodies")
            figures["melody"] = measure_melody(lm, audio, clips=count, duration_s=beats_s, report=bar)
    return figures


@torch.inference_mode()
def measure_codec(lm: MusicLM, audio: Shards, tokens: Shards, count: int) -> Figures:
    """Round trip: log-mel distance in nepers, SI-SDR in dB, kbit/s, codes in use, times real time."""
    codec = lm.parts["codec"].component
    spec = codec.spec
    mel = MelDistance(sample_rate=spec.sample_rate)
    distances, ratios, seconds, used = [], [], [0.0, 0.0, 0.0], torch.zeros(spec.num_codebooks, spec.codebook_size)
    for index in range(count):
        original = torch.from_numpy(stored_clip(audio, index).audio)[None]
        started = time.perf_counter()
        codes = codec.encode(original)
        encoded = time.perf_counter()
        decoded = codec.decode(codes)[..., : original.shape[-1]]
        seconds[0] += encoded - started
        seconds[1] += time.perf_counter() - encoded
        seconds[2] += original.shape[-1] / spec.sample_rate
        distances.append(float(mel(decoded, original)))
        ratios.append(float(si_sdr(decoded, original).mean()))
        used[torch.arange(spec.num_codebooks), codes.reshape(-1, spec.num_codebooks)] = 1
    return {
        "log_mel_distance": float(np.mean(distances)),
        "si_sdr_db": float(np.mean(ratios)),
        "kbit_per_s": spec.kbit_per_s,
        "codes_in_use": float(used.mean()),
        "encode_times_real_time": seconds[2] / seconds[0],
        "decode_times_real_time": seconds[2] / seconds[1],
    }


@torch.inference_mode()
def measure_mulan(lm: MusicLM, audio: Shards, count: int) -> Figures:
    """Retrieval among `count` clips by their captions, both ways, and what chance gives."""
    module = lm.parts["mulan"].component.module
    captions = [a.captions for a in audio.annotations[:count]]
    if not all(captions):
        raise ModelError("the held-out clips have no captions; MuLaN cannot be measured on them")
    rng = generator(lm.recipe.seed, "measure mulan")
    texts = [c[int(rng.integers(len(c)))] for c in captions]
    size = min(len(audio.row("audio", i)) for i in range(count))
    clips = torch.stack([torch.from_numpy(stored_clip(audio, i).audio[:, :size]) for i in range(count)])
    _, logs = module(clips, module.encode_text(texts))
    return {name: float(value) for name, value in logs.items()} | {"chance@1": 1 / count, "chance@5": 5 / count}


@torch.inference_mode()
def measure_stage(lm: MusicLM, stage: str, tokens: Shards, count: int) -> Figures:
    """Next-token loss and accuracy, beside those of the best unigram: the held-out tokens' own frequencies."""
    streams, model = lm.streams[stage], lm.models[stage]
    settings = getattr(lm.recipe.stages, stage)
    crop = crop_frames(settings, streams.target)
    rng = generator(lm.recipe.seed, "measure", stage)
    torch.manual_seed(0)  # the masks of FINE
    found: list[Figures] = []
    targets: list[Tensor] = []
    for first in range(0, count, ROWS):
        clips = np.arange(first, min(first + ROWS, count))
        length = int(tokens.lengths(streams.source)[clips].max())
        for start in range(0, max(1, length - crop + 1), crop):
            frames = np.broadcast_to(start + np.arange(crop), (len(clips), crop))
            batch = gather(tokens, streams, clips, frames, rng.random((len(clips), len(streams.inputs))))
            loss, logs = model(batch)
            found.append({"loss": float(loss), "accuracy": float(logs["accuracy"])})
            targets.append(batch["target"].flatten(0, 1))
    figures = {name: float(np.mean([f[name] for f in found])) for name in ("loss", "accuracy")}
    return figures | unigram(torch.cat(targets), streams.target.codebook_size)


def unigram(tokens: Tensor, size: int) -> Figures:
    """Loss and accuracy of always predicting a codebook's frequencies: int64 [N, Q], negative where unknown."""
    shares = [torch.bincount(column[column >= 0], minlength=size).double() for column in tokens.unbind(1)]
    shares = [counts / counts.sum() for counts in shares]
    return {
        "unigram_loss": float(np.mean([float(torch.special.entr(s).sum()) for s in shares])),
        "unigram_accuracy": float(np.mean([float(s.max()) for s in shares])),
    }
