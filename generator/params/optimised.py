"""What every engine that optimises a latent until CLIP is content lets one set."""

from __future__ import annotations

from typing import Literal

from generator.params.base import Setting
from generator.params.cutouts import Cutouts

OPTIMISERS = ("Adam", "AdamW", "RAdam", "NAdam", "Adamax", "RMSprop", "SGD")


class Optimised(Cutouts):
    """How a latent is optimised, what towards, and what is shown of it; see generator.engines.latent_slot."""

    image_prompts: str = Setting(
        "", group="guidance", max_length=2000, description="Pictures to resemble: reference:weight, several with |."
    )
    learning_rate: float = Setting(0.05, group="optimisation", gt=0, le=10, description="Step size of the optimiser.")
    optimiser: Literal[OPTIMISERS] = Setting("Adam", group="optimisation", description="torch.optim class.")  # type: ignore[valid-type]
    loss: Literal["spherical", "cosine"] = Setting(
        "spherical", group="guidance", description="Distance between picture and prompt embeddings."
    )
    ema: float = Setting(
        0.0, group="optimisation", ge=0, lt=1, description="Decay of the moving average of z that is shown; 0 off."
    )
    patience: int = Setting(
        0,
        group="optimisation",
        ge=0,
        le=20_000,
        unit="steps",
        description="Stop when the score has not risen for so many steps; 0 off.",
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")

    @property
    def cutouts_per_step(self) -> int:
        return self.cutn
