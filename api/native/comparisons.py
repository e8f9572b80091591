"""Comparisons: one prompt over the values of one or two settings, as one sheet."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened, Reader
from api.native.jobs import IdempotencyKey, Told, once_as, ordered
from api.native.shapes import SheetShape
from api.native.sheets import look, sheet_id_of
from generator import registry
from generator.params import BadParams
from studio.compare import ENGINE, MAX_CELLS, PROMPT, Axis, compare, example, permitted, settings_of
from studio.context import Studio
from studio.limits import first_choice, offered_engines

router = APIRouter(tags=["comparisons"])


class AxisShape(BaseModel):
    """A setting, or `engine`, or `prompt`, and the values it takes, as they would be typed on the page."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    values: list[Annotated[str, Field(min_length=1, max_length=10_000)]] = Field(min_length=1, max_length=MAX_CELLS)


class NewComparison(Told):
    """A picture for every value of `rows`, and of `columns`; one seed for all unless it is what is compared."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "engine": "vqgan-clip",
                    "params": {"prompt": "a red heart", "seed": 1},
                    "rows": {"name": "cutn", "values": ["8", "16"]},
                    "columns": {"name": "style", "values": ["noto", "twemoji"]},
                }
            ]
        }
    )

    engine: str | None = Field(None, max_length=64, description="None: the one a new page shows first.")
    params: dict[str, Any] = Field(default_factory=dict, description="The settings that all pictures have.")
    rows: AxisShape
    columns: AxisShape | None = None


class ComparedShape(BaseModel):
    """A setting that can be compared. permitted: its values in words, empty where there is nothing to say."""

    name: str
    permitted: str
    example: str


class ComparableShape(BaseModel):
    engines: list[str]
    max_pictures: int = MAX_CELLS
    settings: list[ComparedShape]


@router.get("/comparisons/settings")
async def list_comparable(
    api: Opened,
    who: Reader,
    engine: Annotated[list[str] | None, Query(description="With all of these engines; none: the first one.")] = None,
) -> ComparableShape:
    """What can be compared, and which values it takes: the engine, the prompt, the seed, and what the form offers."""

    def settings(studio: Studio) -> ComparableShape:
        engines = list(dict.fromkeys(engine or [first_choice(studio)[0]]))
        drawing = {name: None for name in registry.drawing_engines()}
        for name in engines:
            registry.lookup("engine", drawing, name)
        found = []
        for name in settings_of(engines):
            values = ", ".join(offered_engines(studio)) if name == ENGINE else permitted(engines, name)
            found.append(ComparedShape(name=name, permitted=values, example=example(name)))
        return ComparableShape(engines=engines, settings=found)

    return await api.ask(settings)


@router.post("/comparisons", status_code=201)
async def create_comparison(
    api: Opened, who: Asker, request: Request, response: Response, new: NewComparison, key: IdempotencyKey = None
) -> SheetShape:
    """Queue a picture for every cell: all of them or none. Every cell is checked before."""
    who = ordered(who, request, new, key)

    def make(studio: Studio) -> str:
        engine = new.engine or first_choice(studio)[0]
        registry.lookup("engine", {name: None for name in registry.drawing_engines()}, engine)
        base = {**new.params, **_seed(new)}
        axes = [_axis(one) for one in (new.rows, new.columns) if one is not None]
        if PROMPT not in [one.name for one in axes] and not isinstance(base.get("prompt"), str):
            raise BadParams("There is no prompt: params.prompt, or an axis of prompts, is needed.")
        return compare(studio, who.submitter, engine, base, axes[0], axes[1] if len(axes) > 1 else None).id

    return await api.ask(look, who.submitter, await once_as(api, who, response, make, sheet_id_of))


def _axis(one: AxisShape) -> Axis:
    """Raises BadParams for a value that is there twice."""
    values = tuple(value.strip() for value in one.values)
    for value in values:
        if values.count(value) > 1:
            raise BadParams(f"The value {value!r} of {one.name} is there twice.")
    return Axis(one.name, values)


def _seed(new: NewComparison) -> dict[str, int]:
    """One for all, so that they differ in what is compared alone."""
    compared = [one.name for one in (new.rows, new.columns) if one is not None]
    return {} if "seed" in compared or new.params.get("seed") is not None else {"seed": secrets.randbelow(2**32)}
