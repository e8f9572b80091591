"""What every CLIP-guided engine lets one set about cutouts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from generator.params.base import Setting


class Cutouts(BaseModel):
    """How many cutouts CLIP sees, and how they are drawn; see generator.guidance.cutouts."""

    cutn: int = Setting(8, group="cutouts", ge=1, le=512, description="Cutouts CLIP sees per step.")
    cut_pow: float = Setting(1.0, group="cutouts", gt=0, le=10, description="Above 1 favours small cutouts.")
    cut_sizes: Literal["power", "normal"] = Setting(
        "power",
        group="cutouts",
        description="power: from CLIP's side up, see cut_pow; normal: N(0.8, 0.3) of the picture, from 0.5 to 0.95.",
    )
    augment: bool = Setting(True, group="cutouts", description="Flip, turn, shear, recolour and blur the cutouts.")
    augment_strength: float = Setting(
        1.0, group="cutouts", ge=0, le=2, description="1 is the reference strength, 0 none."
    )
    noise: float = Setting(0.1, group="cutouts", ge=0, le=1, description="Greatest noise added to a cutout.")
