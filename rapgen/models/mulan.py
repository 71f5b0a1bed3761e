"""MuLaN: audio and text in one space (Huang et al. 2022), and that space in tokens (MusicLM, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rapgen.audio.mel import LogMel
from rapgen.distributed import gather_rows
from rapgen.errors import ModelError, RecipeError
from rapgen.interfaces import Component, TextEncoder, TokenSpec
from rapgen.models.rvq import ResidualVQ

_NUM_MELS = 64
_MEL_RATE = 100  # Hz
_PATCH_FRAMES = 8  # mel frames a patch: 80 ms
_MEL_MEAN, _MEL_STD = -4.5, 1.75  # of log-mels of beats, roughly
_TEXTS_AT_ONCE = 256
_SAME_TEXT = 1e-4  # largest difference between features of one text encoded in two batches


def window_starts(num_samples: int, window: int) -> list[int]:
    """Where the windows start that just cover `num_samples`, evenly spread; [0] where one holds them all."""
    count = max(1, math.ceil(num_samples / window))
    return [n * max(0, num_samples - window) // max(1, count - 1) for n in range(count)]


class AudioTower(nn.Module):
    """A spectrogram transformer: each patch is all mel bands of 80 ms, the mean over patches is embedded.

    AST's 16 x 16 patches would be twice as many tokens at 64 bands; rhythm needs time, not bands, apart.
    """

    def __init__(self, *, sample_rate: int, dim: int, width: int, layers: int, heads: int, crop_s: float) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.crop_samples = round(crop_s * sample_rate)
        hop = sample_rate // _MEL_RATE
        self.mel = LogMel(sample_rate=sample_rate, n_fft=1024, hop_length=hop, num_mels=_NUM_MELS)
        self.patch = nn.Linear(_NUM_MELS * _PATCH_FRAMES, width)
        max_patches = max(1, (self.crop_samples // hop + 1) // _PATCH_FRAMES)
        self.positions = nn.Parameter(0.02 * torch.randn(max_patches, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, dim)

    def forward(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] of at most crop_s -> f32 [B, dim] of length 1."""
        mel = (self.mel(audio) - _MEL_MEAN) / _MEL_STD
        num_frames = max(_PATCH_FRAMES, mel.shape[-1] // _PATCH_FRAMES * _PATCH_FRAMES)
        mel = F.pad(mel, (0, num_frames - mel.shape[-1]))
        patches = mel.unflatten(-1, (-1, _PATCH_FRAMES)).permute(0, 2, 1, 3).flatten(2)
        x = self.blocks(self.patch(patches) + self.positions[: patches.shape[1]])
        return F.normalize(self.head(x.mean(1)).float(), dim=-1)


class TextTower(nn.Module):
    """A small MLP on the mean of a frozen encoder's vectors, so a caption is encoded once for all epochs."""

    def __init__(self, *, text_dim: int, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(text_dim), nn.Linear(text_dim, 2 * text_dim), nn.GELU(), nn.Linear(2 * text_dim, dim)
        )

    def forward(self, text_features: Tensor) -> Tensor:
        """f32 [B, text_dim] -> f32 [B, dim] of length 1."""
        return F.normalize(self.mlp(text_features).float(), dim=-1)


class MuLaN(nn.Module):
    """The two towers and their contrastive loss: "softmax" as in CLIP, or "sigmoid" as in SigLIP."""

    text_encoder: TextEncoder

    def __init__(self, *, text_encoder: TextEncoder, audio_tower: AudioTower, text_tower: TextTower, loss: str) -> None:
        super().__init__()
        # Past nn.Module's bookkeeping: a frozen encoder is neither trained nor saved with this model.
        object.__setattr__(self, "text_encoder", text_encoder)
        self.sample_rate = audio_tower.sample_rate
        self.crop_samples = audio_tower.crop_samples
        self.audio_tower = audio_tower
        self.text_tower = text_tower
        self.loss = loss
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        if loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(-10.0))

    def embed_audio(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] at sample_rate -> f32 [B, dim] of length 1, the mean over crop_s windows."""
        size = self.crop_samples
        windows = [audio[..., start : start + size] for start in window_starts(audio.shape[-1], size)]
        embeddings = self.audio_tower(torch.cat(windows)).unflatten(0, (len(windows), -1))
        return F.normalize(embeddings.mean(0), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """B texts -> f32 [B, text_dim]: the frozen encoder's mean; what forward takes, worth caching."""
        chunks = [texts[n : n + _TEXTS_AT_ONCE] for n in range(0, len(texts), _TEXTS_AT_ONCE)]
        with torch.no_grad():
            means = [_masked_mean(*self.text_encoder.encode(chunk)) for chunk in chunks]
        return torch.cat(means).to(self.log_scale.device)

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """B texts -> f32 [B, dim] of length 1."""
        return self.text_tower(self.encode_text(texts))

    def forward(self, audio: Tensor, text_features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Contrast pairs: f32 [B, C, S], f32 [B, text_dim] -> (loss f32 [], logs {name: f32 []}).

        In training each clip is contrasted with those of all processes. Clips that share a caption are not negatives
        of each other. `loss_minus_log_batch` is the softmax loss less that of guessing, whichever loss is trained.
        """
        audio_embeddings, text_embeddings = self.embed_audio(audio), self.text_tower(text_features)
        if self.training:
            audio_embeddings, text_embeddings = gather_rows(audio_embeddings), gather_rows(text_embeddings)
            text_features = gather_rows(text_features.detach())
        with torch.autocast(audio.device.type, enabled=False):  # bf16 cosines tie
            similarity = audio_embeddings @ text_embeddings.T
        is_same = torch.cdist(text_features, text_features, p=math.inf) < _SAME_TEXT
        is_pair = torch.eye(len(is_same), dtype=torch.bool, device=is_same.device)
        ignored = is_same & ~is_pair
        logits = similarity * self.log_scale.exp().clamp(max=100.0)  # as in CLIP
        contrast = _softmax_loss(logits.masked_fill(ignored, -math.inf))
        logs = _recalls(similarity.detach().masked_fill(ignored, -math.inf))
        logs["loss_minus_log_batch"] = contrast.detach() - (~ignored).sum(1).log().mean()
        if self.loss == "softmax":
            return contrast, logs
        terms = F.logsigmoid((logits + self.bias) * torch.where(is_pair, 1.0, -1.0))
        return -terms.masked_fill(ignored, 0.0).sum() / len(terms), logs


class TunedMuLaN(nn.Module):
    """MuLaN with the text encoder under it, trained as one.

    Each text of a batch is encoded once, so that clips which share it have equal features; for the same reason the
    encoder is trained without dropout.
    """

    def __init__(self, mulan: MuLaN, text_module: nn.Module) -> None:
        super().__init__()
        self.mulan = mulan
        self.text_module = text_module

    def train(self, mode: bool = True) -> TunedMuLaN:
        """As ever, but for the text encoder's dropout."""
        super().train(mode)
        self.text_module.eval()
        return self

    def forward(self, audio: Tensor, ids: Tensor, mask: Tensor, text: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As MuLaN's, of f32 [B, C, S], texts as int64 and bool [N, L], and which of them is each clip's, int64 [B]."""
        features = _masked_mean(self.text_module(ids, mask).float(), mask)
        loss, logs = self.mulan(audio, features[text])
        return loss, logs


class MuLaNEmbedQuantizer(nn.Module):
    """Residual vector quantization of MuLaN's space: fitted on audio, used on audio and on text.

    Contrastive training leaves the modalities in two separate cones (Liang et al. 2022, "Mind the Gap").
    Given text embeddings, `fit` notes the difference of the means; text is moved by it to be quantized.
    """

    text_shift: Tensor

    def __init__(self, *, dim: int, codebook_size: int, num_codebooks: int) -> None:
        super().__init__()
        self.spec = TokenSpec(codebook_size, num_codebooks)
        self.vq = ResidualVQ(dim=dim, codebook_size=codebook_size, num_codebooks=num_codebooks)
        self.register_buffer("text_shift", torch.zeros(dim))

    @torch.no_grad()
    def fit(self, embeddings: Tensor, *, seed: int, text_embeddings: Tensor | None = None) -> None:
        """Learn codebooks from audio's f32 [N, dim] and, where text's f32 [M, dim] is given, the gap."""
        self.vq.fit(embeddings, seed=seed)
        if text_embeddings is not None:
            self.text_shift.copy_(embeddings.mean(0) - text_embeddings.mean(0))

    def encode(self, embeddings: Tensor) -> Tensor:
        """Audio's f32 [B, dim] -> int64 [B, Q]; raises ModelError before `fit`."""
        if not self.vq.is_started:
            raise ModelError("MuLaN's quantizer is not fitted: run `rapgen mulan train`")
        return self.vq.encode(embeddings)

    def among_audio(self, embeddings: Tensor) -> Tensor:
        """Text's f32 [B, dim] moved to where audio's are, to be quantized as such."""
        return embeddings + self.text_shift


class MuLaNPart(Component):
    """A run's MuLaN: the model that is trained (`module`) and the quantizer that is fitted after it."""

    def __init__(self, *, module: MuLaN, quantizer: MuLaNEmbedQuantizer) -> None:
        self.module = module
        self.quantizer = quantizer
        self._both = nn.ModuleDict({"module": module, "quantizer": quantizer})

    def fit_quantizer(self, embeddings: Tensor, *, seed: int, text_embeddings: Tensor | None = None) -> None:
        """As `MuLaNEmbedQuantizer.fit`."""
        self.quantizer.fit(embeddings, seed=seed, text_embeddings=text_embeddings)

    def state(self) -> dict[str, Tensor]:
        """All tensors but the text encoder's, which is a part of its own."""
        return dict(self._both.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError where names or shapes differ."""
        try:
            self._both.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"not a state of this MuLaN: {error}") from error

    def to(self, device: torch.device | str) -> None:
        """Move both models; the text encoder moves by itself."""
        self._both.to(device)


def build_mulan(
    *,
    text_encoder: TextEncoder,
    sample_rate: int = 24_000,
    dim: int = 128,
    width: int = 192,
    layers: int = 4,
    heads: int = 4,
    crop_s: float = 10.0,
    loss: str = "softmax",
    codebook_size: int = 256,
    num_codebooks: int = 8,
) -> MuLaNPart:
    """A fresh MuLaN; all options but the first two are a recipe's `mulan:`. Raises RecipeError."""
    if width % heads:
        raise RecipeError(f"mulan.width must be a multiple of mulan.heads, got {width} and {heads}")
    if loss not in ("softmax", "sigmoid"):
        raise RecipeError(f"mulan.loss must be softmax or sigmoid, got {loss!r}")
    audio_tower = AudioTower(sample_rate=sample_rate, dim=dim, width=width, layers=layers, heads=heads, crop_s=crop_s)
    text_tower = TextTower(text_dim=text_encoder.dim, dim=dim)
    module = MuLaN(text_encoder=text_encoder, audio_tower=audio_tower, text_tower=text_tower, loss=loss)
    quantizer = MuLaNEmbedQuantizer(dim=dim, codebook_size=codebook_size, num_codebooks=num_codebooks)
    return MuLaNPart(module=module, quantizer=quantizer)


def _masked_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(vectors.dtype)
    return (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)


def _softmax_loss(logits: Tensor) -> Tensor:
    """Of both directions; pair n is on the diagonal."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _recalls(similarity: Tensor) -> dict[str, Tensor]:
    """Share of rows whose pair is among the nearest k; ties are lost, so a collapsed model has none."""
    logs: dict[str, Tensor] = {}
    for name, table in (("a2t", similarity), ("t2a", similarity.T)):
        rank = (table >= table.diagonal().unsqueeze(1)).sum(1)
        logs |= {f"recall@{k} {name}": (rank <= k).float().mean() for k in (1, 5)}
    return logs
