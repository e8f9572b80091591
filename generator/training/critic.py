"""The adversarial half of VQGAN's loss (Esser et al. 2021, arXiv:2012.09841, equation 7).

Taming's PatchGAN with a hinge loss, weighed by both losses' gradients in the decoder's last layer.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import Tensor, nn


def patch_gan(ndf: int = 32, n_layers: int = 2) -> nn.Module:
    """A critic that scores overlapping patches of pictures (B, 3, H, W) in [-1, 1]."""
    critic: nn.Module = NLayerDiscriminator(3, ndf=ndf, n_layers=n_layers).apply(weights_init)
    return critic


def hinge_loss(critic: Any, made: Tensor, wanted: Tensor) -> Tensor:
    """What the critic learns by; pictures in [0, 1]."""
    with torch.autocast(made.device.type, torch.bfloat16):
        real, fake = critic(wanted * 2 - 1).float(), critic(made.detach() * 2 - 1).float()
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def weighed(critic: Any, made: Tensor, near: Tensor, last: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """What the critic says of pictures (B, 3, H, W) in [0, 1], as a loss, and its weight: `share` of the pull that the
    loss `near` has on the weights of the last layer."""
    critic.requires_grad_(False)
    with torch.autocast(made.device.type, torch.bfloat16):
        adversarial = -critic(made * 2 - 1).float().mean()
    critic.requires_grad_(True)
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (near, adversarial)]
    return adversarial, share * (norms[0] / (norms[1] + 1e-4)).clamp(max=1e4).detach()
