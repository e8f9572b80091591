"""What somebody gave to the API is theirs in every dialect, and theirs to delete."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from db import artefacts, queue
from db.artefacts import givers
from db.jobs import Job, State
from tests.api.serving import Served
from tests.pages.visits import SOMEBODY, Studio, picture_bytes

Headers = dict[str, str]
PHOTO = picture_bytes("PNG")
NATIVE = "/api/v1"


@pytest.fixture
def anna(key: Callable[..., Headers]) -> Headers:
    return key()


@pytest.fixture
def ben(key: Callable[..., Headers]) -> Headers:
    return key()


def with_photo(api: Served, visits: Studio, who: Headers) -> tuple[Job, str]:
    """A finished drawing from a photo that was sent along, and the id of that photo."""
    body = {
        "engine": "vqgan-clip",
        "params": {"prompt": "my face"},
        "uploads": {"init_image": [base64.b64encode(PHOTO).decode()]},
    }
    (job,) = api.post(f"{NATIVE}/jobs", body, headers=who).json()["jobs"]
    done = visits.finish(visits.run())
    assert done.id == job["id"]
    (photo,) = givers.given_among(visits.db, givers.named_in(done.params)).values()
    assert photo is not None and photo.giver == done.submitter
    return done, photo.id


def test_nobody_else_is_told_by_which_name_a_given_picture_goes(
    api: Served, visits: Studio, anna: Headers, ben: Headers
) -> None:
    job, photo = with_photo(api, visits, anna)
    for path in (f"/jobs/{job.id}", "/jobs", f"/jobs/{job.id}/wait?timeout_s=0", "/queue", "/gallery", "/votes/pair"):
        for who in (ben, {}):
            assert photo not in api.get(NATIVE + path, headers=who).text, path
    with api.client.stream("GET", f"{NATIVE}/jobs/{job.id}/events", headers=ben) as stream:
        assert photo not in "".join(stream.iter_lines())
    mine, theirs = (api.get(f"{NATIVE}/jobs/{job.id}", headers=who).json() for who in (anna, ben))
    assert mine["params"] == job.params and mine["withheld"] == []
    assert theirs["params"]["init_image"] is None and theirs["withheld"] == ["init_image"]
    for path in (f"/artefacts/{photo}", f"/artefacts/{photo}/content"):
        assert api.get(NATIVE + path, headers=anna).status_code == 200
        assert {api.get(NATIVE + path, headers=who).status_code for who in (ben, {})} == {404}
    assert api.get(f"/v1/images/{photo}/content").status_code == 404
    assert [one["id"] for one in api.get(f"{NATIVE}/uploads", headers=anna).json()["files"]] == [photo]
    assert api.get(f"{NATIVE}/uploads", headers=ben).json()["files"] == []


def test_what_others_ask_for_again_or_vary_goes_without_it(
    api: Served, visits: Studio, anna: Headers, ben: Headers
) -> None:
    job, photo = with_photo(api, visits, anna)
    again = api.post(f"{NATIVE}/jobs/{job.id}/again", headers=ben)
    assert again.status_code == 201 and photo not in again.text
    assert again.json()["params"]["init_image"] is None and "given with it" in again.json()["notices"][0]
    own = api.post(f"{NATIVE}/jobs/{job.id}/again", headers=anna).json()
    assert own["params"]["init_image"] == job.params["init_image"] and own["notices"] == []
    varied = api.post(f"{NATIVE}/jobs/{job.id}/variations", {"count": 1}, headers=ben)
    assert varied.status_code == 201 and photo not in varied.text
    picture = artefacts.of_job(visits.db, job.id)["picture"]
    posted = {"data": [{"id": picture.id, "text": "my face"}], "targetExecutor": "diffusion", "execEndpoint": "/"}
    with api.left_alone("/post", posted):  # asked without a key: nobody waits for it here
        while not (asked := [one for one in queue.children(visits.db, job.id) if one.submitter.startswith("address")]):
            continue
    assert photo not in json.dumps(asked[0].params)


def test_a_key_that_was_read_in_a_shared_file_does_nothing_for_others(
    api: Served, visits: Studio, anna: Headers, ben: Headers
) -> None:
    _, photo = with_photo(api, visits, anna)
    before = queue.counts(visits.db)
    stolen = {"prompt": "mine", "init": "image"}
    for reference in (photo, artefacts.upload_key(photo)):
        tries = [
            ("/jobs", {"engine": "vqgan-clip", "params": {**stolen, "init_image": reference}}),
            ("/jobs", {"engine": "vqgan-clip", "params": {"prompt": "x", "image_prompts": f"{reference}:-1"}}),
            (
                "/comparisons",
                {
                    "engine": "vqgan-clip",
                    "params": {**stolen, "init_image": reference},
                    "rows": {"name": "steps", "values": ["10", "20"]},
                },
            ),
        ]
        for who in (ben, {}):
            for path, body in tries:
                answer = api.post(NATIVE + path, body, headers=who)
                assert 400 <= answer.status_code < 500, answer.text
    assert queue.counts(visits.db) == before


def test_an_upscaled_upload_is_in_nobodys_gallery(api: Served, visits: Studio, anna: Headers) -> None:
    import threading

    answers: list[httpx.Response] = []
    body = {"image": base64.b64encode(PHOTO).decode(), "upscaling_resize": 2, "upscaler_1": "mini-upscaler"}
    asking = threading.Thread(
        target=lambda: answers.append(api.post("/sdapi/v1/extra-single-image", body, headers=anna))
    )
    asking.start()
    while not (waiting := queue.queued_jobs(visits.db)):
        assert asking.is_alive(), answers[0].text
    visits.upscale(waiting[0])
    asking.join()
    assert answers[0].status_code == 200, answers[0].text
    job = queue.get(visits.db, waiting[0].id)
    assert api.get(f"{NATIVE}/jobs").json()["jobs"] == []
    picture = artefacts.of_job(visits.db, job.id)["picture"]
    assert api.get(f"{NATIVE}/artefacts/{picture.id}/content").status_code == 404
    assert api.get(f"{NATIVE}/artefacts/{picture.id}/content", headers=anna).status_code == 200


def delete(api: Served, path: str, who: Headers | None = None) -> httpx.Response:
    return api.client.delete(NATIVE + path, headers=who or {})


def test_a_job_is_deleted_by_whoever_asked_for_it(api: Served, visits: Studio, anna: Headers, ben: Headers) -> None:
    job, photo = with_photo(api, visits, anna)
    assert {delete(api, f"/jobs/{job.id}", who).status_code for who in (ben, {})} == {403}
    gone = delete(api, f"/jobs/{job.id}", anna)
    assert gone.status_code == 200 and gone.json()["id"] == job.id and gone.json()["files"] >= 4
    for who in (anna, ben, {}):
        assert api.get(f"{NATIVE}/jobs/{job.id}", headers=who).status_code == 404
        assert delete(api, f"/jobs/{job.id}", who).status_code == 404
    assert api.get(f"{NATIVE}/artefacts/{photo}/content", headers=anna).status_code == 404
    assert [name for folder in visits.store.folders() for name in visits.store.names(folder)] == []


def test_a_program_without_a_key_deletes_by_the_link_it_was_given(serve: Callable[..., Served], visits: Studio) -> None:
    api = serve(api="open")
    body = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}
    (job,) = api.post(f"{NATIVE}/jobs", body).json()["jobs"]
    visits.finish(visits.run())
    assert api.get(f"{NATIVE}/jobs/{job['id']}").json()["delete_url"] is None, "others at this address are not told"
    refused = delete(api, f"/jobs/{job['id']}")
    assert refused.status_code == 403 and "delete_url" in refused.text
    other = visits.draw("a blue car", SOMEBODY)
    link = job["delete_url"].partition("link=")[2]
    for wrong in (f"/jobs/{other.id}?link={link}", f"/jobs/{job['id']}?link={link[:-2]}", f"/jobs/{job['id']}?link=x"):
        assert delete(api, wrong).status_code in (403, 422)
    assert api.client.delete(job["delete_url"]).status_code == 200
    assert api.get(f"{NATIVE}/jobs/{job['id']}").status_code == 404
    assert api.get(f"{NATIVE}/jobs/{other.id}").status_code == 200


def test_whatever_a_program_asked_for_comes_with_what_deletes_it(serve: Callable[..., Served], visits: Studio) -> None:
    api = serve(api="open")
    first, second = visits.draw("a red heart"), visits.draw("a blue car")
    axis = {"rows": {"name": "seed", "values": ["1", "2"]}, "params": {"prompt": "a tree"}, "engine": "vqgan-clip"}
    made = [api.post(f"{NATIVE}/jobs/{first.id}/upscale", {}).json()]
    made.append(api.post(f"{NATIVE}/rankings", {"prompt": "red", "job_ids": [first.id, second.id]}).json())
    made += api.post(f"{NATIVE}/jobs/{first.id}/variations", {"count": 2}).json()["jobs"]
    made += api.post(f"{NATIVE}/comparisons", axis).json()["jobs"]
    assert len(made) == 6
    for job in made:
        assert api.client.delete(job["delete_url"]).status_code == 200
    assert not queue.queued_jobs(visits.db)


def test_a_job_that_runs_is_ended_and_deleted(api: Served, visits: Studio, anna: Headers) -> None:
    body = {"engine": "vqgan-clip", "params": {"prompt": "a red heart"}}
    (job,) = api.post(f"{NATIVE}/jobs", body, headers=anna).json()["jobs"]
    visits.run()
    assert delete(api, f"/jobs/{job['id']}", anna).status_code == 200
    left = queue.get(visits.db, job["id"])
    assert (left.state, left.prompt, left.params) == (State.CANCELLED, "", {})


def test_an_upload_is_deleted_by_whoever_gave_it(api: Served, visits: Studio, anna: Headers, ben: Headers) -> None:
    photo = api.client.post(f"{NATIVE}/uploads", content=PHOTO, headers=anna).json()["id"]
    drawn = visits.draw("a red heart", SOMEBODY)
    picture = artefacts.of_job(visits.db, drawn.id)["picture"]
    assert {delete(api, f"/artefacts/{photo}", who).status_code for who in (ben, {})} == {404}
    assert delete(api, f"/artefacts/{picture.id}", anna).status_code == 404, "what a job has made goes with the job"
    assert delete(api, f"/artefacts/{photo}", anna).json()["id"] == photo
    assert api.get(f"{NATIVE}/artefacts/{photo}", headers=anna).status_code == 404


def test_the_host_is_told_what_is_left(api: Served, visits: Studio, key: Callable[..., Headers]) -> None:
    host = key("host")

    def ask(method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = api.client.request(method, f"{NATIVE}/host/{path}", json=body, headers=host)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    visits.start_executor()
    visits.draw("a red heart")
    visits.store.put(f"uploads/{'0' * 26}.png", b"a photo without a row")
    ask("POST", "pause")
    gone = ask("POST", "forget", {"confirmation": "DELETE"})
    assert gone["jobs"] == 1 and gone["compacted"] and gone["left"]["files"] == 0 and not gone["left"]["nothing"]
    (executor,) = gone["left"]["executors"]
    assert executor["live"] and "within seconds" in gone["left"]["sentences"][0]
    assert ask("DELETE", f"left/{executor['id']}")["nothing"] and ask("GET", "left")["nothing"]
    assert api.get(f"{NATIVE}/host/left").status_code in (401, 403)
