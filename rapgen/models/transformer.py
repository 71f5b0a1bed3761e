"""The one transformer: rotary positions, RMSNorm, gated MLP, SDPA, and a KV cache read through views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store [B, H, L, D] behind the filled prefix; views [B, H, filled + L, D] of keys and values."""
        end = self.filled + keys.shape[2]
        store = self._store[layer]
        store[0, :, :, self.filled : end] = keys
        store[1, :, :, self.filled : end] = values
        return store[0, :, :, :end], store[1, :, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turn: Tensor, causal: bool, cache: KVCache | None, layer: int) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = _rotate(q, turn), _rotate(k, turn)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        dropout = self.dropout if self.training else 0.0
        # With a cache the queries are the last positions: one query sees all, several come with an empty cache.
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal and length > 1, dropout_p=dropout)
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

    def forward(self, x: Tensor, turn: Tensor, causal: bool, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), turn, causal, cache, layer))
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
        like = self.norm.weight
        head_dim = self.width // self.heads
        return KVCache(
            layers=len(self.blocks),
            batch=batch,
            heads=self.heads,
            length=length,
            head_dim=head_dim,
            like=like,
        )

    def forward(self, x: Tensor, *, causal: bool = True, cache: KVCache | None = None) -> Tensor:
        """Positions go on from what `cache` holds; several positions at once need an empty cache."""
        start = cache.filled if cache is not None else 0
        turn = self._turn_table(start + x.shape[1], x.device)[start : start + x.shape[1]]
        for layer, block in enumerate(self.blocks):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, turn, causal, None, layer, use_reentrant=False)
            else:
                x = block(x, turn, causal, cache, layer)
        if cache is not None:
            cache.filled += x.shape[1]
        return self.norm(x)

    def _turn_table(self, length: int, device: torch.device) -> Tensor:
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
