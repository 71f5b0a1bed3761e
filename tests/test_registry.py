"""Plugins are found, broken ones are survived, and options are checked before anything is built."""

from __future__ import annotations

import importlib.metadata
import logging
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapgen.errors import PluginError, RecipeError
from rapgen.hookspecs import hookimpl
from rapgen.registry import build, check_node, check_options, registry


class FakeEntry:
    """An entry point whose module is `loaded`, or raises it."""

    def __init__(self, name: str, loaded: Any, distribution: str = "stranger") -> None:
        self.name, self.loaded = name, loaded
        self.dist = types.SimpleNamespace(name=distribution, version="1.2.3")

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def plugin(offers: dict[tuple[str, str], Callable[..., Any]]) -> types.ModuleType:
    module = types.ModuleType("stranger")

    def rapgen_components(register: Callable[..., None]) -> None:
        for (role, name), factory in offers.items():
            register(role, name, factory)

    vars(module)["rapgen_components"] = hookimpl(rapgen_components)
    return module


def loud(
    *,
    volume: int = 11,
    gain_db: float = 0.0,
    name: str = "amp",
    tags: list[str] = ["rap"],  # noqa: B006
    path: Path | None = None,
) -> dict[str, Any]:
    """Plays louder.

    A second line that is no summary.
    """
    return {"volume": volume, "gain_db": gain_db, "name": name, "tags": tags, "path": path}


def needy(*, bandwidth_kbps: float) -> object:
    """Takes an option without a default."""
    return bandwidth_kbps


def hungry() -> object:
    """Needs a package that nobody has."""
    import a_package_that_nobody_has  # type: ignore[import-not-found]

    return a_package_that_nobody_has


GOOD = plugin({("codec", "loud"): loud, ("codec", "needy"): needy, ("codec", "hungry"): hungry})


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the given entry points those that are installed."""

    def install(*entries: FakeEntry) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: list(entries))
        registry.cache_clear()

    yield install
    registry.cache_clear()


def test_components_are_found_by_role_and_name(install: Callable[..., None]) -> None:
    install(FakeEntry("good", GOOD))
    assert registry().names("codec") == ["hungry", "loud", "needy"]
    assert registry().names("metric") == []
    offer = registry().find("codec", "loud")
    assert (offer.plugin, offer.distribution, offer.version) == ("good", "stranger", "1.2.3")
    assert offer.summary == "Plays louder."
    assert build("codec", {"use": "loud", "volume": 3})["volume"] == 3


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
    assert build("codec", {"use": "needy", "bandwidth_kbps": 6}) == 6.0
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
