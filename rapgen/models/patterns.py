"""Token patterns: which (frame, codebook) pairs a step of the transformer predicts.

A pattern lays the tokens [F, Q] of a stream out over steps. Row `s` of a layout holds, for each codebook, the
frame that step `s` predicts, or -1:

- `flat`: one token a step; step `s` predicts codebook `s % Q` of frame `s // Q` (AudioLM, section III.C).
- `delay`: step `s` predicts codebook `q` of frame `s - q`, so codebook `q` is conditioned on all codebooks up to
  frame `s - 1 - q'` of each `q'`, and on frame-aligned streams up to frame `s`: `q` frames ahead of its own
  (MusicGen, section 2.3).
- `masked`: all steps at once, step `s` is frame `s`; which codebooks are predicted is the pass's affair
  (SoundStorm, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

PAD = -1  # "no token here" in token tensors and layouts


def steps_until(pattern: str, frames: int, num_codebooks: int) -> int:
    """Steps after which all codebooks of the first `frames` frames are known."""
    if frames == 0 or pattern == "masked":
        return frames
    return frames * num_codebooks if pattern == "flat" else frames + num_codebooks - 1


def frames_of_steps(pattern: str, steps: Tensor, num_codebooks: int) -> Tensor:
    """The frame at which a step reads frame-aligned streams: int64 [S] -> int64 [S]."""
    return steps // num_codebooks if pattern == "flat" else steps


def layout(pattern: str, steps: Tensor, num_codebooks: int) -> Tensor:
    """The frame each step predicts for each codebook, or PAD: int64 [S] -> int64 [S, Q]."""
    books = torch.arange(num_codebooks, device=steps.device)
    if pattern == "flat":
        here = steps[:, None] % num_codebooks == books
        return torch.where(here, steps[:, None] // num_codebooks, PAD)
    if pattern == "delay":
        return (steps[:, None] - books).clamp(min=PAD)
    return steps[:, None].expand(-1, num_codebooks)


def steps_of(pattern: str, codebook: int, num_codebooks: int) -> slice:
    """The steps that predict a codebook."""
    if pattern == "flat":
        return slice(codebook, None, num_codebooks)
    return slice(codebook if pattern == "delay" else 0, None)


def lay_out(pattern: str, codes: Tensor, num_steps: int) -> Tensor:
    """Tokens by step: int64 [B, F, Q] -> int64 [B, num_steps, Q], PAD where a step has none or F is passed."""
    frames, books = codes.shape[1:]
    where = layout(pattern, torch.arange(num_steps, device=codes.device), books)
    known = (where >= 0) & (where < frames)
    tokens = codes[:, where.clamp(0, frames - 1), torch.arange(books, device=codes.device)]
    return torch.where(known, tokens, PAD)
