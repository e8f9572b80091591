"""The tensors of Stable Diffusion in one file by the names that diffusers' networks give them.

What is not known keeps its name, so that it is noticed when the network is loaded: nothing is left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_RESNET = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("emb_layers.1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
)
_UNET = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_VAE_ATTENTION = (
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
    ("to_out", "to_out.0"),
)
_OPEN_CLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_BLOCK = re.compile(r"(input|output)_blocks\.(\d{1,4})\.(\d)\.(.+)")
_LAYER = re.compile(r"transformer\.resblocks\.(\d{1,4})\.(.+)")


def unet(tensors: Mapping[str, Tensor], layers_per_block: int) -> dict[str, Tensor]:
    """The UNet's. layers_per_block: resnets of a level on the way down; on the way up there is one more."""
    return {_unet_name(name, layers_per_block + 1): value for name, value in tensors.items()}


def _unet_name(name: str, per_level: int) -> str:
    stem, _, end = name.rpartition(".")
    if stem in _UNET:
        return f"{_UNET[stem]}.{end}"
    if name.startswith("middle_block."):
        number, _, rest = name.removeprefix("middle_block.").partition(".")
        return f"mid_block.{_MIDDLE.get(number, number)}.{_resnet(rest)}"
    block = _BLOCK.fullmatch(name)
    if block is None:
        return name
    down = block[1] == "input"
    level, layer = divmod(int(block[2]) - down, per_level)
    where = f"{'down' if down else 'up'}_blocks.{level}"
    part, rest = block[3], block[4]
    if rest.startswith("op."):
        return f"{where}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if rest.startswith("conv."):  # after the resnet, or after its transformer
        return f"{where}.upsamplers.0.{rest}"
    return f"{where}.{'resnets' if part == '0' else 'attentions'}.{layer}.{_resnet(rest)}"


def _resnet(rest: str) -> str:
    for old, new in _RESNET:
        if rest.startswith(f"{old}."):
            return new + rest.removeprefix(old)
    return rest


def vae(tensors: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """The VAE's; its attention's 1 x 1 convolutions become linear. levels: of its blocks, counted from the latents on
    the way up."""
    renamed = {}
    for name, value in tensors.items():
        new = _vae_name(name, levels)
        renamed[new] = value.flatten(1) if ".attentions.0.to_" in new and value.ndim > 2 else value
    return renamed


def _vae_name(name: str, levels: int) -> str:
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):
        return name
    if rest.startswith("norm_out."):
        return f"{half}.conv_{rest}"
    if found := re.fullmatch(r"mid\.block_([12])\.(.+)", rest):
        return f"{half}.mid_block.resnets.{int(found[1]) - 1}.{_shortcut(found[2])}"
    if found := re.fullmatch(r"mid\.attn_1\.(\w+)\.(weight|bias)", rest):
        return f"{half}.mid_block.attentions.0.{dict(_VAE_ATTENTION).get(found[1], found[1])}.{found[2]}"
    if found := re.fullmatch(r"(down|up)\.(\d{1,3})\.(block\.(\d{1,3})|downsample|upsample)\.(.+)", rest):
        level = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        where = f"{half}.{found[1]}_blocks.{level}"
        if found[4] is None:
            return f"{where}.{found[3]}rs.0.{found[5]}"
        return f"{where}.resnets.{found[4]}.{_shortcut(found[5])}"
    return name


def _shortcut(rest: str) -> str:
    return rest.replace("nin_shortcut", "conv_shortcut")


def text(tensors: Mapping[str, Tensor], layers: int, *, projection: bool) -> dict[str, Tensor]:
    """A text encoder's, CLIP's or OpenCLIP's, by the names of ClipText.

    layers: how many of its layers are read; those behind are left out, and so are numbers that are no weights.
    projection: whether it ends in one.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        plain = name.removeprefix("text_model.")
        if plain.endswith("position_ids") or plain in ("logit_scale", "attn_mask"):
            continue
        if plain in ("text_projection", "text_projection.weight"):
            if projection:  # OpenCLIP multiplies from the other side
                renamed["text_projection.weight"] = value.T if plain == "text_projection" else value
        elif layer := _LAYER.fullmatch(plain):
            if int(layer[1]) < layers:
                renamed.update(_open_clip_layer(f"encoder.layers.{int(layer[1])}", layer[2], value))
        else:
            renamed[_OPEN_CLIP.get(plain, plain)] = value
    return renamed


def _open_clip_layer(where: str, rest: str, value: Tensor) -> dict[str, Tensor]:
    """Its query, key and value lie in one tensor."""
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        end = rest.removeprefix("attn.in_proj_")
        names = [f"{where}.self_attn.{one}_proj.{end}" for one in "qkv"]
        return dict(zip(names, value.chunk(3), strict=False))
    stem, _, end = rest.rpartition(".")
    return {f"{where}.{_OPEN_CLIP_LAYER.get(stem, stem)}.{end}": value}
