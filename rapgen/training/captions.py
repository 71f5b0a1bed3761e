"""The texts of MULAN's batches: encoded once for all, or tokenized once for an encoder that is tuned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rapgen.interfaces import TunableTextEncoder
from rapgen.models.mulan import MuLaN
from rapgen.tokens.shards import Shards
from rapgen.training.micro import Arguments


def captions(shards: Shards) -> tuple[list[str], np.ndarray, np.ndarray]:
    """All texts that differ, which of them each caption is, and where each clip's captions start: int64 [clips + 1]."""
    own = [a.captions or ("",) for a in shards.annotations]
    # Texts of one length pad each other least; a set's own order changes from process to process.
    texts = sorted({text for each in own for text in each}, key=lambda text: (len(text), text))
    number = {text: n for n, text in enumerate(texts)}
    return texts, np.array([number[text] for each in own for text in each]), np.cumsum([0, *map(len, own)])


def features_of(model: MuLaN, texts: list[str]) -> Callable[[np.ndarray], Arguments]:
    """What MuLaN is given of the texts with certain numbers: all are encoded once."""
    features = model.encode_text(texts)
    return lambda numbers: (features[numbers],)


def tokens_of(encoder: TunableTextEncoder, texts: list[str]) -> Callable[[np.ndarray], Arguments]:
    """What TunedMuLaN is given of the texts with certain numbers: each once, and where each went."""
    ids, mask = encoder.tokenize(texts)

    def read(numbers: np.ndarray) -> Arguments:
        own, place = np.unique(numbers, return_inverse=True)
        length = int(mask[own].sum(1).max())
        return ids[own, :length], mask[own, :length], torch.from_numpy(place)

    return read
