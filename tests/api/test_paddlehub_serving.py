"""PaddleHub's serving: the arguments as JSON, HTTP 200 with a status of its own, nested JSON documents."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from api.paddlehub.film import frames_of, shown_steps
from db import queue
from generator.paddlehub import MODULES
from tests.api.executing import executing
from tests.api.serving import Served
from tests.pages.visits import Studio, picture_bytes

STABLE, DISCO = "/predict/stable_diffusion", "/predict/disco_diffusion_clip_rn50"


def told(api: Served, path: str, body: Any) -> tuple[str, str, Any]:
    """status, msg and results."""
    answer = api.post(path, body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {"status", "msg", "results"}
    return found["status"], found["msg"], found["results"]


def size_of(uri: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))) as image:
        assert image.format == "PNG"
        return image.size


def test_stable_diffusion_answers_with_nested_documents(api: Served, visits: Studio) -> None:
    body = {"text_prompts": ["a red heart.", "a car"], "style": "flat", "batch_size": 2, "seed": 5, "output_dir": "x"}
    with executing(visits) as done:
        status, msg, results = told(api, STABLE, body)
    assert status == "000" and "mini-latent-diffusion draws 64 x 64 px" in msg
    assert [one["tags"] for one in results] == [{"prompt": "a red heart,flat"}, {"prompt": "a car,flat"}]
    assert [chunk["tags"]["image idx"] for chunk in results[0]["chunks"]] == [0, 1, "merged"]
    assert size_of(results[0]["uri"]) == (32, 16) and results[0]["chunks"][2]["uri"] == results[0]["uri"]
    assert len(results[0]["chunks"][0]["chunks"]) == 3, "every fifth step of twenty before the last"
    assert results[0]["chunks"][0]["chunks"][0]["tags"] == {"step": 4, "prompt": "a red heart,flat"}
    assert [job.params["seed"] for job in sorted(done, key=lambda job: job.id)] == [5, 6, 5, 6]


def test_disco_diffusion_takes_a_start_picture_in_base64(api: Served, visits: Studio) -> None:
    image = base64.b64encode(picture_bytes("PNG")).decode()
    body = {
        "text_prompts": "a red heart",
        "init_image": image,
        "steps": 10,
        "skip_steps": 0,
        "display_rate": 5,
        "n_batches": 2,
    }
    with executing(visits) as done:
        status, _, results = told(api, DISCO, body)
    assert status == "000" and len(results) == 2 and done[0].params["init_image"].startswith("uploads/")
    assert results[0]["tags"]["steps"] == 10 and results[0]["tags"]["init_image"] == "a picture"
    assert [chunk["tags"]["cur_t"] for chunk in results[0]["chunks"]] == [4, -1]
    assert results[0]["chunks"][-1]["uri"] == results[0]["uri"]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (STABLE, {"text_prompts": ""}, "101", "prompt is empty"),
        (STABLE, {}, "101", "text_prompts is missing"),
        (STABLE, {"text_prompts": "x", "colour": 1}, "101", "Unknown argument 'colour'"),
        (STABLE, {"text_prompts": "x", "num_inference_steps": -1}, "101", "num_inference_steps"),
        (STABLE, {"text_prompts": "x", "batch_size": 99}, "101", "batch_size"),
        (STABLE, {"text_prompts": "x", "checkpoint": "oil"}, "101", "mini-latent-diffusion"),
        (STABLE, {"text_prompts": "x", "results_format": "pickle"}, "101", "json, docarray"),
        (STABLE, {"text_prompts": "x", "results_format": "docarray"}, "101", "docarray before 0.30"),
        (DISCO, {"text_prompts": "x", "init_image": "/etc/passwd"}, "101", "base64"),
        (DISCO, {"text_prompts": "x", "cut_overview": "__import__('os')"}, "101", "cut_overview"),
        ("/predict/ernie_vilg", {"text_prompts": "x"}, "111", "stable_diffusion"),
        (STABLE, ["a red heart"], "112", "no JSON object"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(
    api: Served, visits: Studio, path: str, body: Any, status: str, says: str
) -> None:
    found = told(api, path, body)
    assert found[0] == status and says in found[1] and found[2] == ""
    assert not queue.list_jobs(visits.db)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x80\x04\x95",  # the start of a pickle
        b"\xff\xfe",
        b"[" * 5000,
        b'{"text_prompts": "x", "seed": NaN}',
        b'{"text_prompts": "x", "seed": 1e400}',
        b'{"text_prompts": "\\ud800"}',
        b'{"text_prompts": "\\u0000"}',
        b'{"text_prompts": "x", "cut_ic_pow": NaN}',
        b'{"text_prompts": "x", "cut_ic_pow": [1e400]}',
        b'{"text_prompts": "x", "width_height": [1e300, 1]}',
        b'{"\\ud800": 1}',
        b'{"text_prompts": "x", "results_format": [NaN]}',
        b'{"text_prompts": "x", "checkpoint": "\\ud800"}',
    ],
)
def test_whatever_is_sent_is_answered(api: Served, content: bytes) -> None:
    answer = api.client.post(STABLE if b"cut" not in content else DISCO, content=content)
    assert answer.status_code == 200 and answer.json()["status"] in ("101", "112") and answer.json()["msg"]


def test_beyond_the_limit_nothing_is_queued(serve: Callable[..., Served], visits: Studio) -> None:
    status, msg, _ = told(serve(max_queued_per_submitter=2), STABLE, {"text_prompts": ["a", "b", "c"]})
    assert status == "101" and "waiting" in msg
    assert {job.state for job in queue.list_jobs(visits.db)} == {"cancelled"}


def test_with_a_key_needed_nobody_draws_without(serve: Callable[..., Served]) -> None:
    answer = serve(api="keys").post(STABLE, {"text_prompts": "x"})
    assert answer.status_code == 401 and answer.json()["status"] == "101" and "key" in answer.json()["msg"]


def test_frames_are_found_in_a_film_that_joins_equal_ones() -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "red", "blue", "lime")]
    out = io.BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=[100, 100, 100, 1500])
    steps = shown_steps({"save_every": 2}, 8)
    assert steps == [2, 4, 6, 8]
    found = frames_of(out.getvalue(), steps)
    assert [step for step, _ in found] == steps
    assert [image.getpixel((1, 1)) for _, image in found] == [(255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 255, 0)]
    assert (
        shown_steps({"save_every": 1}, 250) == list(range(2, 251, 2)) and shown_steps({"save_every": 10}, 25)[-1] == 25
    )
    assert frames_of(b"no film", steps) == []


def test_with_a_real_executor(real_studio: str) -> None:
    body = {"text_prompts": "a red heart", "num_inference_steps": 4, "display_rate": 1, "seed": 5}
    answer = httpx.post(f"{real_studio}{STABLE}", json=body, timeout=300).json()
    assert answer["status"] == "000", answer["msg"]
    chunk = answer["results"][0]["chunks"][0]
    assert [frame["tags"]["step"] for frame in chunk["chunks"]] == [0, 1, 2]
    assert {size_of(one["uri"]) for one in (*chunk["chunks"], chunk)} == {(256, 256)}
    assert set(MODULES) >= {"stable_diffusion", "disco_diffusion_clip_rn50"}
