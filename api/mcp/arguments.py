"""What tools are asked with: typed, bounded, each told in a line."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from generator import registry
from generator.params import MAX_PROMPT_CHARACTERS
from generator.params.vary import COUNT, SKIP_RATE
from studio.access import MAX_PAGE
from studio.search import MAX_WORDS
from studio.submit import MAX_PICTURES

MAX_WAIT_S = 600.0
UPSCALER = registry.ENGINES["upscale"].checkpoints[0]


def _parsed(value: Any) -> Any:
    """Some clients send lists and objects as JSON in a text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


class Arguments(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS, description="What the picture should show.")]
Engine = Annotated[str | None, Field(max_length=64, description="One of `engines`; none: the studio's first choice.")]
JobId = Annotated[str, Field(max_length=32, description="As another tool told it.")]
JobIds = Annotated[list[JobId], Field(min_length=1, max_length=MAX_PAGE), BeforeValidator(_parsed)]
Values = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(min_length=1), BeforeValidator(_parsed)]
ClipNames = Annotated[list[str] | None, BeforeValidator(_parsed), Field(max_length=4, description="CLIP models.")]
Settings = Annotated[
    dict[str, Any],
    BeforeValidator(_parsed),
    Field(description="Further settings by name, see `parameters`: width, height, steps, seed, style, checkpoint ..."),
]
WaitS = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to wait for what was asked for; what takes longer goes on, and `wait` asks for it again.",
    ),
]
SkipRate = Annotated[
    float, Field(ge=0, le=1, allow_inf_nan=False, description="Share of the way skipped: greater keeps more of it.")
]


class Nothing(Arguments):
    """No arguments."""


class Draw(Arguments):
    prompt: Prompt
    engine: Engine = None
    pictures: int = Field(1, ge=1, le=MAX_PICTURES, description="How many, each with a seed of its own.")
    settings: Settings = {}
    wait_s: WaitS = 45.0


class Wait(Arguments):
    job_ids: JobIds
    wait_s: WaitS = 45.0


class Vary(Arguments):
    job_id: JobId
    engine: Engine = None
    count: int = Field(COUNT, ge=1, le=MAX_PICTURES, description="How many variations.")
    skip_rate: SkipRate = SKIP_RATE
    wait_s: WaitS = 45.0


class Upscale(Arguments):
    job_id: JobId
    checkpoint: str = Field(UPSCALER, max_length=128, description="The model that upscales.")
    wait_s: WaitS = 45.0


class AxisShape(Arguments):
    """A setting and the values it takes."""

    name: str = Field(max_length=64, description="A setting, or engine, or prompt.")
    values: Values


class Compare(Arguments):
    prompt: Prompt
    rows: Annotated[AxisShape, BeforeValidator(_parsed)]
    columns: Annotated[AxisShape | None, BeforeValidator(_parsed)] = None
    engine: Engine = None
    settings: Settings = {}
    wait_s: WaitS = 45.0


class Rank(Arguments):
    prompt: Prompt
    job_ids: JobIds
    clip: ClipNames = None
    wait_s: WaitS = 45.0


class Search(Arguments):
    words: str | None = Field(None, max_length=MAX_WORDS, description="What the pictures should show.")
    job_id: JobId | None = Field(None, description="In place of words: find what is like this job's picture.")
    engine: Engine = None
    mine: bool = Field(False, description="Only one's own pictures.")
    limit: int = Field(8, ge=1, le=24, description="How many pictures.")


class Keep(Arguments):
    job_ids: JobIds
    board: str | None = Field(None, min_length=1, max_length=200, description="Its name; none: the favourites.")
    off: bool = Field(False, description="Take them off it instead.")


class OfBoard(Arguments):
    board: str | None = Field(None, min_length=1, max_length=200, description="Its name; none: the favourites.")
    limit: int = Field(8, ge=1, le=24, description="How many pictures, the newest first.")


class OfEngine(Arguments):
    engine: str = Field(max_length=64, description="One of `engines`.")
    checkpoint: str | None = Field(None, max_length=128, description="Whose defaults to tell; none: its first.")


class OfRatings(Arguments):
    limit: int = Field(10, ge=1, le=24, description="How many of the best pictures.")
