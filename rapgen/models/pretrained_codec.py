"""A codec of somebody else's: a network from a package, with weights that are read when first used."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rapgen.errors import PluginError
from rapgen.interfaces import AudioCodec
from rapgen.weights import fill, from_hub, misfit, read_weights, tell_licence

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Weights = Literal["hub", "random"] | Path  # "random" is for tests; a path is a torch or safetensors file
_SEED = 0


class PretrainedCodec(AudioCodec):
    """A codec whose network comes from a package and whose weights come from a hub, a file or a fixed seed.

    Weights are rounded to fp16, the precision that parts ship in, wherever they come from: so the same weights give
    the same codes. Those of the hub and of the seed can be had again and are not stored in bundles (`is_external`);
    those of a file are.
    """

    name: str
    package: str  # that holds the network
    install: str  # the command that brings it
    url: str  # of the published weights
    sha256_prefix: str | None = None  # of the published file
    published_licence: str

    def __init__(self, weights: Weights) -> None:
        self._weights: Weights | None = weights  # None: given by `load_state`
        self._device: torch.device | str = "cpu"
        self._net: Any = None
        if find_spec(self.package) is None:
            raise self._missing(self.package)

    @property
    def who(self) -> str:
        """How errors and remarks call this part."""
        return f"codec '{self.name}'"

    @property
    def is_external(self) -> bool:
        """Whether the weights can be had again without being stored."""
        return self._weights in ("hub", "random")

    @property
    def licence(self) -> str | None:
        """Under which licence the weights are used; None where they are random."""
        if self._weights == "random":
            return None
        return self.published_licence if self._weights == "hub" else f"{self.published_licence}, unless they are yours"

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> int64 [B, ceil(S / hop), Q]; silence fills the last frame. Other shapes: ValueError."""
        import torch
        from torch.nn import functional as F

        if audio.ndim != 3 or audio.shape[1] != self.channels or audio.shape[2] == 0:
            raise ValueError(f"{self.name} encodes audio [B, {self.channels}, S], got shape {tuple(audio.shape)}")
        assert self.spec.hop_length
        with torch.no_grad():
            return self._encode(F.pad(audio.float(), (0, -audio.shape[2] % self.spec.hop_length)))

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, C, F * hop], from the first q <= Q codebooks. Other shapes: ValueError."""
        import torch

        if codes.ndim != 3 or codes.shape[1] == 0 or not 1 <= codes.shape[2] <= self.spec.num_codebooks:
            raise ValueError(
                f"{self.name} decodes codes [B, F, 1..{self.spec.num_codebooks}], got shape {tuple(codes.shape)}"
            )
        with torch.no_grad():
            return self._decode(codes)

    @property
    def num_parameters(self) -> int:
        """Size of the network, known without its weights."""
        return sum(p.numel() for p in self._seeded().parameters())

    def state(self) -> dict[str, Tensor]:
        """Weights and codebooks, without weight normalisation and what only training uses."""
        return dict(self.net.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take weights, of any float dtype, in place of the hub's or the file's; ValueError where they do not fit."""
        import torch

        with torch.inference_mode(False):
            net = self._net if self._net is not None else self._seeded()
            problem = misfit(net.state_dict(), state)
            if problem is not None:
                raise ValueError(f"not the state of {self.name} with these options: {problem}")
            given = {n: v.to(self._device, torch.float32, copy=True) for n, v in state.items()}
            net.load_state_dict(given, assign=True)
        self._net, self._weights = net.eval().requires_grad_(False), None
        self._tell("a stored part")

    def to(self, device: torch.device | str) -> None:
        """Move the weights, now or when they are read."""
        self._device = device
        if self._net is not None:
            self._net.to(device)

    @property
    def net(self) -> Any:
        """The package's network, its weights read at the first use."""
        if self._net is None:
            import torch

            with torch.inference_mode(False):
                self._net = self._filled().eval().requires_grad_(False).to(self._device)
        return self._net

    @abstractmethod
    def _network(self) -> nn.Module:
        """The package's network, initialised."""

    @abstractmethod
    def _cache(self) -> Path:
        """Where the package keeps the published weights."""

    @abstractmethod
    def _encode(self, audio: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor: ...

    def _draw(self, net: Any) -> None:
        """Change what the package initialises so that random weights give signals of a usual size."""

    def _weights_of(self, tree: Any) -> Any:
        """The weights within what a file holds."""
        return tree

    def _filled(self) -> nn.Module:
        net = self._seeded()
        if self._weights == "random":
            net.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
            return net
        path = self._published() if self._weights == "hub" else Path(self._weights or "").expanduser()
        fill(net, self._weights_of(read_weights(path, who=self.who)), who=self.who, path=path)
        self._tell(path.name)
        return net

    def _published(self) -> Path:
        """The file of the published weights, downloaded where it is not there yet."""
        import torch

        path = self._cache()
        if not path.is_file():
            with from_hub(self.who, "weights", place=path):
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(self.url, str(path), hash_prefix=self.sha256_prefix)
        return path

    def _seeded(self) -> nn.Module:
        """The network with weights that follow from a seed alone; torch's own random state stays as it is."""
        import torch
        from torch.nn.utils import remove_weight_norm

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the packages use a deprecated weight_norm
            torch.default_generator.manual_seed(_SEED)  # manual_seed would seed the accelerators too
            try:
                net = self._network()
            except ImportError as error:
                raise self._missing(error.name or self.package) from error
            for module in net.modules():
                if hasattr(module, "weight_g"):
                    remove_weight_norm(module)
            self._draw(net)
        return net

    def _tell(self, what: str) -> None:
        if self.licence is not None:
            tell_licence(self.who, what, self.licence)

    def _missing(self, package: str) -> PluginError:
        return PluginError(f"{self.who} needs the package '{package}': {self.install}")
