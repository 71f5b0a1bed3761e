"""What the methods of each role have to give: dtypes, shapes, ranges; each check raises Violation where they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rapgen.contracts.attributes import attribute, check_spec, whole
from rapgen.contracts.violation import Violation, describe
from rapgen.interfaces import Clip, ClipRef, Prompt, TokenSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def _codec_encode(codec: Any, codes: Any, audio: Tensor) -> None:
    _frame_ids("encode", codes, codec.spec, audio)


def _codec_decode(codec: Any, audio: Any, codes: Tensor) -> None:
    shape = (codes.shape[0], codec.channels, codes.shape[1] * codec.spec.hop_length)
    _tensor("decode", audio, "float32", shape)
    _finite("decode", audio)


def _semantic_encode(semantic: Any, tokens: Any, audio: Tensor) -> None:
    _frame_ids("encode", tokens, semantic.spec, audio)


def _text_encode(encoder: Any, result: Any, texts: Sequence[str]) -> None:
    vectors, mask = _pair("encode", result)
    _tensor("encode", vectors, "float32", (len(texts), None, encoder.dim))
    _tensor("encode (its mask)", mask, "bool", tuple(vectors.shape[:2]))
    _finite("encode", vectors)


def _conditioner_encode(
    conditioner: Any,
    result: Any,
    items: Sequence[Clip | Prompt],
    *,
    spec: TokenSpec | None = None,
    start_frame: int = 0,
    num_frames: int = 0,
) -> None:
    tokens, valid = _pair("encode", result)
    frames = (num_frames,) if conditioner.is_aligned else ()
    shape = (len(items), *frames, conditioner.spec.num_codebooks)
    _tensor("encode", tokens, "int64", shape)
    _tensor("encode (where it is valid)", valid, "bool", shape)
    _ids("encode", tokens[valid], conditioner.spec)


def _conditioner_plan(conditioner: Any, planned: Any, prompt: Prompt, rng: np.random.Generator) -> None:
    _instance("plan", planned, Prompt)


def _conditioner_views(conditioner: Any, views: Any, clip: Clip) -> None:
    _each_instance("views", views, (Clip, Prompt))


def _conditioner_bind(conditioner: Any, result: None, parts: Mapping[str, Any]) -> None:
    check_spec(attribute(conditioner, "spec"), has_frames=False)


def check_ref(ref: Any, seen: set[str]) -> None:
    """One of a source's handles; its id is added to those that were seen."""
    _instance("refs", ref, ClipRef)
    if not isinstance(ref.id, str) or not isinstance(ref.track, str):
        raise Violation(f"refs gave the id {ref.id!r} and the track {ref.track!r}, should be two strings")
    if ref.id in seen:
        raise Violation(f"refs gave the id {ref.id!r} twice, should be one a clip")
    seen.add(ref.id)


def _source_load(source: Any, clip: Any, ref: ClipRef) -> None:
    import numpy as np

    _instance("load", clip, Clip)
    stems = {f"the stem {name!r}": stem for name, stem in clip.stems.items()}
    for what, audio in {"audio": clip.audio, **stems}.items():
        if not isinstance(audio, np.ndarray) or audio.dtype != np.float32 or audio.ndim != 2 or not audio.size:
            raise Violation(f"load gave {what} {describe(audio)} for {ref.id!r}, should be numpy float32 [C, S]")
        if not np.isfinite(audio).all():
            raise Violation(f"load gave {what} with NaN or infinity in it for {ref.id!r}")
        if audio.shape[1] != clip.audio.shape[1]:
            raise Violation(f"load gave {what} {describe(audio)} for {ref.id!r}, should be as long as its audio")
    whole(f"the sample_rate of {ref.id!r}", clip.sample_rate, 1)


def _captioner_caption(captioner: Any, captions: Any, clip: Clip) -> None:
    _each_instance("caption", captions, (str,))
    if not captions or not all(caption.strip() for caption in captions):
        raise Violation(f"caption gave {captions!r}, should be one or more captions with words in them")


def _metric_compute(metric: Any, figures: Any) -> None:
    _instance("compute", figures, dict)
    for name, value in figures.items():
        if not isinstance(name, str) or not isinstance(value, float | int):
            raise Violation(f"compute gave {name!r}: {describe(value)}, should be a string and a float")


def _state(component: Any, state: Any) -> None:
    import torch

    _instance("state", state, Mapping)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise Violation(f"state gave {name!r}: {describe(value)}, should be a string and a tensor")


GIVES: dict[str, dict[str, Callable[..., None]]] = {
    "codec": {"encode": _codec_encode, "decode": _codec_decode},
    "semantic": {"encode": _semantic_encode},
    "text_encoder": {"encode": _text_encode},
    "conditioner": {
        "encode": _conditioner_encode,
        "plan": _conditioner_plan,
        "views": _conditioner_views,
        "bind": _conditioner_bind,
    },
    "source": {"load": _source_load},
    "captioner": {"caption": _captioner_caption},
    "metric": {"compute": _metric_compute},
}
"""Role -> method -> check(component, what it gave, *what it was given)."""
for _checks in GIVES.values():
    _checks["state"] = _state


def _frame_ids(what: str, tokens: Any, spec: TokenSpec, audio: Tensor) -> None:
    assert spec.hop_length is not None
    _tensor(what, tokens, "int64", (audio.shape[0], -(-audio.shape[-1] // spec.hop_length), spec.num_codebooks))
    _ids(what, tokens, spec)


def _tensor(what: str, value: Any, dtype: str, shape: tuple[int | None, ...]) -> None:
    """A torch tensor of this dtype and shape; None stands for any size."""
    import torch

    fits = isinstance(value, torch.Tensor) and str(value.dtype) == f"torch.{dtype}" and value.ndim == len(shape)
    if not fits or any(want is not None and got != want for got, want in zip(value.shape, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise Violation(f"{what} gave {describe(value)}, should be {dtype} [{expected}]")


def _ids(what: str, tokens: Tensor, spec: TokenSpec) -> None:
    if tokens.numel():
        low, high = (int(bound) for bound in tokens.aminmax())
        if low < 0 or high >= spec.codebook_size:
            raise Violation(f"{what} gave ids from {low} to {high}, should be within 0 .. {spec.codebook_size - 1}")


def _finite(what: str, values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise Violation(f"{what} gave values with NaN or infinity among them")


def _pair(what: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise Violation(f"{what} gave {describe(result)}, should be a tuple of two tensors")
    return result


def _instance(what: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise Violation(f"{what} gave {describe(value)}, should be a {kind.__name__}")


def _each_instance(what: str, values: Any, kinds: tuple[type, ...]) -> None:
    names = " or ".join(kind.__name__ for kind in kinds)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise Violation(f"{what} gave {describe(values)}, should be a list of {names}")
    for value in values:
        if not isinstance(value, kinds):
            raise Violation(f"{what} gave {describe(value)} in its list, should be {names}")
