"""The conformance suite: what rapgen relies on in a component of any role, as rules that a plugin's own tests run.

    import pytest
    from rapgen.testing import Case, rules

    CASE = Case("codec", "my-codec")

    @pytest.mark.parametrize("rule", rules("codec"), ids=str)
    def test_conformance(rule):
        rule(CASE)

`check_component("codec", "my-codec")` does the same at once, and `rapgen plugins check codec my-codec` from a shell.
"""

from rapgen.testing.case import Case, Rule
from rapgen.testing.suite import check_component, rules

__all__ = ["Case", "Rule", "check_component", "rules"]
