"""From logits to tokens: guidance, top-k, temperature, and the noise that is given."""

from __future__ import annotations

import torch
from torch import Tensor

from rapgen.schema import Sampling


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: f32 [2 * B, ...], conditional rows first -> f32 [B, ...]; scale 1 has B rows."""
    if scale == 1:
        return logits
    conditional, unconditional = logits.chunk(2)
    return torch.lerp(unconditional, conditional, scale)


def draw(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Draw from softmax(logits / temperature) cut to the top k: f32 [..., V] twice -> int64 [...]."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, sorted=False).values.amin(-1, keepdim=True)
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.add(noise, logits, alpha=1 / sampling.temperature).argmax(-1)
