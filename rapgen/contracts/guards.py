"""What a plugin breaks is one line that names it: the methods of a built component, wrapped where it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from rapgen.contracts.attributes import COMMON, METHODS, OPTIONAL, check_component
from rapgen.contracts.methods import GIVES, check_ref
from rapgen.contracts.violation import Violation
from rapgen.errors import PluginError, RapgenError, is_out_of_memory

C = TypeVar("C")
_REFUSALS = (KeyError, ValueError, RuntimeError)  # of a state that does not fit: for the caller to tell
_MEND = "report it to the plugin's authors with what `rapgen --debug ...` prints, or use another part"


@dataclass(frozen=True)
class Owner:
    """Whose a component is."""

    role: str
    name: str
    plugin: str
    distribution: str
    version: str

    @property
    def title(self) -> str:
        """As errors call it."""
        return f"{self.role} '{self.name}' of plugin '{self.plugin}' ({self.distribution} {self.version})"


def guard(component: C, owner: Owner) -> C:
    """The component, its methods checked against their contracts from now on and its exceptions told as one line.

    RapgenErrors pass as they are, and so do the KeyError, ValueError and RuntimeError by which `load_state` refuses.
    Raises PluginError at once where a method or an attribute is missing.
    """
    with telling(owner, "its class"):
        check_component(owner.role, component)
    for name in (*COMMON, *METHODS[owner.role], *OPTIONAL):
        method = getattr(component, name, None)
        if method is not None and not hasattr(method, "is_guard"):
            guarded = _guarded_refs(method, owner) if name == "refs" else _guarded(component, name, owner)
            vars(guarded)["is_guard"] = True
            try:
                object.__setattr__(component, name, guarded)  # a frozen dataclass has no other way
            except AttributeError:
                raise PluginError(
                    f"{owner.title}: its class has __slots__, which cannot be guarded; remove them"
                ) from None
    return component


@contextmanager
def telling(owner: Owner, what: str, passed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a plugin raises inside into one PluginError, but for RapgenErrors and what is `passed`."""
    try:
        yield
    except RapgenError:
        raise
    except passed:
        raise
    except Violation as error:
        raise PluginError(f"{owner.title}: {error}; {_MEND}") from error
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, ImportError) and error.name:
            install = f"pip install '{owner.distribution}[{owner.name}]' or '{error.name}'"
            raise PluginError(f"{owner.title} needs the package '{error.name}': {install}") from error
        raise PluginError(f"{owner.title}: {what} raised {_one_line(error)}; {_MEND}") from error


def _guarded(component: Any, name: str, owner: Owner) -> Callable[..., Any]:
    method = getattr(component, name)
    check = GIVES[owner.role].get(name)
    passed = _REFUSALS if name == "load_state" else ()

    @wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with telling(owner, name, passed):
            result = method(*args, **kwargs)
            if check is not None:
                check(component, result, *args, **kwargs)
        return result

    return guarded


def _guarded_refs(method: Callable[[], Iterator[Any]], owner: Owner) -> Callable[[], Iterator[Any]]:
    @wraps(method)
    def guarded() -> Iterator[Any]:
        seen: set[str] = set()
        with telling(owner, "refs"):
            for ref in method():
                check_ref(ref, seen)
                yield ref

    return guarded


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")
