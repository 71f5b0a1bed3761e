"""Log-mel spectrograms: what models that listen take in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rapgen.audio._torchaudio import load_torchaudio

_FLOOR = 1e-5  # -100 dB


class LogMel(nn.Module):
    """Natural log of mel magnitudes, 0 where a full-scale sine is; torchaudio's HTK filterbank.

    With `center`, silence is put around the audio so that frame t is centred on sample t * hop_length;
    without, frame t starts there. Nothing is trained and nothing is saved.
    """

    window: Tensor
    filters: Tensor | None  # made when first used: models that listen also make sound from words alone

    def __init__(self, *, sample_rate: int, n_fft: int, hop_length: int, num_mels: int, center: bool = True) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.num_mels = num_mels
        self.center = center
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / (window.sum() / 2), persistent=False)
        self.register_buffer("filters", None, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> f32 [B, num_mels, T] of the channels' mean, in fp32 under autocast too.

        T = S // hop_length + 1 with `center`, else (S - n_fft) // hop_length + 1.
        """
        filters = self.make_filters()
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float().mean(1),
                self.n_fft,
                self.hop_length,
                window=self.window,
                center=self.center,
                pad_mode="constant",
                return_complex=True,
            )
            return (filters.T @ spectrum.abs()).clamp(min=_FLOOR).log()

    @torch.inference_mode(False)  # or training could not use them afterwards
    def make_filters(self) -> Tensor:
        """f32 [bins, num_mels], made at the first call and kept."""
        if self.filters is None:
            bins, top = self.n_fft // 2 + 1, self.sample_rate / 2
            filters = load_torchaudio().functional.melscale_fbanks(bins, 0.0, top, self.num_mels, self.sample_rate)
            self.filters = filters.to(self.window.device)
        return self.filters
