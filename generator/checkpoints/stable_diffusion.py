"""A folder as diffusers writes it into the networks of Stable Diffusion, whatever its files called their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.state_dict import read_state_dict
from generator.models.clip_text import ClipText, TextEncoders
from generator.models.stable_diffusion import StableDiffusionModels
from generator.models.torchvision_operators import declare
from generator.sampling.noise_schedule import Schedule


def build(folder: DiffusersFolder) -> StableDiffusionModels:
    """The networks as the configurations say, without weights (on torch's meta device).

    Raises ValueError, KeyError, TypeError for a configuration that cannot be built.
    """
    declare()
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    schedule = Schedule(folder.scheduler)
    with torch.device("meta"):  # no memory is taken on the word of a configuration
        networks = [
            ClipText(text.config, text.pad, projection=len(folder.texts) > 1 and text is folder.texts[-1])
            for text in folder.texts
        ]
        texts = TextEncoders(networks, zeros_for_nothing=folder.zeros_for_nothing)
        unet, vae = UNet2DConditionModel.from_config(folder.unet.config), AutoencoderKL.from_config(folder.vae.config)
    if len(vae.config.block_out_channels) != 4 or vae.config.latents_mean is not None:
        raise ValueError("its VAE is of another kind than Stable Diffusion's, which draws 8 x 8 px per latent")
    if unet.config.addition_embed_type not in (None, "text", "text_time") or unet.config.class_embed_type:
        raise ValueError("its UNet is conditioned on more than text and size, which is not supported")
    if (unet.config.addition_embed_type == "text_time") != (len(folder.texts) == 2):
        raise ValueError("its UNet and its text encoders do not belong together")
    return StableDiffusionModels(texts, unet, vae, schedule)


def weights(models: StableDiffusionModels, folder: DiffusersFolder) -> Iterator[tuple[nn.Module, Path, dict[str, Any]]]:
    """Each network, its first file, and its tensors by the network's own names. Raises BadStateDict."""
    for network, text in zip(models.texts.networks, folder.texts, strict=True):
        yield network, text.weights[0], {_text_key(key): value for key, value in _read(text).items() if _kept(key)}
    yield models.unet, folder.unet.weights[0], _read(folder.unet)
    yield models.vae, folder.vae.weights[0], {_vae_key(key): _vae_value(key, v) for key, v in _read(folder.vae).items()}


def _read(network: Network) -> dict[str, Tensor]:
    return {key: value for path in network.weights for key, value in read_state_dict(path).items()}


def _kept(key: str) -> bool:
    return not key.endswith("position_ids")  # 0 .. 76, which older files say


def _text_key(key: str) -> str:
    return key.removeprefix("text_model.")


# How diffusers named the VAE's attention when Stable Diffusion 1 was published.
_OLD = re.compile(r"(.*mid_block\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")
_NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _vae_key(key: str) -> str:
    old = _OLD.fullmatch(key)
    return f"{old[1]}.{_NEW[old[2]]}.{old[3]}" if old else key


def _vae_value(key: str, value: Tensor) -> Tensor:
    # In some of those files the attention's products are 1 x 1 convolutions.
    return value[:, :, 0, 0] if _OLD.fullmatch(key) and value.ndim == 4 else value
