"""Options: the model a caller draws with. Everybody has their own: no program changes another's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.automatic1111 import models
from api.automatic1111.calls import Remembered
from api.callers import Asker, Opened, Reader

router = APIRouter(tags=["automatic1111"])


@router.get("/options")
async def get_options(api: Opened, who: Reader, kept: Remembered) -> dict[str, Any]:
    """The caller's model; the rest is as it is for everybody."""
    model = await api.ask(models.current, kept.chosen(who.submitter.id))
    return {
        "sd_model_checkpoint": models.title_of(model),
        "sd_checkpoint_hash": models.sha256_of(model[1]) or "",
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
        "samples_save": True,
        "enable_pnginfo": True,
        "live_previews_enable": True,
        "show_progress_every_n_steps": 1,
    }


@router.post("/options")
async def set_options(api: Opened, who: Asker, kept: Remembered, options: dict[str, Any]) -> None:
    """sd_model_checkpoint: the model of the caller's calls from now on. Other options change nothing.

    The choice is remembered for the last thousand callers and until the server ends.
    """
    wanted = options.get("sd_model_checkpoint")
    if wanted not in (None, ""):
        model = await api.ask(models.named, wanted)
        kept.choose(who.submitter.id, models.title_of(model))
