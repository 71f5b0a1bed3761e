"""The codec `encodec`: EnCodec (Défossez et al. 2022), 24 kHz mono or 48 kHz stereo, from the package encodec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rapgen.errors import RecipeError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import AudioCodec, TokenSpec
from rapgen.models.chunks import chunked
from rapgen.models.pretrained_codec import PretrainedCodec, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

HOP_LENGTH = 320  # samples, of both models
SEGMENT_FRAMES = 150  # of the 48 kHz model: a second
_CODEBOOK_SIZE = 1024
_BITS = 10  # a code
_BANDWIDTHS = {24_000: (1.5, 3.0, 6.0, 12.0, 24.0), 48_000: (3.0, 6.0, 12.0, 24.0)}  # kbps
_FILES = {24_000: "encodec_24khz-d7cc33bc.th", 48_000: "encodec_48khz-7e698e3e.th"}
# The release 0.1.1 (PyPI, October 2022) puts the repository, and with it the weights it links to, under CC-BY-NC-4.0.
# Its README on GitHub has put "the code" under MIT since April 2023; whether that holds for the weights was asked in
# its issues 49 and 69 and not answered. Of the copies on Hugging Face, facebook/encodec_48khz is marked MIT and
# facebook/encodec_24khz is not marked.
_LICENCES = {
    24_000: "CC-BY-NC-4.0 (EnCodec release 0.1.1; its code is MIT by now, of the weights that is not said)",
    48_000: "CC-BY-NC-4.0 (EnCodec release 0.1.1; its copy on Hugging Face is marked MIT)",
}
_CHUNK_FRAMES = 600  # 8 s at once bounds the memory
_HALO_FRAMES = (2, 1)  # that the convolutions beside the LSTMs reach, at most; at the start they mirror what follows
_MIRROR_FRAMES = 6  # that the convolution at the frame rate reaches back, or at the start ahead
_FORGET_FRAMES = 150  # after which the LSTMs are taken to have forgotten how they began
_STATISTICS = ("inited", "cluster_size", "embed_avg")  # of codebooks: training alone uses them
_LEVEL_STEP_DB, _LEVEL_FLOOR_DB, _LEVELS = 0.5, -100.0, 213  # -100 to 6 dB
_SPREAD = {24_000: 0.17, 48_000: 0.7}  # of the first codebook's vectors under random weights


@hookimpl
def rapgen_components(register: Register) -> None:
    register("codec", "encodec", encodec)


def encodec(
    *,
    sample_rate: Literal[24000, 48000] = 24_000,
    bandwidth_kbps: float = 6.0,
    weights: Weights = "hub",
) -> AudioCodec:
    """EnCodec: 24 kHz mono at 75 frames a second, or 48 kHz stereo at 150; weights from its hub or a local path."""
    if bandwidth_kbps not in _BANDWIDTHS[sample_rate]:
        known = ", ".join(f"{b:g}" for b in _BANDWIDTHS[sample_rate])
        raise RecipeError(
            f"codec 'encodec': bandwidth_kbps is {bandwidth_kbps:g}; at {sample_rate} Hz there are {known}"
        )
    return Encodec24(bandwidth_kbps, weights) if sample_rate == 24_000 else Encodec48(bandwidth_kbps, weights)


class _Encodec(PretrainedCodec):
    """What the two models share."""

    name = package = "encodec"
    install = "pip install 'rapgen[encodec]'"
    sample_rate: int

    def __init__(self, bandwidth_kbps: float, weights: Weights) -> None:
        file = _FILES[self.sample_rate]
        self.url = f"https://dl.fbaipublicfiles.com/encodec/v0/{file}"
        self.sha256_prefix = Path(file).stem.partition("-")[2]
        self.published_licence = _LICENCES[self.sample_rate]
        self.num_quantizers = round(1000 * bandwidth_kbps * HOP_LENGTH / self.sample_rate / _BITS)
        super().__init__(weights)

    def _network(self) -> nn.Module:
        from rapgen.audio._torchaudio import load_torchaudio

        load_torchaudio()  # encodec imports it by itself
        from encodec.model import EncodecModel

        khz = self.sample_rate // 1000
        net: Any = getattr(EncodecModel, f"encodec_model_{khz}khz")(pretrained=False)
        for layer in net.quantizer.vq.layers:
            for name in _STATISTICS:
                delattr(layer._codebook, name)
        return net

    def _draw(self, net: Any) -> None:
        from torch import nn

        for module in net.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                # In every sample that upsampling makes, two of its steps meet.
                terms = module.kernel_size[0] if isinstance(module, nn.Conv1d) else 2
                nn.init.normal_(module.weight, std=(terms * module.in_channels) ** -0.5)
        for name, value in net.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(value)
        for number, layer in enumerate(net.quantizer.vq.layers):
            nn.init.normal_(layer.codebook, std=_SPREAD[self.sample_rate] * 0.8**number)

    def _cache(self) -> Path:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[self.sample_rate]

    def _weights_of(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        return {name: value for name, value in tree.items() if str(name).rpartition(".")[2] not in _STATISTICS}

    def _codes(self, latents: Tensor) -> Tensor:
        """f32 [B, D, F] -> int64 [B, F, num_quantizers]."""
        return self.net.quantizer.vq.encode(latents, n_q=self.num_quantizers).permute(1, 2, 0)

    def _latents(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, D, F]."""
        return self.net.quantizer.vq.decode(codes.permute(2, 0, 1))


class Encodec24(_Encodec):
    """The causal model: 24 kHz mono, 75 frames a second, 1.5, 3, 6, 12 or 24 kbps.

    Long audio goes through its convolutions in chunks and through its LSTMs at once, at 75 vectors a second: codes
    equal those of the whole in 99.9 % of places or more (rounding decides between near vectors), sound within 1e-4.
    What is worked on apart from its beginning, as in streaming, lacks what the LSTMs remember from before
    `context_frames`: with random weights the same bounds hold, with others it depends on how long those remember.
    """

    sample_rate = 24_000
    channels = 1
    context_frames = (_FORGET_FRAMES + _MIRROR_FRAMES + _HALO_FRAMES[0], _MIRROR_FRAMES + _HALO_FRAMES[1])

    def __init__(self, bandwidth_kbps: float, weights: Weights) -> None:
        super().__init__(bandwidth_kbps, weights)
        self.spec = TokenSpec(_CODEBOOK_SIZE, self.num_quantizers, self.sample_rate, HOP_LENGTH)

    @property
    def codebooks(self) -> Tensor:
        """The vectors behind the codes: f32 [Q, 1024, 128]."""
        import torch

        return torch.stack([layer.codebook for layer in self.net.quantizer.vq.layers[: self.num_quantizers]])

    def _encode(self, audio: Tensor) -> Tensor:
        import torch

        layers = self.net.encoder.model
        at = _lstm(layers)
        heard = [
            layers[:at](audio[..., frames.start * HOP_LENGTH : frames.stop * HOP_LENGTH])[..., keep]
            for frames, keep in chunked(audio.shape[-1] // HOP_LENGTH, _CHUNK_FRAMES, _HALO_FRAMES)
        ]
        latents = layers[at:](torch.cat(heard, -1))
        return torch.cat([self._codes(part) for part in latents.split(_CHUNK_FRAMES, -1)], 1)

    def _decode(self, codes: Tensor) -> Tensor:
        import torch

        layers = self.net.decoder.model
        after = _lstm(layers) + 1
        remembered = layers[:after](self._latents(codes))
        played = [
            layers[after:](remembered[..., frames])[..., keep.start * HOP_LENGTH : keep.stop * HOP_LENGTH]
            for frames, keep in chunked(codes.shape[1], _CHUNK_FRAMES, _HALO_FRAMES)
        ]
        return torch.cat(played, -1)


class Encodec48(_Encodec):
    """The music model: 48 kHz stereo, 150 frames a second, 3, 6, 12 or 24 kbps and the levels.

    It scales every second of audio to a level of 1, normalises over time within it, and needs the level back to
    decode. Here the level is codebook 0, in steps of half a decibel, the same in all 150 frames of a second, so that
    the stream is tokens alone; in decoding the median of a second's levels counts. A model of tokens is told so by
    Q = quantizers + 1, which adds a nominal 1.5 kbps.

    Seconds are counted from the start (`segment_frames`) and join without overlap, where the package lets them
    overlap by a hundredth, which whole frames do not fit: a seam may be heard where it fades. Chunks are seconds;
    any that begin at a multiple of `segment_frames` give the same as the whole, to rounding.
    """

    sample_rate = 48_000
    channels = 2
    context_frames = (0, 0)
    segment_frames = SEGMENT_FRAMES

    def __init__(self, bandwidth_kbps: float, weights: Weights) -> None:
        super().__init__(bandwidth_kbps, weights)
        self.spec = TokenSpec(_CODEBOOK_SIZE, self.num_quantizers + 1, self.sample_rate, HOP_LENGTH)

    def _encode(self, audio: Tensor) -> Tensor:
        import torch

        seconds = []
        for second in audio.split(SEGMENT_FRAMES * HOP_LENGTH, -1):
            level = _level(second)
            codes = self._codes(self.net.encoder(second / _scale(level)))
            seconds.append(torch.cat([level.expand(-1, codes.shape[1], -1), codes], -1))
        return torch.cat(seconds, 1)

    def _decode(self, codes: Tensor) -> Tensor:
        import torch

        if codes.shape[2] == 1:  # levels of nothing
            return torch.zeros(len(codes), self.channels, codes.shape[1] * HOP_LENGTH, device=codes.device)
        seconds = []
        for second in codes.split(SEGMENT_FRAMES, 1):
            level = second[..., :1].median(1, keepdim=True).values
            seconds.append(self.net.decoder(self._latents(second[..., 1:])) * _scale(level))
        return torch.cat(seconds, -1)


def _lstm(layers: nn.Sequential) -> int:
    """The place of the LSTMs among the layers of an encoder or decoder."""
    from encodec.modules import SLSTM

    return next(place for place, layer in enumerate(layers) if isinstance(layer, SLSTM))


def _level(audio: Tensor) -> Tensor:
    """f32 [B, C, S] -> the level of its mono mix, int64 [B, 1, 1]."""
    power = audio.mean(1, keepdim=True).square().mean(2, keepdim=True)
    decibel = 10 * power.clamp(min=1e-12).log10()
    return ((decibel - _LEVEL_FLOOR_DB) / _LEVEL_STEP_DB).round().long().clamp(0, _LEVELS - 1)


def _scale(level: Tensor) -> Tensor:
    """int64 [B, 1, 1] -> the amplitude it stands for, f32 [B, 1, 1]; ids that are no level are the loudest."""
    return 10 ** ((level.clamp(max=_LEVELS - 1) * _LEVEL_STEP_DB + _LEVEL_FLOOR_DB) / 20)
