"""Plugins are found, broken ones are survived, and options are checked before anything is built."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeEntry, plugin
from hypothesis import given
from hypothesis import strategies as st

from rapgen.errors import PluginError, RecipeError
from rapgen.hookspecs import hookimpl
from rapgen.recipe import recipe_paths
from rapgen.registry import build, check_node, check_options, registry
from rapgen_plugins.toy import ToyCodec


class Loud(ToyCodec):
    """A codec that shows what it was built with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(hop_length=160, num_codebooks=4, codebook_size=64)
        self.options = options


def loud(
    *,
    volume: int = 11,
    gain_db: float = 0.0,
    name: str = "amp",
    tags: list[str] = ["rap"],  # noqa: B006
    path: Path | None = None,
) -> Loud:
    """Plays louder.

    A second line that is no summary.
    """
    return Loud(volume=volume, gain_db=gain_db, name=name, tags=tags, path=path)


def needy(*, bandwidth_kbps: float) -> Loud:
    """Takes an option without a default."""
    return Loud(bandwidth_kbps=bandwidth_kbps)


def hungry() -> object:
    """Needs a package that nobody has."""
    import a_package_that_nobody_has  # type: ignore[import-not-found]

    return a_package_that_nobody_has


GOOD = plugin({("codec", "loud"): loud, ("codec", "needy"): needy, ("codec", "hungry"): hungry})


def test_components_are_found_by_role_and_name(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    assert registry().names("codec") == ["hungry", "loud", "needy"]
    assert registry().names("metric") == []
    offer = registry().find("codec", "loud")
    assert (offer.plugin, offer.distribution, offer.version) == ("good", "stranger", "1.2.3")
    assert offer.summary == "Plays louder."
    assert build("codec", {"use": "loud", "volume": 3}).options["volume"] == 3


def test_an_unknown_name_gives_the_nearest(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    with pytest.raises(RecipeError, match="no codec is called 'lout'; did you mean 'loud'"):
        build("codec", {"use": "lout"})
    with pytest.raises(RecipeError, match="known: hungry, loud, needy"):
        build("codec", {"use": "zzz"})
    with pytest.raises(RecipeError, match="known: none"):
        build("metric", {"use": "loud"})


def test_a_node_without_a_name_says_so(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    with pytest.raises(RecipeError, match="`use` is missing"):
        build("codec", {"volume": 3})


def test_two_offers_of_a_name_matter_when_it_is_used(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD), FakeEntry("twin", plugin({("codec", "loud"): loud}), "other"))
    assert build("codec", {"use": "needy", "bandwidth_kbps": 6}).options == {"bandwidth_kbps": 6.0}
    with pytest.raises(PluginError, match=r"'good' \(stranger\) and 'twin' \(other\)"):
        build("codec", {"use": "loud"})


BROKEN = {
    "import": ImportError("no module named 'fortran'"),
    "role": plugin({("codec", "quiet"): loud, ("guitar", "loud"): loud}),
    "hook": types.SimpleNamespace(rapgen_components=hookimpl(lambda rigister: None)),
}


@pytest.mark.parametrize("loaded", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_a_warning_until_it_is_needed(
    loaded: Any, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install(FakeEntry("bad", loaded), FakeEntry("good", GOOD))
    with caplog.at_level(logging.WARNING):
        assert list(registry().broken) == ["bad"]
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "'bad' (stranger) did not load" in caplog.text
    assert registry().names("codec") == ["hungry", "loud", "needy"]
    assert build("codec", {"use": "loud"})
    with pytest.raises(RecipeError, match="plugin 'bad' did not load"):
        build("codec", {"use": "quiet"})


def test_a_broken_plugin_takes_no_part_in_hooks(install: Callable[..., None]) -> None:
    bad = plugin({("guitar", "loud"): loud})
    vars(bad)["rapgen_recipes"] = hookimpl(lambda: [Path("nowhere")])
    install(FakeEntry("bad", bad))
    assert registry().manager.hook.rapgen_recipes() == []


def test_all_problems_with_options_are_told_at_once(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    options = {"volum": 3, "gain_db": "much", "zzz": 1, "tags": "rap"}
    _, _, problems = check_node("codec", {"use": "loud", **options})
    assert len(problems) == 4
    assert any("unknown option 'volum'; did you mean 'volume'?" in p for p in problems)
    assert any("unknown option 'zzz'; it takes volume, gain_db, name, tags, path" in p for p in problems)
    assert any("option 'gain_db'" in p and "'much'" in p for p in problems)
    with pytest.raises(RecipeError) as raised:
        build("codec", {"use": "loud", **options})
    assert all(p in str(raised.value) for p in problems)
    with pytest.raises(RecipeError, match="option 'bandwidth_kbps' is missing"):
        build("codec", {"use": "needy"})


@given(volume=st.integers(-(2**40), 2**40), gain_db=st.floats(allow_nan=False), tags=st.lists(st.text(max_size=5)))
def test_good_options_come_back_as_they_are(volume: int, gain_db: float, tags: list[str]) -> None:
    given_options = {"volume": volume, "gain_db": gain_db, "tags": tags}
    bound, problems = check_options(loud, given_options)
    assert not problems
    assert bound == {"name": "amp", "path": None, **given_options}
    assert check_options(loud, bound) == (bound, [])


@pytest.mark.parametrize("value", ["3.5", 3.5, None, [3], "loud"])
def test_options_of_the_wrong_type_are_refused(value: Any) -> None:
    _, problems = check_options(loud, {"volume": value})
    assert len(problems) == 1
    assert repr(value) in problems[0]


def test_a_missing_package_is_named(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    with pytest.raises(PluginError, match="needs the package 'a_package_that_nobody_has': pip install"):
        build("codec", {"use": "hungry"})


def test_first_party_plugins_load() -> None:
    assert registry().broken == {}
    for (role, name), offers in registry().offers.items():
        assert len(offers) == 1, f"{role} {name}"
        assert offers[0].summary.endswith("."), f"{role} {name} says nothing of itself"


def test_a_plugin_that_exits_at_import_is_survived(install: Callable[..., None]) -> None:
    class Exiting(FakeEntry):
        def load(self) -> Any:
            raise SystemExit(3)

    install(Exiting("bad", None), FakeEntry("good", GOOD))
    assert registry().broken == {"bad": "SystemExit: 3"}
    assert build("codec", {"use": "loud"})


def test_what_is_offered_must_be_a_factory(install: Callable[..., None]) -> None:
    install(FakeEntry("bad", plugin({("codec", "loud"): 3})))  # type: ignore[dict-item]
    assert "codec 'loud' is no function" in registry().broken["bad"]


def test_a_plugin_that_names_no_recipes_is_a_warning(
    install: Callable[..., None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    bad, good = plugin({}), plugin({})
    vars(bad)["rapgen_recipes"] = hookimpl(lambda: 1 / 0)
    vars(good)["rapgen_recipes"] = hookimpl(lambda: [tmp_path])
    install(FakeEntry("bad", bad), FakeEntry("good", good, "other"))
    (tmp_path / "mine.yaml").write_text("name: mine")
    assert recipe_paths()["mine"] == tmp_path / "mine.yaml"
    assert "plugin 'stranger:bad' names no recipes: ZeroDivisionError" in caplog.text


def unreadable(*, colour: "Colour" = None) -> Loud:  # type: ignore[name-defined]  # noqa: F821, UP037
    """Has an option whose type is imported for type checkers only."""
    return Loud(colour=colour)


def uncheckable(*, lock: types.TracebackType | None = None) -> Loud:
    """Has an option that no recipe can give."""
    return Loud(lock=lock)


def test_options_that_cannot_be_checked_are_told(install: Callable[..., None]) -> None:
    install(FakeEntry("bad", plugin({("codec", "blind"): unreadable, ("codec", "odd"): uncheckable})))
    with pytest.raises(PluginError, match=r"options of test_registry.unreadable cannot be read \(NameError: .*Colour"):
        build("codec", {"use": "blind"})
    with pytest.raises(PluginError, match="option 'lock' of test_registry has a type that cannot be checked"):
        build("codec", {"use": "odd", "lock": 3})
    assert build("codec", {"use": "odd"}).options == {"lock": None}
