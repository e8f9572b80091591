"""The UNet of OpenAI's guided diffusion, unconditional (Dhariwal and Nichol 2021, arXiv:2105.05233, section 3).

Residual blocks that also down- and upsample, scale-shift norm by the timestep, attention in heads of 64 channels. It
predicts eps and, in three more channels, how much noise to draw (not read here). The names of the layers are those of
the published files, so that these load to the last key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from generator.models.contracts import UnknownStyle

TIMESTEPS = 1000


@dataclass(frozen=True)
class Architecture:
    """Widths: channels times the multiplier of each level, every level half as large as the one before.

    attention: how many times smaller than the picture the levels with attention are; factor: what sides must be
    multiples of.
    """

    multipliers: tuple[float, ...]
    attention: tuple[int, ...]
    channels: int = 256
    head_channels: int = 64
    blocks: int = 2
    norm_groups: int = 32

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.multipliers) - 1))


# Attention where a picture of the size it was trained on has 32, 16 and 8 places a side.
ARCHITECTURES: dict[str, Architecture] = {
    "guided-diffusion-256": Architecture((1, 1, 2, 2, 4, 4), (8, 16, 32)),
    "guided-diffusion-512": Architecture((0.5, 1, 1, 2, 2, 4, 4), (16, 32, 64)),
}


class OpenAIUNet(nn.Module):
    """A denoiser as generator.models.contracts.Denoiser wants it. It knows no styles.

    recompute: keep only the input of each block for the backward pass and compute the rest again, which needs a
    fraction of the memory and a third more time.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.recompute = False
        self.factor = a.factor
        width = 4 * a.channels
        self.time_embed = nn.Sequential(nn.Linear(a.channels, width), nn.SiLU(), nn.Linear(width, width))
        widths = [int(m * a.channels) for m in a.multipliers]
        last = len(widths) - 1

        def attention(level: int, channels: int) -> list[nn.Module]:
            return [_Attention(channels, a)] if 2**level in a.attention else []

        now = widths[0]
        down: list[nn.Module] = [_Layers(nn.Conv2d(3, now, 3, padding=1))]
        kept = [now]
        for level, out in enumerate(widths):
            for _ in range(a.blocks):
                down.append(_Layers(_Residual(now, out, a), *attention(level, out)))
                now = out
                kept.append(now)
            if level < last:
                down.append(_Layers(_Residual(now, now, a, resize="down")))
                kept.append(now)
        self.input_blocks = nn.ModuleList(down)
        self.middle_block = _Layers(_Residual(now, now, a), _Attention(now, a), _Residual(now, now, a))
        up: list[nn.Module] = []
        for level, out in reversed(list(enumerate(widths))):
            for i in range(a.blocks + 1):
                layers = [_Residual(now + kept.pop(), out, a), *attention(level, out)]
                now = out
                if level and i == a.blocks:
                    layers.append(_Residual(now, now, a, resize="up"))
                up.append(_Layers(*layers))
        self.output_blocks = nn.ModuleList(up)
        self.out = nn.Sequential(nn.GroupNorm(a.norm_groups, now), nn.SiLU(), nn.Conv2d(now, 6, 3, padding=1))
        with torch.device("cpu"):  # also where the weights are built without memory, on the meta device
            levels = linear_alphas_cumprod(TIMESTEPS)
        self.alphas_cumprod: Tensor
        self.register_buffer("alphas_cumprod", levels, persistent=False)

    @property
    def narrowed(self) -> tuple[nn.Module, ...]:
        """What may compute in bfloat16: all but the embedding of the timestep and the last convolution."""
        return self.input_blocks, self.middle_block, self.output_blocks

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (B, 3, H, W) with sides that are multiples of factor, t (B,) in 0..999 -> (B, 6, H, W) float32: eps first.

        Raises ValueError for other sides.
        """
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(f"sides {x.shape[3]} x {x.shape[2]} px must be multiples of {self.factor}.")
        with torch.autocast(x.device.type, enabled=False):
            embedded = self.time_embed(timestep_embedding(t, self.architecture.channels))
        h, kept = x, []
        for block in self.input_blocks:
            h = self._run(block, h, embedded)
            kept.append(h)
        h = self._run(self.middle_block, h, embedded)
        for block in self.output_blocks:
            h = self._run(block, torch.cat([h, kept.pop()], 1), embedded)
        with torch.autocast(x.device.type, enabled=False):
            predicted: Tensor = self.out(h.float())
        return predicted

    def _run(self, block: nn.Module, h: Tensor, embedded: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            made: Tensor = checkpoint(block, h, embedded, use_reentrant=False, preserve_rng_state=False)
            return made
        made = block(h, embedded)
        return made

    def style_index(self, style: str | None) -> int:
        """0: it knows no styles, and words for one belong into the prompt. Raises UnknownStyle."""
        if style is not None:
            raise UnknownStyle(f"no style {style!r}: this model knows none; write it into the prompt")
        return 0

    def denoise(self, x: Tensor, t: Tensor, style: Tensor) -> Tensor:
        """x0 as the network sees it in x, (B, 3, H, W) float32 near [-1, 1], not clamped."""
        squared = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        eps: Tensor = self(x, t)[:, :3]
        return (x - (1 - squared).sqrt() * eps) / squared.sqrt()


def linear_alphas_cumprod(timesteps: int) -> Tensor:
    """alpha^2 at each timestep of the linear schedule (Ho et al. 2020, arXiv:2006.11239), (timesteps,) float32."""
    betas = torch.linspace(1e-4 * 1000 / timesteps, 0.02 * 1000 / timesteps, timesteps, dtype=torch.float64)
    return (1 - betas).cumprod(0).float()


def timestep_embedding(t: Tensor, channels: int) -> Tensor:
    """cos and sin of t at wavelengths from 2 pi to 20000 pi: (B,) -> (B, channels) float32."""
    half = channels // 2
    speeds = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t[:, None].float() * speeds
    return torch.cat([angles.cos(), angles.sin()], 1)


class _Layers(nn.Sequential):
    """Layers one after the other; residual blocks are also given the timestep."""

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            h = layer(h, embedded) if isinstance(layer, _Residual) else layer(h)
        return h


class _Residual(nn.Module):
    """Two convolutions beside a short cut; the timestep scales and shifts the second norm. resize: "up" or "down"."""

    def __init__(self, channels: int, out: int, a: Architecture, resize: str = "") -> None:
        super().__init__()
        self.resize = resize
        self.in_layers = nn.Sequential(
            nn.GroupNorm(a.norm_groups, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * a.channels, 2 * out))
        # The third place was training's dropout.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(a.norm_groups, out), nn.SiLU(), nn.Identity(), nn.Conv2d(out, out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if out == channels else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(self._resized(act(norm(x))))
        scale, shift = self.emb_layers(embedded)[:, :, None, None].chunk(2, 1)
        norm, *rest = self.out_layers
        h = norm(h) * (1 + scale) + shift
        for layer in rest:
            h = layer(h)
        skipped: Tensor = self.skip_connection(self._resized(x))
        result: Tensor = skipped + h
        return result

    def _resized(self, h: Tensor) -> Tensor:
        if self.resize == "down":
            return F.avg_pool2d(h, 2)
        return F.interpolate(h, scale_factor=2, mode="nearest") if self.resize == "up" else h


class _Attention(nn.Module):
    """Every place looks at every other; queries, keys and values lie side by side head by head."""

    def __init__(self, channels: int, a: Architecture) -> None:
        super().__init__()
        self.heads = channels // a.head_channels
        self.norm = nn.GroupNorm(a.norm_groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat)).unflatten(1, (self.heads, -1)).transpose(2, 3)  # (B, heads, H W, 3 * channels)
        seen = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        result: Tensor = (flat + self.proj_out(seen.transpose(2, 3).flatten(1, 2))).view_as(x)
        return result
