"""How fast training goes, and how much of what the device could do: model FLOPs utilisation (MFU)."""

from __future__ import annotations

import functools
import statistics
import time
from collections import deque
from dataclasses import dataclass

import torch

from rapgen.distributed import world_size
from rapgen.models.token_lm import Batch, TokenLM
from rapgen.schema import Training

_WINDOW_S = 5.0  # of training that a figure is over
_GPU_PEAKS = {  # FLOP/s of dense bf16 products, from data sheets; the first name that fits
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True)
class Work:
    """What a row of a batch is in training."""

    unit: str  # what speed is counted in: "tokens" or "audio_s"
    amount: float  # of them a row
    flops: float | None = None  # of the model in a step, forward and backward; None: not told


def make_meter(work: Work | None, settings: Training, device: torch.device, *, in_bf16: bool) -> Meter:
    """A meter of a stage's steps."""
    rows = settings.batch_size * settings.accumulate * world_size()
    return Meter(work, rows=rows, device=device, dtype=torch.bfloat16 if in_bf16 else torch.float32)


class Meter:
    """Figures of speed over the last seconds of steps; what is between steps, validation say, is left out."""

    def __init__(self, work: Work | None, *, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        """`rows` are those of a step, in all processes."""
        self._work, self._rows, self._device, self._dtype = work, rows, device, dtype
        self._took: deque[float] = deque()
        self._total_s = 0.0  # of those
        self.start()

    def start(self) -> None:
        """A step begins now."""
        self._since = time.perf_counter()

    def step(self) -> dict[str, float]:
        """A step has ended: "<unit>_per_s", and "mfu" in 0 .. 1 after the first seconds."""
        if self._work is None:
            return {}
        self._took.append(time.perf_counter() - self._since)
        self._total_s += self._took[-1]
        while self._total_s - self._took[0] >= _WINDOW_S:
            self._total_s -= self._took.popleft()
        rows_a_second = self._rows * len(self._took) / self._total_s
        figures = {f"{self._work.unit}_per_s": self._work.amount * rows_a_second}
        if self._work.flops is not None and self._total_s >= _WINDOW_S:
            figures["mfu"] = self._work.flops * rows_a_second / (peak_flops(self._device, self._dtype) * world_size())
        return figures


@functools.cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s that a device reaches at most: of known GPUs in bf16 as their makers say, of others as a product does."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        for known, peak in _GPU_PEAKS.items():
            if set(known.split()) <= set(name.replace("-", " ").split()):
                return peak
    return measured_flops(device, dtype)


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product; on a CPU with the threads torch has, in some tenths of a second."""
    size = 1024 if device.type == "cpu" else 4096
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    took = []
    for _ in range(8):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        took.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(took[1:])


def token_flops(model: TokenLM, batch: Batch) -> float:
    """FLOPs of a training step of a batch: 6 a weight and position, attention to what is seen, and the predictions.

    As the model needs them: of causal attention half; what checkpointing computes again is not counted. Under
    `masked` a row is taken to predict half of its frames, in one codebook, and all positions to see all.
    """
    rows, frames, books = batch["target"].shape
    layers, width = len(model.transformer.blocks), model.transformer.width
    is_masked = model.pattern == "masked"
    positions = frames * books if model.pattern == "flat" else frames
    positions += sum(batch[name][0].numel() for name, stream in model.inputs.items() if stream.is_prefix)
    predictions = frames / 2 if is_masked else frames * books
    weights = sum(p.numel() for p in model.transformer.parameters() if p.dim() == 2)
    attention = 4 * layers * width * positions**2 / (1 if is_masked else 2)
    return 3 * rows * (2 * weights * positions + attention + 2 * width * model.target.codebook_size * predictions)
