"""Requests that queue something: repeated, they are answered with what was queued the first time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import webhooks
from api.callers import Asker, Caller, Opened
from api.opened import Api
from db import queue
from db.errors import AlreadyOrdered
from db.jobs import Job
from studio.context import Studio, Submitter

T = TypeVar("T")
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A name of your own for this request: the same one again, within a day, queues nothing and is "
        "answered with the same jobs.",
    ),
]


class WebhookShape(BaseModel):
    """Whom to tell when the job has ended, signed as Standard Webhooks says (HMAC-SHA256)."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        max_length=2000, description="http or https; addresses of private networks only if the host says so."
    )
    secret: str = Field(
        min_length=24, max_length=200, description="base64 of at least 16 bytes, after whsec_ if you like."
    )


class Told(BaseModel):
    """A request whose jobs' ends may be told."""

    model_config = ConfigDict(extra="forbid")

    webhook: WebhookShape | None = None


@dataclass(frozen=True)
class Ordering:
    """One request that queues something: who makes it, with which key, and the answer whose status says whether it was
    made before."""

    api: Api
    who: Caller
    request: Request
    response: Response
    key: str | None

    async def jobs(self, body: BaseModel | None, make: Callable[[Studio, Submitter], list[Job]]) -> list[Job]:
        """The jobs that `make` queues for body; those of the first time where the same request was made before."""
        return await self.answer(body, make, lambda _, before: before)

    async def answer(
        self,
        body: BaseModel | None,
        make: Callable[[Studio, Submitter], T],
        found: Callable[[Studio, list[Job]], T],
    ) -> T:
        """What `make` answers, which queues jobs for body: 201. Where the same request was made before, what `found`
        answers from the jobs of the first time: 200. Raises BadParams for a webhook that nobody can be told at."""

        def made(studio: Studio) -> tuple[T, bool]:
            submitter = self._submitter(body)
            try:
                queue.check_order(studio.db, submitter.id, submitter.order)
                return make(studio, submitter), False
            except AlreadyOrdered as before:
                return found(studio, queue.get_each(studio.db, before.job_ids)), True

        answer, again = await self.api.ask(made)
        self.response.status_code = 200 if again else 201
        return answer

    def _submitter(self, body: BaseModel | None) -> Submitter:
        what = json.dumps([self.request.url.path, body.model_dump(mode="json") if body else None], sort_keys=True)
        asked = body.webhook if isinstance(body, Told) else None
        hook = webhooks.checked(asked.url, asked.secret) if asked else None
        fingerprint = hashlib.sha256(what.encode(errors="surrogatepass")).hexdigest()
        return self.who.ordering(self.key, fingerprint, hook).submitter


async def _ordering(
    api: Opened, who: Asker, request: Request, response: Response, key: IdempotencyKey = None
) -> Ordering:
    return Ordering(api, who, request, response, key)


Orders = Annotated[Ordering, Depends(_ordering)]
