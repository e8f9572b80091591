"""The embedded models' own parts, which no row of the registry names: drafts, codes, the finisher.

Their files are in the repository; one that is missing or cut short is named, and what brings it back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from generator.checkpoints.errors import UNFIT, CheckpointDamaged, sentence

if TYPE_CHECKING:
    from generator.models.drafts import Drafter
    from generator.models.finisher import Finisher
    from generator.models.layout import Layout
    from generator.models.prior import Prior

Model = TypeVar("Model")


def load_prior(device: str, layout: Layout) -> Prior:
    """The embedded prior (drafts to codes of the mini VQGAN) on `device`. Raises CheckpointDamaged."""
    from generator.models import prior

    return embedded(lambda: prior.load_prior(layout)).to(device)


def load_drafter(device: str) -> Drafter:
    """The embedded layout and restyler (texts to drafts) on `device`. Raises CheckpointDamaged."""
    from generator.models import drafts

    return embedded(drafts.load_drafter).to(device)


def load_finisher(device: str) -> Finisher:
    """The embedded finisher (a drawn picture redrawn in the hand of a style) on `device`. Raises CheckpointDamaged."""
    from generator.models import finisher

    return embedded(finisher.load_finisher).to(device)


def embedded(load: Callable[[], Model]) -> Model:
    """What `load` reads from generator/weights/. Raises CheckpointDamaged."""
    from safetensors import SafetensorError

    from generator.models.unfilled import Unfilled

    try:
        with Unfilled():
            return load()
    except FileNotFoundError as error:
        what = f"{Path(str(error.filename)).name} is missing"
    except (*UNFIT, SafetensorError) as error:
        what = sentence(error)
    raise CheckpointDamaged(f"The embedded weights in generator/weights/ are not whole: {what}. Restore that folder.")
