"""/p/ID, beside the pages: a picture under a short address, to be passed on. /p/ID/picture is its file, and so on.

Chats and other sites that are sent the link fetch it and show what is in its head (Open Graph, https://ogp.me); a
browser goes on to the page of that picture. Seen is what the pages show to whoever asks, told by the visitor's cookie.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from api.content import content
from api.opened import Api
from api.problems import NotAnswered, as_problem, problem_of
from api.visitor_cookie import cookie_of
from db import artefacts
from db.artefacts import Artefact
from db.errors import UnknownJob
from db.jobs import Job
from studio import access, visitor_ids
from studio.context import Studio, Submitter
from studio.engines import engine_title
from studio.errors import SENTENCES
from studio.file_names import file_name
from studio.links import PATH, link_to
from studio.made_with_ai import note

PAGE = "previous_inferences"  # where a job's own page is
TITLE_LENGTH = 120  # characters of a prompt
# What each address has, the first that is there.
FILES = {
    "picture": ("picture",),
    "thumbnail": ("thumbnail", "picture"),
    "film": ("mp4", "webp", "gif"),
    "gif": ("gif",),
}


def shared_pictures(api: Api) -> list[Route]:
    """The routes, for the pages' app."""

    async def page(request: Request) -> Response:
        job_id = request.path_params["job_id"]
        own_page = f"../{PAGE}?job={quote(job_id)}"
        try:
            job = await api.ask(access.job, _anybody(), job_id)
            files = await api.ask(_files, job)
        except SENTENCES:
            return RedirectResponse(own_page, 302, headers=_FRESH)  # which says that there is none
        address, said = api.address_of(request) + link_to(job.id), note(api.settings)
        return HTMLResponse(_head(job, files, address, own_page, said), headers=_FRESH)

    async def file(request: Request) -> Response:
        try:
            who = await api.run(_visitor, api, request)
            job, found = await api.ask(_file, who, request.path_params["job_id"], request.path_params["name"])
            name = quote(file_name(job, found))
            return await content(api, request, who, found, {"content-disposition": f"inline; filename*=UTF-8''{name}"})
        except NotAnswered as error:
            return as_problem(request, error.problem)
        except SENTENCES as error:
            return as_problem(request, problem_of(error))

    return [Route(f"{PATH}/{{job_id}}", page), Route(f"{PATH}/{{job_id}}/{{name}}", file)]


_FRESH = {"cache-control": "no-store"}  # the host may hide the picture at any time


def _anybody() -> Submitter:
    return Submitter("link")


def _visitor(api: Api, request: Request) -> Submitter:
    known = visitor_ids.read(api.salt(), cookie_of(request.scope))
    return _anybody() if known is None else Submitter(known.id)


def _files(studio: Studio, job: Job) -> dict[str, Artefact]:
    return artefacts.of_jobs(studio.db, [job.id])[job.id]


def _file(studio: Studio, submitter: Submitter, job_id: str, name: str) -> tuple[Job, Artefact]:
    job = access.job(studio, submitter, job_id)
    there = _files(studio, job)
    found = next((there[kind] for kind in FILES.get(name, ()) if kind in there), None)
    if found is None:
        raise UnknownJob(f"{job_id}/{name}")
    return job, found


def _head(job: Job, files: dict[str, Artefact], address: str, own_page: str, note: str) -> str:
    title = job.prompt if len(job.prompt) <= TITLE_LENGTH else job.prompt[:TITLE_LENGTH] + "…"
    about = " · ".join(filter(None, [engine_title(job.engine), note]))
    told = {"og:type": "article", "og:title": title, "og:url": address, "og:description": about}
    picture = files.get("picture")
    if picture is not None:
        told |= {"og:image": f"{address}/picture", "og:image:type": picture.media_type, "og:image:alt": title}
        told |= {"og:image:width": str(picture.width), "og:image:height": str(picture.height)} if picture.width else {}
        told["twitter:card"] = "summary_large_image"
    said = f"<p>{html.escape(note)}</p>" if note else ""
    metas = "".join(
        f'<meta {"name" if name.startswith("twitter") else "property"}="{name}" content="{html.escape(value)}">'
        for name, value in told.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>{metas}'
        f'<meta http-equiv="refresh" content="0; url={html.escape(own_page)}"></head>'
        f'<body><p><a href="{html.escape(own_page)}">{html.escape(title)}</a></p>{said}</body></html>'
    )
