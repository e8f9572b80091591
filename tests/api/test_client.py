"""The Python client: what a program writes, with a server that is slow, restarts, loses answers or says no."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from api import client
from api.client import AsyncStudio, BadRequest, JobCancelled, JobFailed, NotAllowed, Studio, TooMany, Unknown
from api.server import build
from db import queue
from db.jobs import State
from settings import Settings
from studio import context
from tests.api.serving import Served, awaited, until
from tests.chain_studio import DRAFT
from tests.pages import visits as pages

Serve = Callable[..., Served]
ROOT = Path(__file__).resolve().parents[2]


def in_background(work: Callable[[], Any]) -> list[Any]:
    """What it returns, or raises, in the end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def test_a_picture_in_three_lines(real_studio: str, tmp_path: Path) -> None:
    with Studio(real_studio) as studio:
        job = studio.submit("a red heart", seed=1, **DRAFT)
        seen = list(job.watch())
        image = job.result()
        assert image.size == (64, 64) and json.loads(image.info["text2image"])["params"]["seed"] == 1
        assert [step.step for step in seen] == sorted(step.step for step in seen)
        assert seen[-1].state == "succeeded" and seen[-1].total == job.total_steps and seen[-1].score == job.score
        with Image.open(io.BytesIO(job.film())) as film:
            assert film.format == "GIF" and film.is_animated  # type: ignore[attr-defined]
        assert job.save(tmp_path / "heart.png").read_bytes()[1:4] == b"PNG"
        with Image.open(job.save(tmp_path / "heart.jpg")) as saved:
            assert saved.format == "JPEG" and saved.size == (64, 64)
        again = job.again()
        assert again.params["seed"] != 1 and again.result().size == (64, 64) and again.parent_id == job.id


def test_the_same_words_awaited(real_studio: str) -> None:
    async def draw() -> None:
        async with AsyncStudio(real_studio) as studio:
            jobs = await studio.submit("a red heart", pictures=2, seed=3, **DRAFT)
            seen = [step async for step in jobs[0].watch()]
            assert seen[-1].state == "succeeded"
            images = await asyncio.gather(*(job.result() for job in jobs))
            assert [image.size for image in images] == [(64, 64)] * 2
            assert [job.params["seed"] for job in jobs] == [3, 4] and jobs[0].sheet_id == jobs[1].sheet_id
            found = [job.id async for job in studio.jobs(mine=True)]
            assert {job.id for job in jobs} <= set(found)

    awaited(draw())


def test_a_picture_may_be_gone_on_from_in_any_form(real_studio: str, tmp_path: Path) -> None:
    with Studio(real_studio) as studio:
        first = studio.submit("a red heart", **DRAFT)
        image = first.result()
        path = first.save(tmp_path / "heart.png")
        for start in (image, path, str(path), path.read_bytes(), first):
            job = studio.submit("a heart", init_image=start, strength=0.5, **DRAFT)
            assert job.params["init_image"].startswith("uploads/") and job.result().size == (64, 64)
        assert job.parent_id == first.id


def test_the_told_wait_and_the_pictures_on_the_way_come_while_one_watches(api: Served, visits: pages.Studio) -> None:
    visits.start_executor()
    with Studio(api.address) as studio:
        job = studio.submit("a red heart", "vqgan-clip")
        following = job.watch()
        first = next(following)
        assert first.state == "queued" and first.position == 1
        running = visits.run()
        with_picture = next(step for step in following if step.preview)
        assert with_picture.step == 10 and with_picture.total == job.total_steps and with_picture.score == 0.3
        assert with_picture.preview and with_picture.preview.size == (16, 16)
        visits.finish(running)
        *_, last = following
        assert last.state == job.state == "succeeded"


@contextmanager
def on_port(port: int, visits: pages.Studio) -> Iterator[None]:
    """The API on that port, as it is told to end and starts again there."""
    configured = Settings()
    app = build(configured, context.Studio(configured, visits.db, visits.store))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield
    app.state.api.tell_to_stop()
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def test_watching_goes_on_where_the_server_restarts(visits: pages.Studio) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Studio(f"http://127.0.0.1:{port}") as studio:
        with on_port(port, visits):
            job = studio.submit("a red heart", "vqgan-clip")
            following = job.watch()
            assert next(following).state == "queued"
            heard = in_background(lambda: list(following))
        visits.finish(visits.run())
        with on_port(port, visits):
            until(lambda: heard)
    assert heard[0][-1].state == job.state == "succeeded"


class Loses:
    """ASGI: does what is asked, and drops the answer to every first request of each method and path."""

    def __init__(self, app: Any) -> None:
        self._app, self.lost = app, set[tuple[str, str]]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        what = scope.get("method", ""), scope["path"]
        if scope["type"] != "http" or what in self.lost:
            return await self._app(scope, receive, send)
        self.lost.add(what)

        async def begun(message: Any) -> None:
            if message["type"] == "http.response.start":
                await send(message)

        await self._app(scope, receive, begun)  # the server closes the connection before the body


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_queued_twice(
    serve: Serve, visits: pages.Studio
) -> None:
    api = serve()
    config = api.server.config
    config.loaded_app = loses = Loses(config.loaded_app)
    with Studio(api.address) as studio:
        job = studio.submit("a red heart", "vqgan-clip", seed=5)
        jobs = studio.submit("a blue car", "vqgan-clip", pictures=3)
        again = job.again()
    assert ("POST", "/api/v1/jobs") in loses.lost
    assert {job.id, again.id, *(one.id for one in jobs)} == {one.id for one in queue.list_jobs(visits.db)}
    assert len(queue.list_jobs(visits.db)) == 5


def test_a_job_that_fails_or_is_cancelled_says_so(api: Served, visits: pages.Studio) -> None:
    with Studio(api.address) as studio:
        job = studio.submit("a red heart", "vqgan-clip")
        running = visits.run()
        queue.fail(visits.db, worker_id=pages.EXECUTOR, job_id=running.id, kind="out_of_memory", message="Too large.")
        with pytest.raises(JobFailed, match=r"Too large\.") as failed:
            job.result()
        assert failed.value.kind == "out_of_memory"
        other = studio.submit("a blue car", "vqgan-clip").cancel()
        assert other.state == "cancelled"
        with pytest.raises(JobCancelled):
            other.result()


def test_a_program_shows_the_events_code_and_deletes_what_it_asked_for(serve: Serve, visits: pages.Studio) -> None:
    api = serve(api="open", event_code="Ñandú 7")
    with Studio(api.address) as nobody, Studio(api.address, code="wrong") as guesser:
        with pytest.raises(NotAllowed, match="X-Event-Code"):
            nobody.submit("a heart")
        assert not list(nobody.jobs()), "looking is free"
        with pytest.raises(NotAllowed, match="not this event's code"):
            guesser.submit("a heart")
    with Studio(api.address, code="ñandú7") as studio:
        job = studio.submit("a heart")
        job.cancel()
        job.delete()
        job.delete()  # an answer may be lost: gone is gone
        with pytest.raises(Unknown):
            studio.job(job.id)
        others = studio.job(visits.enqueue("a tree").id)
        with pytest.raises(NotAllowed):
            others.delete()


def test_errors_are_told_by_their_kind_and_in_the_studios_words(
    serve: Serve, visits: pages.Studio, key: Callable[..., dict[str, str]]
) -> None:
    address = serve(max_queued_per_submitter=1).address
    with Studio(address) as studio:
        with pytest.raises(Unknown, match="There is no job") as unknown:
            studio.job("0" * 26)
        assert unknown.value.status == 404 and unknown.value.kind == "unknown_job"
        with pytest.raises(Unknown, match="vqgan-clip"):
            studio.submit("x", "oil")
        with pytest.raises(BadRequest, match="Unknown setting 'colour'"):
            studio.submit("x", "vqgan-clip", colour=1)
        studio.submit("a red heart", "vqgan-clip")
        with pytest.raises(TooMany) as many:
            studio.submit("a red heart", "vqgan-clip")
        assert many.value.retry_after == 10
    read = key("read")["authorization"].removeprefix("Bearer ")
    with Studio(address, read) as studio, pytest.raises(NotAllowed, match="scope"):
        studio.submit("a red heart")
    with Studio(address, "t2i_wrong") as studio, pytest.raises(NotAllowed) as refused:
        next(studio.jobs())
    assert refused.value.status in (401, 403)


def test_a_studio_that_is_not_there_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE_S", 0.3)
    with Studio("http://127.0.0.1:9") as studio, pytest.raises(client.StudioError, match="does not answer") as lost:
        studio.engines()
    assert lost.value.status == 0


def test_all_jobs_come_page_by_page(api: Served, visits: pages.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(30):
        visits.enqueue(f"picture {n}")
    with Studio(api.address) as studio:
        assert [job.prompt for job in studio.jobs()] == [f"picture {n}" for n in reversed(range(30))]
        assert [job.prompt for job in studio.jobs(search="picture 7")] == ["picture 7"]


def test_what_there_is_to_draw_with(api: Served) -> None:
    with Studio(api.address) as studio:
        assert "latent-diffusion" in [engine["name"] for engine in studio.engines()]
        assert studio.parameters("latent-diffusion")["properties"]["cfg_scale"]["maximum"] == 30


def test_the_file_works_alone(tmp_path: Path) -> None:
    (tmp_path / "studio_client.py").write_bytes((ROOT / "api" / "client.py").read_bytes())
    code = "import sys, studio_client; print(sorted({m.split('.')[0] for m in sys.modules} & "
    code += "{'api', 'db', 'studio', 'torch', 'fastapi', 'sqlalchemy', 'pydantic', 'numpy'}))"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr


def test_a_stream_ends_with_the_loop_that_reads_it(api: Served, visits: pages.Studio) -> None:
    with Studio(api.address) as studio:
        job = studio.submit("a red heart", "vqgan-clip")
        for _ in job.watch():
            break
        until(lambda: not api.api.watch.followers)
        assert queue.get(visits.db, job.id).state == State.QUEUED
