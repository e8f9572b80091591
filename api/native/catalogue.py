"""What there is to draw with: engines and their parameters, checkpoints, styles."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.callers import Opened, Reader
from db.rules import host_rules
from generator import registry
from generator.params import drawing_class, params_class
from studio.context import Studio
from studio.limits import first_choice
from studio.settings_form import checkpoints as checkpoints_of
from studio.settings_form import defaults as defaults_of

router = APIRouter(tags=["catalogue"])


class EngineShape(BaseModel):
    """An engine."""

    name: str
    title: str
    summary: str
    makes: str = Field(
        description="drawing: from a prompt; picture: from another picture; result: a JSON document; "
        "model: a checkpoint that draws."
    )
    checkpoints: list[str]
    offered: bool = Field(description="Whether the host offers it now.")
    first: bool = Field(description="Whether a new page shows it first.")


class EnginesShape(BaseModel):
    engines: list[EngineShape]


class EngineDetailShape(EngineShape):
    """An engine and its parameters: their JSON schema, and by checkpoint what each is where nothing is said."""

    parameters: dict[str, Any]
    defaults: dict[str, dict[str, Any]]


class CheckpointShape(BaseModel):
    """A model's weights. embedded: they come with the studio."""

    name: str
    title: str
    engines: list[str]
    embedded: bool
    styled: bool = Field(description="Whether `style` names one of /styles.")
    licence: str
    download_bytes: int
    max_side: int = Field(description="px.")


class CheckpointsShape(BaseModel):
    checkpoints: list[CheckpointShape]


class StyleShape(BaseModel):
    name: str
    title: str


class StylesShape(BaseModel):
    styles: list[StyleShape]


@router.get("/engines")
async def list_engines(api: Opened, who: Reader) -> EnginesShape:
    """The engines, in the order of the page."""
    return await api.ask(lambda studio: EnginesShape(engines=[_engine(studio, name) for name in registry.ENGINES]))


@router.get("/engines/{name}")
async def get_engine(api: Opened, who: Reader, name: str) -> EngineDetailShape:
    """An engine with the JSON schema of its parameters, from the declaration that the page's form is made from."""

    def detail(studio: Studio) -> EngineDetailShape:
        registry.lookup("engine", registry.ENGINES, name)
        shape = _engine(studio, name)
        draws = shape.makes == "drawing"
        return EngineDetailShape(
            **shape.model_dump(),
            parameters=(drawing_class(name) if draws else params_class(name)).model_json_schema(),
            defaults={one: _plain(defaults_of(name, one)) for one in shape.checkpoints} if draws else {},
        )

    return await api.ask(detail)


@router.get("/checkpoints")
async def list_checkpoints(api: Opened, who: Reader) -> CheckpointsShape:
    """The checkpoints of all engines, and the host's own."""

    def every(studio: Studio) -> CheckpointsShape:
        names: dict[str, list[str]] = {}
        for engine in registry.ENGINES:
            for name in checkpoints_of(studio, engine):
                if name != registry.NO_CHECKPOINT:
                    names.setdefault(name, []).append(engine)
        return CheckpointsShape(checkpoints=[_checkpoint(name, engines) for name, engines in names.items()])

    return await api.ask(every)


@router.get("/styles")
async def list_styles(who: Reader) -> StylesShape:
    """The styles that the embedded models know."""
    return StylesShape(styles=[StyleShape(name=name, title=title) for name, title in registry.STYLES.items()])


def _engine(studio: Studio, name: str) -> EngineShape:
    spec = registry.ENGINES[name]
    return EngineShape(
        name=name,
        title=spec.title,
        summary=spec.summary,
        makes=spec.makes,
        checkpoints=[one for one in checkpoints_of(studio, name) if one != registry.NO_CHECKPOINT],
        offered=name not in host_rules.get(studio.db).withheld,
        first=first_choice(studio)[0] == name,
    )


def _checkpoint(name: str, engines: list[str]) -> CheckpointShape:
    row = registry.checkpoint(name)
    return CheckpointShape(
        name=name,
        title=row.title,
        engines=engines,
        embedded=row.embedded,
        styled=row.styled,
        licence=row.licence,
        download_bytes=0 if row.embedded or row.own else row.about,
        max_side=row.max_side,
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
