"""The addresses of the OpenAI images API, all of them."""

from __future__ import annotations

from fastapi import APIRouter

from api.openai import images, models

router = APIRouter(prefix="/v1")
for matter in (images, models):
    router.include_router(matter.router)
