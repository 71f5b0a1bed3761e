"""Residual vector quantization with codebooks that follow the data by moving averages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rapgen.distributed import from_main, gather_rows, rank, sum_over_ranks, world_size
from rapgen.models.kmeans import kmeans, nearest

_DEAD_SHARE = 0.1  # of an even share of the vectors; a code used less is revived
_START_ITERATIONS = 10


class ResidualVQ(nn.Module):
    """Each codebook quantizes what the ones before it left over (SoundStream, section III-C).

    The codebooks are buffers, set by k-means from the first training batch, moved by exponential averages
    (`decay`) and revived from the batch where unused. Always computes in fp32, autocast or not. Processes that train
    together, with as many vectors each, move their codebooks alike: as one process would by the vectors of all.
    """

    codebooks: Tensor  # f32 [Q, K, D]
    usage: Tensor  # f32 [Q, K], the share of vectors each code takes
    is_started: Tensor  # bool []

    def __init__(self, *, dim: int, codebook_size: int, num_codebooks: int, decay: float = 0.99) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_size = codebook_size
        self.num_codebooks = num_codebooks
        self.decay = decay
        self.register_buffer("codebooks", torch.zeros(num_codebooks, codebook_size, dim))
        self.register_buffer("usage", torch.full((num_codebooks, codebook_size), 1 / codebook_size))
        self.register_buffer("is_started", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize; in training also move the codebooks. Draws from torch's global generator.

        f32 [..., D] -> (f32 [..., D] with straight-through gradient, int64 [..., Q], commitment loss f32 []).
        """
        with torch.autocast(x.device.type, enabled=False):
            flat = x.float().reshape(-1, self.dim)
            if self.training and not self.is_started:
                self.fit(gather_rows(flat.detach()), seed=_draw_seed(), iterations=_START_ITERATIONS)
            quantized, codes, commitment = self._quantize(flat)
            straight_through = flat + (quantized - flat).detach()
        return straight_through.reshape(x.shape), codes.reshape(*x.shape[:-1], -1), commitment

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """f32 [..., D] -> int64 [..., Q]."""
        residual = x.float().reshape(-1, self.dim)
        codes = []
        for codebook in self.codebooks:
            index = nearest(residual, codebook)[1]
            residual = residual - codebook[index]
            codes.append(index)
        return torch.stack(codes, -1).reshape(*x.shape[:-1], self.num_codebooks)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [..., q] -> f32 [..., D], for the first q <= Q codebooks."""
        books = self.codebooks[: codes.shape[-1]]
        return torch.stack([F.embedding(codes[..., q], book) for q, book in enumerate(books)]).sum(0)

    @torch.no_grad()
    def fit(self, x: Tensor, *, seed: int, iterations: int = 20) -> None:
        """Set all codebooks at once by residual k-means on f32 [N, D]."""
        residual = x.detach().float()
        for q in range(self.num_codebooks):
            book = kmeans(residual, self.codebook_size, seed=seed + q, iterations=iterations)
            self.codebooks[q] = book
            residual = residual - book[nearest(residual, book)[1]]
        self.usage.fill_(1 / self.codebook_size)
        self.is_started.fill_(True)

    def perplexity(self) -> Tensor:
        """How many codes of each codebook are in use, in effect: f32 [Q], 1 .. codebook_size."""
        share = self.usage / self.usage.sum(1, keepdim=True)
        return torch.special.entr(share).sum(1).exp()

    def _quantize(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        residual, quantized = flat, torch.zeros_like(flat)
        codes, losses = [], []
        chance = torch.Generator().manual_seed(_draw_seed()) if self.training else None
        for q in range(self.num_codebooks):
            index = nearest(residual.detach(), self.codebooks[q])[1]
            chosen = self.codebooks[q][index]
            losses.append(F.mse_loss(residual, chosen))
            if chance is not None:
                self._follow(q, residual.detach(), index, chance)
            residual = residual - chosen
            quantized = quantized + chosen
            codes.append(index)
        return quantized, torch.stack(codes, -1), torch.stack(losses).mean()

    @torch.no_grad()
    def _follow(self, q: int, residual: Tensor, index: Tensor, chance: torch.Generator) -> None:
        """Move codebook q towards the vectors it was given, of all processes, then revive its dead codes."""
        book, usage = self.codebooks[q], self.usage[q]
        own, total = len(residual), len(residual) * world_size()
        counts = torch.bincount(index, minlength=self.codebook_size).float()
        sums = torch.zeros_like(book).index_add_(0, index, residual)
        # A vector for each code in case it is dead, drawn from all and given by the process that has it.
        drawn = torch.randperm(total, generator=chance)[torch.arange(self.codebook_size) % total].to(index.device)
        drawn = (drawn - rank() * own).unsqueeze(1)
        spare = torch.where((drawn >= 0) & (drawn < own), residual[drawn[:, 0].clamp(0, own - 1)], 0.0)
        sums, counts, spare = sum_over_ranks(torch.cat([sums, counts.unsqueeze(1), spare], 1)).split(
            [self.dim, 1, self.dim], 1
        )
        usage.lerp_(counts[:, 0] / total, 1 - self.decay)
        book += (1 - self.decay) * (sums - counts * book) / total / usage.clamp(min=1e-9).unsqueeze(1)
        dead = usage < _DEAD_SHARE / self.codebook_size
        book.copy_(torch.where(dead.unsqueeze(1), spare, book))
        usage.masked_fill_(dead, 1 / self.codebook_size)


def _draw_seed() -> int:
    """From rank 0's global generator, the same in all processes."""
    return int(from_main(torch.randint(2**31, ())))
