"""A text-to-image model of one's own in one file: safetensors that say what the network is built from, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.checkpoints.errors import UNFIT, sentence
from generator.checkpoints.safetensors_header import read_metadata
from generator.checkpoints.store import damaged, log, require

if TYPE_CHECKING:
    from generator.checkpoints.download import Say
    from generator.device import Host
    from generator.models.caption_unet import Architecture, CaptionModels
    from generator.models.stable_diffusion import StableDiffusionModels
    from generator.registry.rows import Checkpoint

ARCHITECTURE, CARD = "text2image.architecture", "text2image.card"  # names in the metadata of the file


def read_card(path: Path) -> dict[str, Any]:
    """What the file says of itself: what it learnt from, how long and how well. Raises ValueError where it says
    nothing. Imports no torch."""
    card = json.loads(read_metadata(path).get(CARD, "null"))
    if not isinstance(card, dict):
        raise ValueError(f"{path.name} has no card of a model of one's own in it")
    return card


def read_architecture(path: Path) -> Architecture:
    """What the file's network is built from. Raises ValueError where it does not say, or says what cannot be."""
    from generator.models.caption_unet import Architecture

    told = read_metadata(path).get(ARCHITECTURE)
    if told is None:
        raise ValueError("it does not say what it is built from: it is no model that was trained here")
    return Architecture.model_validate_json(told)


def load_caption_diffusion(
    checkpoint: Checkpoint, host: Host, *, say: Say = log.info
) -> CaptionModels | StableDiffusionModels:
    """Caption encoder and UNet of a model of one's own, in fp32, in eval mode, on the CPU; of one in latents, with the
    text encoder and the VAE of its base.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.fitting import load_strictly
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models.caption_unet import CaptionModels, Pixels, build_text, build_unet
    from generator.models.clip_text import TextEncoders
    from generator.sampling.noise_schedule import Schedule

    (path,) = require(checkpoint, host.checkpoints_dir, say).values()
    try:
        architecture = read_architecture(path)
        tensors = read_state_dict(path)
        parts = {
            part: {key[len(part) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{part}.")}
            for part in ("unet", "text")
        }
        with torch.device("meta"):  # no memory is taken on the word of a configuration
            unet = build_unet(architecture)
            text = None if architecture.base else build_text(architecture)
        load_strictly(unet, parts["unet"])
        if text is not None:
            load_strictly(text, parts["text"])
    except UNFIT as error:
        raise damaged(checkpoint, path, sentence(error)) from None
    unet.eval().requires_grad_(False)
    schedule = Schedule(architecture.scheduler)
    if text is None:
        return _on_base(architecture, unet, schedule, host, say)
    texts = TextEncoders([text.eval().requires_grad_(False)], zeros_for_nothing=False)
    return CaptionModels(texts, unet, Pixels(), schedule, architecture.size, len(architecture.channels) - 1)


def _on_base(architecture: Architecture, unet: Any, schedule: Any, host: Host, say: Say) -> StableDiffusionModels:
    from generator.checkpoints.loading import load_stable_diffusion
    from generator.checkpoints.resolve import resolve

    models = load_stable_diffusion(resolve(architecture.base, host.checkpoints_dir), host, say=say)
    models.unet, models.schedule = unet, schedule
    return models
