"""Rules of every component: its options, its imports, its state."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rapgen.identities import full, half
from rapgen.registry import check_options, option_schema
from rapgen.testing.case import Case, Rule
from rapgen.testing.compare import same
from rapgen.testing.conditions import tokens
from rapgen.testing.examples import TEXTS, clips, prompts, sound

_REFUSALS = (KeyError, ValueError, RuntimeError)


@Rule
def says_what_it_is(case: Case) -> None:
    """The factory's docstring opens with one sentence, which `rapgen plugins list` shows."""
    first = (inspect.getdoc(case.factory) or "").partition("\n")[0]
    assert first.endswith("."), f"it opens with {first!r}"


@Rule
def options_are_keywords(case: Case) -> None:
    """The factory takes keyword-only options, each with a type, each default of that type."""
    schema = option_schema(case.factory)
    for parameter in inspect.signature(case.factory).parameters.values():
        assert parameter.name in schema, f"'{parameter.name}' is not keyword-only: put a * before it"
        assert parameter.annotation is not parameter.empty, f"'{parameter.name}' has no type"
    defaults = {name: p.default for name, p in schema.items() if p.default is not p.empty}
    problems = [problem for problem in check_options(case.factory, defaults)[1] if "is missing" not in problem]
    assert not problems, "; ".join(problems)


@Rule
def imports_are_light(case: Case) -> None:
    """The plugin's module does not import torch at its top: listing plugins stays quick."""
    if isinstance(case.use, str):
        assert not _imports_torch(case.factory.__module__), (
            f"{case.factory.__module__} does; import it where it is used"
        )


@cache
def _imports_torch(module: str) -> bool:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1] == "True"


@Rule
def moves(case: Case) -> None:
    """`to("cpu")` can be called and changes nothing."""
    before = outputs(case.role, case.component)
    case.component.to("cpu")
    _all_same(before, outputs(case.role, case.component), "before and after")


@Rule
def state_comes_back(case: Case) -> None:
    """Another instance that takes the state, rounded to fp16 as it ships, does the same."""
    state = case.component.state()
    if not getattr(case.component, "is_external", False):  # else the state is hashed and stays where it is
        state = full(half(state))
    case.component.load_state(state)
    fresh = case.fresh()
    fresh.load_state(state)
    taken = fresh.state()
    assert taken.keys() == state.keys(), f"it gave {sorted(state)} and now has {sorted(taken)}"
    for name, value in state.items():
        same(taken[name], value, f"tensor '{name}'")
    _all_same(outputs(case.role, case.component), outputs(case.role, fresh), "the first and the other")


@Rule
def wrong_state_is_refused(case: Case) -> None:
    """A state with a tensor missing or of another shape is refused by KeyError, ValueError or RuntimeError."""
    state = dict(case.component.state())
    wrong: dict[str, dict[str, Tensor]] = {}
    if not state:
        wrong["a tensor where there are none"] = {"stray": torch.zeros(3)}
    for name, value in list(state.items())[:1]:
        wrong[f"no '{name}'"] = {other: tensor for other, tensor in state.items() if other != name}
        wrong[f"another shape of '{name}'"] = {**state, name: torch.cat([value.flatten(), value.new_zeros(1)])}
    for what, content in wrong.items():
        try:
            case.fresh().load_state(content)
        except _REFUSALS:
            continue
        raise AssertionError(f"{what} was taken without a word")


def outputs(role: str, component: Any) -> list[Any]:
    """What a component makes of the examples: tensors, or values that can be compared."""
    return _OUTPUTS[role](component)


def _codec(codec: Any) -> list[Any]:
    segment = getattr(codec, "segment_frames", 1)
    codes = codec.encode(sound(codec.spec.sample_rate, 8 * segment * codec.spec.hop_length, channels=codec.channels))
    return [codes, codec.decode(codes)]


def _text(encoder: Any) -> list[Any]:
    vectors, mask = encoder.encode(list(TEXTS))
    return [vectors[mask], mask]


def _source(source: Any) -> list[Any]:
    clip = source.load(next(iter(source.refs())))
    return [torch.from_numpy(clip.audio), clip.annotations]


_OUTPUTS: dict[str, Callable[[Any], list[Any]]] = {
    "codec": _codec,
    "semantic": lambda s: [s.encode(sound(s.spec.sample_rate, 20 * s.spec.hop_length))],
    "text_encoder": _text,
    "conditioner": lambda c: [tokens(c, [*clips(), *prompts()])],
    "source": _source,
    "captioner": lambda c: [c.caption(clip) for clip in clips()],
    "metric": lambda m: [],  # what it makes is what it has seen
}


def _all_same(first: list[Any], second: list[Any], what: str) -> None:
    for one, other in zip(first, second, strict=True):
        if isinstance(one, Tensor):
            same(one, other, what)
        else:
            assert one == other, f"{what}: {one} and {other}"


COMMON_RULES = (
    says_what_it_is,
    options_are_keywords,
    imports_are_light,
    moves,
    state_comes_back,
    wrong_state_is_refused,
)
