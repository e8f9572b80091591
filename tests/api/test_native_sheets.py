"""What is made from a picture, and pictures that belong together: for programs as on the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from db import artefacts, queue
from db.jobs import State
from db.rules import host_rules
from studio.context import Submitter
from studio.sheets import sheet as sheet_of
from studio.standing import lines
from tests.api.serving import Served
from tests.pages.visits import SOMEBODY, Studio

Key = Callable[..., dict[str, str]]
V1 = "/api/v1"


def ok(answer: Any, *statuses: int) -> Any:
    assert answer.status_code in (statuses or (200, 201)), answer.text
    return answer.json()


def candidates(api: Served, count: int = 2, **more: Any) -> dict[str, Any]:
    """A sheet of the caller's own."""
    body = {"engine": "vqgan-clip", "params": {"prompt": "a red heart", "seed": 7}, "pictures": count}
    job = ok(api.post(f"{V1}/jobs", body, **more))["jobs"][0]
    return ok(api.get(f"{V1}/sheets/{job['sheet_id']}"))


def ranked(visits: Studio, job_id: str, order: list[str]) -> None:
    """The executor has ranked the pictures in this order."""
    visits.rank(queue.get(visits.db, job_id), {picture: 0.9 - n / 10 for n, picture in enumerate(order)})


def picture_of(shape: dict[str, Any]) -> str:
    return next(file["id"] for file in shape["files"] if file["kind"] == "picture")


def test_variations_of_a_picture_are_a_sheet_of_its_children(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart", SOMEBODY)
    sheet = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"count": 3, "skip_rate": 0.9}), 201)
    assert sheet["kind"] == "variations" and len(sheet["jobs"]) == 3 and sheet["layout"]["skip_rate"] == 0.9
    assert {one["parent_id"] for one in sheet["jobs"]} == {job.id}
    assert all(one["engine"] == "latent-diffusion" and one["params"]["strength"] == 0.1 for one in sheet["jobs"])
    other = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"engine": "vqgan-clip", "count": 1}), 201)
    assert other["jobs"][0]["engine"] == "vqgan-clip" and other["jobs"][0]["params"]["init"] == "image"
    waiting = ok(api.get(f"{V1}/jobs/{sheet['jobs'][0]['id']}"))
    refused = api.post(f"{V1}/jobs/{waiting['id']}/variations")
    assert refused.status_code == 422 and "no finished picture: it is queued" in refused.json()["detail"]
    assert api.post(f"{V1}/jobs/{job.id}/variations", {"engine": "oil"}).status_code == 404
    assert api.post(f"{V1}/jobs/{job.id}/variations", {"count": 9}).status_code == 422


def test_a_variation_by_another_engine_is_told_what_that_one_reads(api: Served, visits: Studio) -> None:
    published = {"checkpoint": "imagenet-f16-1024", "clip": ("RN50",)}  # it was told the emoji as it was typed
    typed = {**published, "as_typed": True}
    drawn = [(visits.draw("🐱", SOMEBODY, **more), read) for more, read in ((published, "cat face"), (typed, "🐱"))]
    for job, read in drawn:
        same = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"count": 1}), 201)["jobs"][0]
        other = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"engine": "latent-diffusion", "count": 1}), 201)
        assert (same["prompt"], other["jobs"][0]["prompt"]) == ("🐱", read)


def test_a_picture_is_upscaled_and_stays_the_child_of_its_job(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart")
    made = ok(api.post(f"{V1}/jobs/{job.id}/upscale"), 201)
    assert made["engine"] == "upscale" and made["parent_id"] == job.id and made["prompt"] == "a red heart"
    visits.upscale(queue.get(visits.db, made["id"]))
    assert "picture" in [file["kind"] for file in ok(api.get(made["url"]))["files"]]
    assert api.post(f"{V1}/jobs/{job.id}/upscale", {"checkpoint": "none"}).status_code == 422


def test_what_was_asked_for_twice_under_one_key_is_queued_once(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart")
    before = len(queue.list_jobs(visits.db))
    once = {"idempotency-key": "one"}
    first = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"count": 2}, headers=once), 201)
    again = ok(api.post(f"{V1}/jobs/{job.id}/variations", {"count": 2}, headers=once), 200)
    assert again["id"] == first["id"] and len(queue.list_jobs(visits.db)) == before + 2
    for path, body in (
        (f"jobs/{job.id}/upscale", {}),
        ("comparisons", {"params": {"prompt": "a"}, "rows": {"name": "seed", "values": ["1", "2"]}}),
        ("refinements", {"prompt": "a red heart", "engine": "vqgan-clip", "checkpoint": "mini"}),
    ):
        headers = {"idempotency-key": path}
        made = ok(api.post(f"{V1}/{path}", body, headers=headers), 201)
        assert ok(api.post(f"{V1}/{path}", body, headers=headers), 200)["id"] == made["id"], path
    other = api.post(f"{V1}/jobs/{job.id}/variations", {"count": 3}, headers=once)
    assert other.status_code == 422 and "used for another request" in other.json()["detail"]


def test_own_sheets_are_listed_and_cancelled_together(api: Served, visits: Studio) -> None:
    sheet = candidates(api, 3)
    (listed,) = ok(api.get(f"{V1}/sheets"))["sheets"]
    assert listed["id"] == sheet["id"] and listed["job_ids"] == [job["id"] for job in sheet["jobs"]]
    visits.finish(visits.run())
    ended = ok(api.post(f"{sheet['url']}/cancel"))
    assert [job["state"] for job in ended["jobs"]] == ["succeeded", "cancelled", "cancelled"]
    assert sheet["labels"] == ["seed 7", "seed 8", "seed 9"]


def test_a_sheet_that_is_hidden_whole_is_gone(api: Served, visits: Studio, key: Key) -> None:
    sheet = candidates(api)
    for job in sheet["jobs"]:
        queue.set_hidden(visits.db, job["id"])
    for path in ("", "/picture.png", "/film.gif"):
        assert api.get(sheet["url"] + path).status_code == 404
    assert ok(api.get(f"{V1}/sheets"))["sheets"] == []
    assert ok(api.get(sheet["url"], headers=key("host")))["id"] == sheet["id"]


def test_a_sheet_is_ranked_and_taken_home_as_a_picture_and_a_film(api: Served, visits: Studio) -> None:
    sheet = candidates(api)
    early = api.post(f"{sheet['url']}/rank")
    assert early.status_code == 422 and "two finished pictures" in early.json()["detail"]
    assert api.get(f"{sheet['url']}/film.gif").status_code == 422
    for _ in sheet["jobs"]:
        visits.finish(visits.run())
    now = ok(api.get(sheet["url"]))
    pictures = [picture_of(job) for job in now["jobs"]]
    job = ok(api.post(f"{sheet['url']}/rank", {"prompt": "a heart"}), 201)
    assert job["engine"] == "rank" and job["params"]["pictures"] == pictures and job["prompt"] == "a heart"
    assert ok(api.get(sheet["url"]))["rankings"][0]["id"] == job["id"]
    ranked(visits, job["id"], pictures[::-1])
    for name, form in (("picture.png", "PNG"), ("film.gif", "GIF")):
        answer = api.get(f"{sheet['url']}/{name}")
        assert Image.open(io.BytesIO(answer.content)).format == form
    stranger = visits.draw("somebody else's", SOMEBODY)
    foreign = artefacts.of_job(visits.db, stranger.id)["picture"].id
    refused = api.post(f"{sheet['url']}/rank", {"pictures": [pictures[0], foreign]})
    assert refused.status_code == 422 and "of this sheet" in refused.json()["detail"]


def test_the_lines_under_a_sheets_pictures_are_those_of_the_page(visits: Studio, api: Served) -> None:
    sheet = candidates(api, 3)
    for _ in range(2):
        visits.finish(visits.run())
    pictures = [picture_of(job) for job in ok(api.get(sheet["url"]))["jobs"][:2]]
    job = ok(api.post(f"{sheet['url']}/rank"))
    ranked(visits, job["id"], pictures[::-1])
    studio = visits.opened()
    found, everyone = sheet_of(studio, Submitter("somebody"), sheet["id"])
    first, second, third = lines(studio, found, everyone)[0].values()
    assert first.startswith("No. 2 · score 0.800 · ") and second.startswith("No. 1 · score 0.900 · ")
    assert third == "Waiting"


def test_any_finished_pictures_are_ranked(api: Served, visits: Studio) -> None:
    jobs = [visits.draw(f"heart {n}", SOMEBODY) for n in range(3)]
    ids = [job.id for job in jobs]
    made = ok(api.post(f"{V1}/rankings", {"prompt": "a heart", "job_ids": ids}), 201)
    assert made["engine"] == "rank" and len(made["params"]["pictures"]) == 3
    for clip, read in (("mini", "a red heart in a cat face"), ("RN50", "un corazón rojo en un 🐱")):
        asked = {"prompt": "un corazón rojo en un 🐱", "job_ids": ids, "clip": [clip]}
        found = ok(api.post(f"{V1}/rankings", asked), 201)["params"]["prompt"]
        assert found == read, "the embedded CLIP reads what it read when it drew"
    queue.set_hidden(visits.db, ids[0])
    assert api.post(f"{V1}/rankings", {"prompt": "a heart", "job_ids": ids}).status_code == 404
    assert api.post(f"{V1}/rankings", {"prompt": "x", "job_ids": ids[1:], "clip": ["ViT-Z"]}).status_code in (404, 422)


def test_a_comparison_is_checked_before_anything_is_queued(api: Served, visits: Studio) -> None:
    found = ok(api.get(f"{V1}/comparisons/settings", params={"engine": "vqgan-clip"}))
    settings = {one["name"]: one for one in found["settings"]}
    assert {"engine", "prompt", "seed", "style", "cutn"} <= settings.keys()
    assert settings["cutn"]["permitted"] == "1 to 512"
    body: dict[str, Any] = {
        "engine": "vqgan-clip",
        "params": {"prompt": "a red heart", "steps": 10},
        "rows": {"name": "cutn", "values": ["8", "16"]},
        "columns": {"name": "style", "values": ["noto", "any"]},
    }
    sheet = ok(api.post(f"{V1}/comparisons", body), 201)
    assert sheet["kind"] == "compare" and len(sheet["jobs"]) == 4
    assert len({job["params"]["seed"] for job in sheet["jobs"]}) == 1
    assert sheet["labels"][1] == "cutn 8 · style any"
    wrong = api.post(f"{V1}/comparisons", {**body, "rows": {"name": "cutn", "values": ["8", "many"]}})
    assert wrong.status_code == 422 and "cutn many" in wrong.json()["detail"]
    engines = {"name": "engine", "values": ["vqgan-clip", "oil"]}
    assert api.post(f"{V1}/comparisons", {**body, "columns": engines}).status_code in (404, 422)
    twice = api.post(f"{V1}/comparisons", {**body, "rows": {"name": "cutn", "values": ["8", "8"]}})
    assert twice.status_code == 422 and "twice" in twice.json()["detail"]
    for asked in (api.post(f"{V1}/comparisons", {**body, "engine": "upscale"}), None):
        answer = asked or api.get(f"{V1}/comparisons/settings", params={"engine": "rank"})
        assert answer.status_code in (404, 422) and "vqgan-clip" in answer.text and "upscale," not in answer.text
    prompts = {"name": "prompt", "values": ["a, b", "c"]}
    assert len(ok(api.post(f"{V1}/comparisons", {"rows": prompts}), 201)["jobs"]) == 2
    assert "no prompt" in api.post(f"{V1}/comparisons", {"rows": body["rows"]}).json()["detail"]
    assert len(queue.list_jobs(visits.db)) == 6


def test_a_comparison_is_taken_home_as_png_page_and_table(api: Served, visits: Studio) -> None:
    body: dict[str, Any] = {
        "engine": "vqgan-clip",
        "params": {"prompt": "a {red|blue} heart", "seed": 3},
        "rows": {"name": "{red|blue}", "values": ["red", "blue"]},
        "columns": {"name": "steps", "values": ["10", "20"]},
        "own_seeds": True,
    }
    sheet = ok(api.post(f"{V1}/comparisons", body), 201)
    assert [job["params"]["seed"] for job in sheet["jobs"]] == [3, 4, 5, 6]
    done = visits.finish(visits.run())
    picture, page, table = (api.get(f"{sheet['url']}/{name}") for name in ("picture.png", "page.html", "table.csv"))
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert page.headers["content-type"].startswith("text/html") and "attachment" in page.headers["content-disposition"]
    assert page.text.count("data:image/webp;base64,") == 1 and page.text.count("Waiting") == 3
    lines = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    first, last = lines[0], lines[-1]
    assert len(lines) == 4 and last["state"] == "queued" and last["score"] == last["seconds"] == ""
    told = {"row_setting": "{red|blue}", "row_value": "red", "column_setting": "steps", "column_value": "10"}
    told |= {"engine": "vqgan-clip", "seed": "3", "score": "0.42", "state": "succeeded", "job_id": done.id}
    assert told.items() <= first.items() and float(first["seconds"]) >= 0
    assert ok(api.get(first["address"].removeprefix(api.address)))["id"] == done.id
    queue.set_hidden(visits.db, done.id)
    assert done.id not in api.get(f"{sheet['url']}/table.csv").text
    assert "data:image" not in api.get(f"{sheet['url']}/page.html").text
    assert api.get(f"{V1}/sheets/{'0' * 26}/table.csv").status_code == 404


def test_a_refinement_goes_from_what_is_marked_to_the_next_row(api: Served, visits: Studio) -> None:
    new = {"prompt": "a red heart", "engine": "vqgan-clip", "checkpoint": "mini", "style": "noto", "count": 2}
    begun = ok(api.post(f"{V1}/refinements", new), 201)
    assert begun["mine"] and [len(row["sheet"]["jobs"]) for row in begun["rows"]] == [2]
    assert ok(api.get(f"{V1}/refinements"))["refinements"][0]["id"] == begun["id"]
    for _ in range(2):
        visits.finish(visits.run())
    (row,) = ok(api.get(begun["url"]))["rows"]  # whoever looks first has it ranked
    (ranking,) = row["sheet"]["rankings"]
    jobs = row["sheet"]["jobs"]
    ranked(visits, ranking["id"], [picture_of(job) for job in reversed(jobs)])
    (row,) = ok(api.get(begun["url"]))["rows"]
    assert [job["id"] for job in row["sheet"]["jobs"]] == [job["id"] for job in reversed(jobs)], "the best first"
    nothing = api.post(f"{begun['url']}/rows/1/vary")
    assert nothing.status_code == 422 and "Nothing is marked" in nothing.json()["detail"]
    marks = ok(api.post(f"{begun['url']}/marks", {"job_id": jobs[0]["id"]}))
    assert marks["marked"] == [jobs[0]["id"]]
    assert ok(api.client.patch(f"{begun['url']}/rows/1", json={"count": 3}))["settings"] == {
        "skip_rate": 0.6,
        "count": 3,
    }
    second = ok(api.post(f"{begun['url']}/rows/1/vary", {"skip_rate": 0.9}), 201)
    assert second["place"] == 2 and len(second["sheet"]["jobs"]) == 3
    assert second["sheet"]["layout"]["parents"] == [jobs[0]["id"]]
    both = {"job_ids": [job["id"] for job in jobs]}
    once = {"idempotency-key": "row"}
    third = ok(api.post(f"{begun['url']}/rows/1/upscale", both, headers=once), 201)
    assert third["sheet"]["kind"] == "enlarged" and len(third["marked"]) == 2
    assert ok(api.post(f"{begun['url']}/rows/1/upscale", both, headers=once), 200)["place"] == third["place"]
    assert ok(api.post(f"{begun['url']}/marks", {"job_id": jobs[0]["id"], "marked": False}))["version"] > 3
    assert api.post(f"{begun['url']}/rows/9/vary").status_code == 422
    assert api.post(f"{begun['url']}/marks", {"job_id": visits.enqueue("x").id}).status_code == 404


def test_the_hosts_rules_hold_for_what_programs_ask_for(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart")
    host_rules.change(visits.db, withheld=["upscale"], refused_words=["gore"])
    refused = api.post(f"{V1}/jobs/{job.id}/upscale")
    assert refused.status_code == 403 and "does not offer" in refused.json()["detail"]
    rows = {"name": "prompt", "values": ["a heart", "g o r e"]}
    worded = api.post(f"{V1}/comparisons", {"rows": rows})
    assert worded.status_code == 422 and "gore" in worded.json()["detail"]
    queue.set_hidden(visits.db, job.id)
    assert api.post(f"{V1}/jobs/{job.id}/variations").status_code == 404
    assert [one.state for one in queue.list_jobs(visits.db)] == []


def test_ids_that_are_none_are_not_there(api: Served, visits: Studio) -> None:
    for odd in ("none", "0" * 26, "%00", "%F0%9F%98%80", "x" * 3000):
        not_there(api, odd)
    assert queue.counts(visits.db)[State.QUEUED] == 0


def not_there(api: Served, odd: str) -> None:
    for path in (f"jobs/{odd}", f"sheets/{odd}", f"sheets/{odd}/picture.png", f"refinements/{odd}", f"artefacts/{odd}"):
        assert api.get(f"{V1}/{path}").status_code == 404, path
    for path in (
        f"jobs/{odd}/variations",
        f"jobs/{odd}/upscale",
        f"sheets/{odd}/rank",
        f"refinements/{odd}/rows/1/vary",
    ):
        assert api.post(f"{V1}/{path}").status_code == 404, path
