"""All rules by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rapgen.errors import PluginError
from rapgen.interfaces import ROLES
from rapgen.testing.audio import CODEC_RULES, SEMANTIC_RULES
from rapgen.testing.case import Case, Rule
from rapgen.testing.common import COMMON_RULES
from rapgen.testing.conditions import CONDITIONER_RULES
from rapgen.testing.data import METRIC_RULES, SOURCE_RULES
from rapgen.testing.words import CAPTIONER_RULES, TEXT_RULES

_OWN_RULES = {
    "codec": CODEC_RULES,
    "semantic": SEMANTIC_RULES,
    "text_encoder": TEXT_RULES,
    "conditioner": CONDITIONER_RULES,
    "source": SOURCE_RULES,
    "captioner": CAPTIONER_RULES,
    "metric": METRIC_RULES,
}


def rules(role: str) -> tuple[Rule, ...]:
    """What rapgen relies on in a component of a role; PluginError where there is no such role."""
    if role not in _OWN_RULES:
        raise PluginError(f"'{role}' is not a role; roles are {', '.join(ROLES)}")
    return (*_OWN_RULES[role], *COMMON_RULES)


def check_component(
    role: str,
    use: str | Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    *,
    tolerance: float = Case.tolerance,
    agreement: float = Case.agreement,
    prepare: Callable[[Any], None] | None = None,
) -> None:
    """Hold a component to all rules of its role; AssertionError with one line for each it breaks.

    `use` is the name a plugin offers it under, or its factory; the rest is as in `Case`.
    """
    case = Case(role, use, options or {}, tolerance, agreement, prepare or Case.prepare)
    broken = []
    for rule in rules(role):
        try:
            rule(case)
        except AssertionError as error:
            broken.append(str(error))
    assert not broken, "\n".join(broken)
