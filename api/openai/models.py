"""/v1/models: what can be named as `model`."""

from __future__ import annotations

from fastapi import APIRouter

from api import models
from api.callers import Opened, Reader
from api.openai.shapes import ALIASES, ModelShape, ModelsShape
from generator import registry
from studio.context import Studio

router = APIRouter(prefix="/models", tags=["OpenAI images"])

PUBLISHED = 0  # when a model was made is known of few of them


@router.get("")
async def list_models(api: Opened, who: Reader) -> ModelsShape:
    """Engines, and each with each of its checkpoints; the first one is used where none is named."""
    return await api.ask(
        lambda studio: ModelsShape(data=[_shape(name, model) for name, model in models.offered(studio).items()])
    )


@router.get("/{name:path}")
async def get_model(api: Opened, who: Reader, name: str) -> ModelShape:
    """One model; OpenAI's own names stand for the first one."""

    def look(studio: Studio) -> ModelShape:
        return _shape(name, models.find(studio, name, aliases=ALIASES))

    return await api.ask(look)


def _shape(name: str, model: models.Model) -> ModelShape:
    engine, checkpoint = model
    row = registry.checkpoint(checkpoint)
    return ModelShape(
        id=name,
        created=PUBLISHED,
        title=f"{registry.ENGINES[engine].title}, {row.title}",
        embedded=row.embedded,
    )
