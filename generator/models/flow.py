"""One generator on a VQGAN's z: rectified flow by a transformer that reads the text word by word.

x = (1 - t) z + t noise, and the network answers noise - z (Liu et al. 2023, arXiv:2209.03003). A DiT (Peebles and Xie
2023, arXiv:2212.09748) with the text in cross-attention and one adaLN for all blocks (PixArt-alpha, Chen et al. 2024,
arXiv:2310.00426), queries and keys of unit length (Esser et al. 2024, arXiv:2403.03206, 5.3.2). What the text says as a
whole is told beside the time: a young network hears words in cross-attention much later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.models.clip import ClipModel
from generator.models.contracts import UnknownStyle
from generator.models.emphasis import emphasised
from generator.models.vqgan import VQModel
from generator.prompts import Prompt
from generator.sampling.noise_schedule import Schedule
from generator.tokens import encode

WAVES = 64  # cosines and sines of the time, each
# Its levels are nearly even steps of t, and the first is noise alone.
LEVELS = {
    "prediction_type": "v_prediction",
    "beta_schedule": "squaredcos_cap_v2",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """q (B, H, N, D), k and v (B, H, M, D), mask (B, 1, 1, M) of the keys to look at -> (B, H, N, D)."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, mask)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # a CPU's backward is slow in fused attention
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    seen: Tensor = scores.softmax(dim=-1).to(v.dtype) @ v
    return seen


class Attention(nn.Module):
    """Multi-head attention to itself or to a context, queries and keys normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.q_gain, self.k_gain = (nn.Parameter(torch.ones(width // heads)) for _ in range(2))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, N, width), context (B, M, width), mask (B, M) -> (B, N, width)."""
        k, v = self.kv(context).chunk(2, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(x), k, v))
        q = F.rms_norm(q, q.shape[-1:]).to(v.dtype) * self.q_gain.to(v.dtype)
        k = F.rms_norm(k, k.shape[-1:]).to(v.dtype) * self.k_gain.to(v.dtype)
        seen = attend(q, k, v, None if mask is None else mask[:, None, None])
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention to itself, to the text where it has one, and a hidden layer; `tell` is what adaLN adds of its own."""

    def __init__(self, width: int, heads: int, *, reads: bool) -> None:
        super().__init__()
        self.own = Attention(width, heads)
        self.text = Attention(width, heads) if reads else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.tell = nn.Parameter(torch.randn(6, width) * width**-0.5) if reads else None
        if self.text is not None:
            nn.init.zeros_(self.text.out.weight)

    def forward(self, x: Tensor, told: Tensor | None, context: Tensor, mask: Tensor) -> Tensor:
        """x (B, N, width); told (B, 6, width): shift, scale and gate, twice; context (B, M, width), mask (B, M)."""
        if self.text is None or self.tell is None or told is None:
            normed = F.layer_norm(x, x.shape[-1:])
            x = x + self.own(normed, normed, mask)
            refined: Tensor = x + self.mlp(F.layer_norm(x, x.shape[-1:]))
            return refined
        shift, scale, gate, shift_2, scale_2, gate_2 = (told + self.tell).unsqueeze(2).unbind(dim=1)
        normed = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        x = x + gate * self.own(normed, normed)
        x = x + self.text(F.layer_norm(x, x.shape[-1:]), context, mask)
        made: Tensor = x + gate_2 * self.mlp(F.layer_norm(x, x.shape[-1:]) * (1 + scale_2) + shift_2)
        return made


class FlowTransformer(nn.Module):
    """noise - z of a noisy z, given the time and a text in one style.

    `config`: z_channels, grid (z per side), text_width, styles (list of names), width, heads, depth, and text_depth of
    the blocks that read the text before the picture does.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.grid: int = config["grid"]
        width, channels, heads, text = (config[key] for key in ("width", "z_channels", "heads", "text_width"))
        self.z_in, self.place = nn.Linear(channels, width), nn.Parameter(0.02 * torch.randn(self.grid**2, width))
        self.text_in, self.nothing = nn.Linear(text, width), nn.Parameter(0.02 * torch.randn(width))
        self.style = nn.Embedding(len(self.styles) + 1, text)  # the last is any style
        self.readers = nn.ModuleList(Block(width, heads, reads=False) for _ in range(config["text_depth"]))
        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.whole = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.tell = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads, reads=True) for _ in range(config["depth"]))
        self.last, self.out = nn.Linear(width, 2 * width), nn.Linear(width, channels)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(channels, 1, 1))  # of the training pictures' z
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        for layer in (self.tell, self.last, self.out):  # at first every block lets pass what comes
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def style_index(self, style: str | None) -> int:
        """A style's number; None is any style. Raises UnknownStyle."""
        if style is None or style == "any":
            return len(self.styles)
        if style not in self.styles:
            raise UnknownStyle(f"no style {style!r}; permitted: any, {', '.join(self.styles)}")
        return self.styles.index(style)

    def hidden(self, text: Tensor, style: Tensor) -> Tensor:
        """text (B, L, text_width): a row for each word, zero where there is none; style (B,) -> (B, 1 + L, text_width)
        as `forward` reads it, the style as one word more."""
        return torch.cat([self.style(style)[:, None].to(text.dtype), text], dim=1)

    def forward(self, x: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        """x (B, z_channels, grid, grid), standardised; t (B,) in [0, 1]; hidden as above -> the shape of x."""
        said = (hidden != 0).any(dim=2)
        context = torch.cat([self.nothing.expand(len(x), 1, -1).to(hidden.dtype), self.text_in(hidden)], dim=1)
        mask = F.pad(said, (1, 0), value=True)
        for reader in self.readers:
            context = reader(context, None, context, mask)
        shares = mask / mask.sum(dim=1, keepdim=True)
        told = self.time(waves(t)) + self.whole(torch.einsum("bm,bmw->bw", shares.to(context.dtype), context))
        six = self.tell(F.silu(told)).unflatten(1, (6, -1))
        h = self.z_in(x.flatten(2).transpose(1, 2)) + self.place
        for block in self.blocks:
            h = block(h, six, context, mask)
        shift, scale = self.last(F.silu(told))[:, None].chunk(2, dim=2)
        h = self.out(F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift)
        made: Tensor = h.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return made


def waves(t: Tensor) -> Tensor:
    """t (B,) in [0, 1] -> (B, 2 WAVES) cosines and sines of it, from one wave to a thousand."""
    angles = 1000 * t.float()[:, None] * torch.exp(torch.linspace(0, -6.9, WAVES, device=t.device))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Answers(nn.Module):
    """The flow as a network of variance-preserving diffusion that answers v (Salimans and Ho 2022, arXiv:2202.00512).

    With alpha z + sigma noise divided by alpha + sigma both are the same straight line, at t = sigma / (alpha + sigma);
    so every sampler there is draws with it. Called as diffusers' UNets are.
    """

    config = SimpleNamespace(addition_embed_type=None)

    def __init__(self, network: FlowTransformer, schedule: Schedule) -> None:
        super().__init__()
        self.network = network
        self._ratios = torch.from_numpy(((1 - schedule.squared) / schedule.squared) ** 0.5).float()

    def set_attention_slice(self, size: str | None) -> None:
        """It is small: there is nothing to slice."""

    def forward(self, z: Tensor, times: Tensor, hidden: Tensor, **_: Any) -> tuple[Tensor]:
        """z (B, C, g, g), times (B,) in 0 .. 999, hidden (B, L, text_width) -> (v,) of z's shape."""
        ratio = self._ratios.to(z.device)[times.round().long()].view(-1, 1, 1, 1)
        alpha = (1 + ratio.square()).rsqrt()
        t, x = ratio / (1 + ratio), z / (alpha * (1 + ratio))
        flow = self.network(x, t.flatten(), hidden).float()
        return (alpha * (x + (1 - t) * flow) - alpha * ratio * (x - t * flow),)


class Words(nn.Module):
    """Reads prompts word by word with the text tower of a CLIP."""

    def __init__(self, clip: ClipModel) -> None:
        super().__init__()
        self.clip = clip

    def encode_prompt(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """Weighted means over the prompts, nothing for none: hidden (L, text_width), pooled (0,). Raises
        PromptTooLong."""
        hidden, said = self.clip.token_features([p.pieces for p in prompts] or [""])
        if not prompts:
            return 0 * hidden[0], hidden.new_zeros(0)
        words = torch.stack([emphasised(states, p, encode) for states, p in zip(hidden, prompts, strict=True)])
        shares = torch.tensor([abs(p.weight) for p in prompts], dtype=torch.float64)
        shares = (shares / shares.sum()).float().to(words.device)
        return torch.einsum("n,nlw->lw", shares, words * said[:, :, None]), hidden.new_zeros(0)


@dataclass
class FlowModels:
    """What the engine of Stable Diffusion draws with, for a flow on the z of a VQGAN: see StableDiffusionModels."""

    texts: Words
    unet: Answers
    vae: VQModel
    schedule: Schedule

    @property
    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.texts, self.unet, self.vae

    def in_style(self, hidden: Tensor, style: str | None) -> Tensor:
        """hidden (L, text_width) -> (1 + L, text_width), the style told first. Raises UnknownStyle."""
        network = self.unet.network
        number = torch.tensor([network.style_index(style)], device=network.style.weight.device)
        return network.hidden(hidden[None].to(number.device), number)[0].to(hidden)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(C, g, g): it draws one size."""
        network = self.unet.network
        return network.config["z_channels"], network.grid, network.grid

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, H, W) in [0, 1] -> z (n, C, g, g), standardised."""
        mean, deviation = self._spread(pictures)
        return (self.vae.encode(pictures) - mean) / deviation

    def decode(self, z: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """z (n, C, g, g) -> pictures (n, 3, H, W) in [0, 1] from the nearest codes. size: (W, H), as z tells."""
        mean, deviation = self._spread(z)
        return self.vae.decode(self.vae.quantise(F.normalize(z * deviation + mean, dim=1))[0])

    def _spread(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of z, where that tensor is: the flow may be elsewhere for the moment."""
        network = self.unet.network
        return network.mean.to(like), network.deviation.to(like)


def flow_models(network: FlowTransformer, vqgan: VQModel, clip: ClipModel) -> FlowModels:
    """The parts put together."""
    schedule = Schedule(LEVELS)
    return FlowModels(Words(clip), Answers(network, schedule), vqgan, schedule)
