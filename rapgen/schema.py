"""What a recipe says: frozen, typed sections with their defaults."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Node = dict[str, Any]  # {use: name, option: value, ...}
STAGES = ("codec", "mulan", "semantic", "coarse", "fine")
TAKEN_NAMES = ("semantic", "coarse", "fine", "codes", "target")  # streams that are no conditioner's


class Frozen(BaseModel):
    """A section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(Frozen):
    """How a stage is trained; the same keys for all five."""

    steps: int = Field(1000, ge=1)
    batch_size: int = Field(16, ge=1)  # of a process
    accumulate: int = Field(1, ge=1)  # micro-batches of a process a step
    crop_s: float = Field(10.0, gt=0)
    learning_rate: float = Field(3e-4, gt=0)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    valid_every: int = Field(250, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    patience: int | None = Field(None, ge=1)  # validations without a better loss before an early stop


class Transformer(Frozen):
    """Sizes of a decoder-only transformer."""

    width: int = Field(256, ge=8)
    layers: int = Field(6, ge=1)
    heads: int = Field(4, ge=1)
    mlp_width: int | None = Field(None, ge=1)  # None: 8/3 of width
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Transformer:
        if self.width % (2 * self.heads):
            raise ValueError("width must be a multiple of 2 * heads (rotary positions turn pairs)")
        return self


class TokenStage(Training):
    """A stage that predicts one stream of tokens from others."""

    model: Transformer = Transformer()
    pattern: str
    inputs: tuple[str, ...] = ()  # conditioners by name, and "semantic" or "coarse"
    as_prefix: tuple[Literal["semantic", "coarse"], ...] = ()  # inputs that stand, a whole crop, before the first step
    look_ahead: int = Field(0, ge=0)  # frames of the semantic stream seen ahead
    condition_dropout: float = Field(0.1, ge=0, le=1)  # share of clips whose conditioners are left out
    # Keep the inputs of blocks alone and compute the rest anew: less memory, a third more work. auto: if no row fits.
    checkpointing: bool | Literal["auto"] = "auto"
    compiled: bool | Literal["auto"] = "auto"  # torch.compile for the blocks; auto: on a GPU
    sharded: bool = False  # split weights, gradients, averages and moments over the processes that train together

    @model_validator(mode="after")
    def _a_prefix_is_an_input(self) -> TokenStage:
        for name in self.as_prefix:
            if name not in self.inputs:
                raise ValueError(f"as_prefix names '{name}', which is not among the inputs")
        if "semantic" in self.as_prefix and self.look_ahead:
            raise ValueError("look_ahead must be 0 where semantic is a prefix: all of it is seen")
        return self


class CausalStage(TokenStage):
    """A stage that goes through time step by step."""

    pattern: Literal["flat", "delay"] = "flat"


class CoarseStage(CausalStage):
    """The stage that predicts the first codebooks of the codec."""

    num_codebooks: int = Field(4, ge=1)


class FineStage(TokenStage):
    """The stage that predicts the codec's remaining codebooks, block by block."""

    pattern: Literal["flat", "masked"] = "masked"
    block_s: float = Field(1.0, gt=0)
    passes: int = Field(8, ge=1)

    @model_validator(mode="after")
    def _a_block_fits_the_crop(self) -> FineStage:
        if self.block_s > self.crop_s:
            raise ValueError("block_s must not be over crop_s: a block is made in sight of a crop")
        return self


class Stages(Frozen):
    """The five stages, in the order in which they are trained."""

    codec: Training = Training(crop_s=1.0)
    mulan: Training = Training()
    semantic: CausalStage = CausalStage(inputs=("mulan", "groove", "grid"))
    coarse: CoarseStage = CoarseStage(pattern="delay", inputs=("mulan", "groove", "grid", "semantic"))
    fine: FineStage = FineStage(inputs=("coarse",))


class MuLaN(Frozen):
    """Sizes of the joint text-audio embedding and of its residual quantizer."""

    dim: int = Field(128, ge=2)
    width: int = Field(192, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    crop_s: float = Field(10.0, gt=0)
    loss: Literal["softmax", "sigmoid"] = "softmax"
    codebook_size: int = Field(256, ge=2)
    num_codebooks: int = Field(8, ge=1)


class Sampling(Frozen):
    """How a stage's tokens are drawn; the defaults of `rapgen generate`."""

    temperature: float = Field(1.0, ge=0)
    top_k: int = Field(0, ge=0)  # 0: all
    guidance_scale: float = Field(1.0, ge=0)  # 1: no guidance


class Samplings(Frozen):
    """Sampling of each stage that predicts tokens."""

    semantic: Sampling = Sampling(guidance_scale=2.0)
    coarse: Sampling = Sampling(temperature=0.95, guidance_scale=1.5)
    fine: Sampling = Sampling(temperature=0.4)


class Data(Frozen):
    """Where clips come from; `valid` is never trained on."""

    train: Node
    valid: Node


class Recipe(Frozen):
    """Everything a run is made from."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    start_from: str | None = None  # a run or bundle with the same parts: its weights are where the stages start
    data: Data
    codec: Node
    semantic: Node
    text_encoder: Node
    mulan: MuLaN = MuLaN()
    conditioners: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Node]
    stages: Stages = Stages()
    sampling: Samplings = Samplings()

    @field_validator("conditioners")
    @classmethod
    def _names_are_free(cls, nodes: dict[str, Node]) -> dict[str, Node]:
        for name in nodes:
            if name in TAKEN_NAMES:
                raise ValueError(f"a conditioner cannot be called '{name}', which is another stream; call it otherwise")
        return nodes

    @property
    def sha256(self) -> str:
        """Hash of the resolved recipe."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def nodes(self) -> dict[str, tuple[str, Node]]:
        """Every component the recipe names: key path -> (role, node)."""
        fixed = {
            "data.train": ("source", self.data.train),
            "data.valid": ("source", self.data.valid),
            "codec": ("codec", self.codec),
            "semantic": ("semantic", self.semantic),
            "text_encoder": ("text_encoder", self.text_encoder),
        }
        return fixed | {f"conditioners.{k}": ("conditioner", v) for k, v in self.conditioners.items()}
