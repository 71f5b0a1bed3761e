"""Tiny transformers checkpoints with random weights, saved as a hub would hold them; nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from rapgen.models.transformers_checkpoint import quiet_transformers

LAYERS = 3
DIM = 16
_SIZES = {
    "hidden_size": DIM,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.3,  # so that a layer changes what it is given
}
_CONVS = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
_WORDS = [
    *("<pad>", "<s>", "</s>", "<unk>", *"0123456789,.#abcdefg"),
    *("boom", "bap", "trap", "lo", "fi", "drill", "jazz", "beat", "at", "bpm", "in", "dark", "drums", "minor", "major"),
]
AUDIO_KINDS = ("hubert", "hubert-large", "mert", "wav2vec2", "wavlm", "w2v-bert")
TEXT_KINDS = ("bert", "t5", "roberta")


def save_audio(folder: Path, kind: str = "hubert", *, seed: int = 0, **changes: Any) -> Path:
    """An audio transformer with its feature extractor: 16 kHz, or MERT's 24 kHz; a hop of 320 samples."""
    with quiet_transformers():
        import transformers as hf

        torch.manual_seed(seed)
        if kind == "w2v-bert":
            config = hf.Wav2Vec2BertConfig(**_SIZES | {"conv_depthwise_kernel_size": 3} | changes)
            hf.Wav2Vec2BertModel(config).save_pretrained(folder)
            hf.SeamlessM4TFeatureExtractor(num_mel_bins=80).save_pretrained(folder)
            return folder
        name = {"wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}.get(kind, "Hubert")
        large = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"} if kind == "hubert-large" else {}
        config = getattr(hf, f"{name}Config")(**_SIZES | _CONVS | large | changes)
        getattr(hf, f"{name}Model")(config).save_pretrained(folder)
        rate = 24_000 if kind == "mert" else 16_000
        hf.Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=kind != "mert").save_pretrained(folder)
    if kind == "mert":
        change_config(
            folder,
            model_type="mert_model",
            architectures=["MERTModel"],
            auto_map={"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
            feature_extractor_cqt=False,
            deepnorm=False,
        )
        (folder / "modeling_MERT.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
        (folder / "configuration_MERT.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
    return folder


def save_text(folder: Path, kind: str = "bert", *, seed: int = 0, **changes: Any) -> Path:
    """A text encoder with its tokenizer of a few words and digits."""
    with quiet_transformers():
        import transformers as hf

        torch.manual_seed(seed)
        vocabulary = {"vocab_size": len(_WORDS), "pad_token_id": 0}
        if kind == "t5":
            sizes = {"d_model": DIM, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
            hf.T5ForConditionalGeneration(hf.T5Config(**sizes | vocabulary | changes)).save_pretrained(folder)
        elif kind == "roberta":
            config = hf.RobertaConfig(**_SIZES | vocabulary | {"max_position_embeddings": 64} | changes)
            hf.RobertaForMaskedLM(config).save_pretrained(folder)
        else:
            config = hf.BertConfig(**_SIZES | vocabulary | {"max_position_embeddings": 40} | changes)
            hf.BertModel(config).save_pretrained(folder)
        _tokenizer(hf, kind).save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Set keys of a checkpoint's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _tokenizer(hf: Any, kind: str) -> Any:
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(_WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.WordPiece()
    ends = [("<s>", 1), ("</s>", 2)]
    template = "$A </s>" if kind == "t5" else "<s> $A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
