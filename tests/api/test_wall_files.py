"""The files of the wall: for every browser that may open it, and only what hangs there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from api.opened import Api
from api.wall_files import wall_files
from db import artefacts, queue
from db.evening import wall
from db.rules import host_rules
from settings import Settings
from tests.pages.visits import Studio


@pytest.fixture
def browser(visits: Studio) -> Iterator[TestClient]:
    settings = Settings()
    with TestClient(Starlette(routes=[wall_files(Api(settings, visits.opened()))])) as client:
        yield client


def address(visits: Studio, job_id: str, kind: str) -> str:
    return f"/wall/files/{artefacts.of_job(visits.db, job_id)[kind].id}"


def test_pictures_and_films_are_sent_whole_in_parts_and_once(visits: Studio, browser: TestClient) -> None:
    job = visits.draw("a red heart")
    picture = artefacts.of_job(visits.db, job.id)["picture"]
    answer = browser.get(address(visits, job.id, "picture"))
    assert answer.content == visits.store.get(picture.key) and answer.headers["content-type"] == "image/png"
    again = browser.get(address(visits, job.id, "picture"), headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    part = browser.get(address(visits, job.id, "gif"), headers={"range": "bytes=0-5"})
    assert part.status_code == 206 and part.content in (b"GIF87a", b"GIF89a")
    beyond = browser.get(address(visits, job.id, "gif"), headers={"range": "bytes=99999999-"})
    assert beyond.status_code == 416


def test_what_does_not_hang_on_the_wall_is_not_sent(visits: Studio, browser: TestClient) -> None:
    job = visits.draw("a red heart")
    hangs = address(visits, job.id, "picture")
    for other in (address(visits, job.id, "json"), "/wall/files/nothing", "/wall/files/%00", "/wall/files/%ED%A0%80"):
        answer = browser.get(other)
        assert answer.status_code == 404 and "There is no artefact" in answer.json()["detail"]
    queue.set_hidden(visits.db, job.id)
    assert browser.get(hangs).status_code == 404
    queue.set_hidden(visits.db, job.id, hidden=False)
    assert browser.get(hangs).status_code == 200


def test_where_the_host_is_asked_only_what_they_approved_is_sent(visits: Studio, browser: TestClient) -> None:
    job = visits.draw("a red heart")
    visits.enqueue("forming")
    forming = visits.run()
    before = [address(visits, job.id, "picture"), address(visits, forming.id, "preview")]
    assert [browser.get(one).status_code for one in before] == [200, 200]
    host_rules.change(visits.db, wall_approval=True)
    assert [browser.get(one).status_code for one in before] == [404, 404]
    wall.decide(visits.db, [job.id], True)
    assert [browser.get(one).status_code for one in before] == [200, 404]
