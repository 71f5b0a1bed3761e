"""The conditioner `groove`: tempo, key, style, feel and bars as a prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from rapgen.errors import RecipeError
from rapgen.groove import FEELS, KEYS, STYLES, read_groove
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Clip, Conditioner, Groove, Prompt, TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

MAX_BARS = 64
TEMPO, KEY, STYLE, FEEL, BARS = range(5)  # the codebooks
USUAL_TEMPO_BPM = (70.0, 150.0)  # drawn from where no clip had a tempo
STYLE_REACH_BPM = 4.0  # how far a tempo speaks for the styles it was heard in


@hookimpl
def rapgen_components(register: Register) -> None:
    register("conditioner", "groove", groove)


def groove(
    *,
    styles: list[str] = list(STYLES),  # noqa: B006, it is only read
    tempo_min_bpm: float = 50,
    tempo_max_bpm: float = 200,
    tempo_step_bpm: float = 2.0,
) -> Conditioner:
    """Tells the tempo, key, style, feel and bars; what a prompt leaves open is drawn as the data has it."""
    if not styles or len(set(styles)) < len(styles):
        raise RecipeError(f"groove: styles must be one or more different names, got {styles}")
    if not (0 < tempo_min_bpm < tempo_max_bpm and tempo_step_bpm > 0):
        raise RecipeError("groove: make 0 < tempo_min_bpm < tempo_max_bpm and tempo_step_bpm > 0")
    num_bins = round((tempo_max_bpm - tempo_min_bpm) / tempo_step_bpm) + 1
    return GrooveConditioner(styles, tempo_min_bpm + tempo_step_bpm * np.arange(num_bins))


class GrooveConditioner(Conditioner):
    """A prefix of five codebooks (tempo bin, key, style, feel, bars) that knows how clips are distributed.

    Its state is `counts`, f32 [styles + 1, 5, codebook_size]: how often each token of each codebook was seen,
    by style; the last row is of clips without one. Once fitted, a token that was never seen is not valid: the
    model has not learnt what it means.
    """

    is_aligned = False

    def __init__(self, styles: Sequence[str], tempos_bpm: np.ndarray) -> None:
        self._styles = list(styles)
        self._tempos_bpm = tempos_bpm  # f64 [tempo bins], the bins' centres
        sizes = (len(tempos_bpm), len(KEYS), len(styles), len(FEELS), MAX_BARS + 1)
        self.spec = TokenSpec(codebook_size=max(sizes), num_codebooks=len(sizes))
        self._counts = np.zeros((len(styles) + 1, len(sizes), max(sizes)), dtype=np.float32)

    def state(self) -> dict[str, Tensor]:
        """`counts`, f32 [styles + 1, 5, codebook_size]."""
        import torch

        return {"counts": torch.from_numpy(self._counts.copy())}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `counts`; raises KeyError where it is missing, ValueError where other options shaped it."""
        counts = state["counts"].detach().cpu().float().numpy()
        if counts.shape != self._counts.shape:
            raise ValueError(f"groove: counts are {list(counts.shape)}, not {list(self._counts.shape)}")
        self._counts = counts.copy()

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Count the tokens of annotated clips, as shares of all clips; `seed` changes nothing."""
        counts, total = np.zeros_like(self._counts, dtype=np.float64), 0
        for clip in clips:
            total += 1
            codes, known = self._tokens(clip.annotations.groove)
            row = codes[STYLE] if known[STYLE] else len(self._styles)
            counts[row, np.flatnonzero(known), codes[known]] += 1
        self._counts = (counts / max(1, total)).astype(np.float32)

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """B items -> int64 [B, 5] and bool [B, 5], False where a fact is unknown or was never seen."""
        import torch

        grooves = [item.annotations.groove if isinstance(item, Clip) else item.groove for item in items]
        tokens = [self._tokens(facts) for facts in grooves]
        shape = (len(items), self.spec.num_codebooks)
        codes = np.array([codes for codes, _ in tokens], dtype=np.int64).reshape(shape)
        valid = np.array([known for _, known in tokens], dtype=bool).reshape(shape)
        if self._counts.any():
            valid &= self._counts.sum(0)[np.arange(self.spec.num_codebooks), codes] > 0
        return torch.from_numpy(codes), torch.from_numpy(valid)

    def plan(self, prompt: Prompt, rng: np.random.Generator) -> Prompt:
        """Fill the gaps of the prompt's groove from its text, then (bars apart) as the clips were.

        A style is drawn as the clips near a named tempo have it, tempo and key as the style has them; the
        feel is the style's most common. Raises PromptError where the text names a tempo that is out of range.
        """
        planned = _merge(prompt.groove, read_groove(prompt.text))
        if planned.style is None:
            planned = replace(planned, style=self._styles[_draw(self._style_weights(planned.tempo_bpm), rng)])
        counts = self._style_counts(planned.style)
        drawn = Groove(
            tempo_bpm=float(self._tempos_bpm[_draw(self._tempo_weights(counts), rng)]),
            key=KEYS[_draw(_first_positive(counts[KEY, : len(KEYS)], np.ones(len(KEYS))), rng)],
            feel=FEELS[int(counts[FEEL].argmax())],
        )
        return replace(prompt, groove=_merge(planned, drawn))

    def _tokens(self, facts: Groove) -> tuple[np.ndarray, np.ndarray]:
        """int64 [5] and bool [5]; the token of an unknown fact is 0."""
        ids = (
            None if facts.tempo_bpm is None else int(np.abs(self._tempos_bpm - facts.tempo_bpm).argmin()),
            _index(KEYS, facts.key),
            _index(self._styles, facts.style),
            _index(FEELS, facts.feel),
            None if facts.bars is None else min(facts.bars, MAX_BARS),
        )
        known = np.array([token is not None for token in ids])
        return np.array([token or 0 for token in ids], dtype=np.int64), known

    def _style_counts(self, style: str | None) -> np.ndarray:
        """Counts of a style's clips, f32 [5, codebook_size]; of all clips where the style was never seen."""
        row = _index(self._styles, style)
        if row is not None and self._counts[row].any():
            return self._counts[row]
        return self._counts.sum(0)

    def _style_weights(self, tempo_bpm: float | None) -> np.ndarray:
        """How likely each style is, f64 [styles], near a tempo where one is named."""
        seen = self._counts[:-1, STYLE].sum(-1)
        near = np.zeros_like(seen)
        if tempo_bpm is not None:
            reach = np.exp(-np.abs(self._tempos_bpm - tempo_bpm) / STYLE_REACH_BPM)
            near = self._counts[:-1, TEMPO, : len(reach)] @ reach
        return _first_positive(near, seen, np.ones(len(seen)))

    def _tempo_weights(self, counts: np.ndarray) -> np.ndarray:
        """How likely each tempo bin is, f64 [tempo bins], given a style's counts."""
        low, high = USUAL_TEMPO_BPM
        usual = (self._tempos_bpm >= low) & (self._tempos_bpm <= high)
        return _first_positive(counts[TEMPO, : len(usual)], usual, np.ones(len(usual)))


def _merge(first: Groove, second: Groove) -> Groove:
    """`first`, with the gaps filled from `second`."""
    gaps = {field.name for field in fields(first) if getattr(first, field.name) is None}
    return replace(first, **{name: getattr(second, name) for name in gaps})


def _index(names: Sequence[str], name: str | None) -> int | None:
    return names.index(name) if name in names else None


def _first_positive(*weights: np.ndarray) -> np.ndarray:
    """The first of several weightings that allows anything at all, as float64."""
    return next(weighting for weighting in weights if weighting.any()).astype(np.float64)


def _draw(weights: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))
