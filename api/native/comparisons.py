"""Comparisons: one prompt over the values of one or two settings, as one sheet."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Opened, Reader
from api.native.ordering import Orders, Told
from api.native.shapes import SheetShape
from api.native.sheets import asked, sheet_id_of
from generator.params import BadParams
from studio.compare import ENGINE, MAX_CELLS, PROMPT, Axis, compare, example, permitted, settings_of
from studio.context import Studio, Submitter
from studio.limits import first_choice, offered_engines

router = APIRouter(tags=["comparisons"])


class AxisShape(BaseModel):
    """A setting, or `engine`, or `prompt`, or a choice of the prompt as in it, `{red|blue}`, and the values it
    takes, as they would be typed on the page."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=1000)
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
    own_seeds: bool = Field(
        False,
        description="Each picture has the seed after the one before it: no two start from the same drafts or noise.",
    )


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
        found = []
        for name in settings_of(engines):
            values = ", ".join(offered_engines(studio)) if name == ENGINE else permitted(engines, name)
            found.append(ComparedShape(name=name, permitted=values, example=example(name)))
        return ComparableShape(engines=engines, settings=found)

    return await api.ask(settings)


@router.post("/comparisons", status_code=201)
async def create_comparison(order: Orders, new: NewComparison) -> SheetShape:
    """Queue a picture for every cell: all of them or none. Every cell is checked before."""

    def make(studio: Studio, submitter: Submitter) -> str:
        rows = Axis(new.rows.name, tuple(new.rows.values))
        columns = Axis(new.columns.name, tuple(new.columns.values)) if new.columns else None
        if PROMPT not in (rows.name, columns and columns.name) and not isinstance(new.params.get("prompt"), str):
            raise BadParams("There is no prompt: params.prompt, or an axis of prompts, is needed.")
        return compare(studio, submitter, new.engine, new.params, rows, columns, own_seeds=new.own_seeds).id

    return await order.api.ask(asked, order.who.submitter, await order.answer(new, make, sheet_id_of))
