"""What decides how a track is prepared."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1  # of records


class Settings(BaseModel):
    """Kept with a dataset: all of its tracks are prepared alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_s: float = Field(gt=0)  # clips are this long at least, but for what is left at an end
    target_lufs: float = -14.0
    max_duration_s: float = Field(600.0, gt=0)
    vocals: Literal["keep", "drop", "separate"] = "drop"
    captioners: tuple[str, ...] = ("phrases",)
    seed: int = 0
    format: int = FORMAT
