"""What a plugin breaks is one line that names it and what to do, wherever in the pipeline it breaks."""

from __future__ import annotations

import copy
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import FakeEntry, plugin
from typer.testing import CliRunner

from rapgen.cli.app import make_app
from rapgen.errors import PluginError, PromptError, RecipeError
from rapgen.identities import Part
from rapgen.interfaces import ROLES, Clip, ClipRef, Prompt, TokenSpec
from rapgen.parts import build_parts, freeze
from rapgen.recipe import parse_recipe
from rapgen.registry import build, registry
from rapgen_plugins import toy

SPEC = TokenSpec(codebook_size=8, num_codebooks=2, sample_rate=8000, hop_length=100)
AUDIO = torch.zeros(1, 1, 8000)
CLIP = Clip(np.zeros((1, 8000), np.float32), 8000)
TOYS = {
    "codec": toy.toy_codec,
    "semantic": toy.toy_semantic,
    "text_encoder": toy.toy_text_encoder,
    "conditioner": toy.toy_conditioner,
    "source": toy.toy_source,
    "captioner": toy.toy_captioner,
    "metric": toy.toy_metric,
}


def raises(error: BaseException) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        raise error

    return method


def gives(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def changed(role: str, **attributes: Any) -> Callable[[], Any]:
    """A factory of a toy whose class has other attributes and methods; None takes one away."""

    def factory() -> Any:
        original = TOYS[role]()
        methods = {n: staticmethod(v) if callable(v) else v for n, v in attributes.items()}
        original.__class__ = type("Broken", (type(original),), methods)
        for name in methods.keys() & vars(original).keys():
            delattr(original, name)
        return original

    return factory


@pytest.fixture
def broken(install: Callable[..., None]) -> Callable[..., Any]:
    """Builds a toy of a role with some attributes changed, as a stranger's plugin would bring it."""

    def build_broken(role: str, **attributes: Any) -> Any:
        install(FakeEntry("their-plugin", plugin({(role, "theirs"): changed(role, **attributes)}), "their-dist"))
        return build(role, {"use": "theirs"})

    return build_broken


def told(role: str, what: str) -> Any:
    title = rf"{role} 'theirs' of plugin 'their-plugin' \(their-dist 1\.2\.3\)"
    return pytest.raises(PluginError, match=rf"^{title}: {what}[^\n]*; report it to the plugin's authors [^\n]*$")


NAN = float("nan")
RESULTS: dict[str, tuple[str, str, Any, tuple[Any, ...], str]] = {
    "codes of floats": (
        *("codec", "encode", torch.zeros(1, 50, 4), (AUDIO,)),
        r"encode gave float32 \[1, 50, 4\], should be int64 \[1, 50, 4\]",
    ),
    "codes of numpy": ("codec", "encode", np.zeros((1, 50, 4), np.int64), (AUDIO,), r"encode gave numpy int64"),
    "codes of one frame too few": (
        *("codec", "encode", torch.zeros(1, 49, 4).long(), (AUDIO,)),
        r"encode gave int64 \[1, 49, 4\], should be int64 \[1, 50, 4\]",
    ),
    "ids too high": (
        *("codec", "encode", torch.full((1, 50, 4), 64), (AUDIO,)),
        r"encode gave ids from 64 to 64, should be within 0 \.\. 63",
    ),
    "negative ids": ("codec", "encode", torch.full((1, 50, 4), -1), (AUDIO,), r"encode gave ids from -1 to -1"),
    "no codes": ("codec", "encode", None, (AUDIO,), "encode gave None, should be int64"),
    "audio too short": (
        *("codec", "decode", torch.zeros(1, 1, 7), (torch.zeros(1, 2, 4).long(),)),
        r"decode gave float32 \[1, 1, 7\], should be float32 \[1, 1, 320\]",
    ),
    "audio that is not finite": (
        *("codec", "decode", torch.full((1, 1, 320), NAN), (torch.zeros(1, 2, 4).long(),)),
        "decode gave values with NaN or infinity",
    ),
    "semantic of two codebooks": (
        *("semantic", "encode", torch.zeros(1, 25, 2).long(), (AUDIO,)),
        r"encode gave int64 \[1, 25, 2\], should be int64 \[1, 25, 1\]",
    ),
    "vectors without a mask": (
        "text_encoder",
        "encode",
        torch.zeros(1, 2, 32),
        (["a"],),
        "encode gave float32 .*tuple",
    ),
    "vectors of another width": (
        *("text_encoder", "encode", (torch.zeros(1, 2, 31), torch.ones(1, 2).bool()), (["a"],)),
        r"encode gave float32 \[1, 2, 31\], should be float32 \[1, any, 32\]",
    ),
    "a mask of floats": (
        *("text_encoder", "encode", (torch.zeros(1, 2, 32), torch.ones(1, 2)), (["a"],)),
        r"encode \(its mask\) gave float32 \[1, 2\], should be bool \[1, 2\]",
    ),
    "vectors that are not finite": (
        *("text_encoder", "encode", (torch.full((1, 2, 32), NAN), torch.ones(1, 2).bool()), (["a"],)),
        "encode gave values with NaN",
    ),
    "conditions of another shape": (
        *("conditioner", "encode", (torch.zeros(1, 3).long(), torch.ones(1, 3).bool()), ([CLIP],)),
        r"encode gave int64 \[1, 3\], should be int64 \[1, 2\]",
    ),
    "conditions out of range": (
        *("conditioner", "encode", (torch.full((1, 2), 16), torch.ones(1, 2).bool()), ([CLIP],)),
        r"encode gave ids from 16 to 16, should be within 0 \.\. 15",
    ),
    "a plan that is no prompt": (
        "conditioner",
        "plan",
        "loud",
        (Prompt("x"), None),
        "plan gave a str, should be a Prompt",
    ),
    "views of text": ("conditioner", "views", ["x"], (CLIP,), "views gave a str in its list, should be Clip or Prompt"),
    "no clip": (
        "source",
        "load",
        np.zeros(8),
        (ClipRef("x", "x"),),
        r"load gave numpy float64 \[8\], should be a Clip",
    ),
    "a clip of doubles": (
        *("source", "load", replace(CLIP, audio=np.zeros((1, 8))), (ClipRef("x", "x"),)),
        r"load gave audio numpy float64 \[1, 8\] for 'x', should be numpy float32 \[C, S\]",
    ),
    "a clip without sound": (
        *("source", "load", replace(CLIP, audio=np.zeros((1, 0), np.float32)), (ClipRef("x", "x"),)),
        r"load gave audio numpy float32 \[1, 0\]",
    ),
    "a clip that is not finite": (
        *("source", "load", replace(CLIP, audio=np.full((1, 8), NAN, np.float32)), (ClipRef("x", "x"),)),
        "load gave audio with NaN",
    ),
    "a stem of doubles": (
        *("source", "load", replace(CLIP, stems={"lead": np.zeros((1, 8))}), (ClipRef("x", "x"),)),
        r"load gave the stem 'lead' numpy float64 \[1, 8\] for 'x'",
    ),
    "a stem of another length": (
        *("source", "load", replace(CLIP, stems={"lead": np.zeros((1, 8), np.float32)}), (ClipRef("x", "x"),)),
        r"load gave the stem 'lead' .* for 'x', should be as long as its audio",
    ),
    "a clip at half a Hz": (
        *("source", "load", replace(CLIP, sample_rate=0.5), (ClipRef("x", "x"),)),
        r"the sample_rate of 'x' is 0\.5",
    ),
    "no captions": ("captioner", "caption", [], (CLIP,), r"caption gave \[\], should be one or more"),
    "an empty caption": ("captioner", "caption", [" "], (CLIP,), "caption gave .*words in them"),
    "a caption": ("captioner", "caption", "a beat", (CLIP,), "caption gave a str, should be a list of str"),
    "figures of strings": ("metric", "compute", {"clips": "many"}, (), "compute gave 'clips': a str"),
    "a state of numbers": ("codec", "state", {"weight": 3}, (), "state gave 'weight': 3, should be .* a tensor"),
}


@pytest.mark.parametrize(("role", "method", "result", "arguments", "what"), RESULTS.values(), ids=RESULTS)
def test_a_wrong_result_is_told(
    broken: Callable[..., Any], role: str, method: str, result: Any, arguments: tuple[Any, ...], what: str
) -> None:
    component = broken(role, **{method: gives(result)})
    with told(role, what):
        getattr(component, method)(*arguments)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_method_raises_is_told_with_its_cause(broken: Callable[..., Any], role: str) -> None:
    cause = ZeroDivisionError("division\nby zero")
    component = broken(role, state=raises(cause))
    with told(role, "state raised ZeroDivisionError: division by zero") as raised:
        component.state()
    assert raised.value.__cause__ is cause  # what --debug shows


def test_errors_that_are_told_already_pass(broken: Callable[..., Any]) -> None:
    for error in (PromptError("too loud"), MemoryError(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised:
            broken("codec", encode=raises(error)).encode(AUDIO)  # type: ignore[arg-type]
        assert raised.value is error


def test_a_package_that_a_method_lacks_is_told(broken: Callable[..., Any]) -> None:
    error = ModuleNotFoundError("no module named 'fortran'", name="fortran")
    with pytest.raises(PluginError, match=r"codec 'theirs' of .* needs the package 'fortran': pip install 'their-dist"):
        broken("codec", encode=raises(error)).encode(AUDIO)


def test_a_state_is_refused_as_before(broken: Callable[..., Any]) -> None:
    for error in (KeyError("x"), ValueError("x"), RuntimeError("x")):
        with pytest.raises(type(error)):
            broken("codec", load_state=raises(error)).load_state({})
    with told("codec", "load_state raised TypeError"):
        broken("codec", load_state=raises(TypeError("x"))).load_state({})


def test_a_state_that_is_not_taken_back_is_told(broken: Callable[..., Any]) -> None:
    codec = broken("codec", state=gives({"w": torch.zeros(3)}), load_state=raises(ValueError("no such thing")))
    with pytest.raises(PluginError, match=r"codec 'theirs' .* does not take back its own state.*: no such thing"):
        freeze(Part("codec", "theirs", codec, {}, "their-dist", "1.0"))


def test_handles_are_checked_as_they_come(broken: Callable[..., Any]) -> None:
    def twice() -> Iterator[ClipRef]:
        yield ClipRef("a", "a")
        yield ClipRef("a", "b")

    refs = broken("source", refs=twice).refs()
    assert next(refs).id == "a"
    with told("source", "refs gave the id 'a' twice"):
        next(refs)
    with told("source", "refs gave a str, should be a ClipRef"):
        list(broken("source", refs=gives(["a"])).refs())
    with told("source", "refs raised OSError: disk"):
        list(broken("source", refs=raises(OSError("disk"))).refs())


ATTRIBUTES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no spec": ("codec", {"spec": None}, "spec is None, should be a rapgen.interfaces.TokenSpec"),
    "a codebook of one": ("codec", {"spec": replace(SPEC, codebook_size=1)}, "spec.codebook_size is 1, .* from 2 up"),
    "a codebook too large": ("codec", {"spec": replace(SPEC, codebook_size=2**15 + 1)}, "spec.codebook_size is 32769"),
    "no codebooks": ("codec", {"spec": replace(SPEC, num_codebooks=0)}, "spec.num_codebooks is 0"),
    "no hop": ("codec", {"spec": replace(SPEC, hop_length=0)}, "spec.hop_length is 0, should be an int from 1 up"),
    "no rate": ("semantic", {"spec": TokenSpec(8, 1)}, "spec.sample_rate is None"),
    "a numpy rate": ("codec", {"spec": replace(SPEC, sample_rate=np.int64(8000))}, "spec.sample_rate is numpy int64"),
    "half a channel": ("codec", {"channels": 1.5}, r"channels is 1\.5, should be an int from 1 up"),
    "context of one": ("codec", {"context_frames": 3}, "context_frames is 3, should be a tuple of two"),
    "negative context": ("codec", {"context_frames": (0, -1)}, "a number in context_frames is -1"),
    "segments of nothing": ("codec", {"segment_frames": 0}, "segment_frames is 0"),
    "two semantic codebooks": ("semantic", {"spec": replace(SPEC, num_codebooks=2)}, "spec.num_codebooks is 2"),
    "no width": ("text_encoder", {"dim": "wide"}, "dim is a str"),
    "aligned or not": ("conditioner", {"is_aligned": None}, "is_aligned is None, should be True or False"),
    "a rate of its own": ("conditioner", {"spec": SPEC}, "spec.sample_rate is 8000, should be None"),
    "no method": ("codec", {"decode": None}, "it has no method `decode`; derive its class from .*AudioCodec"),
}


@pytest.mark.parametrize(("role", "attributes", "what"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_wrong_attribute_is_told_when_it_is_built(
    broken: Callable[..., Any], role: str, attributes: dict[str, Any], what: str
) -> None:
    with told(role, what):
        broken(role, **attributes)


def test_a_spec_that_comes_with_bind_is_checked_then(broken: Callable[..., Any]) -> None:
    conditioner = broken("conditioner", bind=gives(None))
    conditioner.spec = SPEC
    with told("conditioner", "spec.sample_rate is 8000, should be None"):
        conditioner.bind({})


class Unfinished(toy.AudioCodec):
    """Defines nothing of its own."""

    spec, channels, context_frames = SPEC, 1, (0, 0)


@dataclass(frozen=True)
class Frozen(toy.ToyCaptioner):
    """A class that takes no attributes."""


class Slotted:
    """A class without room for guards."""

    __slots__ = ()
    caption = state = load_state = to = bind = print


def test_classes_of_every_kind(install: Callable[..., None]) -> None:
    offers = {("codec", "theirs"): Unfinished, ("captioner", "frozen"): Frozen, ("captioner", "slotted"): Slotted}
    install(FakeEntry("their-plugin", plugin({key: (lambda kind=kind: kind()) for key, kind in offers.items()})))
    with pytest.raises(PluginError, match="its class does not define `encode`"):
        build("codec", {"use": "theirs"})
    assert build("captioner", {"use": "frozen"}).caption(CLIP) == ["a beat"]
    with pytest.raises(PluginError, match="__slots__"):
        build("captioner", {"use": "slotted"})


def test_a_factory_that_fails_is_told(install: Callable[..., None]) -> None:
    def failing(*, size: int = 3) -> Any:
        """Fails."""
        raise ValueError(f"{size} is no size")

    def refusing() -> Any:
        """Refuses."""
        raise RecipeError("no")

    install(FakeEntry("their-plugin", plugin({("codec", "theirs"): failing, ("codec", "no"): refusing}), "their-dist"))
    with told("codec", "building it raised ValueError: 3 is no size"):
        build("codec", {"use": "theirs"})
    with pytest.raises(RecipeError, match=r"^no$"):
        build("codec", {"use": "no"})


def test_guards_cost_nothing_to_speak_of() -> None:
    plain, guarded = toy.toy_codec(), build("codec", {"use": "toy"})
    codes = plain.encode(torch.randn(1, 1, 80_000))

    def seconds(codec: Any) -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            codec.decode(codes)
            times.append(time.perf_counter() - started)
        return min(times)

    assert seconds(guarded) < seconds(plain) + 1e-3


# ------------------------------------------------------------------------------------- through the pipeline


def rapgen(*arguments: object) -> Any:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments])


@pytest.fixture
def beside_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the given entry points installed beside rapgen's own."""
    ours = list(importlib.metadata.entry_points(group="rapgen"))

    def install(*entries: FakeEntry) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [*ours, *entries])
        registry.cache_clear()

    yield install
    registry.cache_clear()


PIPELINE: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a codec that raises": ("codec", "codec", {"encode": raises(ZeroDivisionError("x"))}, "encode raised ZeroDivision"),
    "a codec of another shape": ("codec", "codec", {"encode": gives(torch.zeros(1, 3, 4).long())}, "encode gave int64"),
    "a tokenizer out of range": (
        *("semantic", "semantic"),
        {"encode": lambda audio: torch.full((len(audio), -(-audio.shape[-1] // 320), 1), 32)},
        "encode gave ids from 32 to 32",
    ),
    "an encoder of NaN": (
        *("text_encoder", "text_encoder"),
        {"encode": lambda texts: (torch.full((len(texts), 1, 32), NAN), torch.ones(len(texts), 1).bool())},
        "encode gave values with NaN",
    ),
    "a conditioner that raises": (
        *("conditioner", "conditioners.toy", {"views": raises(KeyError("colour"))}, "views raised KeyError: 'colour'"),
    ),
    "a method that leaves": ("codec", "codec", {"encode": raises(SystemExit(3))}, "encode raised SystemExit: 3"),
    "a source that raises": ("source", "data.train", {"load": raises(OSError("disk"))}, "load raised OSError: disk"),
}


@pytest.mark.parametrize(("role", "key", "attributes", "what"), PIPELINE.values(), ids=PIPELINE)
def test_training_tells_of_it_in_one_line(
    beside_ours: Callable[..., None],
    toy_recipe: dict[str, Any],
    tmp_path: Path,
    role: str,
    key: str,
    attributes: dict[str, Any],
    what: str,
) -> None:
    beside_ours(FakeEntry("their-plugin", plugin({(role, "theirs"): changed(role, **attributes)}), "their-dist"))
    tree = copy.deepcopy(toy_recipe)
    for stage in tree["stages"].values():
        stage["steps"] = 1
    *parents, last = key.split(".")
    node = tree
    for name in parents:
        node = node[name]
    node[last] = {"use": "theirs"}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(tree))
    result = rapgen("train", "all", "--recipe", tmp_path / "theirs.yaml", "--run", tmp_path / "run")
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {role} 'theirs' of plugin 'their-plugin' (their-dist 1.2.3): {what}")
    assert "Traceback" not in result.output


def test_two_plugins_with_one_name_in_a_recipe(beside_ours: Callable[..., None], tmp_path: Path) -> None:
    theirs = plugin({("codec", "boombox"): toy.toy_codec})
    beside_ours(FakeEntry("their-plugin", theirs, "their-dist"))
    result = rapgen("recipes", "validate", "tiny")
    assert result.exit_code == 2
    line = result.stderr.strip()
    assert "\n" not in line
    assert "two plugins offer codec 'boombox': 'boombox' (rapgen) and 'their-plugin' (their-dist)" in line
    assert line.endswith("uninstall one of them")


def test_a_plugin_that_adds_no_commands_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = FakeEntry("their-plugin", SimpleNamespace(rapgen_commands=raises(KeyError("app"))), "their-dist")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    assert rapgen("--version").exit_code == 0
    assert "plugin 'their-plugin' (their-dist) adds no commands: KeyError: 'app'; update or remove it" in caplog.text


# ------------------------------------------------------------------------------------------ rates and crops


SHORT = {
    "semantic.crop_s": ("semantic tokenizer 'toy'", 0.04, 25, 0.08),
    "coarse.crop_s": ("codec 'toy'", 0.02, 50, 0.04),
    "fine.block_s": ("codec 'toy'", 0.005, 50, 0.02),
}


@pytest.mark.parametrize("key", SHORT)
def test_a_rate_that_does_not_fit_a_crop_is_told(toy_recipe: dict[str, Any], key: str) -> None:
    whose, short_s, rate, enough_s = SHORT[key]
    stage, name = key.split(".")
    toy_recipe["stages"][stage][name] = short_s
    told = rf"^stages\.{stage}\.{name} is {short_s}, which is too short for {whose} at {rate} frames a second; "
    with pytest.raises(RecipeError, match=f"{told}give {enough_s} or more$"):
        build_parts(parse_recipe(toy_recipe, "toy"))
    toy_recipe["stages"][stage][name] = enough_s
    build_parts(parse_recipe(toy_recipe, "toy"))


def test_all_that_does_not_fit_is_told_at_once(toy_recipe: dict[str, Any]) -> None:
    toy_recipe["codec"] = {"use": "toy", "hop_length": 8000, "num_codebooks": 2}
    with pytest.raises(RecipeError) as raised:
        build_parts(parse_recipe(toy_recipe, "toy"))
    assert [line.split()[0] for line in str(raised.value).splitlines()] == [
        *["stages.coarse.num_codebooks", "stages.fine.crop_s", "stages.fine.block_s"]
    ]


def test_a_component_that_is_built_twice_is_guarded_once(install: Callable[..., None]) -> None:
    one = toy.toy_codec()
    install(FakeEntry("their-plugin", plugin({("codec", "theirs"): lambda: one})))
    first = build("codec", {"use": "theirs"}).encode
    assert build("codec", {"use": "theirs"}).encode is first
