"""A component under test, and a rule that it has to keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rapgen.contracts.guards import Owner, guard, telling
from rapgen.errors import RecipeError
from rapgen.interfaces import Fittable
from rapgen.registry import build, check_options, registry
from rapgen.testing.examples import clips


@dataclass(frozen=True)
class Case:
    """What is tested: a component by the name a plugin offers it under, or the factory that makes it.

    `tolerance` and `agreement` bound what may differ between chunks and the whole, or between an item alone and in a
    batch: samples and vectors by `tolerance` times the largest of them, tokens in all but a share of `agreement`.
    Where sums are taken in another order they round otherwise, and a token near a border flips.
    """

    role: str
    use: str | Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-3
    agreement: float = 0.99
    prepare: Callable[[Any], None] = lambda component: None  # done to each one that is built: bind it, for one

    @property
    def factory(self) -> Callable[..., Any]:
        """What makes the component."""
        return registry().find(self.role, self.use).factory if isinstance(self.use, str) else self.use

    @cached_property
    def component(self) -> Any:
        """The component that most rules look at; one that learns from clips has learnt from the examples."""
        component = self.fresh()
        if isinstance(component, Fittable):
            component.fit(iter(clips()), seed=0)
        return component

    def fresh(self) -> Any:
        """Another one, which has not learnt."""
        component = self._build()
        self.prepare(component)
        return component

    def _build(self) -> Any:
        if isinstance(self.use, str):
            return build(self.role, {"use": self.use, **self.options})
        options, problems = check_options(self.use, self.options)
        if problems:
            raise RecipeError("; ".join(problems))
        owner = Owner(self.role, self.use.__name__, self.use.__module__, "not installed", "0")
        with telling(owner, "building it"):
            component = self.use(**options)
        return guard(component, owner)


@dataclass(frozen=True)
class Rule:
    """One thing that rapgen relies on; calling it with a Case raises AssertionError where the component breaks it."""

    body: Callable[[Case], None]

    def __str__(self) -> str:
        return self.body.__name__

    @property
    def promise(self) -> str:
        """What the component promises, in a sentence."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]

    def __call__(self, case: Case) -> None:
        """Raise AssertionError, opened by the promise, where the case does not keep it."""
        try:
            self.body(case)
        except Exception as error:
            reason = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            raise AssertionError(f"{self.promise.rstrip('.')}: {reason}") from error
