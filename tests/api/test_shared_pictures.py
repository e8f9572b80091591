"""A picture's short address: what chats show of the link, and its files; nothing of what may not be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from api.opened import Api
from api.shared_pictures import shared_pictures
from db import queue
from db.rules.salt import salt
from settings import Settings
from studio import visitor_ids
from studio.visitor_ids import COOKIE
from tests.pages.visits import ME, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def client(studio: Studio) -> TestClient:
    return TestClient(Starlette(routes=shared_pictures(Api(Settings(), studio.opened()))), follow_redirects=False)


def test_a_link_shows_the_picture_where_it_is_sent_and_leads_on_to_its_page(studio: Studio, client: TestClient) -> None:
    job = studio.draw('a red "heart" <b>')
    sent = client.get(f"/p/{job.id}")
    assert 'property="og:title" content="a red &quot;heart&quot; &lt;b&gt;"' in sent.text
    assert f'property="og:image" content="http://testserver/p/{job.id}/picture"' in sent.text
    assert f'url=../previous_inferences?job={job.id}"' in sent.text and "<b>" not in sent.text


def test_a_link_says_made_with_ai_where_the_host_wants_it(studio: Studio, client: TestClient) -> None:
    job, settings = studio.draw("a red heart"), Settings(made_with_ai_note=True)
    routes = shared_pictures(Api(settings, studio.opened()))
    with TestClient(Starlette(routes=routes), follow_redirects=False) as saying:
        sent = saying.get(f"/p/{job.id}").text
    assert 'property="og:description" content="VQGAN + CLIP · Made with AI"' in sent and "<p>Made with AI</p>" in sent
    assert "with AI" not in client.get(f"/p/{job.id}").text


def test_its_files_have_names_people_can_read_and_come_whole_or_in_parts(studio: Studio, client: TestClient) -> None:
    job = studio.draw("a red heart", seed=7)
    picture = client.get(f"/p/{job.id}/picture")
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/png"
    assert "a-red-heart_vqgan-clip_seed7.png" in picture.headers["content-disposition"]
    part = client.get(f"/p/{job.id}/picture", headers={"range": "bytes=0-7"})
    assert part.status_code == 206 and part.content == picture.content[:8]
    known = client.get(f"/p/{job.id}/picture", headers={"if-none-match": picture.headers["etag"]})
    assert known.status_code == 304 and not known.content
    assert client.get(f"/p/{job.id}/film").headers["content-type"] == "image/gif"
    assert client.get(f"/p/{job.id}/anything").status_code == 404


def test_what_the_host_has_hidden_is_gone_from_its_address_at_once(studio: Studio, client: TestClient) -> None:
    job = studio.draw("a red heart")
    assert client.get(f"/p/{job.id}/picture").status_code == 200
    queue.set_hidden(studio.db, job.id)
    for path in (f"/p/{job.id}/picture", f"/p/{job.id}/thumbnail"):
        assert client.get(path).status_code == 404
    sent = client.get(f"/p/{job.id}")
    assert sent.status_code == 302 and "heart" not in sent.text
    assert client.get("/p/nobody's/picture").status_code == 404


def test_a_picture_given_to_be_upscaled_is_seen_by_whoever_gave_it_alone(studio: Studio, client: TestClient) -> None:
    upscaled = studio.draw("mine alone")
    with studio.db.begin() as conn:
        conn.exec_driver_sql("UPDATE jobs SET hidden = 1, engine = 'upscale' WHERE id = ?", (upscaled.id,))
    assert client.get(f"/p/{upscaled.id}/picture").status_code == 404
    client.cookies.set(COOKIE, visitor_ids.signed(salt(studio.db), ME))
    assert client.get(f"/p/{upscaled.id}/picture").status_code == 200
    client.cookies.set(COOKIE, "forged")
    assert client.get(f"/p/{upscaled.id}/picture").status_code == 404
