"""What guides the picture: prompts as CLIP embeddings, and the distances to them (Crowson et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.images.convert import cover, to_tensor
from generator.models.contracts import Clip
from generator.models.emphasis import read_prompts
from generator.precision import Precision
from generator.prompts import parse_pictures, parse_prompts
from generator.transfer import to_device


@dataclass(frozen=True)
class Aim:
    """One thing of a scene that CLIP looks at by itself. box: left, top, width and height in shares of the picture;
    embeddings: per CLIP of the ensemble (D,), unit length, fp32."""

    box: tuple[float, float, float, float]
    embeddings: list[Tensor]


@dataclass
class Targets:
    """The prompts of one picture.

    embeddings: per CLIP of the ensemble (P, D), unit length, fp32; weights: (P,), negative avoids;
    stops: (P,) signed spherical distance at which a prompt lets go, -inf for never. aims: the things of a scene, that
    are looked at one by one; the whole then only for prompts beside the one that tells of them.
    """

    embeddings: list[Tensor]
    weights: Tensor
    stops: Tensor
    aims: tuple[Aim, ...] = ()

    @property
    def looked_at(self) -> list[tuple[int, tuple[float, float, float, float]]]:
        """Of a scene, what is looked at in turns: 0 and the whole, or a thing's number from 1 on, and its box.

        CLIP has learnt pictures of single things: shown the whole of several, it would make one of them.
        """
        things = [(number, aim.box) for number, aim in enumerate(self.aims, 1)]
        return [(0, (0.0, 0.0, 1.0, 1.0)), *things] if things and len(self.weights) > 1 else things

    def only(self, row: int) -> Targets:
        """One of the prompts alone."""
        own = slice(row, row + 1)
        return Targets([e[own] for e in self.embeddings], self.weights[own], self.stops[own])

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors on the CPU."""
        return {
            "embeddings": [e.cpu() for e in self.embeddings],
            "weights": self.weights.cpu(),
            "stops": self.stops.cpu(),
            "aims": [(list(aim.box), [e.cpu() for e in aim.embeddings]) for aim in self.aims],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> Targets:
        aims = [Aim(tuple(box), [e.to(device) for e in own]) for box, own in state.get("aims", ())]
        embeddings = [e.to(device) for e in state["embeddings"]]
        return cls(embeddings, state["weights"].to(device), state["stops"].to(device), tuple(aims))


@torch.no_grad()
def prompt_targets(
    prompt: str,
    image_prompts: str,
    clips: Sequence[Clip],
    read_image: Callable[[str], Image.Image],
    precision: Precision,
) -> Targets:
    """Embeds every text and picture prompt with every CLIP.

    Raises PromptTooLong, and whatever `read_image` raises for a picture it cannot read.
    """
    texts = parse_prompts(prompt) if prompt else ()
    pictures = parse_pictures(image_prompts, negative_only=bool(texts)) if image_prompts else ()
    images = [read_image(picture.text) for picture in pictures]
    device, embeddings = precision.device, []
    for clip in clips:
        parts = [read_prompts(clip.encode_text, texts).float()] if texts else []
        if images:
            side = clip.resolution
            batch = torch.stack([to_tensor(cover(image, side, side)) for image in images])
            with precision.autocast():
                parts.append(clip.encode_image(batch.to(precision.device)).float())
        embeddings.append(F.normalize(torch.cat(parts), dim=-1).to(device))
    every = (*texts, *pictures)
    weights = torch.tensor([p.weight for p in every], device=device)
    return Targets(embeddings, weights, torch.tensor([p.stop for p in every], device=device))


def spherical_distance(images: Tensor, prompts: Tensor) -> Tensor:
    """Half the squared angle between unit embeddings, 2 arcsin(|i - t| / 2)^2: (N, D), (P, D) -> (N, P)."""
    chord = (images[:, None] - prompts[None]).norm(dim=-1)
    # arcsin is vertical at 1 (opposite embeddings); the bound keeps its gradient finite.
    return 2 * torch.arcsin((chord / 2).clamp(max=1 - 1e-6)).square()


def guide(images: Tensor, targets: Targets, which: int, loss: str) -> tuple[Tensor, Tensor]:
    """Loss and score of cutout embeddings (N, D) under CLIP number `which`, both (N,).

    Loss, summed over prompts: w * distance, the distance spherical or 1 - cosine. Where sign(w) * the spherical
    distance has fallen to a prompt's stop its value still counts but its gradient is zero. Score: the weighted mean
    of the cosine similarities, in [-1, 1].
    """
    prompts, weights = targets.embeddings[which], targets.weights
    cosine = images @ prompts.T
    spherical = spherical_distance(images, prompts)
    distance = spherical if loss == "spherical" else 1 - cosine
    active = (spherical.detach() * weights.sign() > targets.stops).to(distance.dtype)
    held = distance.detach()
    terms = weights * (held + active * (distance - held))
    return terms.sum(1), (cosine.detach() * weights).sum(1) / weights.abs().sum().clamp(min=1e-12)


def guide_aimed(images: Tensor, aim: Tensor, targets: Targets, which: int, loss: str) -> tuple[Tensor, Tensor]:
    """As `guide`, for cutouts of which some show one thing of a scene: aim (N,) is its number from 1; 0 the whole."""
    losses, scores = guide(images, targets, which, loss)
    if not targets.aims or not bool(aim.any()):
        return losses, scores
    aim = to_device(aim, images.device)
    wanted = torch.stack([one.embeddings[which] for one in targets.aims])
    cosine = images @ wanted.T
    distance = spherical_distance(images, wanted) if loss == "spherical" else 1 - cosine
    strength = targets.weights.clamp(min=0).amax()
    own = (aim.clamp(min=1) - 1)[:, None]
    whole = aim == 0
    return (
        torch.where(whole, losses, strength * distance.gather(1, own)[:, 0]),
        torch.where(whole, scores, cosine.detach().gather(1, own)[:, 0]),
    )


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels: (3, H, W) -> ()."""
    across = (image[..., :, 1:] - image[..., :, :-1]).square().mean()
    return across + (image[..., 1:, :] - image[..., :-1, :]).square().mean()
