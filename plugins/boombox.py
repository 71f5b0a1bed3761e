"""boombox: the embedded codec, 24 kHz mono at 25 or 50 frames a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rapgen.hookspecs import Register, hookimpl
from rapgen.interfaces import AudioCodec, TokenSpec
from rapgen.models.chunks import chunked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rapgen.models.codec import BoomboxNet

Size = Annotated[int, Field(ge=1)]
_CHUNK_FRAMES = 500  # 20 s at 25 frames a second: at once they bound the memory


@hookimpl
def rapgen_components(register: Register) -> None:
    register("codec", "boombox", boombox)


def boombox(
    *,
    num_codebooks: Size = 12,
    codebook_size: Size = 1024,
    width: Size = 256,
    latent_width: Size = 320,
    code_dim: Size = 64,
    hop_length: Literal[480, 960] = 960,
) -> AudioCodec:
    """The embedded codec: small, trainable, 24 kHz mono, 25 frames a second (50 with a hop_length of 480)."""
    from rapgen.models.codec import BoomboxNet

    net = BoomboxNet(
        num_codebooks=num_codebooks,
        codebook_size=codebook_size,
        width=width,
        latent_width=latent_width,
        code_dim=code_dim,
        hop_length=hop_length,
    )
    return BoomboxCodec(net)


class BoomboxCodec(AudioCodec):
    """A `BoomboxNet` as a component; long audio goes through in chunks that join without a trace."""

    channels = 1

    def __init__(self, net: BoomboxNet) -> None:
        from rapgen.models.codec import SAMPLE_RATE

        self.module = net
        self._hop = net.hop_length
        self.context_frames = net.context_frames
        self.spec = TokenSpec(
            codebook_size=net.quantizer.codebook_size,
            num_codebooks=net.quantizer.num_codebooks,
            sample_rate=SAMPLE_RATE,
            hop_length=net.hop_length,
        )

    @property
    def codebooks(self) -> Tensor:
        """The vectors behind the codes: f32 [Q, codebook_size, code_dim]."""
        return self.module.quantizer.codebooks

    def encode(self, audio: Tensor) -> Tensor:
        """f32 [B, 1, S] -> int64 [B, ceil(S / hop), Q]; silence fills the last frame."""
        import torch

        if audio.ndim != 3 or audio.shape[1] != 1 or audio.shape[2] == 0:
            raise ValueError(f"boombox encodes mono audio [B, 1, S], got shape {tuple(audio.shape)}")
        hop = self._hop
        kept = []
        for frames, keep in chunked(-(-audio.shape[2] // hop), _CHUNK_FRAMES, self.context_frames):
            codes = self.module.encode(audio[..., frames.start * hop : frames.stop * hop])
            kept.append(codes[:, keep])
        return torch.cat(kept, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, F, q] -> f32 [B, 1, F * hop], from the first q <= Q codebooks."""
        import torch

        if codes.ndim != 3 or codes.shape[1] == 0 or not 1 <= codes.shape[2] <= self.spec.num_codebooks:
            raise ValueError(f"boombox decodes codes [B, F, 1..{self.spec.num_codebooks}], got {tuple(codes.shape)}")
        hop = self._hop
        kept = []
        for frames, keep in chunked(codes.shape[1], _CHUNK_FRAMES, self.context_frames):
            audio = self.module.decode(codes[:, frames])
            kept.append(audio[..., keep.start * hop : keep.stop * hop])
        return torch.cat(kept, 2)

    def state(self) -> dict[str, Tensor]:
        """Weights and codebooks."""
        return self.module.state_dict()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take weights and codebooks, of any float dtype; raises ValueError where they do not fit."""
        try:
            self.module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"not the state of a boombox with these options: {error}") from error

    def to(self, device: torch.device | str) -> None:
        """Move weights and codebooks."""
        self.module.to(device)
