"""The embedded codec's network: short-time spectra in, residual codes, short-time spectra out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rapgen.models.rvq import ResidualVQ
from rapgen.models.spectral_loss import MelDistance, si_sdr, waveform_distance

SAMPLE_RATE = 24_000
STFT_HOP = 240  # samples: 100 spectra a second
FOLD = 4  # spectra a frame: 25 frames a second
HOP_LENGTH = STFT_HOP * FOLD
_N_FFT = 960
_OVERLAP = _N_FFT // STFT_HOP
_PAD = (_N_FFT - STFT_HOP) // 2
_SCALE = _N_FFT / 4  # magnitude of a full-scale sine under a Hann window
_PHASED = 160  # bins whose phase the encoder sees: up to 4 kHz
_KERNEL = 7
_ENCODER = (1, 1)
_DECODER = (2, 3)
_DROPOUT = 0.2
HEADS = 3
_QUIET_LEVEL = -4.0
WAVE = 1.0
COMMIT = 1.0


class Block(nn.Module):
    """A ConvNeXt block over time (Liu et al. 2022): f32 [B, T, width] -> the same shape."""

    def __init__(self, width: int, *, scale: float) -> None:
        super().__init__()
        # A 2-d kernel of width 1: on channels-last CPU tensors several times faster than Conv1d.
        self.mix = nn.Conv2d(width, width, (_KERNEL, 1), padding=(_KERNEL // 2, 0), groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(x.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        return x + self.scale * self.mlp(self.norm(mixed))


def _blocks(count: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, scale=0.3) for _ in range(count)))


class Spectra(nn.Module):
    """Waveforms to complex spectra, frame t centred on sample (t + 1/2) * hop, and back."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """f32 [B, T * hop] -> complex64 [B, T, bins], a full-scale sine has magnitude 1."""
        frames = F.pad(audio, (_PAD, _PAD)).unfold(1, _N_FFT, STFT_HOP)
        return torch.fft.rfft(frames * self.window) / _SCALE

    def inverse(self, spectra: Tensor) -> Tensor:
        """complex64 [B, T, bins] -> f32 [B, T * hop]."""
        frames = torch.fft.irfft(spectra * _SCALE, n=_N_FFT) * self.window
        envelope = self.window.square().expand(1, frames.shape[1], -1)
        return _overlap_add(frames) / _overlap_add(envelope)


def _overlap_add(frames: Tensor) -> Tensor:
    batch, count, _ = frames.shape
    parts = frames.view(batch, count, _OVERLAP, STFT_HOP)
    shifted = [F.pad(parts[:, :, i], (0, 0, i, _OVERLAP - 1 - i)) for i in range(_OVERLAP)]
    return torch.stack(shifted).sum(0).flatten(1)[:, _PAD:-_PAD]


class BoomboxNet(nn.Module):
    """A 24 kHz mono codec of 25 frames a second, with a receptive field that ends.

    Encoder and decoder work on short-time spectra (the decoder as Vocos, Siuzdak 2023), residual vector
    quantization as SoundStream. Nothing is normalised over time, so that `context_frames` frames on either
    side of a chunk make its codes, and its audio, those of the whole.
    """

    def __init__(
        self,
        *,
        num_codebooks: int = 12,
        codebook_size: int = 1024,
        width: int = 256,
        latent_width: int = 320,
        code_dim: int = 64,
    ) -> None:
        super().__init__()
        bins = _N_FFT // 2 + 1
        self.spectra = Spectra()
        self.encoder_in = nn.Sequential(nn.Linear(bins + 2 * _PHASED, width), nn.LayerNorm(width))
        self.encoder = _blocks(_ENCODER[0], width)
        self.fold = nn.Linear(FOLD * width, latent_width)
        self.latent_encoder = _blocks(_ENCODER[1], latent_width)
        self.to_code = nn.Sequential(nn.LayerNorm(latent_width), nn.Linear(latent_width, code_dim))
        self.quantizer = ResidualVQ(
            dim=code_dim, codebook_size=codebook_size, num_codebooks=num_codebooks, dropout=_DROPOUT
        )
        self.from_code = nn.Linear(code_dim, latent_width)
        self.latent_decoder = _blocks(_DECODER[0], latent_width)
        self.unfold = nn.Linear(latent_width, FOLD * width)
        self.decoder = _blocks(_DECODER[1], width)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HEADS * bins))
        with torch.no_grad():
            self.head[1].weight.mul_(0.3)
            self.head[1].bias[:bins] = _QUIET_LEVEL
        self.mel_distance = MelDistance(sample_rate=SAMPLE_RATE)

    @property
    def context_frames(self) -> tuple[int, int]:
        """Frames to the left and right that a frame's codes or audio depend on."""
        reach = _KERNEL // 2
        spectra = [fine * reach + _OVERLAP // 2 for fine, _ in (_ENCODER, _DECODER[::-1])]
        frames = [-(-s // FOLD) + coarse * reach for s, (_, coarse) in zip(spectra, (_ENCODER, _DECODER[::-1]))]
        return max(frames), max(frames)

    def forward(self, audio: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and logs of reconstructing f32 [B, 1, S]; also moves the codebooks in training."""
        latent = self._analyse(audio)
        quantized, _, commitment = self.quantizer(latent)
        estimate = self._synthesize(quantized)[..., : audio.shape[-1]]
        with torch.autocast(audio.device.type, enabled=False):
            mel = self.mel_distance(estimate, audio)
            wave = waveform_distance(estimate, audio)
        loss = mel + WAVE * wave + COMMIT * commitment
        logs = {
            "mel": mel,
            "waveform": wave,
            "commitment": commitment,
            "si_sdr": si_sdr(estimate, audio).mean(),
            "perplexity": self.quantizer.perplexity().mean(),
        }
        return loss, {name: value.detach() for name, value in logs.items()}

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, 1, S] -> int64 [B, ceil(S / hop), Q]; silence fills the last frame."""
        return self.quantizer.encode(self._analyse(audio))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, 1, F * hop], from the first q <= Q codebooks."""
        return self._synthesize(self.quantizer.decode(codes))

    def _analyse(self, audio: Tensor) -> Tensor:
        audio = F.pad(audio.float(), (0, -audio.shape[-1] % HOP_LENGTH))
        spectra = self.spectra(audio[:, 0])
        x = self.encoder(self.encoder_in(_features(spectra)))
        x = self.latent_encoder(self.fold(x.unflatten(1, (-1, FOLD)).flatten(2)))
        code = self.to_code(x)
        return F.layer_norm(code.float(), code.shape[-1:])

    def _synthesize(self, quantized: Tensor) -> Tensor:
        x = self.latent_decoder(self.from_code(quantized))
        x = self.decoder(self.unfold(x).unflatten(2, (FOLD, -1)).flatten(1, 2))
        x = self.head(x).float()
        if HEADS == 2:
            level, phase = x.chunk(2, -1)
            spectra = torch.polar(level.clamp(max=3.).exp(), phase)
        else:
            level, re, im = x.chunk(3, -1)
            spectra = level.clamp(max=3.).exp() * torch.complex(re, im)
        return self.spectra.inverse(spectra).unsqueeze(1)


def _features(spectra: Tensor) -> Tensor:
    """Log-magnitudes of all bins, real and imaginary parts of the lower ones, compressed."""
    magnitude = spectra.abs().clamp(min=1e-4)
    low = spectra[..., :_PHASED] * magnitude[..., :_PHASED] ** -0.7
    return torch.cat([magnitude.log() / 3 + 2, 2*low.real, 2*low.imag], -1)
