"""What stands around drawing in the Automatic1111 dialect: progress, ending calls early, upscaling, lists, png-info."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from db import queue
from db.jobs import State
from tests.api.conftest import Serve
from tests.api.serving import Served, until
from tests.api.waiting_calls import b64, calling, drawn, png, queued
from tests.pages.visits import EXECUTOR, ME, Studio


def test_progress_is_that_of_the_callers_own_calls(serve: Serve, visits: Studio, key: Any) -> None:
    api = serve()
    idle = api.get("/sdapi/v1/progress").json()
    assert idle["progress"] == 0 and idle["eta_relative"] == 0 and idle["state"]["job_count"] == 0
    assert idle["current_image"] is None
    with calling(api, "txt2img", {"prompt": "a heart", "batch_size": 2, "seed": 1}) as answer:
        queued(visits, 2)
        look = lambda **more: api.get("/sdapi/v1/progress", **more).json()  # noqa: E731
        assert look()["state"]["job_count"] == 2 and look()["progress"] == 0
        running = visits.run(step=5)
        now = look()
        assert now["progress"] == pytest.approx(5 / 20 / 2) and now["eta_relative"] > 0
        assert now["state"] | {"sampling_step": 5, "sampling_steps": 20, "job": "txt2img", "job_no": 0} == now["state"]
        assert len(now["state"]["job_timestamp"]) == 14 and png(now["current_image"]).size == (16, 16)
        assert look(params={"skip_current_image": "true"})["current_image"] is None
        assert look(headers=key("read"))["state"]["job_count"] == 0, "somebody else's"
        visits.finish(running)
        assert until(look, lambda found: found["state"]["job_no"] == 1)["progress"] == 0.5
        visits.finish(visits.run())
        assert answer.result(30).status_code == 200
    assert api.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0


def test_a_call_that_is_interrupted_is_answered_with_what_there_is(serve: Serve, visits: Studio, key: Any) -> None:
    api = serve()
    body = {"prompt": "a heart", "batch_size": 3, "seed": 1, "width": 128, "height": 128}
    with calling(api, "txt2img", body) as answer:
        jobs = queued(visits, 3)
        visits.finish(visits.run())
        visits.run()
        until(lambda: api.get("/sdapi/v1/progress").json(), lambda found: found["current_image"])
        assert api.post("/sdapi/v1/interrupt", headers=key("submit")).json() == {}
        assert queue.get(visits.db, jobs[2].id).state == State.QUEUED, "nobody ends another's call"
        assert api.post("/sdapi/v1/interrupt").json() == {}
        told = api.get("/sdapi/v1/progress").json()["state"]
        assert told["interrupted"] or told["job_count"] == 0
        response = answer.result(30)
    assert response.status_code == 200
    assert [png(one).size for one in response.json()["images"]] == [(128, 128)] * 2
    assert json.loads(response.json()["info"])["all_seeds"] == [1, 2]
    assert queue.get(visits.db, jobs[2].id).state == State.CANCELLED
    assert queue.get(visits.db, jobs[1].id).cancel_requested


def test_a_call_interrupted_before_anything_was_drawn_has_no_pictures(api: Served, visits: Studio) -> None:
    with calling(api, "txt2img", {"prompt": "a heart", "seed": 3}) as answer:
        queued(visits)
        until(lambda: api.get("/sdapi/v1/progress").json(), lambda found: found["state"]["job_count"])
        api.post("/sdapi/v1/interrupt")
        response = answer.result(30)
    assert response.status_code == 200 and response.json()["images"] == []
    info = json.loads(response.json()["info"])
    assert info["seed"] == 3 and len(info["infotexts"]) == 1


def test_skip_ends_the_picture_in_progress_alone(api: Served, visits: Studio) -> None:
    with calling(api, "txt2img", {"prompt": "a heart", "n_iter": 2, "seed": 1}) as answer:
        first, _ = queued(visits, 2)
        visits.run()
        until(lambda: api.get("/sdapi/v1/progress").json(), lambda found: found["current_image"])
        assert api.post("/sdapi/v1/skip").status_code == 200
        assert queue.get(visits.db, first.id).cancel_requested
        queue.cancel_now(visits.db, worker_id=EXECUTOR, job_id=first.id)
        visits.finish(visits.run())
        response = answer.result(30)
    assert len(response.json()["images"]) == 2
    assert json.loads(response.json()["info"])["all_seeds"] == [1, 2]


def test_a_client_that_goes_away_leaves_no_job_behind(api: Served, visits: Studio) -> None:
    with api.left_alone("/sdapi/v1/txt2img", {"prompt": "a heart"}):
        until(lambda: queue.list_jobs(visits.db), bool)
    (job,) = queue.list_jobs(visits.db)
    until(lambda: queue.get(visits.db, job.id).state, lambda state: state == State.CANCELLED)
    until(lambda: api.get("/sdapi/v1/progress").json(), lambda found: not found["state"]["job_count"])
    assert queue.list_jobs(visits.db, submitter=ME) == []


def test_settings_are_read_out_of_a_picture(api: Served, visits: Studio) -> None:
    body = {"prompt": "a heart, red", "negative_prompt": "fog", "seed": 5, "width": 64, "height": 48}
    _, answer = drawn(api, visits, "txt2img", body)
    found = api.post("/sdapi/v1/png-info", {"image": "data:image/png;base64," + answer["images"][0]}).json()
    assert found["info"] == json.loads(answer["info"])["infotexts"][0]
    parts = found["parameters"]
    assert (parts["Prompt"], parts["Negative prompt"], parts["Seed"]) == ("a heart, red", "fog", "5")
    assert (parts["Size-1"], parts["Size-2"], parts["Sampler"]) == ("64", "48", "DPM++ 2M")
    assert api.post("/sdapi/v1/png-info", {"image": b64("JPEG")}).json() == {"info": "", "items": {}, "parameters": {}}


def test_hostile_pictures_do_no_harm(api: Served) -> None:
    def sent(**texts: str) -> dict[str, str]:
        chunks, out = PngImagePlugin.PngInfo(), io.BytesIO()
        for name, text in texts.items():
            chunks.add_text(name, text, zip=True)
        Image.new("RGB", (1, 1)).save(out, "PNG", pnginfo=chunks)
        return {"image": base64.b64encode(out.getvalue()).decode()}

    many = api.post("/sdapi/v1/png-info", sent(parameters="a" * 900_000, other=": " * 30_000))
    assert many.status_code == 200 and len(many.json()["info"]) == 900_000
    assert api.post("/sdapi/v1/png-info", sent(**{f"n{n}": "a" * 900_000 for n in range(3)})).status_code == 422
    quoted = api.post("/sdapi/v1/png-info", sent(parameters='x\nA b: "' + "\\" * 999 + ", C d: 1, E f: 2, G h: 3"))
    assert quoted.status_code == 200 and quoted.json()["parameters"]["G h"] == "3"
    for text in ("", "no base64!", b64()[:40], base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\xff" * 99).decode()):
        assert api.post("/sdapi/v1/png-info", {"image": text}).status_code == 422


def test_a_picture_is_made_larger_to_exactly_the_size_asked_for(api: Served, visits: Studio) -> None:
    body = {"image": b64(), "upscaler_1": "mini-upscaler", "upscaling_resize": 2.5}
    with calling(api, "extra-single-image", body) as answer:
        (job,) = queued(visits)
        assert job.engine == "upscale" and job.params["checkpoint"] == "mini-upscaler"
        visits.upscale(job)
        response = answer.result(30)
    assert png(response.json()["image"]).size == (120, 80)
    assert "Postprocess upscaler: mini-upscaler" in response.json()["html_info"]

    def at_once(**more: Any) -> tuple[int, int]:
        answer = api.post("/sdapi/v1/extra-single-image", {"image": b64(), "upscaler_1": "Lanczos", **more})
        return png(answer.json()["image"]).size

    assert at_once(upscaling_resize=3) == (144, 96)
    to = {"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 100}
    assert at_once(**to) == (100, 100)
    assert at_once(**to, upscaling_crop=False, upscaler_1="Nearest") == (150, 100)
    assert at_once(upscaler_1="None") == (48, 32), "as A1111 leaves it"
    assert at_once(upscaling_resize=0.5, upscaler_1="mini-upscaler") == (24, 16), "smaller needs no job"
    assert at_once(upscaler_2="Nearest", extras_upscaler_2_visibility=0.5) == (96, 64)
    several = api.post(
        "/sdapi/v1/extra-batch-images",
        {"imageList": [{"data": b64(), "name": "a"}, {"data": b64("JPEG"), "name": "b"}], "upscaler_1": "Nearest"},
    ).json()
    assert [png(one).size for one in several["images"]] == [(96, 64), (96, 64)]
    assert not queue.queued_jobs(visits.db, limit=9)


def test_lists_are_honest(api: Served) -> None:
    for name in ("sd-vae", "hypernetworks", "loras", "face-restorers", "realesrgan-models", "latent-upscale-modes"):
        assert api.get(f"/sdapi/v1/{name}").json() == [], name
    assert api.get("/sdapi/v1/scripts").json() == {"txt2img": [], "img2img": []}
    assert api.get("/sdapi/v1/embeddings").json() == {"loaded": {}, "skipped": {}}
    assert [one["name"] for one in api.get("/sdapi/v1/schedulers").json()] == ["automatic", "uniform"]
    names = [one["name"] for one in api.get("/sdapi/v1/upscalers").json()]
    assert names == ["None", "Lanczos", "Nearest", "mini-upscaler", "swinir-l"]
    models = api.get("/sdapi/v1/sd-models").json()
    assert models[0]["title"] == "latent-diffusion/mini-latent-diffusion" and len({m["title"] for m in models}) > 10
    assert all({"title", "model_name", "hash", "sha256", "filename", "config"} == one.keys() for one in models)
    assert {"noto", "twemoji"} <= {one["name"] for one in api.get("/sdapi/v1/prompt-styles").json()}
    assert api.get("/sdapi/v1/memory").json()["ram"]["total"] > 0 and api.get("/sdapi/v1/cmd-flags").json()["api"]
    assert api.post("/sdapi/v1/refresh-checkpoints").json() is None
