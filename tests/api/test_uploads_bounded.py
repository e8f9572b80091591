"""Pictures in requests of every dialect: what is refused was never read and leaves nothing, whatever refuses it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from db import artefacts, queue
from db.evening.usage import usage
from db.rules import host_rules, keys
from generator.images import decode
from tests.api.serving import Served
from tests.api.test_operations import scraped, value
from tests.pages.visits import Studio, picture_bytes

Serve = Callable[..., Served]
B64 = base64.b64encode(picture_bytes("PNG")).decode()
DATA = f"data:image/png;base64,{B64}"
MASK = io.BytesIO()
Image.new("RGBA", (64, 64)).save(MASK, "PNG")
FORM = {"image": ("a.png", picture_bytes("PNG")), "mask": ("m.png", MASK.getvalue())}
FULL = 1 << 60  # bytes to stay free: more than any disk has


def status_of(answer: httpx.Response) -> int:
    """Jina's gateway tells what an executor could not do with HTTP 200 and a status of its own."""
    failed = {"disk_nearly_full": 507, "too_many_bytes_given": 507, "busy": 503}
    header = answer.json().get("header") if answer.status_code == 200 else None
    return failed[header["status"]["exception"]["name"]] if header else answer.status_code


def native(api: Served) -> httpx.Response:
    params = {"prompt": "a heart"}
    uploads = {"init_image": [B64], "image_prompts": [DATA, B64]}
    return api.post("/api/v1/jobs", {"engine": "vqgan-clip", "params": params, "uploads": uploads})


def kept_for_later(api: Served) -> httpx.Response:
    return api.client.post("/api/v1/uploads", content=picture_bytes("PNG"))


def automatic1111(api: Served) -> httpx.Response:
    return api.post("/sdapi/v1/img2img", {"prompt": "a heart", "init_images": [DATA]})


def extras(api: Served) -> httpx.Response:
    body = {"upscaler_1": "mini-upscaler", "imageList": [{"name": "a", "data": B64}, {"name": "b", "data": B64}]}
    return api.post("/sdapi/v1/extra-batch-images", body)


def openai_edit(api: Served) -> httpx.Response:
    return api.client.post("/v1/images/edits", files={"image": FORM["image"]}, data={"prompt": "a heart"})


def openai_variation(api: Served) -> httpx.Response:
    return api.client.post("/v1/images/variations", files={"image": FORM["image"]})


def dalle_flow(api: Served) -> httpx.Response:
    document = {"text": "a heart", "uri": DATA}
    return api.post("/post", {"execEndpoint": "/upscale", "data": [document], "parameters": {}})


def paddlehub(api: Served) -> httpx.Response:
    return api.post("/predict/disco_diffusion_clip_vitb32", {"text_prompts": "a heart", "init_image": B64})


WAYS = [native, kept_for_later, automatic1111, extras, openai_edit, openai_variation, dalle_flow, paddlehub]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each picture that was decoded."""
    found: list[int] = []
    converted = decode.in_srgb

    def counted(*args: Any, **named: Any) -> Any:
        found.append(1)
        return converted(*args, **named)

    monkeypatch.setattr(decode, "in_srgb", counted)
    return found


def given(visits: Studio) -> list[str]:
    return [key for folder in ("uploads", "drafts") for key, _ in visits.store.listed(folder)]


def rows(visits: Studio) -> int:
    return usage(visits.db, visits.store).kinds.get("upload", (0, 0))[0]


@pytest.mark.parametrize("ask", WAYS, ids=lambda one: one.__name__)
def test_on_a_disk_that_is_nearly_full_nothing_is_read_or_kept(
    serve: Serve, visits: Studio, reads: list[int], ask: Callable[[Served], httpx.Response]
) -> None:
    answer = ask(serve(min_free_bytes=FULL))
    assert status_of(answer) == 507 and int(answer.headers["retry-after"]) >= 1
    assert "nearly full: nothing new is taken until the host has made room" in answer.text
    assert str(visits.store.local_path("x")) not in answer.text
    assert given(visits) == [] and rows(visits) == 0 and not queue.list_jobs(visits.db)
    assert not reads


@pytest.mark.parametrize("ask", [one for one in WAYS if one is not kept_for_later], ids=lambda one: one.__name__)
def test_a_full_queue_keeps_no_picture_of_what_it_refuses(
    serve: Serve, visits: Studio, reads: list[int], ask: Callable[[Served], httpx.Response]
) -> None:
    host_rules.change(visits.db, max_queued=1)
    api = serve()
    assert api.post("/api/v1/jobs", {"engine": "vqgan-clip", "params": {"prompt": "x"}}).status_code == 201
    for _ in range(2):
        answer = ask(api)
        assert answer.status_code == 429 or "waiting" in answer.text, answer.text
    assert given(visits) == [] and rows(visits) == 0 and len(queue.list_jobs(visits.db)) == 1
    # These are asked for a multiple of its size, which is known when it is read.
    assert not reads or ask in (extras, dalle_flow)


@pytest.mark.parametrize("ask", WAYS, ids=lambda one: one.__name__)
def test_who_has_given_as_much_as_one_may_is_told_so(
    serve: Serve, visits: Studio, ask: Callable[[Served], httpx.Response]
) -> None:
    api = serve(max_upload_bytes_per_submitter=8192)
    assert kept_for_later(api).status_code == 201
    answer = ask(api)
    assert status_of(answer) == 507 and "retry-after" in answer.headers, answer.text
    assert "Your pictures take" in answer.text and "was not kept" in answer.text
    assert len(given(visits)) == rows(visits) == 1 and not queue.list_jobs(visits.db)


def test_a_key_s_pictures_are_its_own_and_stay_where_a_job_names_them(
    serve: Serve, visits: Studio, key: Callable[..., dict[str, str]]
) -> None:
    api, header = serve(), key()
    kept = api.client.post("/api/v1/uploads", content=picture_bytes("PNG"), headers=header).json()["id"]
    found = artefacts.get(visits.db, kept)
    assert found.giver == keys.every(visits.db)[0].submitter and found.due_at is not None
    settings = {"prompt": "a heart", "init_image": kept}
    answer = api.post("/api/v1/jobs", {"engine": "vqgan-clip", "params": settings}, headers=header)
    assert answer.status_code == 201 and artefacts.get(visits.db, kept).due_at is None


def test_a_word_a_ban_and_a_withheld_engine_refuse_before_anything_is_read(
    serve: Serve, visits: Studio, reads: list[int]
) -> None:
    api = serve()
    host_rules.change(visits.db, refused_words=["heart"])
    assert native(api).status_code == 422
    host_rules.change(visits.db, refused_words=[], withheld=["vqgan-clip"])
    assert native(api).status_code == 403
    assert given(visits) == [] and rows(visits) == 0 and not reads


def test_a_busy_machine_says_when_to_try_again(serve: Serve, visits: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    api = serve()
    monkeypatch.setattr(decode, "MAX_WAIT_S", 0.01)
    with decode._one_at_a_time():
        for ask in WAYS:
            answer = ask(api)
            assert status_of(answer) == 503 and int(answer.headers["retry-after"]) >= 1, answer.text
            assert "Many pictures are being read at this moment" in answer.text
    assert given(visits) == [] and rows(visits) == 0


def test_monitors_are_told_of_a_disk_that_is_nearly_full(serve: Serve) -> None:
    full, free = serve(min_free_bytes=FULL), serve()
    answer = full.get("/readyz")
    assert answer.status_code == 507 and "retry-after" in answer.headers and "nearly full" in answer.text
    assert free.get("/readyz").status_code == 200
    assert value(scraped(full), "t2i_disk_nearly_full") == 1 and value(scraped(free), "t2i_disk_nearly_full") == 0
    assert (value(scraped(free), "t2i_disk_free_bytes", used_for="pictures") or 0) > 0
