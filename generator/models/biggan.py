"""BigGAN-deep (Brock et al. 2019, arXiv:1809.11096): z and classes to pictures.

One wrapper for the published generators (128, 256 and 512 px, 1000 ImageNet classes) and for the embedded one (64 px,
groups of emoji and picture styles as classes). Spectral norm, which steadies adversarial training, is folded into the
weights: a generator that no longer trains needs only their quotient.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from generator.models.biggan_deep import BigGANBatchNorm, BigGANConfig, GenBlock, Network
from generator.models.packing import unpack
from generator.registry.class_names import UnknownClass, class_index

__all__ = ["BigGAN", "MiniBigGAN", "UnknownClass", "from_published", "load_mini", "read_config"]

WEIGHTS = Path(__file__).parent.parent / "weights"
# Greatest values of a published config.json: the memory it asks for is taken before its weights are compared.
LIMITS = {"output_dim": 512, "z_dim": 512, "class_embed_dim": 512, "channel_width": 256, "num_classes": 1000}
LIMITS |= {"attention_layer_position": 32, "n_stats": 101}


class BigGAN(nn.Module):
    """z and classes to pictures. `network` holds the modules under the published keys.

    `config` is a BigGANConfig as a dict. The embedding is linear, so a class vector may be a mixture.
    """

    def __init__(self, config: Mapping[str, Any], class_names: list[str] | None = None) -> None:
        """`class_names`: one per class, or None for numbers."""
        super().__init__()
        self.config = BigGANConfig(**config)
        self.network = Network(self.config)
        self.z_dim: int = self.config.z_dim
        self.num_classes: int = self.config.num_classes
        self.resolution: int = self.config.output_dim
        self.class_names = class_names or [str(number) for number in range(self.num_classes)]

    @property
    def layers(self) -> int:
        """How many places read z and the classes: the first projection and every block."""
        return 1 + sum(isinstance(layer, GenBlock) for layer in self.network.generator.layers)

    def fold(self) -> BigGAN:
        """Divides every weight by its spectral norm as last estimated, for good."""
        for module in self.modules():
            if hasattr(module, "weight_orig"):
                nn.utils.remove_spectral_norm(module)
                module._load_state_dict_pre_hooks.clear()  # torch leaves one behind that asks for the norm's parts
        return self

    def class_vector(self, name: str) -> Tensor:
        """(num_classes,), 1 at the class called `name`. Raises UnknownClass."""
        return F.one_hot(torch.tensor(class_index(name, self.class_names)), self.num_classes).float()

    def generate(self, z: Tensor, classes: Tensor, truncation: float = 1.0, blocks: int | None = None) -> Tensor:
        """z (B, z_dim) or (B, layers, z_dim) and classes (B, num_classes) or (B, layers, num_classes) ->
        pictures (B, 3, resolution, resolution) float in [0, 1].

        `truncation` in (0, 1] chooses the batch-norm statistics only: whoever draws z has to scale it. After fewer
        `blocks` than there are the picture is smaller.
        """
        *_, x = itertools.islice(self.features(z, classes, truncation), blocks)
        x = x[:, : self.config.channel_width]  # all there are after the last block; the others go no further
        x = self.network.generator.bn(x, truncation)
        # Of as many channels as the network is wide, three are the picture; the others are not computed.
        rgb = self.network.generator.conv_to_rgb
        assert rgb.bias is not None
        image: Tensor = (torch.tanh(F.conv2d(x, rgb.weight[:3], rgb.bias[:3], padding=1).float()) + 1) / 2
        return image

    def features(self, z: Tensor, classes: Tensor, truncation: float = 1.0) -> Iterator[Tensor]:
        """What each block makes, (B, C, h, w), one after the other; z, classes and truncation as for `generate`."""
        if not 0 < truncation <= 1:
            raise ValueError(f"truncation is {truncation}; it must lie above 0 and at most at 1.")
        generator = self.network.generator
        with torch.autocast(z.device.type, enabled=False):  # small products; rounded ones would move every pixel
            embedded = self.network.embeddings(classes)
            z, embedded = (part[:, None] if part.dim() == 2 else part for part in (z, embedded))
            cond = torch.cat([part.expand(-1, self.layers, -1) for part in (z, embedded)], dim=2)
            first, *blocks = cond.unbind(dim=1)
            # The weights come from TensorFlow, where channels are last.
            x = generator.gen_z(first).view(len(first), 4, 4, -1).permute(0, 3, 1, 2)
        if torch.is_autocast_enabled(z.device.type):
            x = x.to(torch.get_autocast_dtype(z.device.type))
        for layer in generator.layers:
            if isinstance(layer, GenBlock):
                x = layer(x, truncation, blocks.pop(0))
                yield x
            else:
                x = layer(x)

    @torch.no_grad()
    def measure(self, z: Tensor, classes: Tensor, within: nn.Module | None = None) -> None:
        """Takes the batch-norm statistics of these pictures for every truncation; `within`: of this part only."""
        norms = [norm for norm in (within or self.network).modules() if isinstance(norm, BigGANBatchNorm)]
        for norm in norms:
            norm.measuring = True
        self.generate(z, classes)
        for norm in norms:
            norm.measuring = False


class TextStart(nn.Module):
    """What z and which classes a text suggests: an MLP from CLIP's unit text vector and a style."""

    def __init__(self, text_width: int, hidden: int, groups: int, styles: int, z_dim: int) -> None:
        super().__init__()
        self.groups, self.styles = groups, styles
        self.text_in = nn.Linear(text_width, hidden)
        self.style_in = nn.Embedding(styles, hidden)
        self.up, self.down = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)
        self.z_out = nn.Linear(hidden, z_dim)
        self.group_out = nn.Linear(hidden, groups)

    def forward(self, text: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """text (B, text_width) unit vectors, style (B,) -> z (B, z_dim) and logits of the groups (B, groups)."""
        hidden = self.text_in(text * text.shape[1] ** 0.5) + self.style_in(style)
        hidden = hidden + self.down(F.silu(self.up(F.silu(hidden))))
        hidden = F.silu(F.layer_norm(hidden, hidden.shape[1:]))
        return self.z_out(hidden), self.group_out(hidden)

    def classes(self, logits: Tensor, style: Tensor) -> Tensor:
        """Logits of the groups (B, groups), style (B,) -> the class vector (B, groups + styles), two parts of sum 1."""
        return torch.cat([logits.float().softmax(dim=1), F.one_hot(style, self.styles).float()], dim=1)


class MiniBigGAN(BigGAN):
    """The embedded generator: its classes are groups of emoji, then picture styles; `start` reads texts."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config`: biggan (a BigGANConfig as a dict), groups and styles (lists of names), text_width, text_hidden."""
        self.groups, self.styles = list(config["groups"]), list(config["styles"])
        super().__init__(config["biggan"], self.groups + self.styles)
        self.fold()
        sizes = len(self.groups), len(self.styles), self.z_dim
        self.start = TextStart(config["text_width"], config["text_hidden"], *sizes)

    def style_index(self, style: str) -> int:
        """A style's number. Raises UnknownClass."""
        if style not in self.styles:
            raise UnknownClass(f"no style {style!r}; permitted: {', '.join(self.styles)}")
        return self.styles.index(style)


def load_mini(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> MiniBigGAN:
    """The embedded BigGAN, fp32, in eval mode, without gradients for its weights."""
    model = MiniBigGAN(json.loads((folder / "mini-biggan.json").read_text()))
    model.load_state_dict(unpack(load_file(folder / "mini-biggan.safetensors")), strict=True)
    return model.to(device).eval().requires_grad_(False)


def from_published(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], class_names: list[str] | None = None
) -> BigGAN:
    """A published generator, from its config.json and pytorch_model.bin, fp32. Raises RuntimeError on any unfit key."""
    with torch.device("meta"):  # random weights would be drawn only to be thrown away
        model = BigGAN(config, class_names)
    model.network.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True, assign=True)
    return model.eval().fold().requires_grad_(False)


def read_config(text: str, resolution: int) -> dict[str, Any]:
    """A published config.json for pictures of that side in px. Raises ValueError for anything out of the ordinary."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from None
    fields = {*LIMITS, "layers", "eps"}
    if not isinstance(config, dict) or set(config) != fields:
        raise ValueError(f"it must have exactly {', '.join(sorted(fields))}")
    for key, most in LIMITS.items():
        if type(config[key]) is not int or not 0 < config[key] <= most:
            raise ValueError(f"{key} is {str(config[key])[:40]!r}; it must be a whole number from 1 to {most}")
    if config["output_dim"] != resolution:
        raise ValueError(f"output_dim is {config['output_dim']} where {resolution} belongs")
    if type(config["eps"]) is not float or not 0 < config["eps"] < 1:
        raise ValueError(f"eps is {str(config['eps'])[:40]!r}; it must lie between 0 and 1")
    layers = config["layers"]
    if not isinstance(layers, list) or not 0 < len(layers) <= 32 or not all(_is_layer(layer) for layer in layers):
        raise ValueError("layers must be at most 32 of [up-sample, channels in, channels out], channels from 1 to 32")
    return config


def _is_layer(layer: Any) -> bool:
    if not isinstance(layer, list) or len(layer) != 3 or type(layer[0]) is not bool:
        return False
    return all(type(width) is int and 1 <= width <= 32 for width in layer[1:])
