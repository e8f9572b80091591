"""What a person typed where the engine was given something else, and how it was read: kept with the picture."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MAX_CHOICES = 500


class Worded(BaseModel):
    """One text. typed: as it was typed; became: as it is drawn; choices: what was read how, `animal: cat`, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    typed: str = Field(max_length=20_000)
    became: str = Field(max_length=20_000)
    choices: tuple[str, ...] = Field((), max_length=MAX_CHOICES)
