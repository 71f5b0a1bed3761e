"""What the parts of rapgen are to each other: data that travels, and the protocols that components keep.

Nothing here imports torch; a plugin module that imports only this stays cheap to discover.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

LEAD = "lead"
"""The stem that carries a clip's tune, where it has one."""

ROLES = ("codec", "semantic", "text_encoder", "conditioner", "source", "captioner", "metric")
"""The roles a component can have; each has one protocol below."""


# ---------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class TokenSpec:
    """Shape and rate of a stream of tokens.

    A *frame-aligned* stream has `sample_rate` and `hop_length`: frame `f` starts at sample `f * hop_length`.
    A *prefix* has neither: one set of `num_codebooks` tokens a clip.
    """

    codebook_size: int  # ids 0 .. codebook_size - 1
    num_codebooks: int
    sample_rate: int | None = None  # Hz
    hop_length: int | None = None  # samples a frame

    @property
    def is_prefix(self) -> bool:
        """Whether the stream is one set of tokens a clip."""
        return self.hop_length is None

    @property
    def kbit_per_s(self) -> float:
        """Bits that the tokens of a frame-aligned stream take, in kbit/s."""
        return self.num_codebooks * math.log2(self.codebook_size) * self.frame_rate / 1000

    @property
    def frame_rate(self) -> float:
        """Frames a second, for display and durations; positions use `hop_length`."""
        if self.sample_rate is None or self.hop_length is None:
            raise ValueError("a prefix has no frame rate")
        return self.sample_rate / self.hop_length

    def frames(self, duration_s: float) -> int:
        """Frames that come nearest to a duration."""
        return round(duration_s * self.frame_rate)


@dataclass(frozen=True)
class Groove:
    """The musical facts a prompt asks for or a clip is known to have; None where nothing is said."""

    tempo_bpm: float | None = None  # of the grid: a bar lasts 4 * 60 / tempo_bpm seconds
    key: str | None = None  # "F# minor"; one of rapgen.groove.KEYS
    style: str | None = None  # "boom bap"
    feel: str | None = None  # "straight", "half" or "double": the drums' pulse against the grid
    bars: int | None = None  # of four beats


@dataclass(frozen=True)
class Chord:
    """A chord, until the next one."""

    start_s: float
    name: str  # "F#m7"; "N" where there is none


@dataclass(frozen=True)
class Upload:
    """What whoever put a track on the web wrote of it; empty where nothing is said."""

    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    uploader: str = ""
    url: str = ""


@dataclass(frozen=True)
class Annotations:
    """What is known of a clip; empty, or None, where nothing is."""

    groove: Groove = Groove()
    beats_s: tuple[float, ...] = ()  # seconds from the clip's start
    first_beat: int = 0  # number of beats_s[0] counted from a downbeat that opens a phrase
    captions: tuple[str, ...] = ()
    licence: str | None = None
    swing: float | None = None  # where in its pair the second 16th falls: 0.5 is straight, 0.667 a triplet
    chords: tuple[Chord, ...] = ()
    instruments: tuple[str, ...] = ()  # the most prominent first
    moods: tuple[str, ...] = ()
    energy: float | None = None  # 0 calm .. 1 wild
    upload: Upload = Upload()
    weight: float = 1.0  # how often training sees the clip, against others


@dataclass(frozen=True)
class Note:
    """A note of a melody."""

    start_s: float
    end_s: float
    midi: int  # 69 is A4


@dataclass(frozen=True)
class Melody:
    """One line of notes, none over another, in the order of time. `loop_s`: after so many seconds it begins anew."""

    notes: tuple[Note, ...]
    tempo_bpm: float | None = None  # that it was played at, where that is known
    key: str | None = None  # "F# minor", where that is known
    loop_s: float | None = None


@dataclass(frozen=True)
class ClipRef:
    """A stable, picklable, cheap handle on a clip; `track` keeps a track's clips in one split."""

    id: str
    track: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """A stretch of audio with what is known of it."""

    audio: np.ndarray  # float32 [channels, samples], within -1 .. 1
    sample_rate: int  # Hz
    annotations: Annotations = Annotations()
    stems: Mapping[str, np.ndarray] = field(default_factory=dict)  # parts alone, as long as audio: LEAD, "drums"
    midi: bytes | None = None  # a standard MIDI file of its notes


@dataclass(frozen=True)
class Prompt:
    """What a user asks for. `groove` holds what was read from `text`, then what was drawn to fill its gaps."""

    text: str
    negative_text: str | None = None
    duration_s: float | None = None
    seed: int = 0
    groove: Groove = Groove()
    melody: Melody | None = None  # to be followed
    like: Clip | None = None  # to sound like
    like_weight: float = 1.0  # of `like` against the text, 0 .. 1


@dataclass(frozen=True)
class Identity:
    """What made a component what it is; two artefacts fit together when their identities agree.

    Locations (paths, cache folders) are left out of `options`; `state_sha256` covers the sorted state.
    """

    role: str
    name: str
    distribution: str
    version: str
    options: Mapping[str, Any]
    spec: TokenSpec | None
    state_sha256: str
    source_sha256: str | None = None  # of an exported copy: its source's state_sha256


# ---------------------------------------------------------------------------------------- components


@runtime_checkable
class Component(Protocol):
    """What every component can do. The bodies here are the defaults for a component without state.

    A component whose state comes from a package or path of its own sets `is_external = True`: it is identified by its
    state, but runs and bundles do not store it. One with weights that somebody else made says in `licence: str` under
    which licence they are used, and tells it when it reads them (`rapgen.weights.tell_licence`); bundles and WAV files
    made with it carry it.

    A factory, registered under (role, name), takes keyword-only options and returns a component. A component
    that learns from data before any training has `fit(clips)`; one that trains in the loop is `Trainable`.
    """

    def state(self) -> dict[str, Tensor]:
        """All tensors that make the component, buffers included."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the tensors of `state()`; raises KeyError or ValueError where they do not fit."""
        if state:
            raise ValueError(f"{type(self).__name__} has no state, got {sorted(state)}")

    def to(self, device: torch.device | str) -> None:
        """Move all tensors to `device`."""
        return None

    def bind(self, parts: Mapping[str, Any]) -> None:
        """Be shown the run's other parts (`parts["mulan"]`, ...) once all are built."""
        return None


@runtime_checkable
class Fittable(Protocol):
    """A component that learns from clips outside of the training loop."""

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Learn from clips at the codec's rate, as they come; each is seen once."""


@runtime_checkable
class Trainable(Protocol):
    """A component that trains in the loop."""

    @property
    def module(self) -> torch.nn.Module:
        """The module whose parameters are trained; calling it computes the loss.

        `module(audio f32 [B, C, S]) -> (loss f32 [], logs {name: f32 []})`. Where several processes train together,
        each calls it with its rows: losses, logs and gradients are averaged, buffers are those of rank 0.
        """
        ...


class AudioCodec(Component, Protocol):
    """Audio to tokens and back. `context_frames` frames left and right make chunked work equal the whole.

    Takes and gives tensors on the device it was moved to. A codec that has vectors behind its codes may show them as
    `codebooks`, f32 [Q, codebook_size, D]: the token stages then start from them. A codec that works in segments
    counted from the start gives their length as `segment_frames`: what it decodes then begins at a multiple of it. One
    that comes trained may tell its size as `num_parameters`.
    """

    spec: TokenSpec
    channels: int
    context_frames: tuple[int, int]

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] at spec.sample_rate -> int64 [B, ceil(S / hop), Q]."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, Q] -> f32 [B, C, F * hop]."""
        ...


class SemanticTokenizer(Component, Protocol):
    """Audio to one coarse token a frame: what is played, not how it sounds."""

    spec: TokenSpec

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] at spec.sample_rate -> int64 [B, ceil(S / hop), 1]."""
        ...


class TextEncoder(Component, Protocol):
    """Text to a sequence of vectors."""

    dim: int

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (f32 [B, L, dim], bool [B, L] True where a token stands)."""
        ...


@runtime_checkable
class TunableTextEncoder(Protocol):
    """A text encoder that trains within MULAN; what comes out is saved with the run."""

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B texts -> (int64 [B, L], bool [B, L] True where a token stands, from the left)."""
        ...

    def text_module(self) -> torch.nn.Module:
        """What is trained, and what `encode` uses: `module(*tokenize(texts))` gives f32 [B, L, dim]."""
        ...


class Conditioner(Component, Protocol):
    """Prompts and clips to tokens that a stage listens to: a prefix or a frame-aligned stream, told by `spec`.

    The spec of a frame-aligned conditioner has `sample_rate` and `hop_length` of None too, but `is_aligned`
    set: it answers at whatever rate its consumer has. `hears` names the fields of a prompt, "melody" or "like", that
    it can follow; a prompt that sets one which no conditioner of the model hears is refused. `encode` may be called
    from two threads at once: two stages may ask while a beat is made.
    """

    spec: TokenSpec
    is_aligned: bool
    hears: frozenset[str] = frozenset()

    def plan(self, prompt: Prompt, rng: np.random.Generator) -> Prompt:
        """Fill what the prompt leaves open and this conditioner needs, drawing from `rng`."""
        return prompt

    def views(self, clip: Clip) -> Sequence[Clip | Prompt]:
        """The ways in which a training clip may be described; one is drawn each time it is used."""
        return [clip]

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Tokens and where they are valid, both of one shape.

        A prefix gives int64 [B, Q] and bool [B, Q]. A frame-aligned stream gives int64 [B, F, Q] and bool
        [B, F, Q] for `num_frames` frames of the consumer's `spec` from `start_frame`, computed from absolute
        sample positions, so that any two windows agree where they overlap.
        """
        ...


class DataSource(Component, Protocol):
    """Where clips come from."""

    def refs(self) -> Iterator[ClipRef]:
        """Handles on all clips, in a stable order, without reading audio."""
        ...

    def load(self, ref: ClipRef) -> Clip:
        """The clip itself, at whatever rate and channel count the source has."""
        ...


class Captioner(Component, Protocol):
    """Describes clips in words."""

    def caption(self, clip: Clip) -> list[str]:
        """A few captions, the plainest first."""
        ...


class Metric(Component, Protocol):
    """Accumulates over shards of clips."""

    def update(self, generated: Sequence[Clip], prompts: Sequence[Prompt]) -> None:
        """Take in a few generated clips and the prompts they answer."""
        ...

    def merge(self, other: Metric) -> None:
        """Take in what another instance accumulated."""
        ...

    def compute(self) -> dict[str, float]:
        """The figures over all that was taken in."""
        ...
