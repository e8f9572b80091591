"""What there is to choose from; lists of what the studio does not have are empty."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter

from api.automatic1111 import models, samplers
from api.automatic1111.calls import Remembered
from api.automatic1111.extras import PLAIN
from api.automatic1111.shapes import (
    LoraShape,
    ModelShape,
    NameShape,
    SamplerShape,
    SchedulerShape,
    StyleShape,
    UpscalerShape,
)
from api.callers import Asker, Opened, Reader
from generator import registry
from studio.context import Studio
from studio.settings_form import loras

router = APIRouter(tags=["automatic1111"])


@router.get("/sd-models")
async def list_models(api: Opened, who: Reader) -> list[ModelShape]:
    """Every checkpoint of every engine that draws, the default one first."""

    def shapes(studio: Studio) -> list[ModelShape]:
        return [
            ModelShape(
                title=models.title_of(model),
                model_name="/".join(model),
                hash=(sha256 := models.sha256_of(model[1])) and sha256[:10],
                sha256=sha256,
                filename=model[1],
            )
            for model in models.listed(studio)
        ]

    return await api.ask(shapes)


@router.get("/samplers")
async def list_samplers(api: Opened, who: Reader, kept: Remembered) -> list[SamplerShape]:
    """The samplers that the caller's model takes; Automatic alone where its engine has but one way to draw."""
    model = await api.ask(models.current, kept.chosen(who.submitter.id))
    found = [
        SamplerShape(name=name, aliases=list(samplers.SAMPLERS[name][1]))
        for name in await api.run(samplers.names, *model)
    ]
    return found or [SamplerShape(name=samplers.AUTOMATIC, aliases=[])]


@router.get("/schedulers")
async def list_schedulers(api: Opened, who: Reader) -> list[SchedulerShape]:
    """Noise levels are evenly spaced in time, which A1111 calls Uniform."""
    return [SchedulerShape(name="automatic", label="Automatic"), SchedulerShape(name="uniform", label="Uniform")]


@router.get("/upscalers")
async def list_upscalers(api: Opened, who: Reader) -> list[UpscalerShape]:
    """None, what Pillow does, and the checkpoints of the upscale engine."""
    ours = registry.ENGINES["upscale"].checkpoints
    return [
        UpscalerShape(name="None", scale=1),
        *(UpscalerShape(name=name, scale=4) for name in PLAIN),
        *(UpscalerShape(name=name, model_name=name, scale=registry.checkpoint(name).scale) for name in ours),
    ]


@router.get("/latent-upscale-modes")
async def list_latent_upscale_modes(api: Opened, who: Reader) -> list[NameShape]:
    """Latents are not upscaled here; the picture is."""
    return []


@router.get("/prompt-styles")
async def list_styles(api: Opened, who: Reader) -> list[StyleShape]:
    """The styles that the embedded models know."""
    return [StyleShape(name=name) for name in registry.STYLES]


@router.get("/sd-vae")
@router.get("/hypernetworks")
@router.get("/face-restorers")
@router.get("/realesrgan-models")
@router.get("/extensions")
@router.get("/script-info")
async def list_nothing(api: Opened, who: Reader) -> list[NameShape]:
    """There are none of these here."""
    return []


@router.get("/loras")
async def list_loras(api: Opened, who: Reader) -> list[LoraShape]:
    """Those in the folder of checkpoints, trained here or brought along, for the prompt's `<lora:NAME:WEIGHT>`."""
    return [LoraShape(name=name, alias=name) for name in await api.ask(loras)]


@router.get("/embeddings")
async def list_embeddings(api: Opened, who: Reader) -> dict[str, dict[str, str]]:
    """There are none here."""
    return {"loaded": {}, "skipped": {}}


@router.get("/scripts")
async def list_scripts(api: Opened, who: Reader) -> dict[str, list[str]]:
    """There are none here; ControlNet, ADetailer and the like are such scripts."""
    return {"txt2img": [], "img2img": []}


@router.get("/cmd-flags")
async def list_flags(api: Opened, who: Reader) -> dict[str, bool]:
    """What A1111 would be started with to be like this."""
    return {"api": True, "nowebui": True}


@router.get("/memory")
async def tell_memory(api: Opened, who: Reader) -> dict[str, dict[str, Any]]:
    """Of the machine that answers, in bytes; executors have devices and memory of their own."""
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    ram = {"free": free, "used": total - free, "total": total}
    return {"ram": ram, "cuda": {"error": "Devices are the executors' own; see /api/v1/executors."}}


@router.post("/refresh-checkpoints")
@router.post("/refresh-vae")
@router.post("/refresh-loras")
async def refresh(api: Opened, who: Asker) -> None:
    """Lists are read anew for every call, so there is nothing to do."""
