"""A transformer over streams of tokens: prefixes in front, frame-aligned streams added at every step.

SEMANTIC, COARSE and FINE are this one model with other streams and another pattern (MusicLM, section 3.2).
PAD (-1) stands for "no token here" in every stream: not yet predicted, masked, dropped or unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rapgen.distributed import sum_over_ranks, world_size
from rapgen.interfaces import TokenSpec
from rapgen.models.patterns import PAD, frames_of_steps, lay_out, steps_of
from rapgen.models.transformer import Transformer

TOKENS = "tokens"  # the log that says of how many tokens, in all processes, a loss is the mean
Batch = Mapping[str, Tensor]  # "target" [B, F, Q], and each input stream by name, int64 with PAD


@dataclass(frozen=True)
class Input:
    """A stream that a stage reads: a prefix [B, Q] or [B, F, Q], or frame-aligned [B, F, Q] at the target's frames.

    A stream of frames that is a prefix stands, frame after frame, before the first step (AudioLM, section III.C).
    """

    spec: TokenSpec  # num_codebooks counts the columns, look-ahead included
    is_prefix: bool
    is_condition: bool  # left out at random in training and in the unconditional pass of guidance


class StreamEmbedding(nn.Module):
    """One table a codebook, each with a learned vector for PAD: int64 [..., Q] -> f32 [..., Q, width]."""

    def __init__(self, spec: TokenSpec, width: int) -> None:
        super().__init__()
        self.codebook_size = spec.codebook_size
        self.table = nn.Parameter(torch.randn(spec.num_codebooks, spec.codebook_size + 1, width) * width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        rows = torch.where(tokens < 0, self.codebook_size, tokens)
        return self.table[torch.arange(tokens.shape[-1], device=tokens.device), rows]

    @torch.no_grad()
    def start_from(self, codebooks: Tensor) -> None:
        """Begin with near codes near each other: a random projection of the codec's vectors f32 [Q, V, D].

        A codebook whose vectors are all the same, one that was never used, gives rows of zeros.
        """
        width = self.table.shape[-1]
        rows = (codebooks - codebooks.mean(1, keepdim=True)) @ torch.randn(codebooks.shape[-1], width)
        self.table[:, :-1] = rows / rows.std((1, 2), keepdim=True).clamp(min=1e-12) * width**-0.5


class TokenLM(nn.Module):
    """Predicts the tokens of `target` from `inputs` by `pattern`.

    Args:
        target: spec of the predicted stream.
        inputs: streams read, by name, in the order in which their prefixes stand.
        pattern: `flat`, `delay` or `masked` (`rapgen.models.patterns`).
        condition_dropout: share of training clips without any condition; each is dropped alone as often.
        block_frames: shortest stretch that is predicted at once under `masked`, and that sees itself once it is known.
    """

    def __init__(
        self,
        *,
        target: TokenSpec,
        inputs: Mapping[str, Input],
        pattern: str,
        width: int,
        layers: int,
        heads: int,
        mlp_width: int | None = None,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        block_frames: int = 1,
    ) -> None:
        super().__init__()
        self.target, self.inputs, self.pattern = target, dict(inputs), pattern
        self.condition_dropout, self.block_frames = condition_dropout, block_frames
        self.embed_target = StreamEmbedding(target, width)
        self.embed_input = nn.ModuleDict({n: StreamEmbedding(i.spec, width) for n, i in self.inputs.items()})
        self.transformer = Transformer(width=width, layers=layers, heads=heads, mlp_width=mlp_width, dropout=dropout)

    # ------------------------------------------------------------------------------------------ pieces

    @property
    def reads_whole_crops(self) -> bool:
        """Whether a prefix holds frames, so that the first step of a crop sees all of the crop's."""
        return any(i.is_prefix and not i.spec.is_prefix for i in self.inputs.values())

    def embed_prefix(self, batch: Batch) -> Tensor:
        """All prefix streams -> f32 [B, P, width]."""
        parts = [self.embed_input[n](batch[n]).flatten(1, -2) for n, i in self.inputs.items() if i.is_prefix]
        rows = next(iter(batch.values())).shape[0]
        return torch.cat(parts, 1) if parts else self.embed_target.table.new_zeros(rows, 0, self.transformer.width)

    def embed_aligned(self, batch: Batch) -> Tensor | float:
        """All frame-aligned streams, summed -> f32 [B, F, width]; 0 where there are none."""
        parts = [self.embed_input[n](batch[n]).sum(-2) for n, i in self.inputs.items() if not i.is_prefix]
        return torch.stack(parts).sum(0) if parts else 0.0

    def embed_steps(self, previous: Tensor) -> Tensor:
        """Tokens of the steps before, int64 [B, S, Q] -> f32 [B, S, width]."""
        return self.embed_target(previous).sum(-2)

    def logits(self, hidden: Tensor, book: int) -> Tensor:
        """f32 [..., width] -> f32 [..., V] for one codebook; the output shares the input's table."""
        return F.linear(hidden, self.embed_target.table[book, :-1])

    def heads(self) -> Tensor:
        """The weights of all codebooks' logits: f32 [Q * V, width]."""
        return self.embed_target.table[:, :-1].flatten(0, 1)

    # -------------------------------------------------------------------------------------------- loss

    def num_chances(self, frames: int) -> int:
        """Columns of `chance` that `forward` takes for a crop of `frames`."""
        return self._num_drops + (4 + frames if self.pattern == "masked" else 0)

    @property
    def _num_drops(self) -> int:
        return 1 + sum(i.is_condition for i in self.inputs.values())

    def forward(self, batch: Batch, chance: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy in nats a token, with accuracies and `TOKENS` as logs, over the batches of all processes.

        f32 [B, num_chances(F)] in (0, 1) says which conditions are dropped and what is masked; None: it is drawn.
        """
        rows, frames = batch["target"].shape[:2]
        if chance is None:
            chance = torch.rand(rows, self.num_chances(frames), device=batch["target"].device)
        drops, masks = chance[:, : self._num_drops], chance[:, self._num_drops :]
        if self.training and self.condition_dropout:
            batch = self._drop_conditions(batch, drops)
        return self._masked_loss(batch, masks) if self.pattern == "masked" else self._causal_loss(batch)

    def _causal_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        codes = batch["target"]
        frames, books = codes.shape[1:]
        steps = torch.arange(frames * books if self.pattern == "flat" else frames, device=codes.device)
        if self.pattern == "flat":
            tokens = codes.flatten(1)
            x = self._embed_flat(F.pad(tokens[:, :-1], (1, 0), value=PAD), steps - 1)
            targets = codes.unbind(-1)
        else:
            laid_out = lay_out(self.pattern, codes, len(steps))
            x = self.embed_steps(F.pad(laid_out[:, :-1], (0, 0, 1, 0), value=PAD))
            targets = tuple(laid_out[:, steps_of(self.pattern, q, books), q] for q in range(books))
        aligned = self.embed_aligned(batch)
        if isinstance(aligned, Tensor):
            x = x + aligned[:, frames_of_steps(self.pattern, steps, books)]
        prefix = self.embed_prefix(batch)
        hidden = self.transformer(torch.cat([prefix, x], 1))[:, prefix.shape[1] :]
        found = {}
        for q, table in enumerate(self._output_tables()):
            logits = F.linear(hidden[:, steps_of(self.pattern, q, books)], table)
            found[q] = (logits.flatten(0, 1), targets[q].flatten())
        return _summarise(found, books)

    def _embed_flat(self, tokens: Tensor, steps: Tensor) -> Tensor:
        """`embed_steps` where each step has one token, int64 [B, S] of steps [S]: one row read, not one a codebook."""
        books, size = self.target.num_codebooks, self.target.codebook_size
        table = self.embed_target.table
        q = steps % books  # -1, the step before the first, has PAD in all codebooks
        rows = table.flatten(0, 1)[q * (size + 1) + torch.where(tokens < 0, size, tokens)]
        nothing = table[:, -1]
        return rows + (nothing.sum(0) - nothing)[q]

    def _output_tables(self) -> tuple[Tensor, ...]:
        """What `logits` multiplies with for each codebook, f32 [V, width], cut up once: so are the gradients."""
        return self.embed_target.table[:, :-1].unbind()

    def _masked_loss(self, batch: Batch, chance: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """SoundStorm's masking (section 3.2): a clean past, then codebooks below a level known, above it not."""
        codes = batch["target"]
        rows, frames, books = codes.shape
        device = codes.device
        start, at, share, is_first = chance[:, :4].split(1, 1)
        starts = (start * max(1, frames - self.block_frames + 1)).long()
        level = (at[:, 0] * books).long()
        # All of a codebook is masked in its only or first pass, a cosine share of it in later passes.
        share = torch.where(is_first < 0.5, 1.0, torch.cos(share * torch.pi / 2))
        ahead = torch.arange(frames, device=device) >= starts
        hidden_at_level = ahead & (chance[:, 4:] < share)
        hidden_at_level |= torch.arange(frames, device=device) == starts  # at least one
        above = torch.arange(books, device=device) > level[:, None]
        hide = ahead[:, :, None] & above[:, None, :]
        hide[torch.arange(rows), :, level] = hidden_at_level
        state = self.masked_hidden(torch.where(hide, PAD, codes), batch, starts[:, 0])
        found = {}
        for q, table in enumerate(self._output_tables()):
            here = (hidden_at_level & (level == q)[:, None]).nonzero(as_tuple=True)
            if len(here[0]):
                found[q] = (F.linear(state[here], table), codes[..., q][here])
        return _summarise(found, books)

    def masked_hidden(self, tokens: Tensor, batch: Batch, starts: Tensor) -> Tensor:
        """One pass under `masked`: int64 [B, F, Q] with PAD where unknown -> f32 [B, F, width].

        Frames from `starts` int64 [B] on are one block; before it are blocks of `block_frames`, the first perhaps
        shorter. A block sees itself and what stands before it, so that what is known need be computed but once.
        """
        prefix = self.embed_prefix(batch)
        x = self.embed_steps(tokens) + self.embed_aligned(batch)
        mask = self.block_mask(starts, prefix.shape[1], x.shape[1])
        return self.transformer(torch.cat([prefix, x], 1), mask=mask)[:, prefix.shape[1] :]

    def block_mask(self, starts: Tensor, prefix: int, frames: int) -> Tensor:
        """Which positions, a prefix and frames, each position sees: bool [B, 1, L, L]."""
        frame = torch.arange(frames, device=starts.device)
        block = torch.div(frame - starts[:, None], self.block_frames, rounding_mode="floor").clamp(max=0)
        block = F.pad(block, (prefix, 0), value=-frames - 1)
        return (block[:, :, None] >= block[:, None, :]).unsqueeze(1)

    def _drop_conditions(self, batch: Batch, chance: Tensor) -> Batch:
        drop_all, *each = (chance < self.condition_dropout).unbind(1)
        kept = dict(batch)
        for name, drop in zip((n for n, i in self.inputs.items() if i.is_condition), each, strict=True):
            is_dropped = (drop_all | drop).view(-1, *[1] * (batch[name].dim() - 1))
            kept[name] = torch.where(is_dropped, PAD, batch[name])
        return kept


def _summarise(found: Mapping[int, tuple[Tensor, Tensor]], books: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy over all tokens but PAD, their number, and accuracies.

    From {codebook: (logits [N, V], tokens [N])}.

    The mean is that over all processes' tokens: theirs may differ in number, so each loss is weighed by its share,
    such that the mean of the processes' losses, as of their gradients, is that of one batch of all rows.
    """
    losses = [F.cross_entropy(lg.float(), tokens, reduction="sum", ignore_index=PAD) for lg, tokens in found.values()]
    tally = losses[0].new_zeros(2, books)  # right and all
    for q, (logits, tokens) in found.items():
        tally[:, q] = torch.stack([(logits.argmax(-1) == tokens).sum(), (tokens != PAD).sum()])
    right, counts = sum_over_ranks(tally)
    total = counts.sum().clamp(min=1)
    logs = {"accuracy": right.sum() / total, TOKENS: total}
    seen = list(found) if len(found) == books else counts.nonzero()[:, 0].tolist()  # the latter waits for the device
    if len(seen) > 1:
        logs |= {f"accuracy_book{q}": right[q] / counts[q].clamp(min=1) for q in seen}
    return torch.stack(losses).sum() * world_size() / total, logs
