"""Automatic1111's addresses, all of them."""

from __future__ import annotations

from fastapi import APIRouter

from api.automatic1111 import ROOT, drawing, extras, lists, options, pnginfo, progress

router = APIRouter(prefix=ROOT)
for matter in (drawing, extras, lists, options, pnginfo, progress):
    router.include_router(matter.router)
