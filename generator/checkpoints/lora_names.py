"""What LoRA files call the layers of Stable Diffusion's networks: kohya's names, with the UNet's layers as diffusers or
as the original code names them, and those of diffusers and peft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Part = Literal["unet", "text_encoder", "text_encoder_2"]
What = Literal["down", "up", "alpha"]
KOHYA: dict[Part, str] = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}

_KOHYA_PARTS: dict[str, Part] = {
    "lora_unet": "unet",
    "lora_te": "text_encoder",
    "lora_te1": "text_encoder",
    "lora_te2": "text_encoder_2",
}
_KOHYA_KEY = re.compile(r"(lora_unet|lora_te[12]?)_([\w]+)\.(lora_down\.weight|lora_up\.weight|alpha)")
_END = re.compile(
    r"\.(?:lora_(?P<peft>[AB])(?:\.default)?\.weight|lora\.(?P<old>down|up)\.weight|"
    r"lora_linear_layer\.(?P<text>down|up)\.weight|(?P<alpha>alpha))"
)
_PROCESSOR = re.compile(r"\.processor\.to_(q|k|v|out)_lora\.(down|up)\.weight")
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_WHOLE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
}


@dataclass(frozen=True)
class Key:
    """What one tensor is: of which network, of which layer (as the file writes it), and which of its three."""

    part: Part
    layer: str
    what: What


def read_key(name: str) -> Key | None:
    """None for a name that no known tool gives. Layers in kohya's names have _ for every dot."""
    if kohya := _KOHYA_KEY.fullmatch(name):
        what: What = "alpha" if kohya[3] == "alpha" else "down" if "down" in kohya[3] else "up"
        return Key(_KOHYA_PARTS[kohya[1]], kohya[2], what)
    part, rest = _part_of(name)
    if processor := _PROCESSOR.search(rest):
        if processor.end() < len(rest):
            return None
        layer = f"{rest[: processor.start()]}.to_{processor[1]}{'.0' if processor[1] == 'out' else ''}"
        return Key(part, layer, "down" if processor[2] == "down" else "up")
    end = _END.search(rest)
    if end is None or end.end() < len(rest):
        return None
    layer = rest[: end.start()]
    if end["alpha"]:
        return Key(part, layer, "alpha")
    return Key(part, layer, "down" if (end["peft"] == "A" or "down" in (end["old"], end["text"])) else "up")


def _part_of(name: str) -> tuple[Part, str]:
    for part in ("unet", "text_encoder_2", "text_encoder"):
        for prefix in (f"{part}.", f"base_model.model.{part}."):
            if name.startswith(prefix):
                return part, name.removeprefix(prefix)
    return "unet", name.removeprefix("base_model.model.")


def aliases(part: Part, layers: Iterable[str], layers_per_block: int) -> dict[str, str]:
    """Whatever a file may call each of these layers of a network -> its name in ours."""
    known: dict[str, str] = {}
    for layer in layers:
        for name in _names(part, layer, layers_per_block):
            known[name] = known[name.replace(".", "_")] = layer
    return known


def _names(part: Part, layer: str, layers_per_block: int) -> Iterator[str]:
    yield layer
    if part == "unet":
        yield from original_names(layer, layers_per_block)
    else:
        yield f"text_model.{layer}"


def kohya_name(part: Part, layer: str, *, xl: bool, layers_per_block: int) -> str:
    """As kohya-ss/sd-scripts writes it: of XL's UNet by the names of the original code, and lora_te1 for its first text
    encoder."""
    if part == "unet":
        original = next(original_names(layer, layers_per_block), layer) if xl else layer
        return f"lora_unet_{original.replace('.', '_')}"
    begins = "lora_te1" if xl and part == "text_encoder" else KOHYA[part]
    return f"{begins}_text_model_{layer.replace('.', '_')}"


def original_names(layer: str, layers_per_block: int) -> Iterator[str]:
    """A layer of diffusers' UNet as CompVis and Stability's code name it. Of what makes pictures larger both places it
    may have, since that depends on whether its block has attention."""
    per_level = layers_per_block + 1
    if layer in _WHOLE:
        yield _WHOLE[layer]
    elif middle := re.fullmatch(r"mid_block\.(resnets|attentions)\.([01])\.(.+)", layer):
        place = 1 if middle[1] == "attentions" else 2 * int(middle[2])
        yield f"middle_block.{place}.{_inside(middle[1], middle[3])}"
    elif block := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", layer):
        number = int(block[2]) * per_level + int(block[4]) + (block[1] == "down")
        side = "input" if block[1] == "down" else "output"
        yield f"{side}_blocks.{number}.{int(block[3] == 'attentions')}.{_inside(block[3], block[5])}"
    elif down := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", layer):
        yield f"input_blocks.{(int(down[1]) + 1) * per_level}.0.op"
    elif up := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", layer):
        number = int(up[1]) * per_level + layers_per_block
        yield f"output_blocks.{number}.2.conv"
        yield f"output_blocks.{number}.1.conv"


def _inside(kind: str, rest: str) -> str:
    return rest if kind == "attentions" else _RESNET.get(rest, rest)
