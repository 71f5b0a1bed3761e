"""Recipes are checked whole: every mistake at once, with its place and the nearest right name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rapgen.errors import RecipeError
from rapgen.parts import build_parts
from rapgen.recipe import find_recipe, load_recipe, parse_recipe, recipe_paths
from rapgen.schema import Recipe

FOLDER = Path(__file__).parents[1] / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TREE = yaml.safe_load("""
name: test
data:
  train: {use: beatmaker, num_clips: 4, duration_s: 4}
  valid: {use: beatmaker, num_clips: 2, duration_s: 4, split: valid}
codec: {use: boombox, num_codebooks: 6}
semantic: {use: rhythm-kmeans}
text_encoder: {use: minilm}
conditioners:
  mulan: {use: mulan}
  grid: {use: grid}
stages:
  semantic: {inputs: [mulan, grid], model: {width: 64, heads: 4}}
  coarse: {inputs: [mulan, grid, semantic], pattern: delay}
""")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as raised:
        parse_recipe(tree, "test.yaml")
    return str(raised.value).splitlines()


def changed(**dotted: Any) -> dict[str, Any]:
    """The tree with `a__b=value` set."""
    tree = yaml.safe_load(yaml.safe_dump(TREE))
    for path, value in dotted.items():
        *parents, last = path.split("__")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return tree


@pytest.mark.parametrize("name", NAMES)
def test_our_recipes_are_sound(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe == load_recipe(FOLDER / f"{name}.yaml") == load_recipe(f"recipes/{name}.yaml")
    assert recipe.name == name
    again = parse_recipe(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json"))), name)
    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_recipes_are_found_by_name() -> None:
    assert set(NAMES) <= recipe_paths().keys()
    with pytest.raises(RecipeError, match="no recipe 'bse'; did you mean 'base'"):
        find_recipe("bse")
    with pytest.raises(RecipeError, match=r"no recipe 'elsewhere/base\.yaml'"):
        find_recipe("elsewhere/base.yaml")


def test_every_mistake_is_told_at_once() -> None:
    tree = changed(
        sed=1, stages__semantc={}, stages__fine__steps=0, stages__coarse__model__widht=4, stages__mulan__precision="fp8"
    )
    found = problems(tree)
    assert all(line.startswith("test.yaml: ") for line in found)
    expected = [
        "sed: unknown key; did you mean 'seed'?",
        "stages.semantc: unknown key; did you mean 'semantic'?",
        r"stages.fine.steps: .*greater than or equal to 1 \(got 0\)",
        "stages.coarse.model.widht: unknown key; did you mean 'width'?",
        "stages.mulan.precision: .*'fp32' or 'bf16'",
    ]
    assert len(found) == len(expected)
    for line in expected:
        assert any(re.search(line, f) for f in found), line


def test_every_wrong_component_is_told_at_once() -> None:
    tree = changed(codec__use="bombox", semantic__codebok_size=3, data__train__duration_s="long")
    tree["stages"]["coarse"]["inputs"] = ["mulann", "semantic", "coarse"]
    found = problems(tree)
    expected = [
        "test.yaml: codec: no codec is called 'bombox'; did you mean 'boombox'?",
        "semantic: .*unknown option 'codebok_size'; did you mean 'codebook_size'?",
        "data.train: source 'beatmaker': option 'duration_s'.*'long'",
        "stages.coarse.inputs: no stream 'mulann'; did you mean 'mulan'?",
        "stages.coarse.inputs: no stream 'coarse'",
    ]
    assert len(found) == len(expected)
    for line in expected:
        assert any(re.search(line, f) for f in found), line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": "boombox"}, "codec: .*dictionary"),
        ({"codec": {"num_codebooks": 4}}, "codec: .*`use` is missing"),
        ({"name": "../up"}, "name: .*pattern"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"stages__semantic__model__width": 30}, "stages.semantic.model: .*multiple of 2 \\* heads"),
        ({"stages__semantic__model__heads": 0}, "stages.semantic.model.heads"),
        ({"stages__semantic__pattern": "masked"}, "stages.semantic.pattern: .*'flat' or 'delay'"),
        ({"stages__fine__pattern": "delay"}, "stages.fine.pattern: .*'flat' or 'masked'"),
        ({"stages__fine__block_s": 20.0}, "stages.fine: .*block_s"),
        ({"sampling__semantic__temperature": -1}, "sampling.semantic.temperature"),
        ({"sampling__semantic__guidance_scale": float("nan")}, "sampling.semantic.guidance_scale"),
        ({"sampling__coarse__top_k": 1.5}, "sampling.coarse.top_k"),
        ({"sampling__coars": {}}, "sampling.coars: unknown key; did you mean 'coarse'"),
    ],
    ids=str,
)
def test_a_bad_value_names_its_place(change: dict[str, Any], message: str) -> None:
    found = problems(changed(**change))
    assert len(found) == 1
    assert re.search(f"^test.yaml: {message}", found[0]), found


@pytest.mark.parametrize("key", [1, None, 1.5, True])
def test_keys_that_are_no_words_are_refused(key: Any) -> None:
    assert problems({**changed(), key: 1})
    tree = changed()
    tree["codec"][key] = 1
    assert problems(tree)


def test_missing_sections_are_named() -> None:
    found = problems({"name": "test"})
    assert {f.split(": ")[1] for f in found} == {"data", "codec", "semantic", "text_encoder", "conditioners"}
    assert all(f.endswith(": missing") for f in found)


def test_a_recipe_is_frozen() -> None:
    recipe = parse_recipe(TREE, "test.yaml")
    with pytest.raises(ValidationError):
        recipe.seed = 3  # type: ignore[misc]
    assert Recipe.model_validate(recipe.model_dump()).sha256 == recipe.sha256


# ------------------------------------------------------------------------------------------- overrides


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recipes") / "base.yaml", yaml.safe_dump(TREE))


def test_set_changes_one_key(base: Path) -> None:
    recipe = load_recipe(base, ["stages.semantic.steps=7", "seed=3", "sampling.fine={temperature: 0.1, top_k: 5}"])
    assert recipe.stages.semantic.steps == 7
    assert recipe.seed == 3
    assert (recipe.sampling.fine.temperature, recipe.sampling.fine.top_k) == (0.1, 5)
    assert recipe.stages.semantic.model == load_recipe(base).stages.semantic.model
    assert recipe.sha256 != load_recipe(base).sha256


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "takes key.path=value"),
        ("name.deep=3", "'name' is a value, not a section"),
        ("seed=[1", "not YAML"),
        ("stages.semantic.step=3", "stages.semantic.step: unknown key; did you mean 'steps'"),
        ("codec.width=wide", "option 'width'"),
    ],
)
def test_a_bad_set_is_one_line(base: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as raised:
        load_recipe(base, [override])
    assert "\n" not in str(raised.value)


@given(learning_rate=st.floats(1e-9, 1.0), steps=st.integers(1, 10**9))
@settings(max_examples=20, deadline=None)
def test_numbers_survive_yaml(base: Path, learning_rate: float, steps: int) -> None:
    recipe = load_recipe(base, [f"stages.fine.learning_rate={learning_rate!r}", f"stages.fine.steps={steps}"])
    assert (recipe.stages.fine.learning_rate, recipe.stages.fine.steps) == (learning_rate, steps)


# --------------------------------------------------------------------------------------------- extends


def test_extends_merges_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "parent.yaml", yaml.safe_dump(TREE))
    child = "extends: parent.yaml\nname: child\nstages: {semantic: {steps: 3}}\ncodec: {width: 64}\n"
    recipe = load_recipe(write(tmp_path / "child.yaml", child))
    assert recipe.name == "child"
    assert recipe.stages.semantic.steps == 3
    assert recipe.stages.semantic.inputs == ("mulan", "grid")
    assert recipe.codec == {"use": "boombox", "num_codebooks": 6, "width": 64}


def test_a_node_that_names_another_component_starts_afresh(tmp_path: Path) -> None:
    write(tmp_path / "parent.yaml", yaml.safe_dump(changed(conditioners__grid={"use": "grid", "phase_bins": 8})))
    child = "extends: parent.yaml\nconditioners: {grid: {use: groove}}\n"
    assert load_recipe(write(tmp_path / "child.yaml", child)).conditioners["grid"] == {"use": "groove"}


def test_extends_finds_recipes_by_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "mine.yaml", "extends: base\nname: mine\n"))
    assert recipe.codec == load_recipe("base").codec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "mine.yaml: cannot be read as YAML"),
        ("- a\n- b\n", "mine.yaml: a recipe is a mapping"),
        ("", "mine.yaml: a recipe is a mapping"),
        ("extends: nowhere.yaml\n", "no recipe 'nowhere.yaml'"),
        ("extends: mine.yaml\n", "extends itself"),
        ("!!python/object/apply:os.getcwd []", "mine.yaml: cannot be read as YAML"),
    ],
    ids=["torn", "list", "empty", "orphan", "loop", "code"],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as raised:
        load_recipe(write(tmp_path / "mine.yaml", text))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(RecipeError, match=r"mine\.yaml: cannot be read as YAML"):
        load_recipe(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", ["semantic", "target", "codes", "a.b"])
def test_a_conditioner_has_a_name_of_its_own(name: str) -> None:
    tree = changed()
    tree["conditioners"][name] = {"use": "grid"}
    with pytest.raises(RecipeError, match="conditioners"):
        parse_recipe(tree, "mine.yaml")


@pytest.mark.parametrize("key", ["mulan__crop_s", "stages__mulan"])
def test_mulan_needs_something_to_hear(key: str) -> None:
    value = 0.001 if key.endswith("crop_s") else {"crop_s": 0.001}
    with pytest.raises(RecipeError, match=r"mulan\.crop_s is 0\.001, which is too short .*; give 0\.08 or more"):
        build_parts(parse_recipe(changed(**{key: value}), "mine.yaml"))
