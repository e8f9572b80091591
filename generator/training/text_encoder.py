"""The distilled text tower of the embedded CLIP, and the encoder that it is once its training is finished."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import tokenize
from generator.tokens import CONTEXT, openai_clip

VOCABULARY = 49408
WIDTH, LAYERS, HEADS = 256, 4, 4


class TextTower(nn.Module):
    """The text half of openai-clip's CLIP under the same keys, over the token rows in `index` only."""

    def __init__(self, index: torch.Tensor, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS) -> None:
        super().__init__()
        model = openai_clip("model")
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu_(1)
        self.transformer = model.Transformer(width, layers, heads, mask)
        self.token_embedding = nn.Embedding(len(index), width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT, width))
        self.ln_final = model.LayerNorm(width)
        self.index: torch.Tensor
        self.row: torch.Tensor
        self.register_buffer("index", index)
        row = torch.zeros(VOCABULARY, dtype=torch.long)
        row[index] = torch.arange(len(index))
        self.register_buffer("row", row, persistent=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens (N, 77) of the full vocabulary -> the end token's hidden state (N, width).

        Read only as far as the longest text: attention is causal, so the rest changes nothing.
        """
        end = tokens.argmax(dim=1)  # the end token has the greatest number; 0 fills a row, and is "!" as well
        longest = int(end.max()) + 1
        short = tokens[:, :longest]
        for block in self.transformer.resblocks:
            block.attn_mask = torch.full((longest, longest), float("-inf")).triu_(1)
        x = self.token_embedding(self.row[short]) + self.positional_embedding[:longest]
        x = self.ln_final(self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2))
        result: torch.Tensor = x[torch.arange(len(x)), end]
        return result


def tokenize_all(texts: list[str]) -> torch.Tensor:
    return torch.cat([tokenize(texts[start : start + 4096]) for start in range(0, len(texts), 4096)])


class TextEncoder:
    """The distilled tower as `generator.training.text` saved it, frozen: texts to unit vectors (N, 384), the
    teacher's as near as it got."""

    def __init__(self, folder: Path) -> None:
        state = torch.load(folder / "text-tower.pt", weights_only=True)
        self.tower = TextTower(state["tower"]["index"])
        self.tower.load_state_dict(state["tower"])
        self.tower.eval().requires_grad_(False)
        self.projection: torch.Tensor = state["head"].T  # (width, 384)
        self.cosine: float = state["cosine_unseen_texts"]

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> torch.Tensor:
        hidden = torch.cat([self.tower(chunk) for chunk in tokenize_all(texts).split(256)])
        return F.normalize(hidden @ self.projection, dim=1)
