"""The text encoders of Stable Diffusion: CLIP's text transformer (Radford et al. 2021, arXiv:2103.00020).

The module names are those of the published files, so that these load to the last key. transformers is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn import functional as F

from generator.models.clip import tokenize
from generator.models.emphasis import emphasised
from generator.prompts import Prompt
from generator.tokens import CONTEXT, encode, own_tokenizer, row, tokenizer

VOCABULARY = 49408


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class _Layer(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config.get("layer_norm_eps", 1e-5)
        self.self_attn = _Attention(width, config["num_attention_heads"])
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        wide = config["intermediate_size"]
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, wide), "fc2": nn.Linear(wide, width)})
        self.activation: Any = {"quick_gelu": _quick_gelu, "gelu": F.gelu}[config.get("hidden_act", "quick_gelu")]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        wide = self.activation(self.mlp["fc1"](self.layer_norm2(x)))
        out: Tensor = x + self.mlp["fc2"](wide)
        return out


class TextTransformer(nn.Module):
    """CLIP's text transformer of width W without what turns texts into tokens. `config` is its config.json."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": nn.Embedding(config["vocab_size"], width),
                "position_embedding": nn.Embedding(config["max_position_embeddings"], width),
            }
        )
        self.encoder: Any = nn.Module()
        self.encoder.layers = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))
        self.final_layer_norm = nn.LayerNorm(width, config.get("layer_norm_eps", 1e-5))

    def states(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of tokens (N, L) -> last hidden states, normed, and those before the last layer, not: (N, L, W)."""
        x = before = self.embeddings["token_embedding"](rows) + self.embeddings["position_embedding"].weight
        for layer in self.encoder.layers:
            before, x = x, layer(x)
        return self.final_layer_norm(x), before


class ClipText(TextTransformer):
    """One text transformer of width W. `config` is its config.json; projection: whether it ends in one.

    pad: the text of the token that fills a row. Raises ValueError for a vocabulary other than CLIP's.
    """

    def __init__(self, config: dict[str, Any], pad: str, projection: bool) -> None:
        if (config["vocab_size"], config["max_position_embeddings"]) != (VOCABULARY, CONTEXT):
            raise ValueError(
                f"its text encoder has {config['vocab_size']} tokens and reads {config['max_position_embeddings']} of "
                f"them; {VOCABULARY} and {CONTEXT}, as CLIP has, are supported"
            )
        super().__init__(config)
        width = config["hidden_size"]
        self.text_projection = nn.Linear(width, config["projection_dim"], bias=False) if projection else None
        self.config, self.places = config, CONTEXT
        self.pad = pad

    def forward(self, texts: Sequence[str | Sequence[str]]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Texts, each in one piece or in several -> last hidden states, normed, and those before the last layer, not
        normed, both (N, 77, W); and the projected state of the end token (N, P), None without a projection.

        Raises PromptTooLong."""
        rows = tokenize(texts)
        end = rows.argmax(dim=1)  # the end token has the greatest number
        beyond = torch.arange(CONTEXT) > end[:, None]
        rows = rows.masked_fill(beyond, tokenizer().encoder[self.pad]).to(self.final_layer_norm.weight.device)
        last, before = self.states(rows)
        if self.text_projection is None:
            return last, before, None
        return last, before, self.text_projection(last[torch.arange(len(texts)), end.to(last.device)])

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens, without start and end."""
        return encode(text)

    @property
    def bpe(self) -> Any:
        """The tokenizer."""
        return tokenizer()


class OwnText(TextTransformer):
    """A caption encoder of width W with a vocabulary of its own, that of `own_tokenizer(merges)`.

    It reads `places` tokens, start and end among them; rows are filled with the end token, as diffusers does.
    """

    def __init__(self, merges: Sequence[tuple[str, str]], places: int, width: int, layers: int) -> None:
        self.bpe, self.places, self.pad = own_tokenizer(merges), places, "<|endoftext|>"
        self.config = {
            "vocab_size": len(self.bpe.encoder),
            "max_position_embeddings": places,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 32,
            "hidden_act": "gelu",
        }
        super().__init__(self.config)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens, without start and end."""
        return encode(text, self.bpe)

    def rows(self, captions: Sequence[str]) -> Tensor:
        """Captions -> (N, places) int64 on the CPU; what is too long is cut off, as a training may."""
        start, end = (self.bpe.encoder[f"<|{what}oftext|>"] for what in ("start", "end"))
        found = torch.full((len(captions), self.places), end)
        for place, caption in zip(found, captions, strict=True):
            numbers = [start, *self.encode(caption)[: self.places - 2]]
            place[: len(numbers)] = torch.tensor(numbers)
        return found

    def forward(self, texts: Sequence[str | Sequence[str]]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Texts, each in one piece or in several -> hidden states as ClipText gives them. Raises PromptTooLong."""
        found = torch.full((len(texts), self.places), self.bpe.encoder["<|endoftext|>"])
        for place, text in zip(found, texts, strict=True):
            numbers = row([text] if isinstance(text, str) else text, self.places, bpe=self.bpe)
            place[: len(numbers)] = torch.tensor(numbers)
        return *self.states(found.to(self.final_layer_norm.weight.device)), None


class TextEncoders(nn.Module):
    """What the UNet is conditioned on: one encoder's last states (Stable Diffusion), or two encoders' states before the
    last layer side by side and the second's projection (XL; Podell et al. 2023, arXiv:2307.01952)."""

    def __init__(self, networks: Sequence[ClipText | OwnText], *, zeros_for_nothing: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._zeros_for_nothing = zeros_for_nothing

    def encode_prompt(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """Weighted means over the prompts, the empty text for none: hidden (77, W), pooled (P,), P 0 without one.

        Weighed words are scaled in the hidden states of each encoder. The pooled state is that of the plain text.

        Raises PromptTooLong.
        """
        made = [network([p.pieces for p in prompts] or [""]) for network in self.networks]
        read: Any = self.networks[0].encode
        if len(made) == 1:
            hidden, pooled = _emphasised(made[0][0], prompts, read), made[0][0].new_zeros(len(made[0][0]), 0)
        else:
            hidden = torch.cat([_emphasised(before, prompts, read) for _, before, _ in made], dim=2)
            pooled = made[-1][2]
        if not prompts:
            return (hidden[0] * 0, pooled[0] * 0) if self._zeros_for_nothing else (hidden[0], pooled[0])
        shares = torch.tensor([abs(p.weight) for p in prompts], dtype=torch.float64)  # the least weights are 0 in fp32
        weights = (shares / shares.sum()).float().to(hidden.device)
        return torch.einsum("n,nlw->lw", weights, hidden), torch.einsum("n,np->p", weights, pooled)


def _emphasised(hidden: Tensor, prompts: Sequence[Prompt], encode: Callable[[str], list[int]]) -> Tensor:
    """hidden (N, L, W) of so many prompts, or of the empty text for none."""
    if not any(p.fragments for p in prompts):
        return hidden
    return torch.stack([emphasised(states, p, encode) for states, p in zip(hidden, prompts, strict=True)])
