"""The generator of BigGAN-deep (Brock et al. 2019, arXiv:1809.11096, appendix B), under the published weights' keys.

Every convolution and linear layer but the class embedding has a spectral norm (Miyato et al. 2018, arXiv:1802.05957).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm


@dataclass(frozen=True)
class BigGANConfig:
    """A published config.json, key by key; what has a default is the same for every size."""

    output_dim: int  # px
    z_dim: int
    class_embed_dim: int  # always z_dim
    channel_width: int
    num_classes: int
    layers: list[list[int]]  # for each block: whether it doubles the size, channels in and out in channel_width
    attention_layer_position: int  # of the block that attention comes before; none at -1
    eps: float = 1e-4
    n_stats: int = 51


class BigGANBatchNorm(nn.Module):
    """Batch norm with a row of statistics for each truncation 0, 1 / (n_stats - 1), ..., 1, and the ReLU after it.

    Gain and shift are linear in the condition, or learnt numbers where there is none. While `measuring`, every row
    becomes the statistics of what passes.
    """

    running_means: Tensor  # (n_stats, C)
    running_vars: Tensor

    def __init__(self, channels: int, cond_dim: int | None, n_stats: int, eps: float) -> None:
        super().__init__()
        self.conditional, self.eps, self.measuring = cond_dim is not None, eps, False
        self.step_size = 1.0 / (n_stats - 1)
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))
        if cond_dim is not None:
            self.scale = spectral_norm(nn.Linear(cond_dim, channels, bias=False), eps=eps)
            self.offset = spectral_norm(nn.Linear(cond_dim, channels, bias=False), eps=eps)
        else:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, truncation: float, cond: Tensor | None = None) -> Tensor:
        """x (B, C, h, w), truncation in (0, 1], cond (B or 1, cond_dim) -> (B, C, h, w), as one product and sum.

        Between two rows the statistics are mixed by distance. (pytorch-pretrained-biggan mixes them the wrong way
        round; where a truncation has its own row, as 0.5 and 1, the two agree.)
        """
        if self.measuring:
            with torch.no_grad():
                self.running_means[:] = x.float().mean(dim=(0, 2, 3))
                self.running_vars[:] = x.float().var(dim=(0, 2, 3))
        place = truncation / self.step_size
        row = min(int(place + 1e-6), len(self.running_means) - 2)
        mean = self.running_means[row].lerp(self.running_means[row + 1], place - row)
        variance = self.running_vars[row].lerp(self.running_vars[row + 1], place - row)
        with torch.autocast(x.device.type, enabled=False):
            gain, shift = (self.weight, self.bias) if cond is None else (1 + self.scale(cond), self.offset(cond))
            gain = gain * torch.rsqrt(variance + self.eps)
            shift = shift - mean * gain
        gain, shift = (part.view(-1, part.shape[-1], 1, 1).to(x.dtype) for part in (gain, shift))
        return (x * gain).add_(shift).relu_()


class GenBlock(nn.Module):
    """The bottleneck of figure 16: four convolutions at a quarter of the channels; the skip drops channels, if any."""

    def __init__(self, channels: int, out: int, up_sample: bool, cond_dim: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.up_sample, self.out = up_sample, out
        middle = channels // 4
        self.bn_0 = BigGANBatchNorm(channels, cond_dim, n_stats, eps)
        self.conv_0 = spectral_norm(nn.Conv2d(channels, middle, 1), eps=eps)
        self.bn_1 = BigGANBatchNorm(middle, cond_dim, n_stats, eps)
        self.conv_1 = spectral_norm(nn.Conv2d(middle, middle, 3, padding=1), eps=eps)
        self.bn_2 = BigGANBatchNorm(middle, cond_dim, n_stats, eps)
        self.conv_2 = spectral_norm(nn.Conv2d(middle, middle, 3, padding=1), eps=eps)
        self.bn_3 = BigGANBatchNorm(middle, cond_dim, n_stats, eps)
        self.conv_3 = spectral_norm(nn.Conv2d(middle, out, 1), eps=eps)

    def forward(self, x: Tensor, truncation: float, cond: Tensor) -> Tensor:
        """x (B, channels, h, w), cond (B or 1, cond_dim) -> (B, out, h, w), or of twice the size."""
        y = self.conv_0(self.bn_0(x, truncation, cond))
        y = self.bn_1(y, truncation, cond)
        y = self.conv_1(F.interpolate(y, scale_factor=2) if self.up_sample else y)
        y = self.conv_2(self.bn_2(y, truncation, cond))
        y = self.conv_3(self.bn_3(y, truncation, cond))
        x = x[:, : self.out]
        made: Tensor = y + (F.interpolate(x, scale_factor=2) if self.up_sample else x)
        return made


class SelfAttention(nn.Module):
    """SAGAN's (Zhang et al. 2019, arXiv:1805.08318, section 3), with keys and values pooled 2 x 2."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.snconv1x1_theta = spectral_norm(nn.Conv2d(channels, channels // 8, 1, bias=False), eps=eps)
        self.snconv1x1_phi = spectral_norm(nn.Conv2d(channels, channels // 8, 1, bias=False), eps=eps)
        self.snconv1x1_g = spectral_norm(nn.Conv2d(channels, channels // 2, 1, bias=False), eps=eps)
        self.snconv1x1_o_conv = spectral_norm(nn.Conv2d(channels // 2, channels, 1, bias=False), eps=eps)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w), h and w even -> (B, C, h, w)."""
        query = self.snconv1x1_theta(x).flatten(2)  # (B, C / 8, h w)
        key = F.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)  # (B, C / 8, h w / 4)
        value = F.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)  # (B, C / 2, h w / 4)
        attention = (query.transpose(1, 2) @ key).softmax(dim=2)  # (B, h w, h w / 4)
        seen = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        made: Tensor = x + self.gamma * self.snconv1x1_o_conv(seen)
        return made


class Generator(nn.Module):
    """What lies between the condition, z beside the embedded classes, and the picture."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        width, eps, cond_dim = config.channel_width, config.eps, 2 * config.z_dim
        self.gen_z = spectral_norm(nn.Linear(cond_dim, 4 * 4 * 16 * width), eps=eps)
        layers: list[nn.Module] = []
        for number, (up_sample, channels, out) in enumerate(config.layers):
            if number == config.attention_layer_position:
                layers.append(SelfAttention(width * channels, eps))
            layers.append(GenBlock(width * channels, width * out, bool(up_sample), cond_dim, config.n_stats, eps))
        self.layers = nn.ModuleList(layers)
        self.bn = BigGANBatchNorm(width, None, config.n_stats, eps)
        self.conv_to_rgb = spectral_norm(nn.Conv2d(width, width, 3, padding=1), eps=eps)


class Network(nn.Module):
    """The published keys: `embeddings`, which reads classes, and `generator`."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.embeddings = nn.Linear(config.num_classes, config.z_dim, bias=False)
        self.generator = Generator(config)
