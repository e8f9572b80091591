"""What engines there are: a literal table. Importing this module does not import torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from generator.registry.checkpoints import OWN, own_kind
from generator.registry.names import lookup

NO_CHECKPOINT = "none"  # of an engine that needs none


@dataclass(frozen=True)
class EngineSpec:
    """One engine: where its classes live (imported lazily) and what to call it on a page."""

    title: str
    summary: str
    params: str  # "module:class" of its frozen Pydantic parameters
    engine: str  # "module:function" that loads its batch-first engine
    checkpoints: tuple[str, ...]
    # drawing: a picture that forms step by step, from a prompt, and its film; the form and the command line offer it.
    # picture: one picture made from another. result: a JSON document. model: a checkpoint that draws.
    makes: Literal["drawing", "picture", "result", "model"] = "drawing"


STYLED_ONLY = ("style_weight", "finish")  # settings that only models which know these styles read

ENGINES: dict[str, EngineSpec] = {
    "vqgan-clip": EngineSpec(
        title="VQGAN + CLIP",
        summary="Optimises the codes of a VQGAN until CLIP sees the prompt in the picture.",
        params="generator.params.vqgan_clip:VqganClipParams",
        engine="generator.engines.vqgan_clip:VqganClip.load",
        checkpoints=(
            "mini",
            "imagenet-f16-1024",
            "imagenet-f16-16384",
            "wikiart-f16-1024",
            "wikiart-f16-16384",
            "openimages-f8-8192",
        ),
    ),
    "guided-diffusion": EngineSpec(
        title="CLIP-guided diffusion",
        summary="Takes the noise off a picture step by step and bends every step towards what CLIP sees in the prompt.",
        params="generator.params.guided_diffusion:GuidedDiffusionParams",
        engine="generator.engines.guided_diffusion:GuidedDiffusion.load",
        checkpoints=("mini-diffusion", "guided-diffusion-256", "guided-diffusion-512"),
    ),
    "latent-diffusion": EngineSpec(
        title="Latent diffusion",
        summary="Takes the noise off a few drafts at once, guided by the text; CLIP picks the best.",
        params="generator.params.latent_diffusion:LatentDiffusionParams",
        engine="generator.engines.latent_diffusion:LatentDiffusion.load",
        checkpoints=("mini-latent-diffusion", "stable-diffusion-1-5", "stable-diffusion-1-4", "stable-diffusion-xl"),
    ),
    "biggan-clip": EngineSpec(
        title="BigGAN + CLIP",
        summary="Optimises the z and the classes of a BigGAN until CLIP sees the prompt in the picture.",
        params="generator.params.biggan_clip:BigganClipParams",
        engine="generator.engines.biggan_clip:BigganClip.load",
        checkpoints=("mini-biggan", "biggan-deep-128", "biggan-deep-256", "biggan-deep-512"),
    ),
    "upscale": EngineSpec(
        title="Upscaling",
        summary="Makes a finished picture larger, tile by tile.",
        params="generator.params.upscale:UpscaleParams",
        engine="generator.engines.upscale:Upscale",
        checkpoints=("mini-upscaler", "swinir-l"),
        makes="picture",
    ),
    "rank": EngineSpec(
        title="Ranking",
        summary="Puts finished pictures in the order in which CLIP sees the prompt in them.",
        params="generator.params.rank:RankParams",
        engine="generator.engines.rank:Rank.load",
        checkpoints=(NO_CHECKPOINT,),
        makes="result",
    ),
    "download": EngineSpec(
        title="Download",
        summary="Fetches the files of a checkpoint to the executor's machine, where the host allows it.",
        params="generator.params.download:DownloadParams",
        engine="generator.engines.download:Download",
        checkpoints=(NO_CHECKPOINT,),
        makes="result",
    ),
    "train": EngineSpec(
        title="Training",
        summary="Trains a text-to-image model of one's own from captioned pictures.",
        params="generator.params.train:TrainParams",
        engine="generator.engines.train:Train.load",
        checkpoints=(NO_CHECKPOINT,),
        makes="model",
    ),
    "train-lora": EngineSpec(
        title="Fine-tuning",
        summary="Trains a LoRA of Stable Diffusion from captioned pictures.",
        params="generator.params.train_lora:TrainLoraParams",
        engine="generator.engines.train:TrainLora.load",
        checkpoints=(NO_CHECKPOINT,),
        makes="model",
    ),
}

# What `upscaler` may name beside the checkpoints of upscale: a file the host put into the folder of checkpoints.
OWN_UPSCALER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(safetensors|pth|pt|bin)"


def first_checkpoint(engine: str, wanted: str) -> str:
    """The checkpoint to begin with: the one wanted where the engine has it, else its first. Raises UnknownName."""
    offered = lookup("engine", ENGINES, engine).checkpoints
    return wanted if offers(engine, wanted) else offered[0]


def drawing_engines() -> list[str]:
    """The engines that draw a picture from a prompt, in the order of the table."""
    return [name for name, spec in ENGINES.items() if spec.makes == "drawing"]


def offers(engine: str, checkpoint: str) -> bool:
    """Whether the engine can draw with that checkpoint. Raises UnknownName for the engine."""
    kind, spec = own_kind(checkpoint), lookup("engine", ENGINES, engine)
    return OWN[kind].engine == engine if kind else checkpoint in spec.checkpoints


def choices(engine: str) -> list[str]:
    """The checkpoints of an engine as a person may name them, those of one's own as KIND/NAME. Raises UnknownName."""
    own = [f"{kind}/NAME" for kind, one in OWN.items() if one.engine == engine]
    return [*lookup("engine", ENGINES, engine).checkpoints, *own]


def imported(path: str) -> Any:
    """What "module:name" names in the tables; it is imported only now."""
    module, _, name = path.partition(":")
    return attrgetter(name)(importlib.import_module(module))
