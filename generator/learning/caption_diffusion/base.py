"""What a model in latents stands on: the VAE and the text encoder of a Stable Diffusion checkpoint, both frozen."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints.loading import load_stable_diffusion
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.images.convert import no_picture
from generator.tokens import CONTEXT, encode, tokenizer

KEPT = 4096  # captions whose states are kept


class Base:
    """The parts of a checkpoint that are used. Raises CheckpointMissing, CheckpointDamaged, ValueError."""

    def __init__(self, name: str, checkpoints_dir: Path, device: torch.device) -> None:
        host = Host(str(device), checkpoints_dir, no_picture)
        self.models = load_stable_diffusion(resolve(name, checkpoints_dir), host)
        if len(self.models.texts.networks) != 1:
            raise ValueError(f"base = {name}: it has two text encoders, as XL has; choose a Stable Diffusion 1 or 2.")
        self.models.texts.to(device)
        self.models.vae.to(device)
        self._text: Any = self.models.texts.networks[0]
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def text_width(self) -> int:
        """W of the states that `read` gives."""
        return int(self._text.final_layer_norm.weight.shape[0])

    @torch.no_grad()
    def latents(self, x0: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> z (B, 4, H / 8, W / 8), scaled."""
        return self.models.encode(x0 / 2 + 0.5).float()

    @torch.no_grad()
    def pictures(self, z: Tensor) -> Tensor:
        """z (B, 4, h, w) -> pictures (B, 3, 8 h, 8 w) near [0, 1]."""
        return self.models.decode(z)

    @torch.no_grad()
    def read(self, captions: list[str]) -> Tensor:
        """Captions -> hidden states (B, 77, W) float32; what is too long is cut off, as a training may."""
        unread = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        if unread:
            device = self._text.final_layer_norm.weight.device
            states = self._text.states(torch.stack([self._row(caption) for caption in unread]).to(device))[0]
            self._kept.update(zip(unread, states.float(), strict=True))
        found = torch.stack([self._kept[caption] for caption in captions])
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def _row(self, caption: str) -> Tensor:
        known = tokenizer().encoder
        numbers = [known["<|startoftext|>"], *encode(caption)[: CONTEXT - 2], known["<|endoftext|>"]]
        found = torch.full((CONTEXT,), known[self._text.pad])
        found[: len(numbers)] = torch.tensor(numbers)
        return found
