"""Discover plugins, and build components by role and name with their options checked first."""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import pluggy
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from rapgen import hookspecs
from rapgen.contracts.guards import Owner, guard, telling
from rapgen.errors import PluginError, RecipeError
from rapgen.interfaces import ROLES

log = logging.getLogger(__name__)
GROUP = "rapgen"


@dataclass(frozen=True)
class Offer(Owner):
    """A component that a plugin offers."""

    factory: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]


@dataclass
class Registry:
    """All offers by (role, name); more than one offer of a name is an error when that name is used."""

    manager: pluggy.PluginManager
    offers: dict[tuple[str, str], list[Offer]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # plugin -> what it raised

    def names(self, role: str) -> list[str]:
        """Names on offer for a role, sorted."""
        return sorted(name for r, name in self.offers if r == role)

    def find(self, role: str, name: str) -> Offer:
        """The one offer of a name; RecipeError where there is none, PluginError where there are two."""
        offers = self.offers.get((role, name), [])
        if len(offers) > 1:
            owners = " and ".join(f"'{o.plugin}' ({o.distribution})" for o in offers)
            raise PluginError(f"two plugins offer {role} '{name}': {owners}; uninstall one of them")
        if offers:
            return offers[0]
        raise RecipeError(self._missing(role, name))

    def recipe_folders(self) -> list[Path]:
        """Folders in which plugins have recipes; a plugin that cannot say is a warning."""
        folders: list[Path] = []
        for hook in self.manager.hook.rapgen_recipes.get_hookimpls():
            try:
                named: Any = hook.function()
                folders += [Path(folder) for folder in named]
            except Exception as error:
                log.warning("plugin '%s' names no recipes: %s: %s", hook.plugin_name, type(error).__name__, error)
        return folders

    def _missing(self, role: str, name: str) -> str:
        known = self.names(role)
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
        broken = "".join(f"; plugin '{p}' did not load ({why})" for p, why in self.broken.items())
        return f"no {role} is called '{name}'; {hint}{broken}"


@cache
def registry() -> Registry:
    """Every installed plugin, loaded once; a broken one is a warning and is remembered."""
    manager = pluggy.PluginManager("rapgen")
    manager.add_hookspecs(hookspecs)
    found = Registry(manager)
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "0"
        try:
            module = entry.load()
            offers = _offers(module, entry.name, distribution, version)
            manager.register(module, name=f"{distribution}:{entry.name}")
        except (Exception, SystemExit) as error:
            found.broken[entry.name] = " ".join(f"{type(error).__name__}: {error}".split())
            told = found.broken[entry.name]
            log.warning("plugin '%s' (%s) did not load: %s; update or uninstall it", entry.name, distribution, told)
            continue
        for offer in offers:
            found.offers.setdefault((offer.role, offer.name), []).append(offer)
    return found


def _offers(module: types.ModuleType, plugin: str, distribution: str, version: str) -> list[Offer]:
    """The components of one plugin."""
    offers: list[Offer] = []

    def register(role: str, name: str, factory: Callable[..., Any]) -> None:
        if role not in ROLES:
            raise PluginError(f"'{role}' is not a role; roles are {', '.join(ROLES)}")
        if not callable(factory):
            raise PluginError(f"what it offers as {role} '{name}' is no function that builds one")
        offers.append(Offer(role, name, plugin, distribution, version, factory))

    hook = getattr(module, "rapgen_components", None)
    if hook is not None:
        hook(register=register)
    return offers


@cache
def option_schema(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The keyword-only parameters of a factory with their types resolved; PluginError where they cannot be."""
    try:
        hints = typing.get_type_hints(factory, include_extras=True)
        parameters = inspect.signature(factory).parameters.values()
    except Exception as error:  # a name that is imported under TYPE_CHECKING only, a builtin without a signature
        what = f"the options of {factory.__module__}.{factory.__qualname__} cannot be read"
        raise PluginError(f"{what} ({type(error).__name__}: {error}); report it to the plugin's authors") from error
    return {p.name: p.replace(annotation=hints.get(p.name, Any)) for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_options(factory: Callable[..., Any], options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options with defaults filled in, and one line for every thing wrong with them."""
    schema = option_schema(factory)
    problems = []
    for key in options:
        if key not in schema:
            near = get_close_matches(key, schema, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(schema) or 'none'}"
            problems.append(f"unknown option '{key}'; {hint}")
    bound = {}
    for name, parameter in schema.items():
        if name in options:
            try:
                adapter = TypeAdapter(parameter.annotation, config=ConfigDict(strict=False))
                bound[name] = adapter.validate_python(options[name])
            except PydanticUserError as error:
                reason = f"option '{name}' of {factory.__module__} has a type that cannot be checked"
                raise PluginError(f"{reason} ({parameter.annotation}); report it to the plugin's authors") from error
            except ValidationError as error:
                problems.append(f"option '{name}': {error.errors()[0]['msg']} (got {options[name]!r})")
        elif parameter.default is parameter.empty:
            problems.append(f"option '{name}' is missing")
        else:
            bound[name] = parameter.default
    return bound, problems


def check_node(role: str, node: Mapping[str, Any]) -> tuple[Offer, dict[str, Any], list[str]]:
    """What a recipe node `{use: name, option: value}` asks for; RecipeError where the name is missing or unknown."""
    if "use" not in node:
        known = ", ".join(registry().names(role)) or "none"
        raise RecipeError(f"`use` is missing, which names the {role}; known: {known}")
    offer = registry().find(role, str(node["use"]))
    options, problems = check_options(offer.factory, {k: v for k, v in node.items() if k != "use"})
    return offer, options, [f"{role} '{offer.name}': {p}" for p in problems]


def lasting_options(role: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a node's component what it is: its options with defaults filled in and locations left out."""
    offer, options, _ = check_node(role, node)
    schema = option_schema(offer.factory)
    return {name: value for name, value in options.items() if not is_location(schema[name].annotation)}


def portable_options(role: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """What a node says to another machine: its options with defaults filled in and paths left out.

    A location that is a word, like `weights: hub`, is the same everywhere and stays.
    """
    offer, options, _ = check_node(role, node)
    schema = option_schema(offer.factory)
    return {n: v for n, v in options.items() if isinstance(v, str) or not is_location(schema[n].annotation)}


def is_location(annotation: Any) -> bool:
    """Whether an option of this type says where something is, rather than what."""
    return annotation is Path or Path in typing.get_args(annotation)


def build(role: str, node: Mapping[str, Any]) -> Any:
    """Build the component that a recipe node names; options are bound and checked before it is called.

    What its methods give is checked from then on (`rapgen.contracts`).
    """
    offer, options, problems = check_node(role, node)
    if problems:
        raise RecipeError("; ".join(problems))
    with telling(offer, "building it"):
        component = offer.factory(**options)
    return guard(component, offer)
