"""The finishing touch of the embedded models: a drawn picture redrawn by the hand of one style.

What comes of codes and of CLIP is blurred and mottled. A small U-Net over pixels (Ronneberger et al. 2015,
arXiv:1505.04597), told the style, has learnt what pictures spoilt in that way were before: it makes edges sharp and
areas clean as that style's artists do; where they draw flat, what mottle it leaves is flattened. Paper is white.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.engines.base import Engine, Slot, Step
from generator.images.flatten import ANY, FLATNESS, flattened
from generator.models.film_unet import ToldUnet
from generator.models.packing import unpack
from generator.params import JobParams

WEIGHTS = Path(__file__).parent.parent / "weights"
FINE = 16  # channels at full size
COLOURLESS = ("silhouette",)  # styles without colours
COLOUR = 0.04  # mean span of the channels from which a picture has colours
PAPER, SHADE = 0.95, 0.01  # least of every channel at the edge that is meant to be white, and what is still white there


class Finisher(ToldUnet):
    """Pictures and the style they are to be finished in -> pictures.

    `config`: styles (list of names), width at half size, deep (width at a quarter), blocks per part, told (numbers that
    say which style).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        width, deep, blocks, told = (config[key] for key in ("width", "deep", "blocks", "told"))
        super().__init__(width, deep, blocks, told)
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.after = nn.Embedding(len(self.styles) + 1, told)
        self.conv_in = nn.Conv2d(12, width, 3, padding=1)
        self.widen = nn.Conv2d(width, 4 * FINE, 3, padding=1)
        self.fine, self.conv_out = nn.Conv2d(FINE + 3, FINE, 3, padding=1), nn.Conv2d(FINE, 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # begin as the picture itself
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def style_index(self, style: str | None) -> int:
        """A style's number; None, as any style that it does not know, is the last."""
        return self.styles.index(style) if style in self.styles else len(self.styles)

    def style_of(self, image: torch.Tensor, asked: str | None) -> str | None:
        """The style to finish image (3, H, W) in: what was asked for; None, any, where a style without colours was and
        there are some after all."""
        coloured = float((image.amax(dim=0) - image.amin(dim=0)).mean()) > COLOUR
        return None if coloured and asked in COLOURLESS else asked

    def forward(self, images: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] with H and W divisible by 4, style numbers (B,) -> the same shape, fp32; a
        little beyond [0, 1] here and there."""
        told = F.silu(self.after(after))
        x = self.body(self.conv_in(F.pixel_unshuffle(images * 2 - 1, 2)), told)
        fine = F.pixel_shuffle(self.widen(F.silu(x)), 2)
        fine = self.fine(F.silu(torch.cat([fine, images.to(fine.dtype) * 2 - 1], dim=1)))
        changed: torch.Tensor = self.conv_out(F.silu(fine))
        return images + changed.float()


def load_finisher(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Finisher:
    """The embedded finisher, fp32, in eval mode, without gradients for its weights."""
    finisher = Finisher(json.loads((folder / "mini-finish.json").read_text()))
    finisher.load_state_dict(unpack(load_file(folder / "mini-finish.safetensors")), strict=True)
    return finisher.to(device).eval().requires_grad_(False)


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

    def open(self, params: JobParams) -> Slot:
        return self.engine.open(params)

    def resume(self, params: JobParams, state: dict[str, Any]) -> Slot:
        return self.engine.resume(params, state)

    def advance(self, slots: Sequence[Slot]) -> list[Step]:
        steps = self.engine.advance(slots)
        return [self._finished(step, slot.params) for step, slot in zip(steps, slots, strict=True)]

    @torch.no_grad()
    def _finished(self, step: Step, params: Any) -> Step:
        if step.image is None or not params.finish:
            return step
        device = self.finisher.after.weight.device
        style = self.finisher.style_of(step.image, params.style)
        number = torch.tensor([self.finisher.style_index(style)], device=device)
        made = self.finisher(step.image[None].to(device), number)[0].cpu().clamp(0, 1)
        made = on_white_paper(flattened(made, FLATNESS.get(style, ANY)))
        return replace(step, image=step.image.lerp(made, params.finish).clamp(0, 1))


def on_white_paper(image: torch.Tensor) -> torch.Tensor:
    """image (3, H, W) in [0, 1] made lighter where its edge is all but white, so that the edge is white; the pull
    towards a prompt or a style tints it a little."""
    edge = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1).median(dim=1).values
    return image if edge.min() < PAPER else (image / (edge - SHADE).view(3, 1, 1)).clamp(max=1.0)


def finished(engine: Engine, device: torch.device | str) -> Finished:
    """An engine of the embedded models, with the embedded finisher."""
    return Finished(engine, load_finisher(device))
