"""The one transformer: rotary positions, RMSNorm, gated MLP, SDPA, and a KV cache read through views."""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CacheSizes(TypedDict):
    """What a cache holds room for, and a tensor whose device and dtype it takes."""

    layers: int
    batch: int
    heads: int
    length: int
    head_dim: int
    like: Tensor


class KVCache:
    """Keys and values of all layers, allocated once; attention reads views of the filled prefix."""

    def __init__(self, *, layers: int, batch: int, heads: int, length: int, head_dim: int, like: Tensor) -> None:
        shape = (layers, 2, batch, heads, length, head_dim)
        self._store = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.filled = 0

    @property
    def nbytes(self) -> int:
        """Bytes it takes, filled or not."""
        return self._store.nbytes

    @property
    def mask(self) -> Tensor | None:
        """Which of the keys that `append` gives a single query may see: bool [1, L], None: all."""
        return None

    def turns(self, table: Tensor, count: int) -> Tensor:
        """The rows of the rotary table for the next `count` positions."""
        return table[self.filled : self.filled + count]

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store [B, H, L, D] behind the filled prefix; views [B, H, filled + L, D] of keys and values."""
        end = self.filled + keys.shape[2]
        store = self._store[layer]
        store[0, :, :, self.filled : end] = keys
        store[1, :, :, self.filled : end] = values
        return store[0, :, :, :end], store[1, :, :, :end]


class FixedCache(KVCache):
    """A cache whose next position is a tensor: the same kernels serve every step, so a CUDA graph can replay them.

    One position at a time reads a view of `span` positions and masks what is not filled; several are stored as ever.
    """

    def __init__(self, *, layers: int, batch: int, heads: int, length: int, head_dim: int, like: Tensor) -> None:
        super().__init__(layers=layers, batch=batch, heads=heads, length=length, head_dim=head_dim, like=like)
        self._store.zero_()  # what is masked is read too, and must be numbers
        self.position = torch.zeros(1, dtype=torch.int64, device=like.device)
        self.span = length

    @property
    def mask(self) -> Tensor:
        """The filled positions, and the next: bool [1, span]."""
        return torch.arange(self.span, device=self.position.device)[None] <= self.position

    def turns(self, table: Tensor, count: int) -> Tensor:
        """The rows of the rotary table for the next `count` positions."""
        return table.index_select(0, self.position) if count == 1 else super().turns(table, count)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store [B, H, L, D] at the next positions; views [B, H, span, D], or of the filled prefix where L > 1."""
        if keys.shape[2] > 1:
            return super().append(layer, keys, values)
        store = self._store[layer]
        store[0].index_copy_(2, self.position, keys)
        store[1].index_copy_(2, self.position, values)
        return store[0, :, :, : self.span], store[1, :, :, : self.span]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turn: Tensor, causal: bool, mask: Tensor | None, cache: KVCache | None, layer: int
    ) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = _rotate(q, turn), _rotate(k, turn)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        dropout = self.dropout if self.training else 0.0
        # With a cache the queries are the last positions: one query, and several where not `causal`, see all.
        if cache is not None and length == 1:
            mask = cache.mask
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and length > 1, dropout_p=dropout)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention and a gated MLP, each behind an RMSNorm and a residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, turn: Tensor, causal: bool, mask: Tensor | None, cache: KVCache | None, layer: int
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), turn, causal, mask, cache, layer))
        gate, up = self.gate_up(self.norm_mlp(x)).chunk(2, -1)
        return x + self.dropout(self.down(F.silu(gate) * up))


class Transformer(nn.Module):
    """A stack of blocks and a last norm: f32 [B, L, width] -> f32 [B, L, width].

    `checkpointing`, an attribute, has training keep the inputs of blocks alone and compute the rest anew.
    """

    def __init__(
        self, *, width: int, layers: int, heads: int, mlp_width: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width, self.heads, self.checkpointing = width, heads, False
        hidden = mlp_width or -(-8 * width // 3 // 32) * 32
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self._turns = torch.empty(0)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                shrink = (2 * layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=0.7 * width**-0.5 * shrink)

    def make_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for `batch` rows of up to `length` positions."""
        return KVCache(**self.cache_sizes(batch, length))

    def cache_sizes(self, batch: int, length: int) -> CacheSizes:
        """What a cache for `batch` rows of up to `length` positions is made with."""
        return {
            "layers": len(self.blocks),
            "batch": batch,
            "heads": self.heads,
            "length": length,
            "head_dim": self.width // self.heads,
            "like": self.norm.weight,
        }

    def forward(
        self, x: Tensor, *, causal: bool = True, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """Positions go on from what `cache` holds; several at once need an empty cache, or that all see all.

        Bool [B, 1, L, L] says, in place of `causal`, which positions each position sees.
        """
        count = x.shape[1]
        table = self.turn_table(count + (0 if cache is None else cache.filled), x.device)
        turn = table[:count] if cache is None else cache.turns(table, count)
        for layer, block in enumerate(self.blocks):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, turn, causal and mask is None, mask, None, layer, use_reentrant=False)
            else:
                x = block(x, turn, causal and mask is None, mask, cache, layer)
        if cache is not None:
            cache.filled += count
        return self.norm(x)

    def turn_table(self, length: int, device: torch.device) -> Tensor:
        """Rotary angles as (cos, sin): f32 [L, 2, head_dim / 2], grown as needed, never saved."""
        if len(self._turns) < length or self._turns.device != device:
            half = self.width // self.heads // 2
            rates = 10000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
            angles = torch.arange(max(length, 1024), dtype=torch.float64)[:, None] * rates
            self._turns = torch.stack([angles.cos(), angles.sin()], 1).float().to(device)
        return self._turns


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of [B, H, L, D] by their position's angle."""
    cos, sin = turn.to(x.dtype).unbind(1)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
