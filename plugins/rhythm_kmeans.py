"""A semantic tokenizer without training in the loop: k-means over what drums and harmony do in each frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rapgen.errors import RecipeError
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
        from rapgen.models.kmeans import Clusters

        self.spec = spec
        self._device: torch.device | str = "cpu"
        self._clusters = Clusters("rhythm-kmeans", spec.codebook_size, weights=_weights())

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Learn scale and clusters; clips of another rate are resampled. Raises ModelError where there are no clips."""
        self._clusters.fit((self._clip_features(clip) for clip in clips), seed=seed)

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> int64 [B, ceil(S / hop), 1]; raises ModelError before `fit`."""
        features = self._features(audio.to(self._device))
        return self._clusters.tokens(features.flatten(0, 1)).view(*features.shape[:2], 1)

    def state(self) -> dict[str, Tensor]:
        """Centroids f32 [codebook_size, D], mean and std f32 [D]; empty before `fit`."""
        return self._clusters.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError where names or shapes differ."""
        self._clusters.load_state(state)

    def to(self, device: torch.device | str) -> None:
        """Encode on `device` from now on."""
        self._device = device
        self._clusters.to(device)

    def _clip_features(self, clip: Clip) -> Tensor:
        """f32 [F, D] of a clip at any rate."""
        import torch

        from rapgen.audio.rate import to_rate

        audio = to_rate(torch.from_numpy(clip.audio).unsqueeze(0), clip.sample_rate, self.spec.sample_rate)
        return self._features(audio).squeeze(0).cpu()

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
