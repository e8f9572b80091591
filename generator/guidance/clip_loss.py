"""CLIP's loss: how far pictures are from their prompts, and its gradient at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.guidance.cutouts import Plan, cut, draw
from generator.guidance.targets import Targets, guide_aimed
from generator.models.contracts import Clip
from generator.precision import Precision


class Watched(Protocol):
    """A slot whose picture CLIP sees. `params` has the fields of generator.params.Cutouts and `loss`."""

    params: Any
    generator: torch.Generator

    @property
    def targets(self) -> Targets: ...


def draw_plain(slot: Watched, width: int, height: int, side: int) -> Plan:
    """`cutn` cutouts of all sizes, or of each thing of a scene in turns."""
    return draw(slot.params, width, height, side, slot.generator, slot.targets.looked_at)


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
                first = start + share.start - ends[b] + len(plans[b])
                aim = plans[b].aim[first : first + len(part)]
                loss, score = guide_aimed(part, aim, slot.targets, which, slot.params.loss)
                loss, score = (v.sum() / (len(plans[b]) * len(clips)) for v in (loss, score))
                losses[b] += loss.detach()
                scores[b] += score
                if moving[b]:
                    total = total + loss
            if total.requires_grad:
                total.backward()
    return losses, scores


def along(made: Tensor, gradient: Tensor | None) -> Tensor:
    """A number whose gradient at `made` is the given one, of the same shape: to go on back through what it was made of.

    backward(gradient) says the same, and imports SymPy for it: 0.3 s of a process's first picture.
    """
    assert gradient is not None
    return (made * gradient).sum()


@torch.no_grad()
def compare(
    images: Tensor, clips: Sequence[Clip], targets: Targets, loss: str, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Shows pictures (N, 3, H, W) in [0, 1] whole to every CLIP, or each thing of a scene by itself: losses (N,) and
    scores (N,), means over what is shown and the CLIPs."""
    losses, scores = torch.zeros(2, len(images), device=images.device)
    shown = [(number, _square(images, box) if number else images) for number, box in targets.looked_at]
    shown = shown or [(0, images)]
    for which, clip in enumerate(clips):
        for number, part in shown:
            aim = torch.full((len(images),), number, device=images.device)
            far, near = guide_aimed(embedded(part, clip, precision), aim, targets, which, loss)
            losses, scores = (total + one / (len(clips) * len(shown)) for total, one in ((losses, far), (scores, near)))
    return losses, scores


def _square(images: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """The square part of pictures (N, 3, H, W) around a box in shares of them, as far as it lies in the picture."""
    height, width = images.shape[2:]
    side = max(2, round(1.1 * max(box[2] * width, box[3] * height)))
    left, top = round((box[0] + box[2] / 2) * width - side / 2), round((box[1] + box[3] / 2) * height - side / 2)
    left, top = max(0, min(left, width - side)), max(0, min(top, height - side))
    return images[:, :, top : top + side, left : left + side]


@torch.no_grad()
def embedded(images: Tensor, clip: Clip, precision: Precision) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as a CLIP sees them: (N, D) unit vectors."""
    seen = F.interpolate(images, (clip.resolution, clip.resolution), mode="bilinear", antialias=True)
    with precision.autocast():
        return clip.encode_image(seen).float()
