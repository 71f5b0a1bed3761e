"""k-means in torch: the start of every codebook."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_DISTANCES = 2**24  # at once: 64 MiB in fp32
_JITTER = 1e-2  # of the data's standard deviation


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
