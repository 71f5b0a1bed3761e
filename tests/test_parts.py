"""Parts: what they are is hashed, saved with them, and compared where they are used again."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rapgen.errors import MismatchError, ModelError, RecipeError
from rapgen.identities import (
    Part,
    Parts,
    compare,
    compare_all,
    full,
    half,
    identities,
    identity_from_json,
    state_sha256,
)
from rapgen.interfaces import TokenSpec
from rapgen.parts import _maker, build_parts, freeze, load_part, load_parts, part_path, save_part
from rapgen.recipe import parse_recipe
from rapgen.registry import build
from rapgen.schema import Recipe

WITH_STATE = ("codec", "mulan", "conditioners.groove")


@pytest.fixture
def recipe(toy_recipe: dict[str, Any]) -> Recipe:
    """The toy recipe with a codec that has weights."""
    sizes = {"num_codebooks": 3, "codebook_size": 8, "width": 16, "latent_width": 16, "code_dim": 8}
    toy_recipe["codec"] = {"use": "boombox", **sizes}
    return parse_recipe(toy_recipe, "toy")


@pytest.fixture
def parts(recipe: Recipe) -> Parts:
    torch.manual_seed(0)
    built = build_parts(recipe)
    for part in built.values():
        freeze(part)
    return built


def others(recipe: Recipe) -> Parts:
    """The same parts with other weights."""
    torch.manual_seed(1)
    return build_parts(recipe)


def plain(identity: Any) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(identity)))


@pytest.mark.parametrize("key", WITH_STATE)
def test_a_part_comes_back_as_it_was(tmp_path: Path, recipe: Recipe, parts: Parts, key: str) -> None:
    save_part(tmp_path, key, parts[key])
    fresh = others(recipe)[key]
    load_part(tmp_path, key, fresh)
    assert fresh.identity() == parts[key].identity()
    was, now = parts[key].component.state(), fresh.component.state()
    assert was.keys() == now.keys()
    assert all(torch.equal(was[name], now[name]) for name in was)


def test_identities_survive_json(parts: Parts) -> None:
    for key, tree in json.loads(json.dumps(identities(parts))).items():
        assert plain(identity_from_json(tree)) == plain(parts[key].identity())
        compare(identity_from_json(tree), parts[key].identity(), "here", parts[key])
    compare_all(json.loads(json.dumps(identities(parts))), parts, "here")


def test_an_identity_says_what_a_part_is(parts: Parts) -> None:
    codec = parts["codec"].identity()
    assert (codec.role, codec.name, codec.distribution) == ("codec", "boombox", "rapgen")
    assert codec.spec == parts["codec"].component.spec == TokenSpec(8, 3, 24_000, 960)
    assert codec.options["width"] == 16
    assert parts["mulan"].identity().options["crop_s"] == 2.0
    assert parts["text_encoder"].identity().spec is None


def test_locations_are_left_out(tmp_path: Path, toy_recipe: dict[str, Any]) -> None:
    toy_recipe["text_encoder"] = {"use": "minilm"}
    assert build_parts(parse_recipe(toy_recipe, "toy"))["text_encoder"].identity().options == {}


# ------------------------------------------------------------------------------------------ differences


def strange_state(part: Part) -> None:
    state = {name: value.clone() for name, value in part.component.state().items()}
    first = next(iter(state))
    state[first].view(-1)[0] += 1
    part.component.load_state(state)


def other_spec(field: str, value: int) -> Callable[[Part], Any]:
    return lambda part: setattr(part.component, "spec", dataclasses.replace(part.component.spec, **{field: value}))


CHANGES: dict[str, tuple[Callable[[Part], Any], str]] = {
    "role": (lambda p: setattr(p, "role", "semantic"), "role was 'codec' when it was made and is 'semantic' now"),
    "option": (lambda p: p.options.update(code_dim=9), "option 'code_dim' was 8 when it was made and is 9 now"),
    "name": (lambda p: setattr(p, "name", "toy"), "name was 'boombox' .* is 'toy' now"),
    "distribution": (lambda p: setattr(p, "distribution", "other"), "distribution was 'rapgen' .* is 'other' now"),
    **{
        f"spec.{field}": (other_spec(field, now), f"spec was .*{field}={was}.* is .*{field}={now}.* now")
        for field, was, now in (
            ("codebook_size", 8, 9),
            ("num_codebooks", 3, 4),
            ("sample_rate", 24_000, 16_000),
            ("hop_length", 960, 961),
        )
    },
    "state": (strange_state, "state_sha256 was '[0-9a-f]{64}' .* is '[0-9a-f]{64}' now"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_difference_is_told_with_both_values(
    recipe: Recipe, parts: Parts, change: Callable[[Part], Any], message: str
) -> None:
    stored = json.loads(json.dumps(identities(parts)))
    change(parts["codec"])
    with pytest.raises(MismatchError, match=rf"^shard \(codec\): {message}") as raised:
        compare_all(stored, parts, "shard")
    assert "\n" not in str(raised.value)


def test_each_option_of_each_part_is_compared(recipe: Recipe, parts: Parts) -> None:
    stored = json.loads(json.dumps(identities(parts)))
    compared = 0
    for key, part in parts.items():
        for name, was in list(part.options.items()):
            part.options[name] = "something else"
            with pytest.raises(
                MismatchError, match=rf"^shard \({re.escape(key)}\): option '{name}' was .* now .*; put it back"
            ):
                compare_all({key: stored[key]}, parts, "shard")
            part.options[name] = was
            compared += 1
    assert compared > 20
    compare_all(stored, parts, "shard")


def test_a_fitted_codec_is_made_by_the_stage_that_fits_it(tmp_path: Path, recipe: Recipe, parts: Parts) -> None:
    codec = build("codec", {"use": "toy"})
    codec.fit = lambda clips, *, seed: None
    assert Part("codec", "toy", codec, {}).learns
    trained = {key: parts[key] for key in ("codec", "mulan")}
    assert {key: _maker(key, part) for key, part in trained.items()} == {"codec": "codec", "mulan": "mulan"}
    assert _maker("codec", Part("codec", "toy", codec, {})) == "semantic"


def test_another_version_only_warns(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    stored = identities(parts)
    parts["codec"].version = "99.0"
    with caplog.at_level(logging.WARNING):
        compare_all(stored, parts, "shard")
    assert "this is 99.0" in caplog.text


def test_an_option_that_came_later_is_at_its_default(parts: Parts) -> None:
    stored = json.loads(json.dumps(identities(parts)))
    del stored["conditioners.grid"]["options"]["phase_bins"]
    del stored["mulan"]["options"]["loss"]
    compare_all(stored, parts, "shard")
    parts["conditioners.grid"].options["phase_bins"] = 8
    with pytest.raises(MismatchError, match=r"option 'phase_bins' was 16 .* is 8 now"):
        compare_all(stored, parts, "shard")


def test_a_part_that_is_gone_is_told(parts: Parts) -> None:
    stored = identities(parts)
    del parts["conditioners.toy"]
    with pytest.raises(MismatchError, match=r"made with a part 'conditioners\.toy' that this recipe does not have"):
        compare_all(stored, parts, "shard")


def test_an_identity_that_cannot_be_read_is_told(parts: Parts) -> None:
    for broken in ({"role": "codec"}, {**identities(parts)["codec"], "colour": 3}, [], None, "codec"):
        with pytest.raises(ModelError, match="is damaged"):
            compare_all({"codec": broken}, parts, "shard")


# ---------------------------------------------------------------------------------------------- damage


@pytest.fixture
def stored_codec(tmp_path: Path, parts: Parts) -> Path:
    save_part(tmp_path, "codec", parts["codec"])
    return part_path(tmp_path, "codec")


def expect_damage(folder: Path, parts: Parts) -> None:
    with pytest.raises(ModelError, match=r"codec\.safetensors is damaged") as raised:
        load_part(folder, "codec", parts["codec"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("keep", [0, 3, 8, 100, 0.5, 0.999])
def test_a_torn_file_is_damage(tmp_path: Path, stored_codec: Path, parts: Parts, keep: float) -> None:
    content = stored_codec.read_bytes()
    stored_codec.write_bytes(content[: round(keep * len(content)) if 0 < keep < 1 else int(keep)])
    expect_damage(tmp_path, parts)


def test_a_changed_byte_of_a_tensor_is_damage(tmp_path: Path, stored_codec: Path, parts: Parts) -> None:
    content = bytearray(stored_codec.read_bytes())
    for place in (-1, -1000, -3000):
        content[place] ^= 0x7C  # may become infinite
        stored_codec.write_bytes(content)
        expect_damage(tmp_path, parts)
        content[place] ^= 0x7C


@given(place=st.integers(0, 2999), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_no_changed_byte_of_the_header_is_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("part")
    part = Part("conditioner", "groove", build("conditioner", {"use": "groove"}), {})
    save_part(folder, "groove", part)
    content = bytearray(part_path(folder, "groove").read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[place % header] ^= 1 << bit
    part_path(folder, "groove").write_bytes(content)
    message = ""
    try:
        load_part(folder, "groove", part)
    except ModelError as error:
        message = str(error)
    assert "\n" not in message


def test_a_file_without_an_identity_is_damage(tmp_path: Path, stored_codec: Path, parts: Parts) -> None:
    for metadata in (None, {"identity": "{"}, {"identity": "{}"}, {"identity": "[]"}, {"other": "x"}):
        save_file(half(parts["codec"].component.state()), stored_codec, metadata=metadata)
        expect_damage(tmp_path, parts)


def test_a_part_of_another_size_does_not_fit(
    tmp_path: Path, stored_codec: Path, toy_recipe: dict[str, Any], recipe: Recipe
) -> None:
    wider = parse_recipe({**toy_recipe, "codec": {**recipe.codec, "width": 24}}, "toy")
    with pytest.raises(
        MismatchError, match=r"option 'width' was 16 .* is 24 now \(codec 'boombox' of rapgen"
    ) as raised:
        load_part(tmp_path, "codec", build_parts(wider)["codec"])
    assert "\n" not in str(raised.value)


def test_what_is_not_trained_yet_is_told(tmp_path: Path, recipe: Recipe, stored_codec: Path) -> None:
    with pytest.raises(ModelError, match="has no trained mulan; run `rapgen train mulan`"):
        load_parts(tmp_path, recipe)
    assert load_parts(tmp_path, recipe, need=("codec",))["codec"].identity().state_sha256
    stored_codec.unlink()
    with pytest.raises(ModelError, match="has no trained codec; run `rapgen train codec`"):
        load_parts(tmp_path, recipe, need=("codec",))


def test_a_codec_must_leave_codebooks_for_fine(toy_recipe: dict[str, Any]) -> None:
    toy_recipe["stages"]["coarse"]["num_codebooks"] = 4
    with pytest.raises(RecipeError, match=r"coarse.num_codebooks is 4 and codec 'toy' has 4; leave at least one"):
        build_parts(parse_recipe(toy_recipe, "toy"))


# ------------------------------------------------------------------------------------- shipping precision


def some_state(seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(3, 5, generator=random) * 100,
        "count": torch.randint(0, 9, (4,), generator=random),
        "scale": torch.randn((), generator=random),
        "empty": torch.zeros(0, 2),
        "flag": torch.tensor([True, False]),
    }


@given(seed=st.integers(0, 999))
def test_rounding_again_changes_nothing(seed: int) -> None:
    state = some_state(seed)
    once = full(half(state))
    twice = full(half(once))
    assert all(torch.equal(once[name], twice[name]) for name in state)
    assert state_sha256(state) == state_sha256(once) == state_sha256(half(state))
    assert all(torch.allclose(once[name].float(), state[name].float(), rtol=1e-3, atol=1e-6) for name in state)


def test_freezing_again_changes_nothing(parts: Parts, recipe: Recipe) -> None:
    loose = others(recipe)["codec"]
    before = loose.identity()
    for _ in range(2):
        freeze(loose)
        assert loose.identity() == before
    assert all(torch.equal(v, v.half().float()) for v in loose.component.state().values() if v.is_floating_point())


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {("weights" if name == "weight" else name): value for name, value in state.items()}


ALTERATIONS: dict[str, Callable[[dict[str, Tensor]], Mapping[str, Tensor]]] = {
    "value": lambda s: s | {"count": s["count"] + 1},
    "name": renamed,
    "shape": lambda s: s | {"weight": s["weight"].reshape(5, 3)},
    "dtype": lambda s: s | {"count": s["count"].int()},
    "more": lambda s: s | {"more": torch.zeros(0)},
    "less": lambda s: {name: value for name, value in s.items() if name != "empty"},
}


@pytest.mark.parametrize("change", ALTERATIONS.values(), ids=ALTERATIONS)
def test_the_hash_sees_every_change(change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> None:
    assert state_sha256(change(some_state(0))) != state_sha256(some_state(0))


def test_the_hash_does_not_see_the_order() -> None:
    state = some_state(0)
    assert state_sha256(dict(reversed(state.items()))) == state_sha256(state)
    transposed = state["weight"].T.contiguous().T
    assert state_sha256(state | {"weight": transposed}) == state_sha256(state)


def test_what_does_not_fit_fp16_is_told() -> None:
    with pytest.raises(ModelError, match="'weight' does not fit fp16"):
        half({"weight": torch.tensor([1e6])})


def test_parts_ship_as_fp16(stored_codec: Path) -> None:
    with safe_open(stored_codec, framework="pt") as file:
        names = list(file.keys())
        assert {file.get_tensor(n).dtype for n in names} <= {torch.float16, torch.int64, torch.bool}
