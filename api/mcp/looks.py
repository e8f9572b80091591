"""Tools that only look: engines and their settings, the queue, what people voted for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.mcp.arguments import Nothing, OfEngine, OfRatings, Search
from api.mcp.calls import Call
from api.mcp.ratings import ratings_told
from api.mcp.results import Answer, JobsTold, JobTold, jobs_answer
from api.native.search import nearest
from api.native.shapes import jobs_of
from db import queue
from db.jobs import State
from db.queue import workers
from db.rules import host_rules
from generator import registry
from generator.params import drawing_class
from studio import access, search
from studio.context import Studio, Submitter
from studio.engines import engines_making
from studio.limits import first_choice, offered_engines
from studio.settings_form import checkpoints, defaults

MAX_MINE = 50
READ_S = 20.0  # within which an executor has to have read what is searched for


class EngineTold(BaseModel):
    """A way to draw."""

    name: str
    title: str
    summary: str
    checkpoints: list[str] = Field(description="The first is used unless settings name another as `checkpoint`.")


class EnginesTold(BaseModel):
    """What there is to draw with."""

    engines: list[EngineTold]
    first: str = Field(description="The one that draws where none is named.")
    styles: dict[str, str] = Field(description="Values of the setting `style` of the embedded models, and their names.")


class ParametersTold(BaseModel):
    """The settings of an engine."""

    engine: str
    parameters: dict[str, Any] = Field(description="Their JSON schema.")
    defaults: dict[str, Any] = Field(description="What each is for this checkpoint where nothing is said.")


class ExecutorTold(BaseModel):
    """A machine that draws."""

    device: str
    engines: list[str]
    status: str


class QueueTold(BaseModel):
    """The queue, and one's own jobs in it with their told waits."""

    waiting: int
    running: int
    paused: bool
    executors: list[ExecutorTold] = Field(description="Without any, everything waits.")
    mine: list[JobTold]


class FoundTold(JobsTold):
    """Pictures, best first."""

    scores: list[float] = Field(description="How near CLIP finds each picture, -1 to 1.")
    notices: list[str] = Field(description="What cannot be found yet, and why.")


async def search_pictures(call: Call, args: Search) -> Answer:
    """Find finished pictures by what they show, whatever their prompts are: by words, or like another picture."""
    query = search.Query(words=args.words, like=args.job_id)
    filters = {"limit": args.limit, "engine": args.engine, "mine": args.mine, "without": engines_making("result")}
    found = await nearest(call.api, call.caller.submitter, query, READ_S, filters)
    answer = await jobs_answer(call, [job.id for job in found.jobs])
    told = answer.told.model_dump() | {"scores": found.scores, "notices": [str(one) for one in found.notices]}
    return Answer(FoundTold.model_validate(told), answer.images)


async def engines(call: Call, args: Nothing) -> Answer:
    """The engines (ways to draw) that may be used, with their checkpoints, and the styles of the embedded models."""

    def look(studio: Studio, submitter: Submitter) -> EnginesTold:
        found = [
            EngineTold(name=name, title=spec.title, summary=spec.summary, checkpoints=checkpoints(studio, name))
            for name, spec in ((name, registry.ENGINES[name]) for name in offered_engines(studio))
        ]
        return EnginesTold(engines=found, first=first_choice(studio)[0], styles=dict(registry.STYLES))

    return Answer(await call.ask(look))


async def parameters(call: Call, args: OfEngine) -> Answer:
    """The settings of an engine: what each does, what is permitted, and what it is where nothing is said."""

    def look(studio: Studio, submitter: Submitter) -> ParametersTold:
        schema = drawing_class(args.engine).model_json_schema()
        values = defaults(args.engine, args.checkpoint or registry.first_checkpoint(args.engine, ""))
        return ParametersTold(engine=args.engine, parameters=schema, defaults=values)

    return Answer(await call.ask(look))


async def ratings(call: Call, args: OfRatings) -> Answer:
    """What people voted for: the best pictures, engines and checkpoints, each with its rating and how sure that is."""
    keeper = call.api.keeper
    return Answer(await call.api.ask(lambda studio: ratings_told(studio, keeper.current(studio.db), args.limit)))


async def show_queue(call: Call, args: Nothing) -> Answer:
    """How much waits and runs, who draws, and your own jobs that have not ended with the told wait of each."""

    def look(studio: Studio, submitter: Submitter) -> QueueTold:
        counts = queue.counts(studio.db)
        live = [State.QUEUED, State.RUNNING]
        mine = access.jobs(studio, submitter, mine=True, states=live, limit=MAX_MINE)
        return QueueTold(
            waiting=counts[State.QUEUED],
            running=counts[State.RUNNING],
            paused=host_rules.get(studio.db).paused,
            executors=[
                ExecutorTold(device=one.device, engines=list(one.engines), status=one.status)
                for one in workers.live(studio.db)
            ],
            mine=[JobTold.of(studio, submitter, call.address, job) for job in jobs_of(studio, submitter, mine)],
        )

    return Answer(await call.ask(look))
