"""What the host does, by program: with a key of the scope `host`, and refused to everybody else."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db import queue
from db.jobs import State
from db.rules import host_rules
from tests.api.serving import Served
from tests.pages.visits import ME, SOMEBODY, Studio

Key = Callable[..., dict[str, str]]
Serve = Callable[..., Served]
HOST = "/api/v1/host"


class Hosted:
    """The API, asked by the host."""

    def __init__(self, api: Served, headers: dict[str, str]) -> None:
        self.api, self.headers = api, headers

    def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.api.client.request(method, f"{HOST}/{path}", json=body, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def hosted(serve: Serve, key: Key, tmp_path: Path) -> Hosted:
    return Hosted(serve(exports_dir=tmp_path / "exports"), key("host"))


def test_everything_of_the_host_is_refused_to_everybody_else(api: Served, visits: Studio, key: Key) -> None:
    job = visits.enqueue("a red heart")
    document = api.get("/api/openapi.json").json()
    hosts = [(path, method) for path, ms in document["paths"].items() for method in ms if path.startswith(HOST)]
    assert len(hosts) >= 17
    for headers in ({}, key("read"), key("submit")):
        for path, method in hosts:
            url = path.replace("{job_id}", job.id).replace("{action}", "cancel").replace("{handle}", "x")
            url = url.replace("{name}", "x").replace("{key_id}", "x")
            answer = api.client.request(method, url, json={"confirmation": "DELETE", "name": "x"}, headers=headers)
            assert answer.status_code == 403 and "needs 'host'" in answer.json()["detail"], (path, answer.text)
    assert queue.get(visits.db, job.id) == job


def test_the_host_stops_the_queue_and_orders_it(hosted: Hosted, visits: Studio) -> None:
    first, second = visits.enqueue("first", ME), visits.enqueue("second", ME)
    assert hosted("POST", "pause") == {"paused": True} and host_rules.get(visits.db).paused
    assert hosted("POST", f"jobs/{second.id}/front")["position"] == 1
    assert hosted("POST", f"jobs/{first.id}/cancel")["state"] == "cancelled"
    assert hosted("POST", "resume") == {"paused": False}
    hosted("POST", f"jobs/{second.id}/hide")
    assert hosted.api.get(f"/api/v1/jobs/{second.id}").status_code == 404
    hosted("POST", f"jobs/{second.id}/show")
    assert hosted.api.get(f"/api/v1/jobs/{second.id}").status_code == 200
    hosted("POST", f"jobs/{second.id}/burn", status=422)
    hosted("POST", "jobs/none/hide", status=404)


def test_the_host_lets_pictures_onto_the_wall(hosted: Hosted, visits: Studio) -> None:
    first, second, third = visits.draw("first"), visits.draw("second"), visits.draw("third")
    waiting = hosted("GET", "wall?limit=2")
    assert [job["id"] for job in waiting["jobs"]] == [third.id, second.id] and waiting["count"] == 3
    hosted("POST", f"jobs/{third.id}/approve")
    hosted("POST", f"jobs/{second.id}/decline")
    assert [job["id"] for job in hosted("GET", "wall")["jobs"]] == [first.id]
    assert [queue.get(visits.db, job.id).on_wall for job in (first, second, third)] == [None, False, True]
    unfinished = visits.enqueue("a blue car")
    hosted("POST", f"jobs/{unfinished.id}/approve", status=404)


def test_a_visitor_is_banned_by_a_handle_that_lets_nobody_act_for_them(hosted: Hosted, visits: Studio) -> None:
    visits.draw("a red heart", SOMEBODY)
    waiting = visits.enqueue("a blue car", SOMEBODY)
    (visitor,) = hosted("GET", "visitors")["visitors"]
    assert visitor["asked"] == 2 and visitor["live"] == 1
    assert SOMEBODY not in json.dumps(visitor) and SOMEBODY[:6] not in visitor["handle"]
    banned = hosted("POST", f"visitors/{visitor['handle']}/ban", {"hide_pictures": True})
    assert banned["banned_at"] and queue.get(visits.db, waiting.id).state == State.CANCELLED
    assert hosted.api.get("/api/v1/jobs").json()["jobs"] == []
    assert hosted("POST", f"visitors/{visitor['handle']}/lift")["banned_at"] is None
    hosted("POST", "visitors/visitor-0/ban", status=404)
    (kept,) = {job["submitter"] for job in hosted.api.get("/api/v1/downloads/jobs.json").json()} or {visitor["handle"]}
    assert kept == visitor["handle"]


def test_rules_are_set_all_at_once_or_not_at_all(hosted: Hosted, visits: Studio) -> None:
    new = {
        "max_queued": 3,
        "max_per_hour": 30,
        "max_queued_per_address": 20,
        "max_per_hour_per_address": 200,
        "max_queued_in_all": 500,
        "event_code": "Guggenheim 7",
        "max_job_s": 600.0,
        "train": True,
        "wall_approval": True,
        "refused_words": ["gore", "two words"],
        "engines": ["vqgan-clip", "latent-diffusion"],
        "default_engine": "latent-diffusion",
        "default_checkpoint": "mini-latent-diffusion",
    }
    assert hosted("PUT", "rules", new) == new == hosted("GET", "rules")
    assert host_rules.get(visits.db).max_queued == 3
    for wrong in (
        {"engines": ["latent-diffusion"], "default_engine": "vqgan-clip"},
        {"engines": ["oil"]},
        {"default_engine": "rank"},
        {"default_checkpoint": "none"},
        {"refused_words": ["..."]},
        {"max_queued": 0},
        {"max_per_hour": "many"},
        {"max_job_s": -1},
        {"train": "perhaps"},
    ):
        answer = hosted.api.client.put(f"{HOST}/rules", json={**new, **wrong}, headers=hosted.headers)
        assert answer.status_code in (404, 422), wrong
        assert hosted("GET", "rules") == new, wrong
    back = hosted("PUT", "rules", {})
    assert back["max_queued"] is back["train"] is None and not back["wall_approval"]
    assert back["refused_words"] == [] and "upscale" in back["engines"]


def test_the_evening_is_exported_streamed_and_removed(hosted: Hosted, visits: Studio) -> None:
    visits.draw("a red heart", SOMEBODY)
    assert hosted("GET", "usage")["files"] > 0
    made = hosted("POST", "exports", {"title": "Evening", "hours": 6}, status=201)
    assert made["pictures"] == 1 and [one["name"] for one in hosted("GET", "exports")["exports"]] == [made["name"]]
    answer = hosted.api.get(made["url"], headers=hosted.headers)
    assert answer.headers["content-type"] == "application/zip" and len(answer.content) == made["size"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert any(name.endswith(".png") for name in archive.namelist())
    part = hosted.api.get(made["url"], headers={**hosted.headers, "range": "bytes=0-3"})
    assert part.status_code == 206 and part.content == b"PK\x03\x04"
    for odd in ("..%2F..%2Fjobs.db", "%00", "evening-" + "9" * 5000 + ".zip", "jobs.db"):
        assert hosted.api.get(f"{HOST}/exports/{odd}", headers=hosted.headers).status_code in (404, 422), odd
    assert hosted("DELETE", f"exports/{made['name']}")["name"] == made["name"]
    hosted("DELETE", f"exports/{made['name']}", status=404)


def test_everything_is_forgotten_once_the_word_is_typed(hosted: Hosted, visits: Studio) -> None:
    visits.draw("a red heart", SOMEBODY)
    hosted("POST", "forget", {"confirmation": "delete"}, status=422)
    hosted("POST", "forget", {"confirmation": "DELETE"}, status=409)  # the queue is open
    hosted("POST", "pause")
    assert hosted("POST", "forget", {"confirmation": "DELETE"})["jobs"] == 1
    assert queue.list_jobs(visits.db, include_hidden=True) == []
    assert hosted("GET", "keys")["keys"], "keys stay"


def test_keys_are_made_listed_and_revoked(hosted: Hosted) -> None:
    made = hosted("POST", "keys", {"name": "a bot", "max_queued": 5}, status=201)
    assert made["secret"].startswith("t2i_") and made["scope"] == "submit" and made["max_queued"] == 5
    listed = hosted("GET", "keys")["keys"]
    assert {key["name"] for key in listed} == {"a bot", "a host program"} and "secret" not in json.dumps(listed)
    shown = {"x-api-key": made["secret"]}
    assert hosted.api.get("/api/v1/me", headers=shown).json()["key"] == "a bot"
    assert hosted("DELETE", f"keys/{made['id']}")["revoked_at"]
    assert hosted.api.get("/api/v1/me", headers=shown).status_code == 401
    hosted("DELETE", "keys/none", status=404)
    hosted("POST", "keys", {"name": " "}, status=422)
    hosted("POST", "keys", {"name": "x", "scope": "root"}, status=422)


def test_the_host_looks_at_what_failed_and_tries_it_again_in_bulk(hosted: Hosted, visits: Studio) -> None:
    failed = []
    for n in range(3):
        visits.enqueue(f"heart {n}", SOMEBODY)
        job = visits.run()
        failed.append(job)
        queue.fail(visits.db, worker_id="executor-1", job_id=job.id, kind="executor_lost", message="It was lost.")
    page = hosted("GET", "failures?limit=2")
    assert page["kinds"] == {"executor_lost": 3} and page["next_cursor"] == failed[1].id
    assert [one["job"]["id"] for one in page["failures"]] == [failed[2].id, failed[1].id]
    first = page["failures"][0]
    assert first["executor"] == "executor-1" and first["job"]["error"]["message"] == "It was lost."
    assert hosted("GET", f"failures?cursor={page['next_cursor']}")["next_cursor"] is None
    (again,) = hosted("POST", "failures/retry", {"job_ids": [failed[0].id]})["again"]
    assert again["job_id"] == failed[0].id and queue.get(visits.db, again["new_id"]).state == State.QUEUED
    assert hosted("POST", "failures/hide", {"job_ids": [failed[1].id]}) == {"hidden": 1}
    everything = hosted("POST", "failures/retry", {"kind": "executor_lost"})
    assert [one["job_id"] for one in everything["again"]] == [failed[2].id] and everything["refused"] == []
    assert hosted("GET", "failures") == {"failures": [], "kinds": {}, "next_cursor": None}
    (refused,) = hosted("POST", "failures/retry", {"job_ids": [failed[0].id]})["refused"]
    assert "tried again already" in refused["message"]
    for wrong in ({}, {"job_ids": []}, {"job_ids": ["x"], "kind": "x"}, {"job_ids": ["x"] * 201}, {"all": True}):
        hosted("POST", "failures/retry", wrong, status=422)
    hosted("POST", "failures/hide", {"job_ids": ["none"]}, status=404)
