"""CLIP (Radford et al. 2021, arXiv:2103.00020) by openai-clip's model code, see `generator.tokens.openai_clip`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.models.efficientnet import EfficientNet
from generator.models.packing import unpack
from generator.tokens import CONTEXT, openai_clip, row

WEIGHTS = Path(__file__).parent.parent / "weights"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def tokenize(texts: Sequence[str | Sequence[str]], context_length: int = CONTEXT) -> torch.Tensor:
    """Texts, each in one piece or in several -> (N, context_length) int64: start, tokens, end, then zeros.

    Raises PromptTooLong.
    """
    rows = torch.zeros(len(texts), context_length, dtype=torch.long)
    for place, text in zip(rows, texts, strict=True):
        numbers = row([text] if isinstance(text, str) else text, context_length)
        place[: len(numbers)] = torch.tensor(numbers)
    return rows


class ClipModel(nn.Module):
    """One CLIP: texts and pictures to unit vectors of `embed_dim`; pictures are `resolution` px square."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network: Any = network
        self.name = name
        self.resolution: int = network.visual.input_resolution  # type: ignore[assignment,union-attr]
        self.embed_dim: int = network.text_projection.shape[1]  # type: ignore[assignment,index]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.source_projection: torch.Tensor | None
        self.register_buffer("source_projection", None)
        self.styles: tuple[str, ...] = ()
        self.style_head: nn.Module | None = None
        self.aesthetic_head: nn.Module | None = None

    def token_features(self, texts: Sequence[str | Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states (N, 77, width) and which are tokens (N, 77) bool; the last true one is the end token.

        That is the one with the greatest number, as the package takes it: number 0 is no mark of an end, but "!".
        """
        return self.states(tokenize(texts, self.network.context_length).to(self.mean.device))

    def states(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of rows of tokens (N, 77)."""
        network = self.network
        x = network.token_embedding(tokens) + network.positional_embedding
        x = network.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return network.ln_final(x), places <= tokens.argmax(dim=1, keepdim=True)

    def _last(self, texts: list[str]) -> torch.Tensor:
        """The end token's hidden states (N, width)."""
        hidden, mask = self.token_features(texts)
        return hidden[torch.arange(len(texts), device=hidden.device), mask.sum(dim=1) - 1]

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Texts -> (N, embed_dim) unit vectors, fp32. Raises PromptTooLong."""
        return F.normalize((self._last(texts) @ self.network.text_projection).float(), dim=1)

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """What the embedded generators read, (N, embed_dim) unit vectors: the text as it was before pictures bent it.

        Raises PromptTooLong, and ValueError for a CLIP that no embedded generator reads with.
        """
        if self.source_projection is None:
            raise ValueError(f"the embedded generators do not read texts with the CLIP {self.name!r}.")
        return F.normalize((self._last(texts) @ self.source_projection).float(), dim=1)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """images (N, 3, resolution, resolution) in [0, 1] -> (N, embed_dim) unit vectors, with gradients."""
        features = self.network.visual((images - self.mean) / self.std)
        return F.normalize(features.float(), dim=1)

    def style_scores(self, images: torch.Tensor) -> torch.Tensor:
        """images as for `encode_image` -> scores of `styles` (N, styles); for the embedded CLIPs only."""
        if self.style_head is None:
            raise ValueError(f"the CLIP {self.name!r} was not taught to tell styles apart.")
        scores: torch.Tensor = self.style_head(self.textures(images))
        return scores

    def textures(self, images: torch.Tensor) -> torch.Tensor:
        """images (N, 3, H, W) in [0, 1] -> how they are drawn rather than what they show (N, C); for the embedded CLIPs
        only."""
        side = (self.resolution, self.resolution)
        if images.shape[2:] != side:
            images = F.interpolate(images, side, mode="bilinear", antialias=True)
        textures: torch.Tensor = self.network.visual.textures((images - self.mean) / self.std)
        return textures

    @torch.no_grad()
    def aesthetic_scores(self, images: torch.Tensor) -> torch.Tensor:
        """images (N, 3, H, W) in [0, 1] -> how well they are made (N,): about 1 as by an artist, about 0 where mottle
        and specks are all over; for a CLIP that was taught it."""
        if self.aesthetic_head is None:
            raise ValueError(f"the CLIP {self.name!r} was not taught what is well made.")
        scores: torch.Tensor = self.aesthetic_head(self.textures(images))[:, 0]
        return scores


def from_state_dict(weights: dict[str, torch.Tensor], name: str) -> ClipModel:
    """Build the CLIP (ViT or ResNet) that `weights` fit, exactly in fp32. Raises RuntimeError on any unfit key."""
    weights = {
        key: value.float() if value.is_floating_point() else value
        for key, value in weights.items()
        if key not in ("input_resolution", "context_length", "vocab_size")
    }
    layers: int | tuple[int, ...]
    patch: int | None
    if "visual.proj" in weights:
        width, patch = weights["visual.conv1.weight"].shape[0], weights["visual.conv1.weight"].shape[-1]
        layers = len([key for key in weights if re.fullmatch(r"visual\..*\.attn\.in_proj_weight", key)])
        resolution = patch * round((weights["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    else:
        width, patch = weights["visual.layer1.0.conv1.weight"].shape[0], None
        layers = tuple(
            len({key.split(".")[2] for key in weights if key.startswith(f"visual.layer{stage}.")})
            for stage in (1, 2, 3, 4)
        )
        resolution = 32 * round((weights["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    text_width = weights["ln_final.weight"].shape[0]
    network = openai_clip("model").CLIP(
        embed_dim=weights["text_projection"].shape[1],
        image_resolution=resolution,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=patch,
        context_length=weights["positional_embedding"].shape[0],
        vocab_size=weights["token_embedding.weight"].shape[0],
        transformer_width=text_width,
        transformer_heads=text_width // 64,
        transformer_layers=len({key.split(".")[2] for key in weights if key.startswith("transformer.resblocks.")}),
    )
    network.load_state_dict(weights, strict=True)
    return ClipModel(network.float(), name).eval().requires_grad_(False)


def scatter_tokens(rows: torch.Tensor, index: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Rows of the token table that were trained -> the whole (vocabulary, width) table, the rest being their mean."""
    table = rows.float().mean(dim=0, keepdim=True).repeat(vocabulary, 1)
    table[index.long()] = rows.float()
    return table


def texture_head(textures: int, width: int, scores: int) -> nn.Module:
    """From EfficientNet.textures to scores, of styles or of how well a picture is made."""
    return nn.Sequential(nn.Linear(textures, width), nn.GELU(), nn.Linear(width, scores))


def load_mini(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> ClipModel:
    """The embedded CLIP, fp32, in eval mode. Its file holds only the token rows that training saw."""
    weights = unpack(load_file(folder / "mini-clip.safetensors"))
    return _embedded(weights, json.loads((folder / "mini-clip.json").read_text()), "mini").to(device)


def load_robust(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> ClipModel:
    """The embedded CLIP with another image tower, which patterns nobody sees do not mislead as easily: it guides from
    nothing where the first one would be satisfied by noise. Its texts' vectors are the first one's."""
    return _sharing_texts("mini-robust", folder).to(device)


def load_judge(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> ClipModel:
    """The second embedded CLIP, "mini-judge", which scores pictures and guides none. It has an image tower and a text
    projection of its own."""
    return _sharing_texts("mini-judge", folder).to(device)


def _sharing_texts(name: str, folder: Path) -> ClipModel:
    """An embedded CLIP whose file holds what it does not share with the first one: the image tower at least."""
    weights = unpack(load_file(folder / "mini-clip.safetensors"))
    weights = {key: value for key, value in weights.items() if not key.startswith("visual.")}
    weights |= unpack(load_file(folder / f"{name}.safetensors"))
    return _embedded(weights, json.loads((folder / f"{name}.json").read_text()), name)


def _embedded(weights: dict[str, torch.Tensor], config: dict[str, Any], name: str) -> ClipModel:
    rows, index = weights.pop("token_rows"), weights.pop("token_index")
    weights["token_embedding.weight"] = scatter_tokens(rows, index, config["vocab_size"])
    source = weights.pop("source_projection")
    styles, aesthetic = (
        {key.removeprefix(f"{head}."): weights.pop(key) for key in list(weights) if key.startswith(f"{head}.")}
        for head in ("style_head", "aesthetic_head")
    )
    width, dim = config["transformer_width"], config["embed_dim"]
    network = openai_clip("model").CLIP(
        embed_dim=dim,
        image_resolution=32,
        vision_layers=1,
        vision_width=64,
        vision_patch_size=32,
        context_length=config["context_length"],
        vocab_size=config["vocab_size"],
        transformer_width=width,
        transformer_heads=config["transformer_heads"],
        transformer_layers=config["transformer_layers"],
    )
    network.visual = EfficientNet(config["vision"], config["image_resolution"], dim)
    network.load_state_dict(weights, strict=True)
    model = ClipModel(network.float(), name)
    model.source_projection = source
    if styles:
        model.style_head = _head(styles)
        model.styles = tuple(config["styles"])
    if aesthetic:
        model.aesthetic_head = _head(aesthetic)
    return model.eval().requires_grad_(False)


def _head(weights: dict[str, torch.Tensor]) -> nn.Module:
    """A texture_head with these weights."""
    (width, textures), scores = weights["0.weight"].shape, len(weights["2.bias"])
    head = texture_head(textures, width, scores)
    head.load_state_dict(weights)
    return head
