"""What the parts of a run are: their state as it ships, its hash, and whether two parts are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from rapgen import __version__
from rapgen.errors import MismatchError, ModelError
from rapgen.interfaces import Fittable, Identity, TokenSpec, Trainable, TunableTextEncoder
from rapgen.registry import is_location, option_schema, registry
from rapgen.schema import MuLaN

log = logging.getLogger(__name__)


@dataclass
class Part:
    """A component with what it was built from."""

    role: str
    name: str
    component: Any
    options: dict[str, Any]
    distribution: str = "rapgen"
    version: str = __version__
    source_sha256: str | None = None

    @property
    def learns(self) -> bool:
        """Whether the part must be trained or fitted before it is of use."""
        return isinstance(self.component, Fittable | Trainable | TunableTextEncoder)

    @property
    def is_external(self) -> bool:
        """Whether the part's state comes from a package or path of its own and is not saved in runs."""
        return bool(getattr(self.component, "is_external", False))

    @property
    def licence(self) -> str | None:
        """Under which licence the part's weights are used, where somebody else made them."""
        return getattr(self.component, "licence", None)

    def identity(self) -> Identity:
        """What the part is, its state hashed at the precision it ships in."""
        return dataclasses.replace(self.kind(), state_sha256=state_sha256(self.component.state()))

    def kind(self) -> Identity:
        """What the part is but for its state."""
        spec = None if self.role == "text_encoder" else getattr(self.component, "spec", None)
        return Identity(
            role=self.role,
            name=self.name,
            distribution=self.distribution,
            version=self.version,
            options=self.options,
            spec=spec,
            state_sha256="",
            source_sha256=self.source_sha256,
        )


Parts = dict[str, Part]  # "codec", "semantic", "text_encoder", "mulan", "conditioners.groove", ...


def licences(parts: Parts) -> dict[str, str]:
    """The licences of the weights that somebody else made, by part."""
    return {key: part.licence for key, part in sorted(parts.items()) if part.licence is not None}


# ------------------------------------------------------------------------------------- the state as it ships


def half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state at the precision parts ship in: floats as fp16, the rest as it is."""
    shipped = _rounded(state)
    for name, value in shipped.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ModelError(f"tensor '{name}' does not fit fp16: training has diverged; lower the learning rate")
    return shipped


def _rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    return {k: v.half() if v.is_floating_point() else v for k, v in plain.items()}


def full(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A shipped state at the precision it is computed with: floats as fp32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash over the sorted state at shipping precision: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(_rounded(state).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- sameness


def untrained(part: Part) -> Part:
    """The part by its options alone, for what is in training with it: its state changes from step to step."""
    return dataclasses.replace(part, component=SimpleNamespace(state=dict))


def identity_from_json(tree: Mapping[str, Any]) -> Identity:
    """The inverse of `dataclasses.asdict`."""
    spec = TokenSpec(**tree["spec"]) if tree.get("spec") else None
    return Identity(**{**tree, "spec": spec})


def identities(parts: Parts) -> dict[str, dict[str, Any]]:
    """The identity of every part, ready for JSON."""
    return {key: dataclasses.asdict(part.identity()) for key, part in sorted(parts.items())}


def compare(stored: Identity, current: Identity, where: str, part: Part) -> None:
    """Raise MismatchError on any difference but the version's, which warns, and the source's, which only tells.

    An option that the stored identity lacks is taken at today's default.
    """
    compare_kind(stored, current, where, part)
    _same("state_sha256", stored.state_sha256, current.state_sha256, where, part)  # last: an option may be why
    if stored.version != current.version:
        log.warning("%s was made with %s %s, this is %s", where, stored.name, stored.version, current.version)


def compare_kind(stored: Identity, current: Identity, where: str, part: Part) -> None:
    """As `compare`, but for the state."""
    for name in ("role", "name", "distribution", "spec"):
        _same(name, getattr(stored, name), getattr(current, name), where, part)
    options = {**_defaults(part), **stored.options}
    for name in sorted(options.keys() | current.options.keys()):
        _same(f"option '{name}'", options.get(name), current.options.get(name), where, part)


def compare_all(stored: Mapping[str, Any], parts: Parts, where: str) -> None:
    """Compare the identities that an artefact carries with the parts at hand."""
    for key, tree in stored.items():
        if key not in parts:
            raise MismatchError(f"{where} was made with a part '{key}' that this recipe does not have")
        try:
            identity = identity_from_json(tree)
        except (TypeError, AttributeError):
            raise ModelError(f"{where} is damaged: it does not say what '{key}' is; make it again") from None
        compare(identity, parts[key].identity(), f"{where} ({key})", parts[key])


def _defaults(part: Part) -> dict[str, Any]:
    if part.role == "mulan":
        return MuLaN().model_dump()
    schema = option_schema(registry().find(part.role, part.name).factory)
    return {n: p.default for n, p in schema.items() if p.default is not p.empty and not is_location(p.annotation)}


def _same(name: str, stored: Any, current: Any, where: str, part: Part) -> None:
    if _plain(stored) != _plain(current):
        whose = f"{part.role} '{part.name}' of {part.distribution} {part.version}"
        raise MismatchError(
            f"{where}: {name} was {stored!r} when it was made and is {current!r} now ({whose}); put it back, or begin "
            "another run"
        )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(value) if isinstance(value, TokenSpec) else value, default=str))
