"""Rules of what turns audio into tokens: codecs and semantic tokenizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rapgen.interfaces import Trainable
from rapgen.testing.case import Case, Rule
from rapgen.testing.compare import close, same, same_tokens
from rapgen.testing.examples import sound


def _channels(component: Any) -> int:
    return int(getattr(component, "channels", 1))


def _sound(component: Any, samples: int, *, rows: int = 1) -> Tensor:
    return sound(component.spec.sample_rate, samples, channels=_channels(component), rows=rows)


def _some_frames(component: Any) -> int:
    """Enough that chunks of a third are independent of each other's far ends."""
    segment = getattr(component, "segment_frames", 1)
    context = sum(getattr(component, "context_frames", (0, 0)))
    return 3 * -(-max(8, context) // segment) * segment


@Rule
def any_length(case: Case) -> None:
    """Audio of any length gives ceil(S / hop) frames of ids in range, from one sample on."""
    hop = case.component.spec.hop_length
    for samples in (1, hop - 1, hop, hop + 1, 7 * hop + hop // 2):
        if samples:
            case.component.encode(_sound(case.component, samples))  # its guard looks at shape, dtype and range


@Rule
def silence_and_noise(case: Case) -> None:
    """Silence, a constant and full-scale noise are encoded like any other sound."""
    shape = (1, _channels(case.component), 5 * case.component.spec.hop_length)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for audio in (torch.zeros(shape), torch.full(shape, 0.5), noise.sign()):
        tokens = case.component.encode(audio)
        if case.role == "codec":
            case.component.decode(tokens)  # its guard looks for NaN and infinity


@Rule
def encoding_repeats(case: Case) -> None:
    """The same audio gives the same tokens each time, and is left as it was."""
    audio = _sound(case.component, 9 * case.component.spec.hop_length, rows=2)
    given = audio.clone()
    first = case.component.encode(audio)
    same(audio, given, "the audio that was given")
    same(first, case.component.encode(audio), "tokens of the same audio")


@Rule
def encoding_alone_or_together(case: Case) -> None:
    """An item's tokens do not depend on what else is in the batch."""
    audio = _sound(case.component, _some_frames(case.component) * case.component.spec.hop_length, rows=3)
    together = case.component.encode(audio)
    for row in range(len(audio)):
        same_tokens(case, together[row], case.component.encode(audio[row : row + 1])[0], f"item {row}")


@Rule
def mono_and_stereo(case: Case) -> None:
    """A tokenizer takes one channel or two: it is given what the codec has."""
    spec = case.component.spec
    for channels in (1, 2):
        case.component.encode(sound(spec.sample_rate, 4 * spec.hop_length, channels=channels))


@Rule
def decoding_repeats(case: Case) -> None:
    """The same codes give the same audio each time, and are left as they were."""
    codes = case.component.encode(_sound(case.component, 9 * case.component.spec.hop_length))
    given = codes.clone()
    first = case.component.decode(codes)
    same(codes, given, "the codes that were given")
    same(first, case.component.decode(codes), "audio of the same codes")


@Rule
def round_trip(case: Case) -> None:
    """What was decoded is F * hop samples of finite sound that can be encoded again."""
    hop = case.component.spec.hop_length
    codes = case.component.encode(_sound(case.component, 6 * hop + 1))
    again = case.component.encode(case.component.decode(codes))
    assert again.shape == codes.shape, f"{list(codes.shape)} became {list(again.shape)}"


@Rule
def any_codes(case: Case) -> None:
    """Any ids in range can be decoded: a model that is still learning makes them up."""
    spec = case.component.spec
    segment = getattr(case.component, "segment_frames", 1)
    generator = torch.Generator().manual_seed(0)
    for frames in (segment, 3 * segment, 8 * segment):
        shape = (2, frames, spec.num_codebooks)
        case.component.decode(torch.randint(0, spec.codebook_size, shape, generator=generator))
    case.component.decode(torch.zeros(shape, dtype=torch.int64))
    case.component.decode(torch.full(shape, spec.codebook_size - 1))


@Rule
def decoding_alone_or_together(case: Case) -> None:
    """An item's audio does not depend on what else is in the batch."""
    codes = case.component.encode(_sound(case.component, _some_frames(case.component) * _hop(case), rows=3))
    together = case.component.decode(codes)
    for row in range(len(codes)):
        close(case, together[row], case.component.decode(codes[row : row + 1])[0], f"item {row}")


@Rule
def encoding_in_chunks(case: Case) -> None:
    """Chunks with `context_frames` around them give the tokens of the whole."""
    hop, frames = _hop(case), _some_frames(case.component)
    audio = _sound(case.component, frames * hop - hop // 3)
    whole = case.component.encode(audio)
    parts = []
    for seen, kept in _chunks(case.component, frames):
        codes = case.component.encode(audio[..., seen.start * hop : seen.stop * hop])
        parts.append(codes[:, kept.start - seen.start : kept.stop - seen.start])
    same_tokens(case, whole, torch.cat(parts, 1), "chunks and the whole")


@Rule
def decoding_in_chunks(case: Case) -> None:
    """Chunks with `context_frames` around them give the audio of the whole."""
    hop, frames = _hop(case), _some_frames(case.component)
    codes = case.component.encode(_sound(case.component, frames * hop))
    whole = case.component.decode(codes)
    parts = []
    for seen, kept in _chunks(case.component, frames):
        audio = case.component.decode(codes[:, seen.start : seen.stop])
        parts.append(audio[..., (kept.start - seen.start) * hop : (kept.stop - seen.start) * hop])
    close(case, whole, torch.cat(parts, -1), "chunks and the whole")


@Rule
def codebooks_fit(case: Case) -> None:
    """`codebooks`, where there are any, are finite f32 [Q, codebook_size, D]."""
    codebooks = getattr(case.component, "codebooks", None)
    if codebooks is not None:
        spec = case.component.spec
        assert codebooks.dtype == torch.float32, f"they are {codebooks.dtype}"
        assert codebooks.ndim == 3, f"they have {codebooks.ndim} dimensions"
        expected = (spec.num_codebooks, spec.codebook_size)
        assert tuple(codebooks.shape[:2]) == expected, f"they are {list(codebooks.shape)}, should be {[*expected, 'D']}"
        assert bool(codebooks.isfinite().all()), "they hold NaN or infinity"


@Rule
def loss_trains(case: Case) -> None:
    """`module`, where there is one, gives a finite loss with gradients and finite logs."""
    component = case.fresh()
    audio = _sound(component, 8 * component.spec.hop_length, rows=2)
    if not isinstance(component, Trainable):
        return
    loss, logs = component.module(audio)
    assert loss.ndim == 0, f"the loss is {list(loss.shape)}, should be one number"
    for name, value in {"loss": loss, **logs}.items():
        assert bool(torch.isfinite(torch.as_tensor(value)).all()), f"{name} is {value}"
    loss.backward()
    gradients = [p.grad for p in component.module.parameters() if p.grad is not None]
    assert gradients, "no parameter has a gradient"
    assert all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite"


def _hop(case: Case) -> int:
    return int(case.component.spec.hop_length)


def _chunks(codec: Any, frames: int) -> Iterator[tuple[range, range]]:
    """Thirds: the frames to be seen, context included, and those of them to keep; cut where segments begin."""
    segment = getattr(codec, "segment_frames", 1)
    left, right = codec.context_frames
    size = frames // 3
    for start in range(0, frames, size):
        first = max(0, start - left) // segment * segment
        end = min(frames, -(-(start + size + right) // segment) * segment)
        yield range(first, end), range(start, start + size)


SEMANTIC_RULES = (any_length, silence_and_noise, encoding_repeats, encoding_alone_or_together, mono_and_stereo)
CODEC_RULES = (
    any_length,
    silence_and_noise,
    encoding_repeats,
    encoding_alone_or_together,
    decoding_repeats,
    round_trip,
    any_codes,
    decoding_alone_or_together,
    encoding_in_chunks,
    decoding_in_chunks,
    codebooks_fit,
    loss_trains,
)
