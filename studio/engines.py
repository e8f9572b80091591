"""The engines by what they make and by the names people know them by."""

from __future__ import annotations

from typing import Literal

from generator import registry
from studio.errors import BadWish


def makes(engine: str) -> Literal["drawing", "picture", "result", "model"]:
    """What a job of the engine leaves, see registry.EngineSpec; one that this version does not know has drawn."""
    spec = registry.ENGINES.get(engine)
    return spec.makes if spec else "drawing"


def engine_title(engine: str) -> str:
    """The engine's name for people; its own where this version of the studio does not know it."""
    spec = registry.ENGINES.get(engine)
    return spec.title if spec else engine


def engines_making(what: Literal["drawing", "picture", "result", "model"]) -> list[str]:
    """The engines that make this, in the order of the table."""
    return [name for name, spec in registry.ENGINES.items() if spec.makes == what]


def check_trains(engine: str) -> None:
    """Raises BadWish for an engine that makes no model."""
    if makes(engine) != "model":
        raise BadWish(
            "{engine} makes no model; {engines} do.", engine=engine, engines=", ".join(engines_making("model"))
        )
