"""What a component of each role has to be: its methods, and the attributes that others rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rapgen.contracts.violation import Violation, describe
from rapgen.interfaces import (
    AudioCodec,
    Captioner,
    Conditioner,
    DataSource,
    Metric,
    SemanticTokenizer,
    TextEncoder,
    TokenSpec,
)

MAX_CODEBOOK_SIZE = 2**15  # shards hold 16 bit tokens
PROTOCOLS: dict[str, type] = {
    "codec": AudioCodec,
    "semantic": SemanticTokenizer,
    "text_encoder": TextEncoder,
    "conditioner": Conditioner,
    "source": DataSource,
    "captioner": Captioner,
    "metric": Metric,
}
COMMON = ("state", "load_state", "to", "bind")
METHODS: dict[str, tuple[str, ...]] = {
    "codec": ("encode", "decode"),
    "semantic": ("encode",),
    "text_encoder": ("encode",),
    "conditioner": ("plan", "views", "encode"),
    "source": ("refs", "load"),
    "captioner": ("caption",),
    "metric": ("update", "merge", "compute"),
}
OPTIONAL = ("fit", "tokenize", "text_module")  # what only some components have


def check_component(role: str, component: Any) -> None:
    """All methods of the role are there, and its attributes make sense."""
    protocol = PROTOCOLS[role]
    for name in (*COMMON, *METHODS[role]):
        if not callable(getattr(component, name, None)):
            raise Violation(f"it has no method `{name}`; derive its class from rapgen.interfaces.{protocol.__name__}")
        is_protocols = getattr(type(component), name, None) is vars(protocol).get(name, ...)
        if is_protocols and name not in ("plan", "views"):  # those have a default
            raise Violation(f"its class does not define `{name}`")
    _ATTRIBUTES.get(role, lambda component: None)(component)


def _codec_attributes(codec: Any) -> None:
    check_spec(attribute(codec, "spec"), has_frames=True)
    whole("channels", attribute(codec, "channels"), 1)
    context = attribute(codec, "context_frames")
    if not isinstance(context, tuple) or len(context) != 2:
        raise Violation(f"context_frames is {describe(context)}, should be a tuple of two: frames left and right")
    for frames in context:
        whole("a number in context_frames", frames, 0)
    whole("segment_frames", getattr(codec, "segment_frames", 1), 1)


def _semantic_attributes(semantic: Any) -> None:
    spec = attribute(semantic, "spec")
    check_spec(spec, has_frames=True)
    if spec.num_codebooks != 1:
        raise Violation(f"spec.num_codebooks is {spec.num_codebooks}, should be 1: one token a frame")


def _conditioner_attributes(conditioner: Any) -> None:
    is_aligned = attribute(conditioner, "is_aligned")
    if not isinstance(is_aligned, bool):
        raise Violation(f"is_aligned is {describe(is_aligned)}, should be True or False")
    hears = attribute(conditioner, "hears")
    if not isinstance(hears, set | frozenset) or not hears <= {"melody", "like"}:
        raise Violation(f"hears is {hears!r}, should be a frozenset of 'melody' and 'like', or of none")
    if hasattr(conditioner, "spec"):  # else it comes with `bind`
        check_spec(conditioner.spec, has_frames=False)


_ATTRIBUTES: dict[str, Callable[[Any], None]] = {
    "codec": _codec_attributes,
    "semantic": _semantic_attributes,
    "conditioner": _conditioner_attributes,
    "text_encoder": lambda encoder: whole("dim", attribute(encoder, "dim"), 1),
}


def check_spec(spec: Any, *, has_frames: bool) -> None:
    """A TokenSpec of whole numbers in range, with a rate or (a conditioner's) without."""
    if not isinstance(spec, TokenSpec):
        raise Violation(f"spec is {describe(spec)}, should be a rapgen.interfaces.TokenSpec")
    whole("spec.codebook_size", spec.codebook_size, 2)
    if spec.codebook_size > MAX_CODEBOOK_SIZE:
        raise Violation(f"spec.codebook_size is {spec.codebook_size}, should be {MAX_CODEBOOK_SIZE} at most")
    whole("spec.num_codebooks", spec.num_codebooks, 1)
    for name in ("sample_rate", "hop_length"):
        value = getattr(spec, name)
        if has_frames:
            whole(f"spec.{name}", value, 1)
        elif value is not None:
            raise Violation(f"spec.{name} is {describe(value)}, should be None: a conditioner has no rate of its own")


def attribute(component: Any, name: str) -> Any:
    if not hasattr(component, name):
        raise Violation(f"it has no attribute `{name}`")
    return getattr(component, name)


def whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:  # a bool or numpy's int would not survive JSON as it is
        raise Violation(f"{name} is {describe(value)}, should be an int from {least} up")
