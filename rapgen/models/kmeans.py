"""k-means in torch: the start of every codebook, and what turns features into tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from rapgen.errors import ModelError

_MAX_DISTANCES = 2**24  # at once: 64 MiB in fp32
_JITTER = 1e-2  # of the data's standard deviation
_MAX_ROWS = 60_000  # that clusters are fitted on
_MIN_STD = 1e-4  # still over 0 when rounded to fp16


def nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The squared distance to the nearest centroid and its index; memory is bounded.

    f32 [N, D], f32 [k, D] -> (f32 [N], int64 [N]). Of equally near centroids the first one counts.
    """
    norms = centroids.square().sum(1)
    chunk = max(1, _MAX_DISTANCES // len(centroids))
    found = [torch.addmm(norms, rows, centroids.T, alpha=-2).min(1) for rows in x.split(chunk)]
    distance = torch.cat([each.values for each in found]) + x.square().sum(1)
    return distance.clamp(min=0), torch.cat([each.indices for each in found])


def kmeans(x: Tensor, k: int, *, seed: int, iterations: int = 20) -> Tensor:
    """Centroids of k clusters by Lloyd's algorithm from a k-means++ start (Arthur & Vassilvitskii 2007).

    f32 [N, D] -> f32 [k, D]. An empty cluster starts anew at one of the rows that fit worst. Where N < k,
    rows are repeated with a little noise. The same `seed` and data give the same centroids.
    """
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"k-means needs rows [N, D] with N >= 1, got shape {tuple(x.shape)}")
    generator = torch.Generator().manual_seed(seed)
    x = _at_least(x.detach().float(), k, generator)
    centroids = _spread(x, torch.rand(k, generator=generator).to(x.device))
    for _ in range(iterations):
        distance, labels = nearest(x, centroids)
        counts = torch.bincount(labels, minlength=k)
        sums = torch.zeros_like(centroids).index_add_(0, labels, x)
        centroids = sums / counts.clamp(min=1).unsqueeze(1)
        empty = (counts == 0).nonzero().squeeze(1)
        centroids[empty] = x[distance.topk(len(empty)).indices]
    return centroids


def draw_rows(batches: Iterable[Tensor], count: int, *, seed: int) -> Tensor:
    """At most `count` rows, drawn evenly from all batches in one pass that holds little more than twice as many.

    Batches f32 [n, D] -> f32 [N, D], N = 0 where there are none. How rows are cut into batches changes nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: list[Tensor] = []
    keys: list[Tensor] = []
    held = 0
    for batch in batches:
        rows.append(batch)
        keys.append(torch.rand(len(batch), generator=generator))
        held += len(batch)
        if held > 2 * count:
            rows, keys, held = *_lowest(rows, keys, count), count
    return _lowest(rows, keys, count)[0][0] if rows else torch.empty(0, 0)


class Clusters:
    """Standardized k-means: a row's token is its nearest of `size` centroids (AudioLM, section III-B).

    Each dimension is brought to mean 0 and variance 1, and then multiplied by its own of `weights` f32 [D], where some
    count more than others. `who` names the component in errors.
    """

    def __init__(self, who: str, size: int, *, weights: Tensor | None = None) -> None:
        self._who, self._size, self._weights = who, size, weights
        self._device: torch.device | str = "cpu"
        self._state: dict[str, Tensor] = {}

    def fit(self, batches: Iterable[Tensor], *, seed: int) -> None:
        """Learn from at most 60,000 rows of batches f32 [n, D], seen once; ModelError where there are none."""
        rows = draw_rows(batches, _MAX_ROWS, seed=seed)
        if not len(rows):
            raise ModelError(f"{self._who} got no clips to learn from: prepare a dataset first")
        mean, std = rows.mean(0), rows.std(0, unbiased=False).clamp(min=_MIN_STD)
        centroids = kmeans(self._scaled(rows, mean, std), self._size, seed=seed)
        self.load_state({"centroids": centroids, "mean": mean, "std": std})

    def tokens(self, rows: Tensor) -> Tensor:
        """f32 [N, D] -> int64 [N]; raises ModelError before `fit`."""
        if not self._state:
            raise ModelError(f"{self._who} is not fitted: run `rapgen semantic fit`")
        return nearest(self._scaled(rows, self._state["mean"], self._state["std"]), self._state["centroids"])[1]

    def state(self) -> dict[str, Tensor]:
        """Centroids f32 [size, D], mean and std f32 [D]; empty before `fit`."""
        return dict(self._state)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError where names or shapes differ."""
        width = state["centroids"].shape[-1] if self._weights is None else len(self._weights)
        shapes = {"centroids": (self._size, width), "mean": (width,), "std": (width,)}
        for name, shape in shapes.items():
            if state[name].shape != shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}, not {shape}")
        self._state = {name: state[name].to(self._device) for name in shapes}

    def to(self, device: torch.device | str) -> None:
        """Take rows on `device` from now on."""
        self._device = device
        self._state = {name: tensor.to(device) for name, tensor in self._state.items()}

    def _scaled(self, rows: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        scaled = (rows - mean) / std
        return scaled if self._weights is None else scaled * self._weights.to(rows.device)


def _lowest(rows: list[Tensor], keys: list[Tensor], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """The rows of the lowest random keys, in the order of the keys: an even draw from all rows seen."""
    joined = torch.cat(keys)
    order = joined.argsort()[:count]
    return [torch.cat(rows)[order]], [joined[order]]


def _spread(x: Tensor, draws: Tensor) -> Tensor:
    """Rows, as many as draws, each drawn with a chance that grows with its squared distance to those before it."""
    distance = torch.ones(len(x), device=x.device)
    rows: list[Tensor] = []
    for draw in draws:
        total = distance.cumsum(0)
        row = x[torch.searchsorted(total, draw * total[-1]).clamp(max=len(x) - 1)]
        away = (x - row).square().sum(1)
        distance = torch.minimum(distance, away) if rows else away
        rows.append(row)
    return torch.stack(rows)


def _at_least(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    if len(x) >= k:
        return x
    rows = torch.arange(len(x), k, device=x.device) % len(x)
    noise = torch.randn(len(rows), x.shape[1], generator=generator).to(x.device)
    scale = x.std(0, unbiased=False).clamp(min=1e-4)
    return torch.cat([x, x[rows] + _JITTER * scale * noise])
