"""Engines as the pages name them, and which of them visitors may use."""

from __future__ import annotations

from db.jobs import Job
from generator import registry
from pages.shared.studio import house_rules


def makes(job: Job) -> str:
    """What a job leaves: "drawing", "picture" or "result"; see registry.EngineSpec."""
    spec = registry.ENGINES.get(job.engine)
    return spec.makes if spec else "drawing"


def engine_title(engine: str) -> str:
    """The engine's name for people; its own where this version of the studio does not know it."""
    spec = registry.ENGINES.get(engine)
    return spec.title if spec else engine


def offered_engines() -> list[str]:
    """The engines that draw and that the host lets visitors see."""
    withheld = house_rules().withheld
    return [name for name in registry.drawing_engines() if name not in withheld]
