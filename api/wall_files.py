"""/wall/files/ID, beside the pages: pictures and films that hang on the wall, for every browser that may open it.

By an address of their own, and not as pages show theirs, so that a film is fetched in parts and a picture that stays is
fetched once. What is taken off the wall is gone at once: a browser that has it asks again before it shows it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.opened import Api
from api.problems import NotAnswered, as_problem, problem_of
from api.ranges import part
from studio import wall
from studio.errors import SENTENCES

PATH = "/wall/files/{artefact_id}"


def wall_files(api: Api) -> Route:
    """The route, for the pages' app."""

    async def answer(request: Request) -> Response:
        try:
            found = await api.ask(wall.file, request.path_params["artefact_id"])
            etag = f'"{found.sha256}"'
            headers = {"etag": etag, "cache-control": "private, no-cache", "accept-ranges": "bytes"}
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
            data = await api.run(lambda: api.studio.store.get(found.key))
            return part(request, data, found.media_type, headers)
        except NotAnswered as error:
            return as_problem(request, error.problem)
        except SENTENCES as error:
            return as_problem(request, problem_of(error))

    return Route(PATH, answer, methods=["GET"])
