"""CLIP's loss: how far pictures are from their prompts, and its gradient at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.guidance.cutouts import Plan, cut, draw
from generator.guidance.targets import Targets, guide
from generator.models.contracts import Clip
from generator.precision import Precision


class Watched(Protocol):
    """A slot whose picture CLIP sees. `params` has the fields of generator.params.Cutouts and `loss`."""

    params: Any
    generator: torch.Generator

    @property
    def targets(self) -> Targets: ...


def draw_plain(slot: Watched, width: int, height: int, side: int) -> Plan:
    """`cutn` cutouts of all sizes."""
    return draw(slot.params, width, height, side, slot.generator)


def clip_loss(
    seen: Tensor,
    slots: Sequence[Watched],
    moving: Sequence[bool],
    clips: Sequence[Clip],
    precision: Precision,
    micro_batch: int | None,
    plan: Callable[[Any, int, int, int], Plan] = draw_plain,
) -> tuple[Tensor, Tensor]:
    """Shows every slot's picture to every CLIP: losses (B,) and scores (B,), means over cutouts and CLIPs.

    seen: (B, 3, H, W) float32 in [0, 1]. The gradient of every moving slot's loss is added to seen.grad, `micro_batch`
    cutouts at a time (None: all at once). plan: cutouts of a slot's picture of that width and height in px for a CLIP
    that sees so many px a side.
    """
    device, (height, width) = seen.device, seen.shape[2:]
    losses, scores = torch.zeros(len(slots), device=device), torch.zeros(len(slots), device=device)
    plans_by_side: dict[int, list[Any]] = {}
    for which, clip in enumerate(clips):
        side = clip.resolution
        if side not in plans_by_side:
            plans_by_side[side] = [plan(s, width, height, side) for s in slots]
        plans = plans_by_side[side]
        ends = torch.tensor([len(plan) for plan in plans]).cumsum(0).tolist()
        chunk = micro_batch or ends[-1]
        for start in range(0, ends[-1], chunk):
            stop = min(start + chunk, ends[-1])
            cutouts = cut(seen, plans, side, start, stop)
            with precision.autocast():
                embeddings = clip.encode_image(cutouts).float()
            total = torch.zeros((), device=device)
            for b, slot in enumerate(slots):
                share = slice(max(ends[b] - len(plans[b]), start) - start, max(min(ends[b], stop) - start, 0))
                part = embeddings[share]
                if share.start >= share.stop:
                    continue
                loss, score = guide(part, slot.targets, which, slot.params.loss)
                loss, score = (v.sum() / (len(plans[b]) * len(clips)) for v in (loss, score))
                losses[b] += loss.detach()
                scores[b] += score
                if moving[b]:
                    total = total + loss
            if total.requires_grad:
                total.backward()
    return losses, scores


@torch.no_grad()
def compare(
    images: Tensor, clips: Sequence[Clip], targets: Targets, loss: str, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Shows pictures (N, 3, H, W) in [0, 1] whole to every CLIP: losses (N,) and scores (N,), means over the CLIPs."""
    losses, scores = torch.zeros(2, len(images), device=images.device)
    for which, clip in enumerate(clips):
        far, near = guide(embedded(images, clip, precision), targets, which, loss)
        losses, scores = losses + far / len(clips), scores + near / len(clips)
    return losses, scores


@torch.no_grad()
def embedded(images: Tensor, clip: Clip, precision: Precision) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1], seen whole by a CLIP: (N, D) unit vectors."""
    seen = F.interpolate(images, (clip.resolution, clip.resolution), mode="bilinear", antialias=True)
    with precision.autocast():
        return clip.encode_image(seen).float()
