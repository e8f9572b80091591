"""Weights into models: a checkpoint's files are checked, read without running any, and must fit to the last key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator import registry
from generator.checkpoints import own_clips, single_file
from generator.checkpoints.diffusers_folder import json_text, read_folder
from generator.checkpoints.download import Say
from generator.checkpoints.embedded import embedded
from generator.checkpoints.errors import UNFIT, CheckpointDamaged, CheckpointMissing, sentence
from generator.checkpoints.resolve import resolve, resolve_files
from generator.checkpoints.store import damaged, log, require, weights_of
from generator.checkpoints.taming_config import read_config
from generator.device import Host
from generator.registry.hub import INDEX
from generator.registry.rows import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from generator.models.biggan import BigGAN
    from generator.models.caption_unet import CaptionModels
    from generator.models.clip import ClipModel
    from generator.models.contracts import Clip, Denoiser
    from generator.models.flow import FlowModels
    from generator.models.latent_unet import LatentDiffusionModel
    from generator.models.lpips import LPIPS
    from generator.models.stable_diffusion import StableDiffusionModels
    from generator.models.vqgan import VQModel


def load_vqgan(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> VQModel:
    """The VQGAN of a checkpoint in fp32, in eval mode, without gradients, on the host's device.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.fitting import check_shapes, load_strictly, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict
    from generator.checkpoints.vqgan_weights import is_first_stage, vqgan_part
    from generator.models import vqgan

    if checkpoint.embedded:
        return embedded(vqgan.load_mini).to(host.device)
    paths = require(checkpoint, host.checkpoints_dir, say)
    weights, at = weights_of(paths), next(path for suffix, path in paths.items() if suffix in (".yaml", ".yml"))
    try:
        config = read_config(at)
    except UNFIT as error:
        raise damaged(checkpoint, at, sentence(error)) from None
    held: dict[str, Tensor] = {}
    try:
        held = read_state_dict(weights)
        tensors = vqgan_part(held, weights.name, say)
        check_shapes(tensors, checkpoint.shapes)
        with torch.device("meta"):  # no memory is taken on the word of a configuration
            model = vqgan.VQModel(config)
        if model.factor != checkpoint.factor:
            raise ValueError(
                f"it draws {model.factor} px per code, not {checkpoint.factor}: its folder belongs under "
                f"vqgan-f{model.factor}/"
            )
        load_strictly(model, tensors)
    except UNFIT as error:
        wrong = what_is_wrong(error, {} if any(map(is_first_stage, held)) else held, checkpoint.kind)
        raise damaged(checkpoint, weights, wrong) from None
    return model.eval().requires_grad_(False).to(host.device)


def load_clip(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> ClipModel:
    """A CLIP in eval mode, without gradients, on the host's device; fp16 weights are widened to fp32.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.building import within
    from generator.checkpoints.fitting import check_finite, check_shapes, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models import clip
    from generator.tokens import CONTEXT

    if checkpoint.embedded:
        load = clip.load_robust if checkpoint is registry.STYLE_CLASSIFIER else clip.load_mini
        return embedded(load).to(host.device)
    if checkpoint.own:
        return own_clips.load(checkpoint.name, host.checkpoints_dir).to(host.device)
    paths = require(checkpoint, host.checkpoints_dir, say)
    weights = weights_of(paths)
    tensors: dict[str, Tensor] = {}
    try:
        tensors = read_state_dict(weights, torchscript=weights.suffix == ".pt")
        for key in ("input_resolution", "context_length", "vocab_size"):  # numbers, not weights, in OpenAI's archives
            tensors.pop(key, None)
        check_shapes(tensors, checkpoint.shapes)
        if (read := len(tensors["positional_embedding"])) != CONTEXT:
            raise ValueError(f"it reads {read} tokens, not {CONTEXT}")
        tensors = {key: value.float() for key, value in tensors.items()}
        check_finite(tensors)
        with within(tensors):
            model = clip.from_state_dict(tensors, checkpoint.name)
    except UNFIT as error:
        raise damaged(checkpoint, weights, what_is_wrong(error, tensors, checkpoint.kind)) from None
    return model.float().eval().requires_grad_(False).to(host.device)


def load_stable_diffusion(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> StableDiffusionModels:
    """Text encoders, UNet and VAE of a checkpoint or of a diffusers folder, in fp32, in eval mode, on the CPU.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints import original_weights, stable_diffusion
    from generator.checkpoints.fitting import check_shapes, load_strictly

    folder = host.checkpoints_dir / checkpoint.name
    at = folder / INDEX
    if not checkpoint.own:
        require(checkpoint, host.checkpoints_dir, say)
    try:
        file = single_file.find(host.checkpoints_dir, checkpoint.name) if checkpoint.own else None
        if file is not None:
            at = file.weights
            require(checkpoint, host.checkpoints_dir, say)
            whole = original_weights.read(file, say)
            models = stable_diffusion.build(whole.networks)
            parts = original_weights.weights(models, whole, say)
        elif not at.is_file():
            raise FileNotFoundError
        else:
            networks = read_folder(folder)
            models = stable_diffusion.build(networks)
            parts = stable_diffusion.weights(models, networks)
        for part, file_of_part, tensors in parts:
            at = file_of_part
            if part is models.unet:
                check_shapes(tensors, checkpoint.shapes)
            load_strictly(part, tensors)
    except (CheckpointMissing, CheckpointDamaged):
        raise
    except FileNotFoundError:
        raise _missing_folder(checkpoint.name, folder) from None
    except UNFIT as error:
        if checkpoint.own:
            what = f"The diffusers folder {folder}" if at.parent != folder.parent else f"The file {at}"
            raise CheckpointDamaged(f"{what} cannot be used: {sentence(error)}.") from None
        raise damaged(checkpoint, at, sentence(error)) from None
    for part in models.parts:
        part.eval().requires_grad_(False)
    return models


def _missing_folder(name: str, folder: Path) -> CheckpointMissing:
    """The error to raise where a diffusers folder is not there: what belongs in it, and how to get it."""
    fetched = f"python -m generator.checkpoints download {name}"
    source = f"get it from Hugging Face with: {fetched}" if name.count("/") == 2 else "put your model there"
    if folder.suffix in single_file.SUFFIXES:
        return CheckpointMissing(f"There is no file {folder}: {source}")
    return CheckpointMissing(
        f"There is no diffusers folder at {folder} ({INDEX}, text_encoder/, unet/, vae/, ... as save_pretrained writes "
        f"them), nor a model in one file ({folder.name}.safetensors or .ckpt): {source}"
    )


def load_diffusion(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> Denoiser:
    """A denoising network in fp32, in eval mode, without gradients, on the host's device.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.fitting import check_shapes, load_strictly, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models import openai_unet, pixel_diffusion

    if checkpoint.embedded:
        return embedded(pixel_diffusion.load_mini).to(host.device)
    (weights,) = require(checkpoint, host.checkpoints_dir, say).values()
    tensors: dict[str, Tensor] = {}
    try:
        tensors = read_state_dict(weights)
        check_shapes(tensors, checkpoint.shapes)
        with torch.device("meta"):
            model = openai_unet.OpenAIUNet(openai_unet.ARCHITECTURES[str(checkpoint.architecture)])
        load_strictly(model, tensors)
    except UNFIT as error:
        raise damaged(checkpoint, weights, what_is_wrong(error, tensors, checkpoint.kind)) from None
    return model.eval().requires_grad_(False).to(host.device)


def load_lpips(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> LPIPS:
    """LPIPS in fp32, in eval mode, without gradients, on the host's device.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    import torch

    from generator.checkpoints.fitting import load_strictly
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models import lpips

    paths = require(checkpoint, host.checkpoints_dir, say)
    try:
        tensors = lpips.tensors_of(*(read_state_dict(path) for path in paths.values()))
        with torch.device("meta"):
            model = lpips.LPIPS()
        load_strictly(model, tensors)
    except UNFIT as error:
        raise damaged(checkpoint, weights_of(paths), sentence(error)) from None
    model.mean, model.spread = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (lpips.MEAN, lpips.SPREAD))
    return model.eval().requires_grad_(False).to(host.device)


def load_latent_diffusion(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> LatentDiffusionModel:
    """The embedded latent diffusion on the host's device. Raises CheckpointDamaged."""
    from generator.models import latent_unet

    return embedded(latent_unet.load_mini).to(host.device)


def load_biggan(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> BigGAN:
    """A BigGAN in fp32, in eval mode, without gradients, on the host's device; spectral norms folded in.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.fitting import check_finite, check_shapes, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict
    from generator.models import biggan
    from generator.registry.class_names import imagenet_classes

    if checkpoint.embedded:
        return embedded(biggan.load_mini).to(host.device)
    paths = require(checkpoint, host.checkpoints_dir, say)
    weights, classes = weights_of(paths), list(imagenet_classes())
    try:
        config = biggan.read_config(json_text(paths[".json"]), checkpoint.only_side or 0)
        if config["num_classes"] != len(classes):
            raise ValueError(
                f"num_classes is {config['num_classes']}; the {len(classes)} classes of ImageNet are needed"
            )
    except UNFIT as error:
        raise damaged(checkpoint, paths[".json"], sentence(error)) from None
    tensors: dict[str, Tensor] = {}
    try:
        tensors = read_state_dict(weights)
        check_shapes(tensors, checkpoint.shapes)
        check_finite(tensors)
        model = biggan.from_published(config, tensors, classes)
    except UNFIT as error:
        raise damaged(checkpoint, weights, what_is_wrong(error, tensors, checkpoint.kind)) from None
    return model.to(host.device)


def upscaler_weights(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> dict[str, Tensor]:
    """The tensors of a published upscaler, as spandrel takes them. Raises CheckpointMissing, CheckpointDamaged."""
    from generator.checkpoints.fitting import check_finite, check_shapes, what_is_wrong
    from generator.checkpoints.state_dict import read_state_dict

    paths = require(checkpoint, host.checkpoints_dir, say)
    weights = weights_of(paths)
    tensors: dict[str, Tensor] = {}
    try:
        tensors = read_state_dict(weights)
        check_shapes(tensors, checkpoint.shapes)
        check_finite(tensors)
    except UNFIT as error:
        raise damaged(checkpoint, weights, what_is_wrong(error, tensors, checkpoint.kind)) from None
    return tensors


def load_caption_diffusion(
    checkpoint: Checkpoint, host: Host, *, say: Say = log.info
) -> CaptionModels | StableDiffusionModels:
    """Caption encoder and UNet of a model of one's own, in fp32, in eval mode, on the CPU; of one in latents the UNet,
    with the text encoder and the VAE of its base.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints import caption_models
    from generator.checkpoints.fitting import load_strictly
    from generator.models.caption_unet import CaptionModels, Pixels
    from generator.models.clip_text import TextEncoders
    from generator.sampling.noise_schedule import Schedule

    (path,) = require(checkpoint, host.checkpoints_dir, say).values()
    try:
        architecture, parts = caption_models.build(path)
        for part, tensors in parts:
            load_strictly(part, tensors)
            part.eval().requires_grad_(False)
        networks, schedule = [part for part, _ in parts], Schedule(architecture.scheduler)
    except UNFIT as error:
        raise damaged(checkpoint, path, sentence(error)) from None
    if architecture.base:
        models = load_stable_diffusion(resolve(architecture.base, host.checkpoints_dir), host, say=say)
        models.unet, models.schedule = networks[0], schedule
        return models
    text: Any = networks[1]
    texts = TextEncoders([text], zeros_for_nothing=False)
    return CaptionModels(texts, networks[0], Pixels(), schedule, architecture.size, len(architecture.channels) - 1)


def load_flow(checkpoint: Checkpoint, host: Host, *, say: Say = log.info) -> FlowModels:
    """A flow, its VQGAN and the embedded CLIP that reads its texts, in fp32, in eval mode, on the CPU.

    Raises CheckpointMissing, CheckpointDamaged.
    """
    from generator.checkpoints.fitting import load_strictly
    from generator.checkpoints.flow_weights import build
    from generator.models.flow import flow_models

    paths = require(checkpoint, host.checkpoints_dir, say)
    try:
        parts = build(paths[".json"], weights_of(paths))
        for part, tensors in parts:
            load_strictly(part, tensors)
            part.eval().requires_grad_(False)
    except UNFIT as error:
        raise damaged(checkpoint, weights_of(paths), sentence(error)) from None
    networks: list[Any] = [part for part, _ in parts]
    reader = load_clip(registry.TEXT_ENCODER, replace(host, device="cpu"))
    return flow_models(networks[0], networks[1], reader)


LOADERS: dict[str, Callable[..., Any]] = {
    "vqgan": load_vqgan,
    "clip": load_clip,
    "diffusers": load_stable_diffusion,
    "guided-diffusion": load_diffusion,
    "latent-diffusion": load_latent_diffusion,
    "biggan": load_biggan,
    "lpips": load_lpips,
    "upscaler": upscaler_weights,
    "caption-diffusion": load_caption_diffusion,
    "flow": load_flow,
}


def verify(name: str, directory: Path, say: Say = log.info) -> None:
    """Checks hashes, configuration and every key and shape.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    from generator.images.convert import no_picture

    checkpoint = registry.clip_model(name) if registry.is_own_clip(name) else resolve_files(name, directory)
    LOADERS[checkpoint.kind](checkpoint, Host("cpu", directory, no_picture), say=say)


def text_encoder_of(clips: Iterable[Clip], host: Host) -> ClipModel:
    """The CLIP that reads texts for the embedded models, whatever guides: the one among `clips`, or loaded now."""
    return _one_of(clips, registry.TEXT_ENCODER, host)


def style_classifier_of(clips: Iterable[Clip], host: Host) -> ClipModel:
    """The CLIP with a head that tells the styles apart, as text_encoder_of finds its own."""
    return _one_of(clips, registry.STYLE_CLASSIFIER, host)


def _one_of(clips: Iterable[Clip], wanted: Checkpoint, host: Host) -> ClipModel:
    from generator.models.clip import ClipModel

    found = next((clip for clip in clips if isinstance(clip, ClipModel) and clip.name == wanted.name), None)
    return found or load_clip(wanted, host)
