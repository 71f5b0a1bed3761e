"""The embedded codec's network: short-time spectra in, residual codes, short-time spectra out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rapgen.models.rvq import ResidualVQ
from rapgen.models.spectral_loss import MelDistance, si_sdr, waveform_distance

SAMPLE_RATE = 24_000  # Hz
STFT_HOP = 240  # samples: 100 spectra a second
HOP_LENGTH = 960  # samples a frame: four spectra, 25 frames a second

_N_FFT = 960
_BINS = _N_FFT // 2 + 1
_OVERLAP = _N_FFT // STFT_HOP
_PAD = (_N_FFT - STFT_HOP) // 2
_FULL_SCALE = _N_FFT / 4  # magnitude of a full-scale sine under a Hann window
_PHASED_BINS = 160  # whose phase the encoder sees: up to 4 kHz; above, so few frames a second cannot carry it
_KERNEL = 7
_NUM_BLOCKS = {"encoder": 1, "latent_encoder": 1, "latent_decoder": 2, "decoder": 3}
_BLOCK_SCALE = 0.3  # of each block's output at the start
_START_LEVEL = -4.0  # log-magnitude of the first output: quiet, or the first steps only turn it down
_MAX_LEVEL = 3.0
_WAVEFORM_WEIGHT = 1.0
_COMMITMENT_WEIGHT = 0.05


class Block(nn.Module):
    """A ConvNeXt block over time (Liu et al. 2022): [B, T, width] -> [B, T, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Two-dimensional with a width of 1: channels-last, that is several times faster on a CPU than Conv1d.
        self.mix = nn.Conv2d(width, width, (_KERNEL, 1), padding=(_KERNEL // 2, 0), groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale = nn.Parameter(torch.full((width,), _BLOCK_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block makes of its input."""
        mixed = self.mix(x.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        return x + self.scale * self.mlp(self.norm(mixed))


class Spectra(nn.Module):
    """Waveforms to complex spectra and back; spectrum t is centred on sample (t + 1/2) * STFT_HOP."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """f32 [B, T * STFT_HOP] -> complex64 [B, T, bins]; a full-scale sine has magnitude 1."""
        frames = F.pad(audio, (_PAD, _PAD)).unfold(1, _N_FFT, STFT_HOP)
        return torch.fft.rfft(frames * self.window) / _FULL_SCALE

    def inverse(self, spectra: Tensor) -> Tensor:
        """complex64 [B, T, bins] -> f32 [B, T * STFT_HOP]."""
        frames = torch.fft.irfft(spectra * _FULL_SCALE, n=_N_FFT) * self.window
        envelope = self.window.square().expand(1, frames.shape[1], -1)
        return _overlap_add(frames) / _overlap_add(envelope)


class BoomboxNet(nn.Module):
    """A 24 kHz mono codec of 25 frames a second, or of as many as a `hop_length` in whole spectra gives.

    Encoder and decoder work on short-time spectra, the decoder as in Vocos (Siuzdak 2023); codes are those of
    a residual quantizer (SoundStream, section III-C). Nothing is normalised over time: codes and audio depend
    on `context_frames` frames to the left and right alone.
    """

    def __init__(
        self,
        *,
        num_codebooks: int = 12,
        codebook_size: int = 1024,
        width: int = 256,
        latent_width: int = 320,
        code_dim: int = 64,
        hop_length: int = HOP_LENGTH,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self._spectra = hop_length // STFT_HOP  # a frame
        self.spectra = Spectra()
        self.encoder_in = nn.Sequential(nn.Linear(_BINS + 2 * _PHASED_BINS, width), nn.LayerNorm(width))
        self.encoder = _blocks("encoder", width)
        self.fold = nn.Linear(self._spectra * width, latent_width)
        self.latent_encoder = _blocks("latent_encoder", latent_width)
        self.to_code = nn.Sequential(nn.LayerNorm(latent_width), nn.Linear(latent_width, code_dim))
        self.quantizer = ResidualVQ(dim=code_dim, codebook_size=codebook_size, num_codebooks=num_codebooks)
        self.from_code = nn.Linear(code_dim, latent_width)
        self.latent_decoder = _blocks("latent_decoder", latent_width)
        self.unfold = nn.Linear(latent_width, self._spectra * width)
        self.decoder = _blocks("decoder", width)
        self.out_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * _BINS)
        nn.init.constant_(self.head.bias[:_BINS], _START_LEVEL)
        self.mel_distance = MelDistance(sample_rate=SAMPLE_RATE)

    @property
    def context_frames(self) -> tuple[int, int]:
        """Frames to the left and right that a frame's codes, or its audio, depend on."""
        reach = {part: count * (_KERNEL // 2) for part, count in _NUM_BLOCKS.items()}
        encoder = reach["latent_encoder"] + -(-(reach["encoder"] + _OVERLAP // 2) // self._spectra)
        decoder = reach["latent_decoder"] + -(-(reach["decoder"] + _OVERLAP // 2) // self._spectra)
        return max(encoder, decoder), max(encoder, decoder)

    def forward(self, audio: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss f32 [] and logs of reconstructing f32 [B, 1, S]; in training the codebooks move too.

        The mel term shapes what is heard, the waveform term holds the phase of the bass and of onsets, which
        no magnitude can.
        """
        quantized, _, commitment = self.quantizer(self._analyse(audio))
        estimate = self._synthesize(quantized)[..., : audio.shape[-1]]
        mel = self.mel_distance(estimate, audio)
        waveform = waveform_distance(estimate, audio)
        loss = mel + _WAVEFORM_WEIGHT * waveform + _COMMITMENT_WEIGHT * commitment
        logs = {
            "mel_distance": mel.detach(),
            "waveform_distance": waveform.detach(),
            "commitment": commitment.detach(),
            "si_sdr_db": si_sdr(estimate.detach(), audio).mean(),
            "perplexity": self.quantizer.perplexity().mean(),
        }
        return loss, logs

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, 1, S] -> int64 [B, ceil(S / hop_length), Q]; silence fills the last frame."""
        return self.quantizer.encode(self._analyse(audio))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, 1, F * hop_length], from the first q <= Q codebooks."""
        return self._synthesize(self.quantizer.decode(codes))

    def _analyse(self, audio: Tensor) -> Tensor:
        """f32 [B, 1, S] -> f32 [B, F, code_dim], of zero mean and unit variance in each frame."""
        padded = F.pad(audio.float(), (0, -audio.shape[-1] % self.hop_length))
        x = self.encoder(self.encoder_in(_features(self.spectra(padded[:, 0]))))
        x = self.latent_encoder(self.fold(x.unflatten(1, (-1, self._spectra)).flatten(2)))
        code = self.to_code(x).float()
        # Of fixed size, or the commitment loss would shrink it.
        return F.layer_norm(code, code.shape[-1:])

    def _synthesize(self, quantized: Tensor) -> Tensor:
        """f32 [B, F, code_dim] -> f32 [B, 1, F * hop_length]."""
        x = self.latent_decoder(self.from_code(quantized))
        x = self.decoder(self.unfold(x).unflatten(2, (self._spectra, -1)).flatten(1, 2))
        level, real, imag = self.head(self.out_norm(x)).float().chunk(3, -1)
        spectra = level.clamp(max=_MAX_LEVEL).exp() * torch.complex(real, imag)
        return self.spectra.inverse(spectra).unsqueeze(1)


def _blocks(part: str, width: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(_NUM_BLOCKS[part])))


def _features(spectra: Tensor) -> Tensor:
    """Log-magnitudes of all bins; real and imaginary parts of the lower ones, to the power of 0.3."""
    magnitude = spectra.abs().clamp(min=1e-4)
    low = 2 * (spectra * magnitude.pow(-0.7))[..., :_PHASED_BINS]
    return torch.cat([magnitude.log() / 3 + 2, low.real, low.imag], -1)


def _overlap_add(frames: Tensor) -> Tensor:
    """f32 [B, T, n_fft] -> f32 [B, T * STFT_HOP], each frame a hop later than the one before."""
    parts = frames.unflatten(2, (_OVERLAP, STFT_HOP))
    shifted = [F.pad(parts[:, :, i], (0, 0, i, _OVERLAP - 1 - i)) for i in range(_OVERLAP)]
    return torch.stack(shifted).sum(0).flatten(1)[:, _PAD:-_PAD]
