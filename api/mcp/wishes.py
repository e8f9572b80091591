"""Tools that ask for pictures, and wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from api.mcp.arguments import Compare, Draw, Rank, Upscale, Vary, Wait
from api.mcp.calls import Call
from api.mcp.results import Answer, jobs_answer
from db import queue
from db.jobs import Job, State
from db.sheets import submissions
from generator import registry
from studio import access, sheets
from studio.compare import Axis
from studio.compare import compare as compare_cells
from studio.context import Studio, Submitter
from studio.limits import begun
from studio.rank import rank_any
from studio.submit import Wish, submit
from studio.upscale import upscale as upscale_picture
from studio.vary import engine_for
from studio.vary import vary as vary_picture

CLIP = registry.RANKING


async def draw(call: Call, args: Draw) -> Answer:
    """Draw a picture of a prompt, or several with a seed each, and see it. Pictures form step by step: seconds with the
    embedded models, minutes with large ones."""

    def make(studio: Studio, submitter: Submitter) -> list[Job]:
        engine, values = begun(studio, args.engine, {**args.settings, "prompt": args.prompt})
        return submit(studio, submitter, Wish(engine, values, args.pictures))

    return await _waited(call, [job.id for job in await call.ask(make)], args.wait_s)


async def wait(call: Call, args: Wait) -> Answer:
    """Wait for jobs that another tool told as unfinished, and see their pictures. Asking again is free."""
    await call.ask(lambda studio, submitter: [access.job(studio, submitter, job_id) for job_id in args.job_ids])
    return await _waited(call, args.job_ids, args.wait_s)


async def vary(call: Call, args: Vary) -> Answer:
    """Draw variations of a finished picture."""

    def make(studio: Studio, submitter: Submitter) -> list[str]:
        ((job, picture),) = access.finished(studio, submitter, [args.job_id])
        engine = args.engine or engine_for(studio, job)
        sheet = vary_picture(studio, submitter, job, picture, engine=engine, count=args.count, skip_rate=args.skip_rate)
        return _jobs_of(studio, sheet.id)

    return await _waited(call, await call.ask(make), args.wait_s)


async def upscale(call: Call, args: Upscale) -> Answer:
    """Make a finished picture larger, four times as wide and high with most models."""

    def make(studio: Studio, submitter: Submitter) -> str:
        ((job, picture),) = access.finished(studio, submitter, [args.job_id])
        return upscale_picture(studio, submitter, job, picture, checkpoint=args.checkpoint).id

    return await _waited(call, [await call.ask(make)], args.wait_s)


async def compare(call: Call, args: Compare) -> Answer:
    """Draw one prompt over the values of one or two settings, and see all of it as one labelled sheet: what does a
    setting do, which engine draws this best?"""

    def make(studio: Studio, submitter: Submitter) -> tuple[str, list[str]]:
        values = {**args.settings, "prompt": args.prompt}
        rows = Axis(args.rows.name, tuple(args.rows.values))
        columns = Axis(args.columns.name, tuple(args.columns.values)) if args.columns else None
        made = compare_cells(studio, submitter, args.engine, values, rows, columns)
        return made.id, _jobs_of(studio, made.id)

    def sheet(studio: Studio, submitter: Submitter) -> bytes | None:
        done = [job for job in queue.get_each(studio.db, job_ids) if job.state == State.SUCCEEDED]
        lines = {job.id: "" if job.score is None else f"{job.score:.3f}" for job in done}
        return sheets.as_png(studio, submitter, sheet_id, lines) if lines else None

    sheet_id, job_ids = await call.ask(make)
    await call.wait(job_ids, args.wait_s)
    return await jobs_answer(call, job_ids, await call.ask(sheet))


async def rank(call: Call, args: Rank) -> Answer:
    """Put finished pictures in the order in which CLIP sees a prompt in them, the best first."""

    def make(studio: Studio, submitter: Submitter) -> str:
        pictures = [picture.id for _, picture in access.finished(studio, submitter, args.job_ids)]
        return rank_any(studio, submitter, pictures, prompt=args.prompt, clip=args.clip or CLIP).id

    return await _waited(call, [await call.ask(make)], args.wait_s)


async def _waited(call: Call, job_ids: Sequence[str], s: float) -> Answer:
    await call.wait(job_ids, s)
    return await jobs_answer(call, job_ids)


def _jobs_of(studio: Studio, sheet_id: str) -> list[str]:
    return [member.job.id for member in submissions.jobs_of(studio.db, sheet_id)]
