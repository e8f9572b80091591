"""The native API's addresses, all of them."""

from __future__ import annotations

from fastapi import APIRouter

from api.native import (
    ROOT,
    artefacts,
    boards,
    catalogue,
    chains,
    comparisons,
    datasets,
    events,
    host,
    host_data,
    host_failures,
    jobs,
    models,
    moderation,
    queue,
    refinements,
    search,
    sheets,
    training,
    votes,
)

MATTERS = (
    jobs,
    search,
    boards,
    chains,
    events,
    sheets,
    comparisons,
    refinements,
    artefacts,
    catalogue,
    queue,
    votes,
    datasets,
    training,
    models,
    host,
    host_data,
    moderation,
    host_failures,
)
router = APIRouter(prefix=ROOT)
for matter in MATTERS:
    router.include_router(matter.router)
