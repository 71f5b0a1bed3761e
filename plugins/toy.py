"""Tiny deterministic parts for every role, for tests: nothing to learn, nothing to load, 8 kHz mono."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rapgen.groove import KEYS, STYLES, describe
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import (
    Annotations,
    AudioCodec,
    Captioner,
    Clip,
    ClipRef,
    Conditioner,
    DataSource,
    Groove,
    Metric,
    Prompt,
    SemanticTokenizer,
    TextEncoder,
    TokenSpec,
)

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 8000  # Hz
_SEMANTIC_HOP = 320  # samples: two frames of the codec
_MU = 255.0  # of the codec's companding, as in telephony
_LOUDNESS_BUCKETS = 8  # of 6 dB
_CROSSING_BUCKETS = 4  # of an octave


@hookimpl
def rapgen_components(register: Register) -> None:
    register("codec", "toy", toy_codec)
    register("semantic", "toy", toy_semantic)
    register("text_encoder", "toy", toy_text_encoder)
    register("conditioner", "toy", toy_conditioner)
    register("source", "toy", toy_source)
    register("captioner", "toy", toy_captioner)
    register("metric", "toy", toy_metric)


def toy_codec(*, hop_length: int = 160, num_codebooks: int = 4, codebook_size: int = 64) -> AudioCodec:
    """For tests: codebook q holds cosine q of each frame, so only the bass is kept."""
    return ToyCodec(hop_length, num_codebooks, codebook_size)


def toy_semantic() -> SemanticTokenizer:
    """For tests: loudness and zero crossings of each frame, in 32 buckets."""
    return ToySemantic()


def toy_text_encoder() -> TextEncoder:
    """For tests: a fixed random vector for each word."""
    return ToyTextEncoder()


def toy_conditioner() -> Conditioner:
    """For tests: a prefix of a text's hash and a clip's loudness."""
    return ToyConditioner()


def toy_source(*, num_clips: int = 8, duration_s: float = 4.0, seed: int = 0) -> DataSource:
    """For tests: kicks on the beat and hats between them, at a tempo told in the annotations."""
    return ToySource(num_clips, duration_s, seed)


def toy_captioner() -> Captioner:
    """For tests: says what the annotations say."""
    return ToyCaptioner()


def toy_metric() -> Metric:
    """For tests: how many clips there are and how long they are."""
    return ToyMetric()


class ToyCodec(AudioCodec):
    """Companded cosine coefficients; frames are independent of each other."""

    channels = 1
    context_frames = (0, 0)

    def __init__(self, hop_length: int, num_codebooks: int, codebook_size: int) -> None:
        self.spec = TokenSpec(codebook_size, num_codebooks, SAMPLE_RATE, hop_length)
        self._hop = hop_length
        self._top = (codebook_size - 1) // 2  # ids 0 .. 2 * top; the middle one is exactly 0

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, 1, S] -> int64 [B, ceil(S / hop), Q]."""
        import torch

        amplitudes = _frames(audio, self._hop) @ self._cosines().to(audio.device).T / self._hop
        companded = amplitudes.sign() * torch.log1p(_MU * amplitudes.abs().clamp(max=1.0)) / np.log1p(_MU)
        return (companded * self._top).round().long() + self._top

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, 1, F * hop], from the first q <= Q codebooks."""
        companded = (codes - self._top).float() / self._top
        amplitudes = companded.sign() * ((1 + _MU) ** companded.abs() - 1) / _MU
        return (amplitudes @ self._cosines()[: codes.shape[-1]].to(codes.device)).flatten(1).unsqueeze(1)

    def _cosines(self) -> Tensor:
        """f32 [Q, hop]: orthogonal rows of mean square 1."""
        import torch

        places = (torch.arange(self._hop) + 0.5) / self._hop
        orders = torch.arange(self.spec.num_codebooks)
        rows = torch.cos(torch.pi * orders[:, None] * places)
        return rows * torch.where(orders == 0, 1.0, 2**0.5)[:, None]


class ToySemantic(SemanticTokenizer):
    """Token = loudness bucket * 4 + zero-crossing bucket."""

    spec = TokenSpec(_LOUDNESS_BUCKETS * _CROSSING_BUCKETS, 1, SAMPLE_RATE, _SEMANTIC_HOP)

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> int64 [B, ceil(S / hop), 1]."""
        frames = _frames(audio, _SEMANTIC_HOP)
        share = (frames.sign().diff(dim=-1) != 0).float().mean(-1)
        crossings = (share.clamp(min=1e-4).log2() + 5).long().clamp(0, _CROSSING_BUCKETS - 1)
        return (_loudness(frames) * _CROSSING_BUCKETS + crossings).unsqueeze(-1)


class ToyTextEncoder(TextEncoder):
    """Words are what lies between blanks and punctuation; case is ignored."""

    dim = 32

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (f32 [B, L, 32], bool [B, L])."""
        import torch

        words = [re.findall(r"[\w#]+", text.lower()) for text in texts]
        length = max(1, *map(len, words))
        vectors = np.zeros((len(texts), length, self.dim), np.float32)
        mask = np.arange(length) < np.array([len(found) for found in words])[:, None]
        vectors[mask] = [_word_vector(word) for found in words for word in found] or 0.0
        return torch.from_numpy(vectors), torch.from_numpy(mask)


class ToyConditioner(Conditioner):
    """A prefix of two: the hash of a prompt's text or a clip's first caption, and a clip's loudness."""

    is_aligned = False
    spec = TokenSpec(codebook_size=16, num_codebooks=2)

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> int64 [B, 2] and bool [B, 2]."""
        import torch

        codes = torch.zeros(len(items), 2, dtype=torch.int64)
        valid = torch.zeros(len(items), 2, dtype=torch.bool)
        for row, item in enumerate(items):
            if isinstance(item, Clip):
                codes[row, 1], valid[row, 1] = _loudness(torch.from_numpy(item.audio).flatten()), True
            for text in item.annotations.captions[:1] if isinstance(item, Clip) else (item.text,):
                codes[row, 0], valid[row, 0] = zlib.crc32(text.lower().encode()) % self.spec.codebook_size, True
        return codes, valid


class ToySource(DataSource):
    """Clip i depends on (seed, i, duration_s) alone."""

    def __init__(self, num_clips: int, duration_s: float, seed: int) -> None:
        self._num_clips, self._duration_s, self._seed = num_clips, duration_s, seed

    def refs(self) -> Iterator[ClipRef]:
        """One handle a clip: "toy-0003"."""
        for index in range(self._num_clips):
            yield ClipRef(id=f"toy-{index:04d}", track=f"toy-{index:04d}", payload={"index": index})

    def load(self, ref: ClipRef) -> Clip:
        """f32 [1, duration_s * 8000], with beats, groove and captions."""
        rng = np.random.default_rng([self._seed, ref.payload["index"]])
        tempo_bpm = float(rng.integers(40, 71) * 2)
        groove = Groove(
            tempo_bpm=tempo_bpm,
            key=KEYS[rng.integers(len(KEYS))],
            style=STYLES[rng.integers(2)],
            feel="straight",
        )
        beat_s = 60 / tempo_bpm
        time_s = np.arange(round(self._duration_s * SAMPLE_RATE)) / SAMPLE_RATE
        since_beat_s = time_s % beat_s
        kick = np.exp(-since_beat_s / 0.1) * np.sin(2 * np.pi * 55 * since_beat_s)
        hat = np.exp(-((time_s + beat_s / 2) % beat_s) / 0.02) * rng.uniform(-1, 1, len(time_s))
        annotations = Annotations(
            groove=groove,
            beats_s=tuple(np.arange(0, self._duration_s, beat_s).tolist()),
            captions=(describe(groove), f"{groove.style} drums", f"a beat at {tempo_bpm:g} bpm"),
            licence="CC0-1.0",
        )
        return Clip((0.8 * kick + 0.1 * hat)[None].astype(np.float32), SAMPLE_RATE, annotations)


class ToyCaptioner(Captioner):
    """One caption."""

    def caption(self, clip: Clip) -> list[str]:
        """The groove in words, or "a beat" where nothing is known."""
        return [describe(clip.annotations.groove) or "a beat"]


class ToyMetric(Metric):
    """Number and mean length of what was generated."""

    def __init__(self) -> None:
        self.durations_s: list[float] = []

    def update(self, generated: Sequence[Clip], prompts: Sequence[Prompt]) -> None:
        """Prompts change nothing."""
        self.durations_s += [clip.audio.shape[1] / clip.sample_rate for clip in generated]

    def merge(self, other: Metric) -> None:
        """Clips of both."""
        assert isinstance(other, ToyMetric)
        self.durations_s += other.durations_s

    def compute(self) -> dict[str, float]:
        """`clips` and `duration_s`, 0 where there is none."""
        count = len(self.durations_s)
        return {"clips": float(count), "duration_s": sum(self.durations_s) / max(1, count)}


def _frames(audio: Tensor, hop_length: int) -> Tensor:
    """f32 [B, C, S] -> f32 [B, F, hop] of the channels' mean; silence fills the last frame."""
    from torch.nn import functional as F

    return F.pad(audio.float().mean(1), (0, -audio.shape[-1] % hop_length)).unflatten(-1, (-1, hop_length))


def _loudness(samples: Tensor) -> Tensor:
    """f32 [..., S] -> int64 [...]: 0 below -42 dB, then a bucket every 6 dB."""
    level = samples.square().mean(-1).clamp(min=1e-9).log2() / 2
    return (level + _LOUDNESS_BUCKETS).long().clamp(0, _LOUDNESS_BUCKETS - 1)


@cache
def _word_vector(word: str) -> np.ndarray:
    """f32 [32], the same on every machine."""
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(ToyTextEncoder.dim, np.float32)
