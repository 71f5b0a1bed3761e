"""The codec `dac`: Descript Audio Codec (Kumar et al. 2023), mono at 16, 24 or 44.1 kHz, from its own package."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from rapgen.errors import RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import AudioCodec, TokenSpec
from rapgen.models.chunks import chunked
from rapgen.models.pretrained_codec import PretrainedCodec, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Model(NamedTuple):
    """One of the published models."""

    strides: tuple[int, ...]  # of the encoder; the decoder has them the other way round
    num_codebooks: int
    tag: str  # of the release that holds its weights
    file: str
    khz: str  # how the package calls it


_MODELS = {
    16_000: _Model((2, 4, 5, 8), 12, "0.0.5", "weights_16khz.pth", "16khz"),
    24_000: _Model((2, 4, 5, 8), 32, "0.0.4", "weights_24khz.pth", "24khz"),
    44_100: _Model((2, 4, 8, 8), 9, "0.0.1", "weights.pth", "44khz"),
}
_WIDTHS = {"encoder_dim": 64, "decoder_dim": 1536}
_CODEBOOK_SIZE = 1024
_CHUNK_FRAMES = 400  # 5 s at 44.1 kHz, 8 s below: at once they bound the memory
_DILATIONS = (1, 3, 9)  # of the convolutions of 7 between two strides


@hookimpl
def rapgen_components(register: Register) -> None:
    register("codec", "dac", dac)


def dac(
    *,
    sample_rate: Literal[16000, 24000, 44100] = 44_100,
    num_codebooks: Annotated[int, Field(ge=1)] | None = None,
    weights: Weights = "hub",
) -> AudioCodec:
    """Descript Audio Codec: mono at 16, 24 or 44.1 kHz; weights from its hub or a local path."""
    most = _MODELS[sample_rate].num_codebooks
    if num_codebooks is not None and num_codebooks > most:
        raise RecipeError(f"codec 'dac': num_codebooks is {num_codebooks}; at {sample_rate} Hz there are {most}")
    return DacCodec(sample_rate, num_codebooks or most, weights)


class DacCodec(PretrainedCodec):
    """A convolutional codec without memory: what it hears and plays reaches `context_frames` and no further.

    Chunks equal the whole: codes in 99.9 % of places or more (rounding decides between near vectors), sound within
    1e-4. Odd strides leave its decoder a few samples short (8 of 320 at 16 and 24 kHz): silence fills them at the
    very end.
    """

    name = package = "dac"
    install = (
        "pip install 'rapgen[dac]', then pip install --no-deps descript-audio-codec descript-audiotools (which ask for "
        "an old protobuf and do without)"
    )
    published_licence = "MIT (Descript Audio Codec)"  # "Weights are released as part of this repo under MIT license"
    channels = 1

    def __init__(self, sample_rate: int, num_codebooks: int, weights: Weights) -> None:
        self._model = _MODELS[sample_rate]
        self._hop = math.prod(self._model.strides)
        releases = "https://github.com/descriptinc/descript-audio-codec/releases/download"
        self.url = f"{releases}/{self._model.tag}/{self._model.file}"
        self.spec = TokenSpec(_CODEBOOK_SIZE, num_codebooks, sample_rate, self._hop)
        self.context_frames = context_frames(self._model.strides)
        super().__init__(weights)

    @property
    def codebooks(self) -> Tensor:
        """The vectors behind the codes, before they are projected: f32 [Q, 1024, 8]."""
        import torch

        quantizers = self.net.quantizer.quantizers[: self.spec.num_codebooks]
        return torch.stack([quantizer.codebook.weight for quantizer in quantizers])

    def _network(self) -> nn.Module:
        from rapgen.audio._torchaudio import load_torchaudio

        load_torchaudio()  # audiotools imports it by itself
        from dac.model import DAC

        strides = self._model.strides
        net: nn.Module = DAC(
            encoder_rates=list(strides),
            decoder_rates=list(reversed(strides)),
            n_codebooks=self._model.num_codebooks,
            codebook_size=_CODEBOOK_SIZE,
            sample_rate=self.spec.sample_rate,
            **_WIDTHS,
        )
        return net

    def _cache(self) -> Path:
        file = f"weights_{self._model.khz}_8kbps_{self._model.tag}.pth"
        return Path.home() / ".cache" / "descript" / "dac" / file

    def _weights_of(self, tree: Any) -> Any:
        return tree.get("state_dict", tree) if isinstance(tree, dict) else tree

    def _encode(self, audio: Tensor) -> Tensor:
        import torch

        hop, kept = self._hop, []
        for frames, keep in chunked(audio.shape[-1] // hop, _CHUNK_FRAMES, self.context_frames):
            latents = self.net.encoder(audio[..., frames.start * hop : frames.stop * hop])[..., keep]
            kept.append(self.net.quantizer(latents, self.spec.num_codebooks)[1].transpose(1, 2))
        return torch.cat(kept, 1)

    def _decode(self, codes: Tensor) -> Tensor:
        import torch
        from torch.nn import functional as F

        hop, kept = self._hop, []
        for frames, keep in chunked(codes.shape[1], _CHUNK_FRAMES, self.context_frames):
            audio = self.net.decoder(self.net.quantizer.from_codes(codes[:, frames].transpose(1, 2))[0])
            kept.append(audio[..., keep.start * hop : keep.stop * hop])
        audio = torch.cat(kept, -1)
        return F.pad(audio, (0, codes.shape[1] * hop - audio.shape[-1]))


class _Convolution(NamedTuple):
    kernel: int
    padding: int
    dilation: int = 1
    stride: int = 1
    is_transposed: bool = False


def context_frames(strides: Iterable[int]) -> tuple[int, int]:
    """Frames to the left and right that a frame's codes or sound depend on, exactly."""
    strides = tuple(strides)
    hop = math.prod(strides)
    units = [_Convolution(7, 3 * d, d) for d in _DILATIONS]
    encoder = [_Convolution(7, 3)]
    for stride in strides:
        encoder += [*units, _Convolution(2 * stride, math.ceil(stride / 2), stride=stride)]
    decoder = [_Convolution(7, 3)]
    for stride in reversed(strides):
        decoder += [_Convolution(2 * stride, math.ceil(stride / 2), stride=stride, is_transposed=True), *units]
    first, last = _heard([*encoder, _Convolution(3, 1)], 0, 0)  # samples
    heard = -(first // hop), last // hop
    first, last = _heard([*decoder, _Convolution(7, 3)], 0, hop - 1)  # frames
    return max(heard[0], -first), max(heard[1], last)


def _heard(convolutions: list[_Convolution], first: int, last: int) -> tuple[int, int]:
    """The places at the input of some convolutions that the places `first` to `last` of their output depend on."""
    for c in reversed(convolutions):
        span = (c.kernel - 1) * c.dilation
        if c.is_transposed:
            first, last = -((span - c.padding - first) // c.stride), (last + c.padding) // c.stride
        else:
            first, last = first * c.stride - c.padding, last * c.stride - c.padding + span
    return first, last
