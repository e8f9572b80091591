"""The studio from Python: a client on httpx, in one file that may be copied to where it is wanted.

    job = Studio("http://localhost:8501").submit("a red heart", seed=1)
    job.save("heart.png")

`AsyncStudio` has the same words, to be awaited. Each is written once, as a coroutine; that of a Studio never suspends,
since its client blocks (see `_Wire`), and such a coroutine is run like a function (see `_now`).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import io
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import httpx
from PIL import Image

ROOT, FILMS = "/api/v1", {".gif": "gif", ".mp4": "mp4"}
PATIENCE_S = 20.0  # so long a request is tried again where the server cannot be reached; `watch` never gives up
TIMEOUT_S, SILENCE_S, MAX_PAUSE_S = 60.0, 45.0, 8.0  # a stream says something every 15 s, or it is lost


class StudioError(Exception):
    """What the studio refuses or cannot do, in a sentence. status: of HTTP, 0 where nothing answers; retry_after: s."""

    def __init__(self, sentence: str, status: int = 0, kind: str = "", retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.kind, self.retry_after = status, kind, retry_after


class NotAllowed(StudioError):
    """No key, a wrong one, or one whose scope is not enough (401, 403)."""


class Unknown(StudioError):
    """There is nothing of that id or name, or it is hidden (404)."""


class TooMany(StudioError):
    """A limit is reached (429)."""


class BadRequest(StudioError):
    """What is asked for cannot be done; the sentence says what is permitted (other 4xx)."""


class JobFailed(StudioError):
    """The job ended without a picture."""


class JobCancelled(StudioError):
    """The job was cancelled."""


@dataclass(frozen=True)
class Progress:
    """How far a job is. position: 1 is served next; wait_s: told until it starts; preview: the picture so far."""

    state: str
    step: int
    total: int
    score: float | None = None
    steps_per_s: float | None = None
    position: int | None = None
    wait_s: float | None = None
    preview: Image.Image | None = None


async def _got(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _run(coroutine: Any) -> Any:
    """What a coroutine that never suspends returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a coroutine over a client that blocks has suspended")


def _each(steps: Any) -> Iterator[Any]:
    try:
        while (step := _run(anext(steps, None))) is not None:
            yield step
    finally:
        _run(steps.aclose())


def _now(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an asynchronous class, for one whose client blocks."""

    def call(*args: Any, **named: Any) -> Any:
        found = method(*args, **named)
        return _each(found) if inspect.isasyncgen(found) else _run(found)

    return functools.wraps(method)(call)


class _Wire:
    """Requests, asked again where they are lost. client, pause: such as block, or such as are awaited."""

    def __init__(self, client: Any, pause: Callable[[float], Any], url: str, *, key: str | None, code: str | None):
        headers: Any = {"authorization": f"Bearer {key}"} if key else {"x-event-code": code.encode()} if code else {}
        self.client, self._pause = client(base_url=url, headers=headers, timeout=TIMEOUT_S), pause

    async def ask(self, method: str, path: str, **values: Any) -> httpx.Response:
        """The answer; what is asked for again queues nothing more. Raises StudioError."""
        given = {name: value for name, value in values.items() if value is not None}
        asked: dict[str, Any] = {"params": given} if method == "GET" else {"json": given}
        waited, asked["headers"] = 0.0, {"idempotency-key": uuid.uuid4().hex}
        while True:
            try:
                answer = await _got(self.client.request(method, path, **asked))
            except httpx.TransportError as lost:
                answer = lost
            if not _is_lost(answer) or waited >= PATIENCE_S:
                return _checked(answer)
            waited += (pause := min(0.25 + waited, MAX_PAUSE_S))
            await _got(self._pause(pause))

    async def get(self, path: str, **values: Any) -> Any:
        return (await self.ask("GET", ROOT + path, **values)).json()

    async def post(self, path: str, **values: Any) -> Any:
        return (await self.ask("POST", ROOT + path, **values)).json()

    async def events(self, path: str, previews: bool) -> AsyncGenerator[tuple[str, Any], None]:
        """(kind, data) of each event; after the last one that was heard, where the stream is lost. Has no end."""
        last, pause = "", 0.25
        while True:
            stream, event = self._stream(path, {"previews": previews}, {"last-event-id": last}), dict[str, str]()
            async with aclosing(stream):
                with suppress(httpx.TransportError):  # it comes back
                    answer = await anext(stream)
                    if not _is_lost(answer) and answer.status_code != 429:
                        _checked(answer)
                        async for line in stream:
                            name, _, value = line.partition(": ")
                            if line:
                                event[name] = value
                            elif "data" in event:
                                last, pause = event.get("id", last), 0.25
                                yield event["event"], json.loads(event["data"])
                            event = event if line else {}
            await _got(self._pause(pause))
            pause = min(2 * pause, MAX_PAUSE_S)

    async def _stream(self, path: str, query: Any, headers: Any) -> AsyncGenerator[Any, None]:
        """The answer, and then its lines; an error is read before."""
        asked = self.client.stream("GET", ROOT + path, params=query, headers=headers, timeout=SILENCE_S)
        if isinstance(asked, AbstractContextManager):
            with asked as answer:
                if answer.is_error:
                    answer.read()
                yield answer
                for line in answer.iter_lines():
                    yield line
        else:
            async with asked as answer:
                if answer.is_error:
                    await answer.aread()
                yield answer
                async for line in answer.aiter_lines():
                    yield line


def _is_lost(answer: Any) -> bool:
    return isinstance(answer, httpx.TransportError) or answer.status_code in (502, 503, 504)


def _checked(answer: Any) -> httpx.Response:
    if isinstance(answer, httpx.TransportError):
        raise StudioError(f"The studio does not answer: {str(answer) or type(answer).__name__}") from answer
    if not answer.is_error:
        return cast(httpx.Response, answer)
    told = answer.json() if "problem+json" in answer.headers.get("content-type", "") else {}
    sentence = told.get("detail") or f"{answer.url} answers {answer.status_code} {answer.reason_phrase}."
    status, after = answer.status_code, answer.headers.get("retry-after", "")
    named: dict[int, type[StudioError]] = {401: NotAllowed, 403: NotAllowed, 404: Unknown, 429: TooMany}
    error = named.get(status, BadRequest if status < 500 else StudioError)
    raise error(sentence, status, told.get("kind", ""), float(after) if after.isdigit() else None)


def _encoded(picture: Any) -> str | None:
    """A picture's file in base64; None for what names one that the studio has: an id, or the key of an upload."""
    if isinstance(picture, Image.Image):
        out, odd = io.BytesIO(), picture.mode in ("CMYK", "LAB", "YCbCr", "F", "I")  # which PNG does not hold
        picture.save(out, "TIFF" if odd else "PNG", exif=picture.getexif())
        picture = out.getvalue()
    elif isinstance(picture, Path) or (isinstance(picture, str) and Path(picture).suffix and "uploads/" not in picture):
        picture = Path(picture).read_bytes()
    return base64.b64encode(picture).decode() if isinstance(picture, bytes) else None


class _Handle:
    """A job as the studio last told of it; what it told, `info`, is there by name as well: job.state, job.score."""

    def __init__(self, wire: _Wire, info: dict[str, Any]) -> None:
        self._wire, self.info, self._address = wire, info, info.get("delete_url") or f"{ROOT}/jobs/{info['id']}"

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("info", {}):
            return self.info[name]
        raise AttributeError(f"a job has no {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.prompt!r}>"

    async def _watch(self, previews: bool = True) -> AsyncGenerator[Progress, None]:
        """Progress until the job has ended. A lost connection or server is waited for, and nothing is told twice."""
        now = Progress(self.state, self.step, self.total_steps)
        async with aclosing(self._wire.events(f"/jobs/{self.id}/events", previews)) as events:
            async for kind, data in events:
                before = now
                if kind == "gone":
                    raise Unknown(str(data["detail"]), 404, "unknown_job")
                if kind == "preview":
                    shown = Image.open(io.BytesIO(base64.b64decode(data["b64_json"])))
                    now = replace(now, step=data["step"], preview=shown)
                elif kind in ("progress", "done"):
                    told = {field.name: data.get(field.name) for field in fields(now)}
                    now = replace(now, **(told | {"total": data["total_steps"], "preview": now.preview}))
                self.info = data if kind == "done" else self.info
                if now != before:
                    yield now
                if kind == "done":
                    return

    async def _ended(self) -> None:
        """Waits until it has ended. Raises JobFailed, JobCancelled."""
        if self.state in ("queued", "running"):
            async for _ in self._watch(previews=False):
                continue
        if self.state == "cancelled":
            raise JobCancelled("The job was cancelled.", kind="cancelled")
        if self.state == "failed":
            why = self.error or {"message": "The picture could not be drawn.", "kind": "failed"}
            raise JobFailed(why["message"], kind=why["kind"])

    async def _content(self, kind: str) -> bytes:
        await self._ended()
        files = {one["kind"]: one for one in self.files}
        if kind not in files:
            raise Unknown(f"The job has no file of the kind {kind!r}; there is: {', '.join(files)}.", kind="no_file")
        return (await self._wire.ask("GET", files[kind]["url"])).content


class AsyncJob(_Handle):
    """A job of an AsyncStudio."""

    watch = _Handle._watch

    async def result(self) -> Image.Image:
        """The finished picture, once there is one, its settings in `.info`. Raises JobFailed, JobCancelled."""
        return Image.open(io.BytesIO(await self._content("picture")))

    async def film(self) -> bytes:
        """How it formed, a GIF. Raises as `result`."""
        return await self._content("gif")

    async def save(self, path: str | Path) -> Path:
        """The picture as a file: .png with its settings, other kinds without; .gif and .mp4 are its film."""
        path, ending = Path(path), Path(path).suffix.lower()
        data = await self._content(FILMS.get(ending, "picture"))
        if ending in (".png", *FILMS):
            path.write_bytes(data)
        else:
            Image.open(io.BytesIO(data)).convert("RGB").save(path)
        return path

    async def cancel(self) -> Self:
        """End it: at once where it waits, at its next step where it runs."""
        self.info = await self._wire.post(f"/jobs/{self.id}/cancel")
        return self

    async def delete(self) -> None:
        """Delete it for good, with its pictures and the votes on them; one that is gone already is as well."""
        with suppress(Unknown):
            await self._wire.ask("DELETE", self._address)

    async def again(self) -> Self:
        """The same settings with a new seed."""
        return type(self)(self._wire, await self._wire.post(f"/jobs/{self.id}/again"))

    async def vary(self, count: int = 4, skip_rate: float = 0.6, engine: str | None = None) -> list[Self]:
        """Variations of its finished picture. skip_rate: 0 to 1, greater keeps more of it."""
        await self._ended()
        made = await self._wire.post(f"/jobs/{self.id}/variations", engine=engine, count=count, skip_rate=skip_rate)
        return [type(self)(self._wire, info) for info in made["jobs"]]

    async def upscale(self, checkpoint: str | None = None) -> Self:
        """Its finished picture, larger: a job of its own."""
        await self._ended()
        return type(self)(self._wire, await self._wire.post(f"/jobs/{self.id}/upscale", checkpoint=checkpoint))


class Job(_Handle):
    """A job of a Studio: the words of AsyncJob, at once."""

    watch: Callable[..., Iterator[Progress]] = _now(AsyncJob.watch)
    result: Callable[..., Image.Image] = _now(AsyncJob.result)
    film: Callable[..., bytes] = _now(AsyncJob.film)
    save: Callable[..., Path] = _now(AsyncJob.save)
    cancel, again, delete = _now(AsyncJob.cancel), _now(AsyncJob.again), _now(AsyncJob.delete)
    vary, upscale = _now(AsyncJob.vary), _now(AsyncJob.upscale)


class AsyncStudio:
    """A studio, to be awaited; `watch` and `jobs` are asynchronous iterators. key: of the host's; code: the event's."""

    _job: type[_Handle] = AsyncJob

    def __init__(self, url: str = "http://localhost:8501", key: str | None = None, code: str | None = None) -> None:
        self._wire = _Wire(httpx.AsyncClient, asyncio.sleep, url, key=key, code=code)

    async def submit(
        self, prompt: str, engine: str | None = None, pictures: int = 1, init_image: Any = None, **settings: Any
    ) -> Any:
        """Queue a picture and get its job, or a list of jobs for several. init_image, as mask_image and image_prompts
        among the settings: a Pillow image, a path, the bytes of a file, or a job, whose picture is waited for."""
        params, uploads = {"prompt": prompt, **settings}, dict[str, list[str]]()
        params |= {} if init_image is None else {"init_image": init_image}
        parent = init_image.id if isinstance(init_image, _Handle) else None
        for name in ("init_image", "mask_image", "image_prompts"):
            given = params.get(name)
            for one in given if isinstance(given, list | tuple) else [given]:
                data = _encoded(await one._content("picture") if isinstance(one, _Handle) else one)
                if data is not None:
                    uploads.setdefault(name, []).append(data)
                    params.pop(name, None)
        body = {"engine": engine, "params": params, "pictures": pictures, "uploads": uploads, "parent_id": parent}
        made = [self._job(self._wire, info) for info in (await self._wire.post("/jobs", **body))["jobs"]]
        return made[0] if pictures == 1 else made

    async def job(self, job_id: str) -> Any:
        """The job of this id. Raises Unknown."""
        return self._job(self._wire, await self._wire.get(f"/jobs/{job_id}"))

    async def jobs(self, **filters: Any) -> AsyncGenerator[Any, None]:
        """All jobs, the newest first, page by page. filters: mine, state, engine, search, favourite, board."""
        cursor = None
        while True:
            page = await self._wire.get("/jobs", cursor=cursor, **filters)
            for info in page["jobs"]:
                yield self._job(self._wire, info)
            if (cursor := page["next_cursor"]) is None:
                return

    async def rank(self, jobs: Sequence[Any], prompt: str, clip: Any = None) -> list[tuple[Any, float]]:
        """(job, score) best first: how much each picture resembles the prompt under CLIP, once all are drawn."""
        for job in jobs:
            await job._ended()
        new = await self._wire.post("/rankings", prompt=prompt, job_ids=[job.id for job in jobs], clip=clip)
        found = json.loads(await self._job(self._wire, new)._content("result"))["result"]["ranking"]
        shown = {file["id"]: job for job in jobs for file in job.files}
        return [(shown[one["picture"]], one["score"]) for one in found]

    async def engines(self) -> list[dict[str, Any]]:
        """The engines, and the checkpoints of each."""
        return list((await self._wire.get("/engines"))["engines"])

    async def parameters(self, engine: str) -> dict[str, Any]:
        """The settings of an engine, as a JSON schema. Raises Unknown."""
        return dict((await self._wire.get(f"/engines/{engine}"))["parameters"])

    async def close(self, *_: object) -> None:
        """Let go of its connections; the end of a `with` block does so too."""
        await _got((getattr(self._wire.client, "aclose", None) or self._wire.client.close)())

    async def __aenter__(self) -> Self:
        return self

    __aexit__ = close


class Studio:
    """A studio: the words of AsyncStudio, at once."""

    _job = Job

    def __init__(self, url: str = "http://localhost:8501", key: str | None = None, code: str | None = None) -> None:
        self._wire = _Wire(httpx.Client, time.sleep, url, key=key, code=code)

    submit, job, rank = _now(AsyncStudio.submit), _now(AsyncStudio.job), _now(AsyncStudio.rank)
    jobs: Callable[..., Iterator[Job]] = _now(AsyncStudio.jobs)
    engines: Callable[..., list[dict[str, Any]]] = _now(AsyncStudio.engines)
    parameters: Callable[..., dict[str, Any]] = _now(AsyncStudio.parameters)
    close, __enter__, __exit__ = _now(AsyncStudio.close), _now(AsyncStudio.__aenter__), _now(AsyncStudio.close)
