"""What guides a picture towards the style that was asked for: classifier guidance (Dhariwal and Nichol 2021,
arXiv:2105.05233, section 4) by the head of the embedded CLIP "mini-robust" that tells the styles apart.

Its tower was trained against the patterns that mislead it, so that its gradient changes how a picture is drawn rather
than what nobody sees of it. It looks at the whole picture, as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.checkpoints.loading import style_classifier_of
from generator.device import Host
from generator.guidance.clip_loss import Watched
from generator.models.clip import ClipModel
from generator.models.contracts import Clip
from generator.precision import Precision
from generator.transfer import to_device


class StyleGuide:
    """A CLIP that tells styles apart, on an engine's device."""

    def __init__(self, clip: ClipModel, precision: Precision) -> None:
        """Raises ValueError for a CLIP without a head for styles."""
        if not clip.styles:
            raise ValueError(f"the CLIP {clip.name!r} was not taught to tell styles apart.")
        self.clip, self.precision = clip, precision
        precision.freeze(clip)
        precision.narrow(clip.network.visual)

    def style_loss(self, seen: Tensor, slots: Sequence[Watched], moving: Sequence[bool]) -> Tensor:
        """Adds the gradient of style_weight * cross-entropy of the style asked for to seen.grad of every slot that
        moves; the terms, (B,), zero where no style was asked for.

        seen: (B, 3, H, W) float32 in [0, 1]. `params` of a slot has style and style_weight.
        """
        terms = torch.zeros(len(slots), device=seen.device)
        rows = [b for b, slot in enumerate(slots) if slot.params.style_weight and slot.params.style in self.clip.styles]
        if not rows:
            return terms
        device, learns = seen.device, [moving[b] for b in rows]
        wanted = to_device([self.clip.styles.index(slots[b].params.style) for b in rows], device)
        weight = to_device([slots[b].params.style_weight for b in rows], device)
        learning, which = to_device(learns, device), to_device(rows, device)
        whole = _resized(seen[which], self.clip.resolution)
        with self.precision.autocast():
            scores = self.clip.style_scores(whole).float()
        losses = weight * F.cross_entropy(scores, wanted, reduction="none")
        if losses.requires_grad and any(learns):
            (losses * learning).sum().backward()
        terms[which] = losses.detach()
        return terms


def load_style_guide(clips: Sequence[Clip], host: Host) -> StyleGuide:
    """On the embedded CLIP, or on that of `clips` which it is. Raises CheckpointDamaged."""
    return StyleGuide(style_classifier_of(clips, host), Precision.best(torch.device(host.device)))


def _resized(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, side, side), bilinear and without aliases, by two products: their gradient is the same
    bytes every time."""
    down, across = (
        F.interpolate(torch.eye(size, device=images.device)[None, None], (side, size), mode="bilinear", antialias=True)
        for size in images.shape[2:]
    )
    return down[0, 0] @ images @ across[0, 0].T
