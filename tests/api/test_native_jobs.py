"""A program asks for pictures as a visitor does: on the same queue, with the same limits, told the same."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from PIL import Image

from db import artefacts, queue
from db.jobs import State
from db.rules import host_rules
from generator.images.formats import NAMES
from studio import access
from studio.context import Submitter
from tests.api.serving import Served, events, until
from tests.heic_files import heic
from tests.pages.visits import ME, Studio, picture_bytes

Serve = Callable[..., Served]
HEART = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}


def asked(api: Served, body: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    answer = api.post("/api/v1/jobs", body or HEART, **more)
    assert answer.status_code in (200, 201), answer.text
    found: list[dict[str, Any]] = answer.json()["jobs"]
    return found


def test_a_job_is_asked_for_watched_and_fetched(api: Served, visits: Studio) -> None:
    visits.start_executor()
    (job,) = asked(api)
    assert job["state"] == "queued" and job["position"] == 1 and job["mine"] and "submitter" not in job
    heard: list[tuple[str, str, Any]] = []
    with api.client.stream("GET", job["events_url"]) as stream:
        following = events(stream.iter_lines())
        heard.append(next(following))
        running = visits.run()
        while heard[-1][0] != "preview":
            heard.append(next(following))
        visits.finish(running)
        heard += following
    kinds = [kind for kind, _, _ in heard]
    assert kinds[0] == "state" and kinds[-1] == "done" and {"progress", "preview"} <= set(kinds)
    assert [data["change"] for kind, _, data in heard if kind == "state"] == ["queued", "claimed", "succeeded"]
    progress = [data for kind, _, data in heard if kind == "progress"]
    assert any(data["step"] == 10 and data["score"] == 0.3 for data in progress)
    picture = next(data for kind, _, data in heard if kind == "preview")
    assert base64.b64decode(picture["b64_json"])[1:4] == b"PNG"
    done = heard[-1][2]
    assert done["state"] == "succeeded" and done == api.get(job["url"]).json()
    file = next(one for one in done["files"] if one["kind"] == "picture")
    content = api.get(file["url"])
    assert content.headers["content-type"] == "image/png" and len(content.content) == file["size"]


def test_a_stream_goes_on_after_the_last_event_that_was_heard(serve: Serve, visits: Studio) -> None:
    api = serve()
    (job,) = asked(api)
    with api.client.stream("GET", job["events_url"]) as stream:
        _, last, data = next(events(stream.iter_lines()))
    assert data["change"] == "queued"
    visits.finish(visits.run())
    again = serve()  # another server, as after a restart
    with again.client.stream("GET", job["events_url"], headers={"last-event-id": last}) as stream:
        heard = list(events(stream.iter_lines()))
    assert [data["change"] for kind, _, data in heard if kind == "state"] == ["claimed", "succeeded"]
    assert heard[-1][0] == "done"


def test_a_client_that_vanishes_from_a_stream_leaves_nothing_behind(api: Served, visits: Studio) -> None:
    (job,) = asked(api)
    with api.client.stream("GET", job["events_url"]) as stream:
        following = events(stream.iter_lines())
        next(following)
        assert api.api.watch.followers == 1
    until(lambda: not api.api.watch.followers)
    assert queue.get(visits.db, job["id"]).state == State.QUEUED, "the job itself waits on: it was asked for"


def test_several_pictures_are_one_sheet(api: Served) -> None:
    jobs = asked(api, {**HEART, "pictures": 3, "params": {"prompt": "a red heart", "seed": 7}})
    assert [job["params"]["seed"] for job in jobs] == [7, 8, 9]
    assert len({job["sheet_id"] for job in jobs}) == 1 and jobs[0]["sheet_id"]


def test_without_an_engine_it_is_the_one_a_new_page_shows(api: Served, visits: Studio) -> None:
    host_rules.change(visits.db, default_engine="latent-diffusion", default_checkpoint="mini-latent-diffusion")
    (job,) = asked(api, {"params": {"prompt": "a red heart"}})
    assert (job["engine"], job["checkpoint"]) == ("latent-diffusion", "mini-latent-diffusion")


def test_the_same_request_again_queues_nothing(api: Served, visits: Studio) -> None:
    body = {**HEART, "pictures": 2}
    first = asked(api, body, headers={"idempotency-key": "one"})
    again = api.post("/api/v1/jobs", body, headers={"idempotency-key": "one"})
    assert again.status_code == 200 and [job["id"] for job in again.json()["jobs"]] == [job["id"] for job in first]
    assert len(queue.list_jobs(visits.db)) == 2
    other = api.post("/api/v1/jobs", HEART, headers={"idempotency-key": "one"})
    assert other.status_code == 422 and "used for another request" in other.json()["detail"]
    assert asked(api, body, headers={"idempotency-key": "two"})[0]["id"] != first[0]["id"]


def test_a_request_repeated_at_the_same_time_is_queued_once(api: Served, visits: Studio) -> None:
    found: list[str] = []

    def call() -> None:
        found.append(asked(api, headers={"idempotency-key": "at once"})[0]["id"])

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1 and len(queue.list_jobs(visits.db)) == 1


def test_pages_of_jobs_follow_the_cursor(api: Served, visits: Studio) -> None:
    for n in range(5):
        visits.enqueue(f"picture {n}")
    seen, cursor = [], None
    while True:
        page = api.get("/api/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["prompt"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"picture {n}" for n in (4, 3, 2, 1, 0)]
    assert api.get("/api/v1/jobs", params={"search": "PICTURE 3"}).json()["jobs"][0]["prompt"] == "picture 3"
    assert api.get("/api/v1/jobs", params={"mine": True}).json()["jobs"] == []


def test_only_ones_own_job_can_be_cancelled(api: Served, visits: Studio) -> None:
    (mine,) = asked(api)
    theirs = visits.enqueue("a blue car", ME)
    assert api.post(f"{mine['url']}/cancel").json()["state"] == "cancelled"
    refused = api.post(f"/api/v1/jobs/{theirs.id}/cancel")
    assert refused.status_code == 403 and "somebody else" in refused.json()["detail"]
    assert queue.get(visits.db, theirs.id).state == State.QUEUED


def test_a_hidden_picture_is_gone_for_programs_too(api: Served, visits: Studio, key: Any) -> None:
    job = visits.draw("a red heart")
    files = api.get(f"/api/v1/jobs/{job.id}").json()["files"]
    queue.set_hidden(visits.db, job.id)
    for url in (f"/api/v1/jobs/{job.id}", files[0]["url"], f"/api/v1/jobs/{job.id}/events"):
        assert api.get(url).status_code == 404
    assert api.get("/api/v1/jobs").json()["jobs"] == []
    assert api.get(f"/api/v1/jobs/{job.id}", headers=key("host")).status_code == 200


def test_files_have_an_etag_and_come_in_parts(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart")
    file = next(f for f in api.get(f"/api/v1/jobs/{job.id}").json()["files"] if f["kind"] == "picture")
    whole = api.get(file["url"])
    assert whole.headers["etag"] == f'"{file["sha256"]}"'
    assert api.get(file["url"], headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    head = api.client.head(file["url"])
    assert head.headers["content-length"] == str(file["size"]) and not head.content
    part = api.get(file["url"], headers={"range": "bytes=2-5"})
    assert part.status_code == 206 and part.content == whole.content[2:6]
    assert part.headers["content-range"] == f"bytes 2-5/{file['size']}"
    assert api.get(file["url"], headers={"range": "bytes=-3"}).content == whole.content[-3:]
    assert api.get(file["url"], headers={"range": "bytes=9999999-"}).status_code == 416
    assert api.get(file["url"], headers={"range": "bytes=0-1", "if-range": '"other"'}).content == whole.content


def test_a_file_tells_what_its_picture_is_under(api: Served, visits: Studio) -> None:
    job, plain = visits.draw("a red heart"), visits.draw("a penguin")
    visits.under(job, "CC BY 4.0")
    for one, licence in ((job, "CC BY 4.0"), (plain, None)):
        for file in api.get(f"/api/v1/jobs/{one.id}").json()["files"]:
            assert api.get(f"/api/v1/artefacts/{file['id']}").json() == {**file, "licence": licence}


def test_a_picture_is_sent_along_or_kept_before(api: Served, visits: Studio) -> None:
    data = picture_bytes("PNG")
    body = {**HEART, "uploads": {"init_image": ["data:image/png;base64," + base64.b64encode(data).decode()]}}
    (job,) = asked(api, body)
    assert job["params"]["init"] == "image" and job["params"]["init_image"].startswith("uploads/")
    kept = api.client.post("/api/v1/uploads", content=data, headers={"content-type": "image/png"}).json()
    (job,) = asked(api, {**HEART, "params": {"prompt": "a heart", "init_image": kept["id"]}})
    assert job["params"]["init_image"] == kept["id"]
    for text in (body["uploads"]["init_image"][0], base64.b64encode(data * 9).decode()):
        misplaced = api.post("/api/v1/jobs", {**HEART, "params": {**HEART["params"], "init_image": text}})
        assert misplaced.status_code == 422 and len(misplaced.text) < 600
        assert '"uploads": {"init_image": ["..."]}' in misplaced.json()["detail"]
    wrong = api.post("/api/v1/jobs", {**HEART, "uploads": {"init_image": ["no base64!"]}})
    assert wrong.status_code == 422 and "base64" in wrong.json()["detail"]
    assert api.client.post("/api/v1/uploads", content=b"no picture").status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/api/v1/jobs", {"engine": "oil", "params": {"prompt": "x"}}, 404, "vqgan-clip, guided-diffusion"),
        ("/api/v1/jobs", {"engine": "rank", "params": {"prompt": "x"}}, 404, "vqgan-clip"),
        ("/api/v1/jobs", {"engine": "vqgan-clip", "params": {"prompt": ""}}, 422, "The prompt is empty"),
        ("/api/v1/jobs", {"engine": "vqgan-clip", "params": {"prompt": "x", "steps": -1}}, 422, "steps"),
        ("/api/v1/jobs", {"engine": "vqgan-clip", "params": {"prompt": "x", "colour": 1}}, 422, "Unknown setting"),
        ("/api/v1/jobs", {"params": {"prompt": "x"}, "pictures": 99}, 422, "pictures"),
        ("/api/v1/jobs", {"params": {"prompt": "x"}, "picture": 1}, 422, "picture"),
        ("/api/v1/jobs", {"params": {"prompt": "x"}, "parent_id": "none"}, 404, "There is no job"),
    ],
)
def test_bad_input_is_told_in_the_sentence_of_the_page(
    api: Served, visits: Studio, path: str, body: Any, status: int, says: str
) -> None:
    answer = api.post(path, body)
    assert answer.status_code == status and says in answer.json()["detail"], answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert not queue.list_jobs(visits.db)


def test_what_is_no_json_or_too_large_is_refused_before_it_is_read(serve: Serve) -> None:
    api = serve(api_max_body_bytes=2048)
    as_json = {"content-type": "application/json"}
    broken = api.client.post("/api/v1/jobs", content=b"{", headers=as_json)
    assert broken.status_code == 400 and "no JSON" in broken.json()["detail"]
    large = api.post("/api/v1/jobs", {"params": {"prompt": "x" * 5000}})
    assert large.status_code == 413
    chunked = api.client.post("/api/v1/jobs", content=(b"x" * 1000 for _ in range(9)), headers=as_json)
    assert chunked.status_code == 413 and chunked.json()["kind"] == "too_large"


def test_beyond_the_limit_it_is_told_when_to_come_back(serve: Serve) -> None:
    api = serve(max_queued_per_submitter=1)
    asked(api)
    refused = api.post("/api/v1/jobs", HEART)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert "waiting" in refused.json()["detail"]


def test_a_call_ends_when_the_server_is_told_to_stop(api: Served) -> None:
    (job,) = asked(api)
    answers: list[Any] = []

    def wait() -> None:
        with suppress(httpx.HTTPError):
            answers.append(httpx.get(f"{api.address}{job['url']}/wait?timeout_s=300", timeout=60))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: api.api.watch.followers)
    api.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_engines_and_their_parameters_are_those_of_the_declaration(api: Served) -> None:
    names = [engine["name"] for engine in api.get("/api/v1/engines").json()["engines"]]
    assert {"vqgan-clip", "latent-diffusion", "guided-diffusion", "biggan-clip"} <= set(names)
    detail = api.get("/api/v1/engines/latent-diffusion").json()
    assert detail["parameters"]["properties"]["cfg_scale"]["maximum"] == 30
    assert detail["defaults"]["mini-latent-diffusion"]["cfg_scale"] == 3.5
    assert api.get("/api/v1/engines/oil").status_code == 404
    assert any(one["embedded"] for one in api.get("/api/v1/checkpoints").json()["checkpoints"])
    assert "noto" in [style["name"] for style in api.get("/api/v1/styles").json()["styles"]]


def test_the_document_describes_what_there_is(api: Served) -> None:
    document = api.get("/api/openapi.json").json()
    assert "/api/v1/jobs/{job_id}/events" in document["paths"]
    page = api.get("/api/docs")
    assert page.status_code == 200 and "https://" not in page.text.replace("https://fastapi", "")


def test_text_that_no_database_can_hold_is_told_so_or_found_nowhere(api: Served, visits: Studio) -> None:
    for text in ("a \x00 heart", "half \ud800 of one"):
        for params in ({"prompt": text}, {"prompt": "x", "init_image": text}, {"prompt": "x", text: 1}):
            body = json.dumps({"engine": "vqgan-clip", "params": params})
            answer = api.client.post("/api/v1/jobs", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 422 and answer.json()["detail"], (params, answer.text)
        body = json.dumps({"params": {"prompt": "x"}, "uploads": {text: ["eA=="]}})
        answer = api.client.post("/api/v1/jobs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and "init_image" in answer.json()["detail"]
    for query in ({"cursor": "\x00"}, {"search": "a\x00"}, {"engine": "\x00"}):
        assert api.get("/api/v1/jobs", params=query).status_code == 200
    assert queue.list_jobs(visits.db) == []


def test_pages_and_api_share_the_port(real_studio: str) -> None:
    assert "<title>" in httpx.get(real_studio).text and httpx.get(f"{real_studio}/Queue").status_code == 200
    assert httpx.get(f"{real_studio}/api/v1/engines").json()["engines"]
    assert httpx.get(f"{real_studio}/healthz").json() == {"status": "ok"}
    assert "t2i_" in httpx.get(f"{real_studio}/metrics").text


def test_a_picture_so_far_that_is_hidden_or_gone_is_none(visits: Studio) -> None:
    studio, somebody, host = visits.opened(), Submitter("somebody"), Submitter("host", is_host=True)
    visits.start_executor()
    visits.enqueue("a red heart")
    job = visits.run()
    preview = artefacts.of_jobs(visits.db, [job.id])[job.id]["preview"]
    data, media_type = access.preview(studio, somebody, preview.id) or (b"", "")
    assert data[1:4] == b"PNG" and media_type == "image/png"
    queue.set_hidden(visits.db, job.id)
    assert access.preview(studio, somebody, preview.id) is None and access.preview(studio, host, preview.id)
    visits.store.delete(preview.key)
    assert access.preview(studio, host, preview.id) is None and access.preview(studio, somebody, "0" * 26) is None


def test_how_a_prompt_is_read_and_words_that_are_not_known_are_told_beside_the_jobs(api: Served) -> None:
    answer = api.post("/api/v1/jobs", {"engine": "vqgan-clip", "params": {"prompt": "una silueta de un quokka 🐱"}})
    body = answer.json()
    assert body["jobs"][0]["prompt"] == "a quokka cat face" and body["jobs"][0]["params"]["style"] == "silhouette"
    assert [notice.partition(":")[0] for notice in body["notices"]] == [
        "Read as",
        "This model, made from emoji and clip art, may not know “quokka”.",
    ]
    assert api.post("/api/v1/jobs", HEART).json()["notices"] == []


def test_every_way_in_takes_a_phones_picture(api: Served, visits: Studio) -> None:
    data = heic(Image.new("RGB", (32, 32), (0, 99, 200)).tobytes(), 32, 32)
    text = base64.b64encode(data).decode()
    assert api.client.post("/api/v1/uploads", content=data).status_code == 201
    body = {"engine": "latent-diffusion", "params": {"prompt": "a heart"}}
    uploads = {"init_image": [f"data:image/heic;base64,{text}"]}
    assert api.client.post("/api/v1/jobs", json={**body, "uploads": uploads}).status_code == 201
    assert api.post("/sdapi/v1/png-info", {"image": text}).json() == {"info": "", "items": {}, "parameters": {}}
    refused = api.client.post("/api/v1/uploads", content=b"%PDF-1.4")
    assert refused.status_code == 422 and NAMES in refused.text
    assert NAMES in api.post("/sdapi/v1/png-info", {"image": "aGVsbG8="}).text
