"""Stable Diffusion in one file into its networks: which tensors are taken, and what its UNet predicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from generator.checkpoints import original_names
from generator.checkpoints.averages import averaged, has_averages
from generator.checkpoints.diffusers_folder import DiffusersFolder
from generator.checkpoints.download import Say
from generator.checkpoints.kinds import UNET
from generator.checkpoints.original import Original, inner, predicting, recognise
from generator.checkpoints.single_file import SingleFile, read_settings, vae_names
from generator.checkpoints.state_dict import read_state_dict
from generator.models.stable_diffusion import StableDiffusionModels

INSIDE = "model."  # what the UNet's names begin with, and its averages' do not
# Of version 2: the norm before the last attention has a bias that spreads further in models which predict v.
_LAST_NORM = re.compile(r"output_blocks\.(\d{1,3})\.1\.transformer_blocks\.0\.norm1\.bias")
V_SPREAD = 0.09


@dataclass(frozen=True)
class Whole:
    """A file that has been read: what it holds, and its tensors, mapped from the disk. vae: without a prefix."""

    file: SingleFile
    original: Original
    tensors: dict[str, Tensor]
    vae: dict[str, Tensor]

    @property
    def networks(self) -> DiffusersFolder:
        """As from a folder, without files."""
        return self.original.networks


def read(file: SingleFile, say: Say) -> Whole:
    """Reads the file and the VAE and yaml beside it; say gets what was decided where there was a choice.

    Raises BadFolder, BadStateDict and whatever UNFIT lists for a file that is something else.
    """
    tensors = read_state_dict(file.weights)
    vae = vae_names(read_state_dict(file.vae) if file.vae else tensors)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    settings = read_settings(file.config)
    original = recognise(shapes, {name: tuple(value.shape) for name, value in vae.items()}, settings)
    prediction = original.prediction
    if prediction is None:
        prediction = _guessed(inner(tensors, UNET))
        say(
            f"{file.weights.name}: Stable Diffusion 2 that does not say what it predicts; {prediction}, as the spread "
            f"of its weights tells. A yaml beside it can say `parameterization: v` or `eps`, under model.params."
        )
    if file.vae:
        say(f"{file.weights.name}: the VAE is {file.vae.name}.")
    return Whole(file, predicting(original, prediction), tensors, vae)


def weights(models: StableDiffusionModels, whole: Whole, say: Say) -> Iterator[tuple[nn.Module, Path, dict[str, Any]]]:
    """Each network, the file it is from, and its tensors by the network's own names."""
    networks, path = whole.networks, whole.file.weights
    for network, text, prefix in zip(models.texts.networks, networks.texts, whole.original.prefixes, strict=True):
        layers = text.config["num_hidden_layers"]
        projection = network.text_projection is not None
        yield network, path, original_names.text(inner(whole.tensors, prefix), layers, projection=projection)
    names = [name for name in whole.tensors if name.startswith(UNET)]
    taken = averaged(whole.tensors, names, inside=INSIDE)
    if taken is not None:
        say(f"{path.name}: the averages of its weights (EMA) are drawn with.")
    elif has_averages(whole.tensors):
        say(f"{path.name}: the averages of its weights (EMA) are not whole, so the weights themselves are drawn with.")
    unet = inner(taken or whole.tensors, UNET)
    yield models.unet, path, original_names.unet(unet, networks.unet.config["layers_per_block"])
    levels = len(networks.vae.config["block_out_channels"])
    yield models.vae, whole.file.vae or path, original_names.vae(whole.vae, levels)


def _guessed(unet: dict[str, Tensor]) -> str:
    """What a UNet of version 2 predicts. ComfyUI tells it so (comfy/supported_models.py, SD20)."""
    norms = {int(found[1]): value for name, value in unet.items() if (found := _LAST_NORM.fullmatch(name))}
    if norms and norms[max(norms)].float().std(unbiased=False) > V_SPREAD:
        return "v_prediction"
    return "epsilon"
