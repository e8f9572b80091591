"""The head on a locked image tower that tells styles apart, fitted to pictures as drawn and as a VQGAN redraws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import texture_head
from generator.models.vqgan import VQModel
from generator.training import dataset
from generator.training.image_tower import ImageTower
from generator.training.run import schedule

STEPS = 1200


def redrawn(vqgan: VQModel, images: torch.Tensor, softness: torch.Tensor) -> torch.Tensor:
    """images (B, 3, R, R) in [0, 1] through the codes of a VQGAN, blurred before by `softness` (B,) in [0, 1]: the
    hand of every embedded generator."""
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    z = vqgan.encode(images.lerp(blurred, softness.view(-1, 1, 1, 1)))
    return vqgan.decode(vqgan.quantise(z.float())[0]).float()


def fit_style_head(
    tower: ImageTower,
    pictures: dataset.Pictures,
    vqgan: VQModel | None,
    *,
    steps: int = STEPS,
    width: int = 192,
    seed: int = 0,
) -> tuple[nn.Module, dict[str, float]]:
    """Learn to tell styles apart from the locked tower's textures, on pictures as they are drawn and, where there is a
    VQGAN, as it redraws them; further blur and noise would hide what tells them apart. Returns the head and how often
    it is right on held-out pictures."""
    generator, rate = torch.Generator().manual_seed(seed), 2e-3

    def textures(rows: np.ndarray, moved: bool, again: bool = False) -> torch.Tensor:
        found = []
        for part in np.array_split(rows, -(-len(rows) // 128)):
            rgba, white = torch.from_numpy(pictures.rgba[part]), torch.ones(len(part), 3)
            placed: dict[str, Any] = (
                {"generator": generator, "scale": (0.9, 1.1), "shift": 0.04, "flip": True} if moved else {}
            )
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                images = dataset.composite(rgba, white, **placed)
                if again and vqgan is not None:
                    images = redrawn(vqgan, images, torch.rand(len(part), generator=generator))
                found.append(tower.visual.textures(tower.prepared(images)))
        return torch.cat(found)

    rows = np.flatnonzero(pictures.train)
    known = torch.cat([textures(rows, True), textures(rows, True, again=True)])
    style = torch.from_numpy(np.tile(pictures.style[rows], 2))
    centre, spread = known.mean(dim=0), known.std(dim=0) + 1e-3
    known = (known - centre) / spread
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head: Any = texture_head(known.shape[1], width, len(pictures.styles))
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.5)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(step / steps)
        drawn = torch.randint(len(known), (512,), generator=generator)
        seen = known[drawn] + 0.3 * torch.randn(512, known.shape[1], generator=generator)
        kept = (torch.rand(seen.shape, generator=generator) > 0.2) / 0.8
        loss = F.cross_entropy(head(seen * kept), style[drawn], label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():  # the normalisation goes into the first layer
        head[0].bias.sub_((head[0].weight * (centre / spread)).sum(dim=1))
        head[0].weight.div_(spread)
    notes = {}
    for name, chosen in (("unseen_style", pictures.unseen_style), ("unseen_concept", pictures.unseen_concept)):
        rows = np.flatnonzero(chosen)
        for key, again in (("style", False), ("style_redrawn", True)):
            if len(rows) and not (again and vqgan is None):
                with torch.no_grad():
                    right = head(textures(rows, False, again)).argmax(dim=1) == torch.from_numpy(pictures.style[rows])
                notes[f"{name}_{key}"] = round(float(right.float().mean()), 3)
    return head, notes
