"""The finishing touch of the embedded models: a drawn picture redrawn by the hand of one style.

What comes of codes and of CLIP is blurred and mottled. A small U-Net over pixels (Ronneberger et al. 2015,
arXiv:1505.04597), conditioned on the style, has learnt what pictures spoilt in that way were before: it makes edges
sharp and areas clean as that style's artists do; where they draw flat, what mottle it leaves is flattened. Paper is
white, specks on it are taken away, and a silhouette has no trace of colour. What is kept of a picture, or stands
behind a scene, is not redrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from generator.engines.base import Engine, Slot, Step
from generator.images.debris import without_debris
from generator.images.flatten import ANY, FLATNESS, flattened
from generator.models.finisher import COLOURLESS, Finisher, load_finisher
from generator.params import JobParams

PAPER, SHADE = 0.95, 0.01  # least of every channel at the edge that is meant to be white, and what is still white there


class Finished:
    """An engine of the embedded models whose pictures are finished before they are shown: `finish` of the parameters
    says how much. Each picture by itself, so that none depends on what else is drawn."""

    def __init__(self, engine: Engine, finisher: Finisher) -> None:
        self.engine, self.finisher = engine, finisher

    @property
    def micro_batch(self) -> int | None:
        return self.engine.micro_batch

    @micro_batch.setter
    def micro_batch(self, cutouts: int | None) -> None:
        self.engine.micro_batch = cutouts

    @property
    def exact(self) -> bool | None:
        return self.engine.exact

    @exact.setter
    def exact(self, exact: bool | None) -> None:
        self.engine.exact = exact

    def open(self, params: JobParams) -> Slot:
        return self.engine.open(params)

    def resume(self, params: JobParams, state: dict[str, Any]) -> Slot:
        return self.engine.resume(params, state)

    def advance(self, slots: Sequence[Slot]) -> list[Step]:
        steps = self.engine.advance(slots)
        return [self._finished(step, slot) for step, slot in zip(steps, slots, strict=True)]

    @torch.no_grad()
    def _finished(self, step: Step, slot: Any) -> Step:
        params = slot.params
        if step.image is None or not params.finish:
            return step
        device = self.finisher.after.weight.device
        style = self.finisher.style_of(step.image, params.style)
        number = torch.tensor([self.finisher.style_index(style)], device=device)
        made = self.finisher(step.image[None].to(device), number)[0].cpu().clamp(0, 1)
        made = on_white_paper(flattened(made, FLATNESS.get(style, ANY)))
        kept = getattr(slot, "kept", None)  # of an engine that starts from pictures
        if kept is None:  # what lies apart in a scene, or in part of a picture, is meant to be there
            made = without_debris(made)
        if style in COLOURLESS:
            made = made.mean(dim=0, keepdim=True).expand_as(made)
        made = step.image.lerp(made, params.finish)
        if kept is not None:
            made = kept.over(made.to(kept.mask.device)).cpu()
        return replace(step, image=made.clamp(0, 1))


def on_white_paper(image: torch.Tensor) -> torch.Tensor:
    """image (3, H, W) in [0, 1] made lighter where its edge is all but white, so that the edge is white; guidance
    towards a prompt or a style tints it a little."""
    edge = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1).median(dim=1).values
    return image if edge.min() < PAPER else (image / (edge - SHADE).view(3, 1, 1)).clamp(max=1.0)


def finished(engine: Engine, device: torch.device | str) -> Finished:
    """An engine of the embedded models, with the embedded finisher."""
    return Finished(engine, load_finisher(device))
