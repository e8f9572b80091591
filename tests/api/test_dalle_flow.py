"""DALL-E Flow's notebook, with the JSON that docarray 0.21 and jina 3.27.20 send (scripts/check_dalle_flow.sh)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from db import queue
from db.jobs import State
from tests.api.executing import executing
from tests.api.serving import Served
from tests.pages.visits import Studio, picture_bytes

NULLS = (
    '"parent_id": null, "granularity": null, "adjacency": null, "blob": null, "tensor": null, "mime_type": null, '
    '"weight": null, "tags": null, "offset": null, "location": null, "embedding": null, "modality": null, '
    '"evaluations": null, "scores": null, "chunks": null, "matches": null'
)
# Recorded: Document(text="a red heart").post(server, parameters={"num_images": 2})
GENERATE = json.loads(
    '{"header": {"request_id": "d311e19480c84f75afe1569b261ae358", "exec_endpoint": "/"}, '
    '"parameters": {"num_images": 2.0}, "data": [{"id": "c36e4e210d148d5e902e1ef45608a6bd", "text": "a red heart", '
    '"uri": null, ' + NULLS + '}], "exec_endpoint": "/"}'
)


def posted(api: Served, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The Document that comes back."""
    answer = api.post("/post", body, **more)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["header"]["status"] is None, found["header"]
    assert set(found) == {"header", "parameters", "routes", "data"}
    (document,) = found["data"]
    return dict(document)


def sent_back(document: dict[str, Any], endpoint: str, parameters: dict[str, Any], **executor: str) -> dict[str, Any]:
    """As the client posts a match again: with all its fields, the endpoint said twice."""
    header = {"request_id": "7faf0230c0c04321a14ccaedc2105e04", "exec_endpoint": endpoint, **executor}
    parameters = parameters or {"__results__": {}}
    return {"header": header, "parameters": parameters, "data": [document], "exec_endpoint": endpoint, **executor}


def failure(api: Served, body: dict[str, Any]) -> str:
    """The sentence that jina's client raises BadServer with."""
    answer = api.post("/post", body)
    assert answer.status_code == 200, answer.text
    status = answer.json()["header"]["status"]
    assert status["code"] == 1 and status["exception"]["args"] == [status["description"]]
    return str(status["description"])


def test_a_text_comes_back_with_its_pictures_the_best_first(api: Served, visits: Studio) -> None:
    with executing(visits) as done:
        document = posted(api, GENERATE)
    assert [job.engine for job in done] == ["vqgan-clip", "vqgan-clip", "rank"]
    assert document["id"] == GENERATE["data"][0]["id"] and document["text"] == "a red heart"
    matches = document["matches"]
    assert len(matches) == 2 and all(set(match) >= set(GENERATE["data"][0]) for match in matches)
    for match in matches:
        assert match["mime_type"] == "image/png" and match["text"] == "a red heart" and match["embedding"] is None
        assert base64.b64decode(match["uri"].removeprefix("data:image/png;base64,"))[1:4] == b"PNG"
        assert match["tags"]["text"] == "a red heart" and match["tags"]["generator"] == "vqgan-clip/mini"
        assert match["tags"]["request_time"] <= match["tags"]["created_time"]
    chances = [match["scores"]["clip_score"]["value"] for match in matches]
    cosines = [match["scores"]["clip_score_cosine"]["value"] for match in matches]
    assert cosines == [0.4, 0.38] and chances == sorted(chances, reverse=True) and sum(chances) == pytest.approx(1)


def test_nine_pictures_as_there_and_no_more(api: Served, visits: Studio) -> None:
    with executing(visits):
        document = posted(api, {**GENERATE, "parameters": {"num_images": 9.0}})
    assert len({match["id"] for match in document["matches"]}) == 9
    for wrong in (10.0, 36.0, 0.0, 2.5, "2", True):
        assert "num_images" in failure(api, {**GENERATE, "parameters": {"num_images": wrong}})


def test_a_favourite_is_diffused_and_upscaled(api: Served, visits: Studio) -> None:
    with executing(visits) as done:
        match = posted(api, GENERATE)["matches"][1]
        body = sent_back(match, "/", {"num_images": 2.0, "skip_rate": 0.5}, target_executor="diffusion")
        diffused = posted(api, body)
        assert len(diffused["matches"]) == 2 and {job.parent_id for job in done[3:5]} == {done[0].id}
        assert {job.params["init_image"] for job in done[3:5]} == {match["id"]}
        large = posted(api, sent_back(diffused["matches"][0], "/upscale", {}))
    assert large["id"] == diffused["matches"][0]["id"] and large["tags"]["upscaled"] is True
    assert large["uri"] != diffused["matches"][0]["uri"] and large["text"] == "a red heart"
    assert done[-1].engine == "upscale" and done[-1].source_artefact_id == diffused["matches"][0]["id"]
    assert done[-1].parent_id in {job.id for job in done[3:5]}


def test_another_text_for_a_picture_of_ours_is_what_is_drawn(api: Served, visits: Studio) -> None:
    with executing(visits) as done:
        match = posted(api, GENERATE)["matches"][0]
        body = sent_back({**match, "text": "a blue heart"}, "/", {}, target_executor="diffusion")
        (varied,) = posted(api, body)["matches"]
    assert done[-1].prompt == "a blue heart" == varied["text"] and done[-1].source_artefact_id == match["id"]


def test_any_picture_can_be_diffused_and_upscaled(api: Served, visits: Studio) -> None:
    uri = "data:image/png;base64," + base64.b64encode(picture_bytes("PNG")).decode()
    document = {"id": "mine", "text": "a red heart", "uri": uri, "tags": {"author": "me"}}
    with executing(visits) as done:
        posted(api, sent_back(document, "/", {"skip_rate": 0.8}, target_executor="diffusion"))
        large = posted(api, sent_back(document, "/upscale", {}))
        real = posted(api, sent_back(document, "/realesrgan", {"model_name": "RealESRGAN_x4plus"}))
        stable = posted(api, sent_back(document, "/stablediffuse", {"strength": 0.4, "prompt": "a car", "steps": 4.0}))
    assert done[0].params["init_image"].startswith("uploads/") and done[0].params["init"] == "image"
    assert (done[1].params["width"], done[1].params["height"]) == (48, 32)
    assert large["tags"] == {"author": "me", "upscaled": True} and large["id"] == "mine"
    assert real["uri"] == uri and real["matches"][0]["tags"]["generator"] == "upscale/mini-upscaler"
    assert (done[3].engine, done[3].params["strength"], done[3].params["steps"]) == ("latent-diffusion", 0.4, 4)
    assert done[3].prompt == "a car" == stable["matches"][0]["text"]


def test_stable_takes_its_own_parameters(api: Served, visits: Studio) -> None:
    parameters = {"num_images": 1.0, "sampler": "euler", "scale": 3.0, "steps": 4.0, "seed": 7.0, "height": 128.0}
    body = {**GENERATE, "parameters": parameters, "target_executor": "stable"}
    with executing(visits) as done:
        (match,) = posted(api, body)["matches"]
    used = done[0].params
    assert (used["sampler"], used["cfg_scale"], used["steps"], used["seed"]) == ("euler", 3.0, 4, 7)
    assert match["tags"]["seed"] == 7.0 and match["scores"]["clip_score"]["value"] == 1.0
    assert match["scores"]["clip_score_cosine"]["value"] == 0.42, "alone, its score is that of its job"
    for wrong in ({"sampler": "oil"}, {"steps": 251.0}, {"scale": 99.0}, {"width": 2000.0, "height": 2000.0}):
        assert next(iter(wrong)) in failure(api, {**body, "parameters": wrong})


def test_settings_of_ours_may_be_sent_along(api: Served, visits: Studio) -> None:
    parameters = {"num_images": 1.0, "steps": 3.0, "upscale": 1.0, "style": "twemoji", "model": "vqgan-clip/mini"}
    with executing(visits) as done:
        (match,) = posted(api, {**GENERATE, "parameters": {**parameters, "seed": 7.0}})["matches"]
        posted(api, sent_back(match, "/", {"steps": 5.0}, target_executor="diffusion"))
    used = done[0].params
    assert (used["steps"], used["upscale"], used["style"], used["seed"]) == (3, 1, "twemoji", 7)
    assert (done[1].params["steps"], done[1].params["style"]) == (5, "twemoji")


def test_what_cannot_be_done_is_told_as_by_an_executor(serve: Callable[..., Served], visits: Studio) -> None:
    api = serve(max_queued_per_submitter=1)
    assert "prompt is empty" in failure(api, {"data": [{"text": ""}]})
    assert "skip_rate" in failure(api, sent_back({"text": "x"}, "/", {"skip_rate": 7.0}, target_executor="diffusion"))
    assert "needs a Document with a picture" in failure(api, sent_back({"text": "x"}, "/upscale", {}))
    assert "data URI" in failure(api, sent_back({"text": "x", "uri": "/etc/passwd"}, "/upscale", {}))
    assert "waiting" in failure(api, {**GENERATE, "parameters": {"num_images": 2.0}})
    assert "1 to 9" in failure(api, {**GENERATE, "parameters": {"num_images": 1e300}})
    assert "steps" in failure(api, {**GENERATE, "parameters": {"steps": "many"}})
    assert "no_such_model" in failure(api, {**GENERATE, "parameters": {"model": "no_such_model"}})
    assert "faces" in failure(api, sent_back({"text": "x"}, "/realesrgan", {"face_enhance": True}))
    assert not [job for job in queue.list_jobs(visits.db) if job.state == State.QUEUED]


def test_of_nine_pictures_all_are_queued_or_none(serve: Callable[..., Served], visits: Studio) -> None:
    api = serve(max_queued_per_submitter=8)
    assert "waiting" in failure(api, {**GENERATE, "parameters": {"num_images": 9.0}})
    assert {job.state for job in queue.list_jobs(visits.db)} == {State.CANCELLED}


def test_a_hidden_picture_is_neither_varied_nor_upscaled(api: Served, visits: Studio) -> None:
    job = visits.draw("a red heart")
    match = next(f for f in api.get(f"/api/v1/jobs/{job.id}").json()["files"] if f["kind"] == "picture")
    queue.set_hidden(visits.db, job.id)
    for endpoint in ("/", "/upscale"):
        assert "host" in failure(api, sent_back({"id": match["id"], "text": "a red heart"}, endpoint, {}))


def test_unknown_endpoints_and_executors_are_404(api: Served) -> None:
    for body in ({**GENERATE, "exec_endpoint": "/segment"}, {**GENERATE, "target_executor": "waifu"}):
        answer = api.post("/post", body)
        assert answer.status_code == 404 and "choose" in answer.json()["detail"]


def test_an_executor_asked_by_name_does_what_it_is_there_for(api: Served, visits: Studio) -> None:
    uri = "data:image/png;base64," + base64.b64encode(picture_bytes("PNG")).decode()
    document = {"id": "mine", "text": "a red heart", "uri": uri}
    with executing(visits) as done:
        large = posted(api, sent_back(document, "/", {}, target_executor="upscaler"))
        real = posted(api, sent_back(document, "/", {}, target_executor="realesrgan"))
        posted(api, sent_back(document, "/upscale", {}, target_executor="upscaler"))
    assert [job.engine for job in done] == ["upscale"] * 3
    assert large["tags"] == {"upscaled": True} and real["matches"][0]["tags"]["generator"] == "upscale/mini-upscaler"
    for name, endpoint in (
        ("rerank", "/"),
        ("clip_encoder", "/"),
        ("store", "/"),
        ("gateway", "/"),
        ("dalle", "/upscale"),
    ):
        answer = api.post("/post", sent_back(document, endpoint, {}, target_executor=name))
        assert answer.status_code == 404 and "upscaler" in answer.json()["detail"]
    assert len(queue.list_jobs(visits.db, include_hidden=True)) == 3 and not queue.list_jobs(visits.db), (
        "shown to nobody"
    )


@pytest.mark.parametrize(
    "content",
    [
        b'{"data": [{"text": "\\ud800"}]}',
        b'{"data": []}',
        b'{"data": [{"text": 3}]}',
        b'{"data": [{"text": "x"}], "exec_endpoint": 3}',
        b'{"data": [{"text": "x"}], "parameters": []}',
        b'{"data": [{"text": "x", "embedding": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b"{",
        b"",
    ],
)
def test_what_is_no_request_is_refused_by_the_gateway(api: Served, content: bytes) -> None:
    answer = api.client.post("/post", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["detail"]


def test_what_no_json_can_hold_comes_back_as_null(api: Served, visits: Studio) -> None:
    content = b'{"data": [{"text": "a red heart", "embedding": [NaN, 1e999, 2.5], "tags": {"a": "\\u0000"}}]}'
    with executing(visits):
        answer = api.client.post("/post", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200 and answer.json()["data"][0]["embedding"] == [None, None, 2.5]


def test_with_a_key_needed_nobody_draws_without(serve: Callable[..., Served]) -> None:
    answer = serve(api="keys").post("/post", GENERATE)
    assert answer.status_code == 401 and "key" in answer.json()["detail"]


def test_with_a_real_executor(real_studio: str) -> None:
    quick = {"num_images": 2.0, "steps": 2.0, "candidates": 1.0}
    answer = httpx.post(f"{real_studio}/post", json={**GENERATE, "parameters": quick}, timeout=300)
    matches = answer.json()["data"][0]["matches"]
    cosines = [match["scores"]["clip_score_cosine"]["value"] for match in matches]
    assert len(matches) == 2 and cosines == sorted(cosines, reverse=True) and 0 < cosines[0] < 1
    assert matches[0]["tags"]["generator"] == "latent-diffusion/mini-latent-diffusion"
