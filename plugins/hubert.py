"""A semantic tokenizer as in AudioLM: k-means over a layer of a pretrained audio transformer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rapgen.errors import MismatchError, PluginError
from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import Clip, SemanticTokenizer, TokenSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rapgen.models.transformers_checkpoint import Checkpoint

_WINDOW_S = 10.0  # whose tokens are made at once
_CONTEXT_S = 2.5  # heard before and after a window; with it, about what HuBERT was trained on at once (15.6 s)
_FBANK = (400, 160)  # samples of a frame of w2v-BERT's filter bank, and between frames
_KINDS = {  # model_type of a config: transformers' names of its config, model and feature extractor
    "hubert": ("HubertConfig", "HubertModel", "Wav2Vec2FeatureExtractor"),
    "mert_model": ("HubertConfig", "HubertModel", "Wav2Vec2FeatureExtractor"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model", "Wav2Vec2FeatureExtractor"),
    "wavlm": ("WavLMConfig", "WavLMModel", "Wav2Vec2FeatureExtractor"),
    "wav2vec2-bert": ("Wav2Vec2BertConfig", "Wav2Vec2BertModel", "SeamlessM4TFeatureExtractor"),
}
_NOT_HUBERT = ("feature_extractor_cqt", "deepnorm")  # switches of MERT that its v1 checkpoints leave off


@hookimpl
def rapgen_components(register: Register) -> None:
    register("semantic", "hubert", hubert)


def hubert(
    *,
    model: str = "facebook/hubert-base-ls960",
    path: Path | None = None,
    layer: Annotated[int, Field(ge=1)] = 9,
    codebook_size: Annotated[int, Field(ge=1)] = 500,
    sample_rate: Annotated[int, Field(ge=1)] = 16000,
    hop_length: Annotated[int, Field(ge=1)] = 320,
) -> SemanticTokenizer:
    """k-means clusters of a layer of a HuBERT, MERT, wav2vec 2, WavLM or w2v-BERT 2 in transformers' format.

    `model` is its hub id; `path` is a folder that holds it, for where there is no network. Rate and hop are the
    model's own (MERT v1: 24000 Hz), told here so that a recipe can be read without it; they are checked when it is
    first used. The transformer is neither trained nor stored with a run: its hash is, beside the clusters.
    """
    from rapgen.models.transformers_checkpoint import Checkpoint

    checkpoint = Checkpoint("semantic 'hubert'", model, path and path.expanduser(), ("preprocessor_config.json",))
    return Hubert(checkpoint, layer, TokenSpec(codebook_size, 1, sample_rate, hop_length))


class Hubert(SemanticTokenizer):
    """Tokens are made in windows of 10 s, counted from the audio's start, each heard with 2.5 s before and after it.

    So memory is bounded, and a token depends on its window and 2.5 s around it alone (the transformer hears all of
    both): not on the batch, and not on what follows later. A piece of audio that begins at a multiple of 10 s has the
    whole's tokens, bit for bit, from its second window to the last one that is followed by 2.5 s and a frame.
    """

    def __init__(self, checkpoint: Checkpoint, layer: int, spec: TokenSpec) -> None:
        from rapgen.models.kmeans import Clusters

        self.spec = spec
        self._checkpoint, self._layer = checkpoint, layer
        self._clusters = Clusters(checkpoint.who, spec.codebook_size)
        self._sha256: Tensor | None = None  # uint8 [32]: of the transformer that the clusters belong to
        self._device: torch.device | str = "cpu"
        self._loaded: _Features | None = None

    @property
    def licence(self) -> str | None:
        """The licence of the transformer's weights."""
        return self._checkpoint.licence

    def fit(self, clips: Iterable[Clip], *, seed: int) -> None:
        """Learn clusters from clips at any rate, seen once; raises ModelError where there are none."""
        self._clusters.fit((w.cpu() for clip in clips for w in self._windows(self._own(clip))), seed=seed)
        self._sha256 = self._features().sha256

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, C, S] -> int64 [B, ceil(S / hop), 1].

        Raises ModelError before `fit`, MismatchError where the transformer is not the one it was fitted with.
        """
        import torch

        rows = [torch.cat([self._clusters.tokens(w) for w in self._windows(item)]) for item in audio]
        return torch.stack(rows).unsqueeze(-1)

    def state(self) -> dict[str, Tensor]:
        """The clusters, and `weights_sha256` uint8 [32] of the transformer; empty before `fit`."""
        return {} if self._sha256 is None else {**self._clusters.state(), "weights_sha256": self._sha256}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError or ValueError where names or shapes differ; whose clusters they are is seen on first use."""
        self._clusters.load_state(state)
        self._sha256 = state["weights_sha256"]

    def to(self, device: torch.device | str) -> None:
        """Move the clusters, and the transformer, now or when it is read."""
        self._device = device
        self._clusters.to(device)
        if self._loaded is not None:
            self._loaded.to(device)

    def _own(self, clip: Clip) -> Tensor:
        """f32 [C, S] at the model's rate."""
        import torch

        from rapgen.audio.rate import to_rate

        return to_rate(torch.from_numpy(clip.audio).unsqueeze(0), clip.sample_rate, self.spec.sample_rate)[0]

    def _windows(self, audio: Tensor) -> Iterator[Tensor]:
        """f32 [C, S] -> f32 [F, D] for each window. One goes through at a time, so that batches change nothing."""
        from torch.nn import functional as F

        features = self._features()
        hop, rate = features.hop_length, features.sample_rate
        num_frames = -(-audio.shape[-1] // hop)
        width, context = (round(s * rate / hop) for s in (_WINDOW_S, _CONTEXT_S))
        before = (features.receptive_field - hop) // 2  # so that a frame's samples are in the middle of what it hears
        after = num_frames * hop - audio.shape[-1] + features.receptive_field - hop - before
        heard = F.pad(audio.float().mean(0), (before, after))
        for start in range(0, num_frames, width):
            end = min(start + width, num_frames)
            first, last = max(0, start - context), min(num_frames, end + context)
            samples = heard[first * hop : (last - 1) * hop + features.receptive_field]
            yield features(samples)[start - first : end - first]

    def _features(self) -> _Features:
        if self._loaded is None:
            loaded = _Features(self._checkpoint, self._layer)
            for name in ("sample_rate", "hop_length"):
                asked, own = getattr(self.spec, name), getattr(loaded, name)
                if asked != own:
                    raise PluginError(
                        f"{self._checkpoint.who}: {self._checkpoint.folder} has a {name} of {own} and the recipe says "
                        f"{asked}; set `{name}: {own}`"
                    )
            if self._sha256 is not None and not self._sha256.equal(loaded.sha256):
                raise MismatchError(
                    f"{self._checkpoint.who}: {self._checkpoint.folder} holds other weights than those its clusters "
                    "were fitted on; set `model` and `path` to the same ones, or fit anew in another run"
                )
            loaded.to(self._device)
            self._loaded = loaded
        return self._loaded


class _Features:
    """The hidden state of one layer for all frames of a stretch of audio."""

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        from rapgen.models.transformers_checkpoint import quiet_transformers, weights_sha256
        from rapgen.weights import reading

        config_class, model_class, extractor_class = _classes(checkpoint)
        with reading(checkpoint.who, checkpoint.folder), quiet_transformers():
            config = config_class.from_dict(checkpoint.config | {"model_type": config_class.model_type})
            self._extractor = extractor_class.from_pretrained(checkpoint.folder, local_files_only=True)
            self.sample_rate: int = self._extractor.sampling_rate
            self.receptive_field, self.hop_length = _frame(config, self._extractor)
            layers = int(config.num_hidden_layers)
        if layer > layers:
            raise PluginError(
                f"{checkpoint.who}: {checkpoint.folder} has {layers} layers, not {layer}; set `layer` to 1 .. {layers}"
            )
        config.num_hidden_layers = layer  # those above are not read
        self._model = checkpoint.load(model_class, config).requires_grad_(False)
        self._outputs: list[Any] = []
        # The layer's own output: what the model gives last may have been normalized once more.
        self._model.encoder.layers[layer - 1].register_forward_hook(lambda *call: self._outputs.append(call[2]))
        self.sha256 = weights_sha256(self._model)

    def to(self, device: torch.device | str) -> None:
        """Work on `device` from now on."""
        self._model.to(device)

    def __call__(self, samples: Tensor) -> Tensor:
        """f32 [(F - 1) * hop + receptive field] -> f32 [F, D], normalized as the checkpoint wants it."""
        import torch

        inputs = self._extractor(samples.cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt")
        name = self._model.main_input_name
        with torch.no_grad():
            self._model(inputs[name].to(self._model.device))
        output = self._outputs.pop()
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        return hidden[0]


def _classes(checkpoint: Checkpoint) -> tuple[Any, Any, Any]:
    """Config, model and feature extractor; PluginError where the checkpoint is of another kind."""
    from rapgen.models.transformers_checkpoint import quiet_transformers

    kind = checkpoint.config.get("model_type")
    if kind not in _KINDS:
        raise PluginError(f"{checkpoint.who}: {checkpoint.folder} is a '{kind}'; it takes one of {', '.join(_KINDS)}")
    strange = [name for name in _NOT_HUBERT if kind == "mert_model" and checkpoint.config.get(name)]
    if strange:
        raise PluginError(
            f"{checkpoint.who}: {checkpoint.folder} is a MERT with {strange[0]}, which needs code of its own that is "
            "never run; take one that is a HuBERT in all but name, as m-a-p/MERT-v1-95M"
        )
    checkpoint.check_files()
    with quiet_transformers():
        import transformers

        config, model, extractor = (getattr(transformers, name) for name in _KINDS[kind])
    return config, model, extractor


def _frame(config: Any, extractor: Any) -> tuple[int, int]:
    """Samples that a frame is made of, and between frames."""
    if hasattr(extractor, "stride"):  # frames of a filter bank, put together in pairs
        size, hop = _FBANK
        return size + (extractor.stride - 1) * hop, extractor.stride * hop
    size = 1
    for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
        size = (size - 1) * stride + kernel
    return size, math.prod(config.conv_stride)
