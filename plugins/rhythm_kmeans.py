"""A semantic tokenizer without training in the loop: k-means over what drums and harmony do in each frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rapgen.errors import ModelError, RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Clip, SemanticTokenizer, TokenSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_STEPS = 4  # a frame, for the placing of onsets
_NUM_MELS = 24
_ONSET_BANDS = (6, 8, 10)  # mel bands of kick and bass, of snare and keys, of hats: _NUM_MELS in all
_MEL_N_FFT = 1024
_MEL_FLOOR = -8.0  # ln, -70 dB: under it, rises are noise
_CHROMA_FLOOR = 1e-2  # of the magnitude: what is softer is no harmony
_GROUPS = {"mel": _NUM_MELS, "onset": _STEPS * len(_ONSET_BANDS), "chroma": 12}
_WEIGHTS = {"mel": 1.0, "onset": 1.5, "chroma": 1.0}  # rhythm first: sound is the codec's concern
_MAX_FRAMES = 60_000  # that k-means sees


@hookimpl
def rapgen_components(register: Register) -> None:
    register("semantic", "rhythm-kmeans", rhythm_kmeans)


def rhythm_kmeans(
    *, codebook_size: Annotated[int, Field(ge=1)] = 512, hop_length: int = 1920, sample_rate: int = 24000
) -> SemanticTokenizer:
    """Drum onsets, spectrum and harmony of each frame, as one of `codebook_size` k-means clusters."""
    if hop_length <= 0 or hop_length % _STEPS:
        raise RecipeError(f"hop_length must be a multiple of {_STEPS} over 0, got {hop_length}")
    return RhythmKMeans(TokenSpec(codebook_size, 1, sample_rate, hop_length))


class RhythmKMeans(SemanticTokenizer):
    """A token depends on its frame and less than two frames to either side; around the audio is silence."""

    def __init__(self, spec: TokenSpec) -> None:
        self.spec = spec
        self._device: torch.device | str = "cpu"
        self._state: dict[str, Tensor] = {}

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Learn scale and clusters from at most 60,000 frames, drawn evenly from all clips in one pass.

        Clips of another rate are resampled. Raises ModelError where there are no clips.
        """
        import torch

        from rapgen.audio.rate import to_rate
        from rapgen.models.kmeans import kmeans

        generator = torch.Generator().manual_seed(seed)
        kept = torch.empty(0, sum(_GROUPS.values()))
        keys = torch.empty(0)
        for clip in clips:
            audio = to_rate(torch.from_numpy(clip.audio).unsqueeze(0), clip.sample_rate, self.spec.sample_rate)
            features = self._features(audio).squeeze(0).cpu()
            kept = torch.cat([kept, features])
            keys = torch.cat([keys, torch.rand(len(features), generator=generator)])
            if len(keys) > 2 * _MAX_FRAMES:
                kept, keys = _lowest(kept, keys)
        if not len(kept):
            raise ModelError("rhythm-kmeans got no clips to learn from: prepare a dataset first")
        kept, _ = _lowest(kept, keys)
        mean, std = kept.mean(0), kept.std(0, unbiased=False).clamp(min=1e-4)
        centroids = kmeans((kept - mean) / std * _weights(), self.spec.codebook_size, seed=seed)
        self.load_state({"centroids": centroids, "mean": mean, "std": std})

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> int64 [B, ceil(S / hop), 1]; raises ModelError before `fit`."""
        from rapgen.models.kmeans import nearest

        if not self._state:
            raise ModelError("rhythm-kmeans is not fitted: run `rapgen semantic train`")
        features = self._features(audio.to(self._device))
        scaled = (features - self._state["mean"]) / self._state["std"] * _weights().to(self._device)
        return nearest(scaled.flatten(0, 1), self._state["centroids"])[1].view(*features.shape[:2], 1)

    def state(self) -> dict[str, Tensor]:
        """Centroids f32 [codebook_size, D], mean and std f32 [D]; empty before `fit`."""
        return dict(self._state)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError where names or shapes differ."""
        size = sum(_GROUPS.values())
        shapes = {"centroids": (self.spec.codebook_size, size), "mean": (size,), "std": (size,)}
        for name, shape in shapes.items():
            if state[name].shape != shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}, not {shape}")
        self._state = {name: state[name].to(self._device) for name in shapes}

    def to(self, device: torch.device | str) -> None:
        """Encode on `device` from now on."""
        self._device = device
        self._state = {name: tensor.to(device) for name, tensor in self._state.items()}

    def _features(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> f32 [B, F, D]: log-mel means, onsets by step and band, chroma."""
        import torch
        from torch.nn import functional as F

        assert self.spec.hop_length is not None
        hop = self.spec.hop_length
        num_frames = -(-audio.shape[-1] // hop)
        audio = F.pad(audio.mean(1), (0, num_frames * hop - audio.shape[-1]))
        mel = self._steps(audio, num_frames)
        means = mel[..., 1:].unflatten(-1, (num_frames, _STEPS)).mean(-1).mT
        rises = mel.diff(dim=-1).clamp(min=0).split(_ONSET_BANDS, dim=1)
        onsets = torch.stack([band.mean(1) for band in rises], -1)  # [B, steps, 3]
        onsets = onsets.unflatten(1, (num_frames, _STEPS)).flatten(2)
        return torch.cat([means, onsets, self._chroma(audio)], -1)

    def _steps(self, audio: Tensor, num_frames: int) -> Tensor:
        """f32 [B, S] -> f32 [B, bands, 1 + F * steps]: log-mels around each step's middle, and one before."""
        from torch.nn import functional as F

        from rapgen.audio.mel import LogMel

        assert self.spec.sample_rate is not None
        assert self.spec.hop_length is not None
        step = self.spec.hop_length // _STEPS
        mel = LogMel(
            sample_rate=self.spec.sample_rate,
            n_fft=_MEL_N_FFT,
            hop_length=step,
            num_mels=_NUM_MELS,
            center=False,
        ).to(audio.device)
        before = _MEL_N_FFT // 2 + step - step // 2
        padded = F.pad(audio, (before, _MEL_N_FFT))
        return mel(padded.unsqueeze(1))[..., : 1 + num_frames * _STEPS].clamp(min=_MEL_FLOOR)

    def _chroma(self, audio: Tensor) -> Tensor:
        """f32 [B, S] -> f32 [B, F, 12] of length 1 or, in silence, less; the mean of three frames."""
        from torch.nn import functional as F

        from rapgen.audio.chroma import chroma

        assert self.spec.sample_rate is not None
        assert self.spec.hop_length is not None
        folded = chroma(audio, sample_rate=self.spec.sample_rate, hop_length=self.spec.hop_length)
        smooth = F.avg_pool1d(folded, 3, stride=1, padding=1).mT
        return smooth / smooth.norm(dim=-1, keepdim=True).clamp(min=_CHROMA_FLOOR)


def _weights() -> Tensor:
    """f32 [D]: each group's weight over the root of its size, so that groups count whatever their size."""
    import torch

    return torch.cat([torch.full((size,), _WEIGHTS[name] / size**0.5) for name, size in _GROUPS.items()])


def _lowest(rows: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the lowest random keys, in the order of the keys: an even draw from all rows seen."""
    order = keys.argsort()[:_MAX_FRAMES]
    return rows[order], keys[order]
