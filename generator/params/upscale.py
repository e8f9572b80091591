"""The settings of an upscale job."""

from __future__ import annotations

from pydantic import model_validator

from generator import registry
from generator.params.base import Setting
from generator.params.job import JobParams
from generator.tiling import GRID, MAX_PX, TILE, TILES, overlap_of, spans


class UpscaleParams(JobParams):
    """A finished picture made larger by SwinIR (Liang et al. 2021, arXiv:2108.10257) or a model of that kind."""

    picture: str = Setting(group="main", min_length=1, max_length=255, description="The picture to upscale.")
    width: int = Setting(group="main", unit="px", ge=1, le=16_384, description="Of the picture to upscale.")
    height: int = Setting(group="main", unit="px", ge=1, le=16_384, description="Of the picture to upscale.")
    checkpoint: str = Setting("mini-upscaler", group="main", description="The model that upscales.")
    tile: int = Setting(
        TILE,
        group="output",
        unit="px",
        ge=TILES[0],
        le=TILES[1],
        multiple_of=GRID,
        description="Side of the parts upscaled one after the other; smaller needs less memory.",
    )

    @model_validator(mode="after")
    def _not_too_large(self) -> UpscaleParams:
        width, height = self.actual_size
        if width * height > MAX_PX:
            side = int(MAX_PX**0.5 / self.scale)
            raise ValueError(
                f"The picture has {self.width} x {self.height} px, too large to be upscaled {self.scale} times; "
                f"at most {side} x {side} px."
            )
        return self

    @property
    def scale(self) -> int:
        """How many times wider and higher the result is."""
        spec: registry.Checkpoint = registry.lookup("checkpoint", registry.CHECKPOINTS, self.checkpoint)
        return spec.scale

    @property
    def title(self) -> str:
        return f"upscaled {self.scale} times"

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        return self.checkpoint, ()

    @property
    def batch_key(self) -> str:
        return f"upscale {self.checkpoint}"

    @property
    def total_steps(self) -> int:
        """One for each tile."""
        overlap = overlap_of(self.tile)
        return len(spans(self.width, self.tile, overlap)) * len(spans(self.height, self.tile, overlap))

    @property
    def actual_size(self) -> tuple[int, int]:
        return self.scale * self.width, self.scale * self.height

    @property
    def pixels_at_once(self) -> int:
        return self.tile**2

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.picture,)

    @property
    def memory_advice(self) -> str:
        return "choose a smaller tile"
