"""Programs vote, read the ratings and take the votes home as visitors do; and see the queue and who they are to it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db import queue, votes
from db.rules import host_rules
from tests.api.serving import Served
from tests.pages.visits import ME, SOMEBODY, Studio

Key = Callable[..., dict[str, str]]
Serve = Callable[..., Served]
V1 = "/api/v1"


def test_a_pair_is_dealt_until_every_one_was_compared(api: Served, visits: Studio) -> None:
    empty = api.get(f"{V1}/votes/pair").json()
    assert empty == {"left": None, "right": None, "given": 0}
    for _ in range(2):
        visits.draw("a red heart", ME)
    api.api.dealer._made_at = 0.0
    pair = api.get(f"{V1}/votes/pair").json()
    body = {"left_id": pair["left"]["id"], "right_id": pair["right"]["id"], "choice": "left"}
    assert api.post(f"{V1}/votes", body).json() == {"given": 1}
    again = api.post(f"{V1}/votes", {**body, "choice": "tie"})
    assert again.status_code == 409 and "already compared" in again.json()["detail"]
    assert api.get(f"{V1}/votes/pair").json() == {"left": None, "right": None, "given": 1}
    itself = api.post(f"{V1}/votes", {**body, "right_id": body["left_id"]})
    assert itself.status_code == 422 and "with itself" in itself.json()["detail"]
    assert api.post(f"{V1}/votes", {**body, "left_id": "none"}).status_code == 404
    assert api.post(f"{V1}/votes", {**body, "choice": "both"}).status_code == 422


def test_the_ratings_are_those_of_the_leaderboard(api: Served, visits: Studio) -> None:
    assert api.get(f"{V1}/ratings").json()["votes"] == 0
    made = [visits.draw(f"a heart {n}", cutn=cutn) for n, cutn in enumerate((8, 16, 8))]
    for voter in range(12):
        for better, worse in ((1, 0), (0, 2), (1, 2)):
            left, right = made[worse].id, made[better].id
            votes.cast(visits.db, voter=f"voter-{voter}", left_id=left, right_id=right, choice="right")
    api.api.keeper._due = 0.0
    found: dict[str, Any] = {"votes": 0}
    while found["votes"] == 0:  # worked out in the background
        found = api.get(f"{V1}/ratings").json()
    assert (found["ready"], found["votes"], found["voters"], found["pictures"], found["ties"]) == (True, 36, 12, 3, 0)
    assert [one["job"]["id"] for one in found["best"]] == [made[n].id for n in (1, 0, 2)]
    assert all(one["low"] <= one["rating"] <= one["high"] for one in found["best"])
    sixteen = next(e for e in found["settings"]["vqgan-clip"] if (e["setting"], e["value"]) == ("cutn", "16"))
    assert sixteen["points"] > 0 and sixteen["low"] <= sixteen["points"] <= sixteen["high"]
    assert found["left"]["value"] < 0.5
    queue.set_hidden(visits.db, made[1].id)
    assert made[1].id not in api.get(f"{V1}/ratings").text


def test_votes_and_jobs_are_taken_home_without_what_is_hidden(api: Served, visits: Studio) -> None:
    made = [visits.draw(prompt) for prompt in ("a red heart", "=a+star", "a secret")]
    votes.cast(visits.db, voter=ME, left_id=made[0].id, right_id=made[1].id, choice="left")
    queue.set_hidden(visits.db, made[2].id)
    jobs = api.get(f"{V1}/downloads/jobs.json").json()
    assert [job["prompt"] for job in jobs] == ["=a+star", "a red heart"] and ME not in str(jobs)
    table = api.get(f"{V1}/downloads/jobs.csv")
    assert table.headers["content-type"].startswith("text/csv") and "jobs.csv" in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [row["prompt"] for row in rows] == ["'=a+star", "a red heart"]
    (cast,) = api.get(f"{V1}/downloads/votes.json").json()
    assert (cast["choice"], cast["voter"]) == ("left", jobs[0]["submitter"])
    assert len(api.get(f"{V1}/downloads/votes.csv").text.splitlines()) == 2
    assert api.get(f"{V1}/downloads/keys.csv").status_code == 422


def test_the_queue_is_told_in_the_order_in_which_it_is_served(api: Served, visits: Studio) -> None:
    visits.start_executor()
    for prompt, who in (("first", ME), ("second", ME), ("third", SOMEBODY)):
        visits.enqueue(prompt, who)
    visits.run()
    found = api.get(f"{V1}/queue").json()
    assert found["counts"]["queued"] == 2 and not found["paused"]
    assert [job["prompt"] for job in found["running"]] == ["first"]
    assert [(job["prompt"], job["position"]) for job in found["waiting"]] == [("third", 1), ("second", 2)]
    assert len(api.get(f"{V1}/queue", params={"limit": 1}).json()["waiting"]) == 1
    queue.set_hidden(visits.db, found["waiting"][0]["id"])
    assert [job["position"] for job in api.get(f"{V1}/queue").json()["waiting"]] == [2], "it keeps its place"
    host_rules.change(visits.db, paused=True)
    assert api.get(f"{V1}/queue").json()["paused"]
    (executor,) = api.get(f"{V1}/executors").json()["executors"]
    assert (executor["device"], executor["places"], executor["engines"]) == ("cpu", 2, ["vqgan-clip"])


def test_who_one_is_and_what_one_may(serve: Serve, visits: Studio, key: Key) -> None:
    api = serve(max_queued_per_submitter=7)
    me = api.get(f"{V1}/me").json()
    assert (me["scope"], me["key"], me["name"], me["limits"]["max_queued"]) == ("submit", None, None, 7)
    host_rules.change(visits.db, max_queued=3, max_per_hour=9)
    assert api.get(f"{V1}/me").json()["limits"] == {"max_queued": 3, "max_per_hour": 9, "max_job_s": 1800}
    bot = key("submit", max_queued=100)
    api.post(f"{V1}/jobs", {"params": {"prompt": "a heart"}}, headers=bot)
    mine = api.get(f"{V1}/me", headers=bot).json()
    assert mine["key"] == mine["name"] == "a submit program" and mine["waiting"] == 1
    assert mine["limits"] == {"max_queued": 100, "max_per_hour": None, "max_job_s": 1800}, "its own limits prevail"
    named = api.client.patch(f"{V1}/me", json={"name": "  Ada \u202e Bot "}, headers=bot)
    assert named.json()["name"] == "Ada Bot"
    host_rules.change(visits.db, refused_words=["gore"])
    assert api.client.patch(f"{V1}/me", json={"name": "Gore"}, headers=bot).status_code == 422
    assert api.client.patch(f"{V1}/me", json={"name": ""}, headers=bot).json()["name"] is None


def test_a_checkpoint_is_downloaded_where_the_host_allows_it(serve: Serve, visits: Studio, tmp_path: Path) -> None:
    shut = serve()
    name = "ViT-B/32"
    refused = shut.post(f"{V1}/checkpoints/{name}/download")
    assert refused.status_code == 403 and "T2I_DOWNLOADS=true" in refused.json()["detail"]
    api = serve(downloads=True, checkpoints_dir=tmp_path)
    unknown = api.post(f"{V1}/checkpoints/none/download")
    assert unknown.status_code == 404 and "imagenet-f16-16384" in unknown.json()["detail"]
    made = api.post(f"{V1}/checkpoints/{name}/download")
    assert made.status_code == 201, made.text
    assert made.json()["engine"] == "download"
    again = api.post(f"{V1}/checkpoints/{name}/download")
    assert again.status_code == 200 and again.json()["id"] == made.json()["id"]
