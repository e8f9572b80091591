"""Programs without a key are visitors like others: one address, the event's code, bans; keys are the host's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from db import queue
from db.queue import NewJob, Order
from studio.visitor_ids import COOKIE
from tests.api.serving import Served
from tests.pages.visits import SOMEBODY, Studio

Serve = Callable[..., Served]
Key = Callable[..., dict[str, str]]
DRAW = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}
DIALECTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/jobs", DRAW),
    ("/v1/images/generations", {"prompt": "a red heart"}),
    ("/sdapi/v1/txt2img", {"prompt": "a red heart"}),
    ("/post", {"data": [{"text": "a red heart"}], "execEndpoint": "/"}),
    ("/predict/stable_diffusion", {"text_prompts": "a red heart"}),
)


def other(visits: Studio, submitter: str, address: str) -> None:
    new = NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={"prompt": "p"}, total_steps=1)
    queue.enqueue(visits.db, new, submitter=submitter, order=Order(address=address))


def test_every_dialect_asks_for_the_events_code_and_keys_need_none(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(event_code="Guggenheim 7")
    for path, body in DIALECTS:
        refused = api.post(path, body)
        assert refused.status_code in (200, 403) and "X-Event-Code" in refused.text, (path, refused.text)
    assert queue.counts(visits.db)["queued"] == 0
    assert api.get("/api/v1/jobs").status_code == 200, "looking is free"
    wrong = api.post("/api/v1/jobs", DRAW, headers={"X-Event-Code": "guess"})
    assert wrong.status_code == 403 and "not this event" in wrong.text
    assert api.post("/api/v1/jobs", DRAW, headers={"X-Event-Code": "guggenheim7"}).status_code == 201
    assert api.post("/api/v1/jobs", DRAW).status_code == 403, "a program says it each time"
    assert api.post("/api/v1/jobs", DRAW, headers=key()).status_code == 201
    for _ in range(12):
        last = api.post("/api/v1/jobs", DRAW, headers={"X-Event-Code": "guess"})
    assert last.status_code == 429 and last.headers["retry-after"]


def test_programs_without_a_key_share_what_their_address_may_have(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(max_queued_per_address=3)
    assert api.post("/api/v1/jobs", DRAW).status_code == 201
    (mine,) = queue.queued_jobs(visits.db)
    address = mine.submitter.removeprefix("address:")
    for n in range(2):
        other(visits, f"a page's visitor {n}", address)
    full = api.post("/api/v1/jobs", DRAW)
    assert full.status_code == 429 and "from your network address" in full.text and full.headers["retry-after"]
    assert api.post("/api/v1/jobs", DRAW, headers=key()).status_code == 201


def test_the_host_looks_bans_an_address_and_takes_it_back(serve: Serve, visits: Studio, key: Key) -> None:
    api, host = serve(), key("host")
    api.post("/api/v1/jobs", DRAW)
    other(visits, SOMEBODY, "elsewhere")
    root = "/api/v1/host"
    assert api.get(f"{root}/doings/addresses").status_code == 403
    places = {one["handle"]: one for one in api.get(f"{root}/doings/addresses", headers=host).json()["found"]}
    people = api.get(f"{root}/doings/visitors", headers=host).json()["found"]
    assert len(places) == len(people) == 2 and SOMEBODY not in str(people) + str(places)
    (mine,) = set(places) - {"elsewhere"}
    done = api.post(f"{root}/bulk", {"addresses": [mine], "ban": True, "hide": True, "ban_s": 60}, headers=host)
    assert done.status_code == 201 and (done.json()["cancelled"], done.json()["hidden"]) == (1, 1)
    assert "closed the queue" in api.post("/api/v1/jobs", DRAW).text
    assert api.get(f"{root}/bulk", headers=host).json()["actions"][0]["id"] == done.json()["id"]
    undone = api.post(f"{root}/bulk/{done.json()['id']}/undo", headers=host)
    assert undone.json()["undone_at"] is not None
    assert api.post("/api/v1/jobs", DRAW).status_code == 201
    theirs = next(one["handle"] for one in people if one["address"] == "elsewhere")
    banned = api.post(f"{root}/bulk", {"visitors": [theirs], "ban": True}, headers=host).json()
    assert banned["visitors"] == [theirs] and banned["cancelled"] == 1
    for wrong, status in (({"ban": True}, 422), ({"visitors": [theirs]}, 422), ({"visitors": ["x"], "ban": True}, 404)):
        assert api.post(f"{root}/bulk", wrong, headers=host).status_code == status
    api.post(f"{root}/bulk", {"addresses": [mine], "ban": True}, headers=host)
    lifted = api.post(f"{root}/addresses/{mine}/lift", headers=host).json()["found"]
    assert all(one["banned_at"] is None for one in lifted)


def test_a_visitors_cookie_is_nothing_to_the_api(serve: Serve, visits: Studio) -> None:
    from studio.visitor_ids import signed_for

    api = serve()
    api.post("/api/v1/jobs", DRAW, headers={"cookie": f"{COOKIE}={signed_for(visits.db, SOMEBODY)}"})
    assert queue.queued_jobs(visits.db)[0].submitter != SOMEBODY


def test_nobodys_id_or_address_is_in_an_answer(serve: Serve, visits: Studio, tmp_path: Path) -> None:
    api = serve()
    other(visits, SOMEBODY, "its-address")
    api.post("/api/v1/jobs", DRAW)
    mine = next(job.submitter for job in queue.queued_jobs(visits.db) if job.submitter != SOMEBODY)
    for path in (
        "/api/v1/jobs",
        "/api/v1/queue",
        "/api/v1/downloads/jobs.csv",
        "/api/v1/ratings",
        "/api/v1/me",
        "/readyz",
    ):
        answer: httpx.Response = api.get(path)
        for secret in (SOMEBODY, "its-address", mine, mine.partition(":")[2]):
            assert secret not in answer.text, (path, secret)
