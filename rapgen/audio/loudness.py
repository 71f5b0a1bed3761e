"""How loud a track is, as broadcasters and streaming services measure it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import sosfilt

_CHUNK_S = 10  # of audio filtered at a time, so that memory stays small
_OVERLAP = 4  # blocks of 0.4 s begin every 0.1 s
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_OFFSET_LU = -0.691  # so that a 997 Hz sine of 0 dBFS in one channel is -3.01 LUFS
_WEIGHTS = {5: (1, 1, 1, 1.41, 1.41), 6: (1, 1, 1, 0, 1.41, 1.41)}  # L R C (LFE) Ls Rs, as in WAV and FFmpeg


def loudness_lufs(audio: np.ndarray, rate: int) -> float:
    """Integrated loudness of f32 [C, S] at `rate` Hz in LUFS, gated, by ITU-R BS.1770-4; -inf where all is gated out.

    Channels are in the order of WAV files; with six, the fourth is the LFE and counts nothing. Audio of less than one
    gating block, 0.4 s, is taken as a part of one block of silence.
    """
    hop = max(1, round(rate / 10))
    hops = _hop_energies(audio, rate, hop)
    hops = np.pad(hops, (0, max(0, _OVERLAP - len(hops))))
    blocks = np.convolve(hops, np.full(_OVERLAP, 1 / (_OVERLAP * hop)), "valid")
    loud = blocks[_lufs(blocks) > _ABSOLUTE_GATE_LUFS]
    if not loud.size:
        return -np.inf
    gate = _lufs(loud.mean()) + _RELATIVE_GATE_LU
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def _lufs(energy: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return _OFFSET_LU + 10 * np.log10(energy)


def _hop_energies(audio: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """f32 [C, S] -> f64 [whole hops]: each hop's sum of squares after K-weighting, over the weighted channels."""
    filters = _k_weighting(rate)
    weights = np.array(_WEIGHTS.get(len(audio), (1,) * len(audio)), np.float64)
    state = np.zeros((len(filters), len(audio), 2))
    energies = []
    step = hop * 10 * _CHUNK_S
    for start in range(0, audio.shape[1], step):
        chunk, state = sosfilt(filters, audio[:, start : start + step].astype(np.float64), axis=1, zi=state)
        whole = chunk.shape[1] // hop
        if whole == 0 and start == 0:
            whole, chunk = 1, np.pad(chunk, ((0, 0), (0, hop - chunk.shape[1])))
        frames = chunk[:, : whole * hop].reshape(len(audio), whole, hop)
        energies.append(weights @ np.einsum("cns,cns->cn", frames, frames))
    return np.concatenate(energies) if energies else np.zeros(0)


@lru_cache
def _k_weighting(rate: int) -> np.ndarray:
    """f64 [2, 6]: the head's high shelf and the RLB high-pass, second-order sections for any rate.

    BS.1770 gives coefficients for 48 kHz; these are the analogue filters they come from, warped to `rate`.
    """
    return np.array([_shelf(rate), _highpass(rate)])


def _shelf(rate: int) -> np.ndarray:
    """+4 dB over 1.68 kHz."""
    k, q = np.tan(np.pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    b = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return np.r_[b, a] / a[0]


def _highpass(rate: int) -> np.ndarray:
    """From 38 Hz on; its numerator is 1, -2, 1 at every rate, as in the recommendation."""
    k, q = np.tan(np.pi * 38.13547087602444 / rate), 0.5003270373238773
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return np.r_[[1.0, -2.0, 1.0], a / a[0]]
