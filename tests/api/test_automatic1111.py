"""Programs written for the Automatic1111 web UI draw here: what they give is honoured, the rest is the studio's own."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from api.automatic1111 import models
from api.automatic1111.shapes import TextToImage
from api.automatic1111.wishes import wanted
from db import queue
from db.rules import host_rules
from generator.params import validate
from generator.prompts import parse_prompts
from studio.submit import Wish
from tests.api.conftest import Serve
from tests.api.serving import Served
from tests.api.waiting_calls import b64, drawn, png
from tests.pages.visits import Studio

STABLE = {"override_settings": {"sd_model_checkpoint": "latent-diffusion/stable-diffusion-1-5"}}
VQGAN = {"override_settings": {"sd_model_checkpoint": "vqgan-clip/mini"}}


def wished(visits: Studio, body: dict[str, Any]) -> Wish:
    """What a call asks the studio for."""
    call, studio = TextToImage(**{"prompt": "a heart", **body}), visits.opened()
    return wanted(studio, models.current(studio, None, call.checkpoint), call).wish


def test_what_is_left_out_is_as_the_studio_draws_best_with_the_checkpoint(api: Served, visits: Studio) -> None:
    (job,), answer = drawn(api, visits, "txt2img", {"prompt": "a red heart"})
    assert (job.engine, job.checkpoint) == ("latent-diffusion", "mini-latent-diffusion")
    assert (job.params["steps"], job.params["cfg_scale"], job.params["sampler"]) == (20, 3.5, "dpm-solver-2m")
    assert (job.params["width"], job.params["upscale"]) == (64, 4)
    info = json.loads(answer["info"])
    assert info["seed"] == job.params["seed"] and info["all_seeds"] == [job.params["seed"]]
    assert answer["parameters"]["prompt"] == "a red heart" and answer["parameters"]["steps"] is None


def test_what_is_given_is_honoured(api: Served, visits: Studio) -> None:
    body = {
        "prompt": "a red heart",
        "negative_prompt": "grey, blurry",
        "seed": 7,
        "steps": 12,
        "cfg_scale": 5.5,
        "sampler_name": "Euler a",
        "scheduler": "Karras",
        "width": 96,
        "height": 48,
        "batch_size": 2,
        "n_iter": 1,
        "styles": ["Fluent"],
        "clip_skip": 2,
        "s_tmax": None,
        "comments": {},
        "tiling": False,
        "studio_params": {"candidates": 2},
    }
    jobs, answer = drawn(api, visits, "txt2img", body, 2)
    params = jobs[0].params
    assert [job.params["seed"] for job in jobs] == [7, 8]
    assert (params["steps"], params["cfg_scale"], params["sampler"]) == (12, 5.5, "euler-ancestral")
    assert (params["negative_prompt"], params["style"], params["candidates"]) == ("grey, blurry", "fluent", 2)
    assert [png(one).size for one in answer["images"]] == [(96, 48), (96, 48)]
    info = json.loads(answer["info"])
    assert info["all_seeds"] == [7, 8] and len(info["infotexts"]) == 2
    assert (info["width"], info["height"], info["sampler_name"]) == (96, 48, "Euler a")
    expected = (
        "a red heart\nNegative prompt: grey, blurry\nSteps: 12, Sampler: Euler a, Schedule type: Automatic, "
        "CFG scale: 5.5, Seed: 8, Size: 96x48, Model: mini-latent-diffusion"
    )
    assert info["infotexts"][1].startswith(expected)
    assert png(answer["images"][1]).info["parameters"] == info["infotexts"][1]


def test_the_default_is_a_model_that_takes_what_these_programs_set(serve: Serve, visits: Studio) -> None:
    api = serve()
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "latent-diffusion/mini-latent-diffusion"
    host_rules.change(visits.db, default_engine="latent-diffusion", default_checkpoint="stable-diffusion-1-5")
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "latent-diffusion/stable-diffusion-1-5"
    host_rules.change(visits.db, withheld=["latent-diffusion"])
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"].startswith("vqgan-clip/")


def test_everybody_chooses_a_model_for_themselves(serve: Serve, visits: Studio, key: Any) -> None:
    api, other = serve(), key("submit")
    title = next(one["title"] for one in api.get("/sdapi/v1/sd-models").json() if "256" in one["title"])
    assert title.startswith("guided-diffusion/guided-diffusion-256 [") and title.endswith("]")
    assert api.post("/sdapi/v1/options", {"sd_model_checkpoint": title, "eta_noise_seed_delta": 31337}).json() is None
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == title
    assert "mini-latent" in api.get("/sdapi/v1/options", headers=other).json()["sd_model_checkpoint"]
    (job,), _ = drawn(api, visits, "txt2img", {"prompt": "a red heart", "seed": 1})
    assert job.checkpoint == "guided-diffusion-256"
    assert {one["name"] for one in api.get("/sdapi/v1/samplers").json()} == {"DPM++ 2M", "DDIM"}
    drawn(api, visits, "txt2img", {"prompt": "a red heart", **STABLE})
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == title, "another one was for that call alone"
    drawn(api, visits, "txt2img", {"prompt": "a heart", "override_settings_restore_afterwards": False, **VQGAN})
    assert api.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "vqgan-clip/mini", "kept where asked to"


@pytest.mark.parametrize(
    "name",
    [
        "latent-diffusion/stable-diffusion-1-5",
        "stable-diffusion-1-5",
        "stable-diffusion-1-5.safetensors",
        "stable-diffusion-1-5.safetensors [6ce0161689]",
        "latent-diffusion/stable-diffusion-1-5 [6ce0161689]",
    ],
)
def test_a_call_names_its_model_in_any_form(visits: Studio, name: str) -> None:
    wish = wished(visits, {"override_settings": {"sd_model_checkpoint": name, "sd_vae": "Automatic"}})
    assert (wish.engine, wish.values["checkpoint"]) == ("latent-diffusion", "stable-diffusion-1-5")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("DPM++ 2M", "dpm-solver-2m"),
        ("DPM++ 2M Karras", "dpm-solver-2m"),
        ("k_dpmpp_2m", "dpm-solver-2m"),
        ("k_dpmpp_2m_ka", "dpm-solver-2m"),
        ("DDIM", "ddim"),
        ("Euler", "euler"),
        ("euler a", "euler-ancestral"),
        ("k_euler_ancestral", "euler-ancestral"),
        ("PLMS", "pndm"),
        ("Automatic", "dpm-solver-2m"),
        ("", "dpm-solver-2m"),
        (None, "dpm-solver-2m"),
    ],
)
def test_samplers_are_known_by_the_names_they_have_there(visits: Studio, name: str | None, ours: str) -> None:
    wish = wished(visits, {"sampler_name": name, **STABLE})
    assert validate(wish.engine, dict(wish.values)).model_dump()["sampler"] == ours


def test_an_engine_with_one_way_to_draw_reads_over_the_sampler_and_avoids_in_its_own_words(
    api: Served, visits: Studio
) -> None:
    body = {"prompt": "a red heart", "negative_prompt": "(fog:1.3), ratio 16:9 | rain:2", "sampler_index": "Heun"}
    (job,), answer = drawn(api, visits, "txt2img", {**body, "cfg_scale": 7, **VQGAN})
    assert job.engine == "vqgan-clip" and job.prompt == 'a red heart | "(fog:1.3), ratio 16:9, rain:2":-1'
    assert "Negative prompt: (fog:1.3), ratio 16:9 | rain:2\n" in json.loads(answer["info"])["infotexts"][0]
    for prompt, negative, told in (
        ("un gato rojo:2", "niebla, (lluvia:2)", "a red cat\\:2\nNegative prompt: fog, (rain:2)\n"),
        ("a 🐱", "fog", "a cat face\nNegative prompt: fog\n"),
    ):
        (job,), answer = drawn(api, visits, "txt2img", {"prompt": prompt, "negative_prompt": negative, **VQGAN})
        info = json.loads(answer["info"])
        assert info["infotexts"][0].startswith(told), "each on its own line once, as it was drawn"
        assert f"{info['all_prompts'][0]}\nNegative prompt: {info['all_negative_prompts'][0]}\n" == told


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("(a red heart:1.3)", "(a red heart:1.3)"),
        ("((best:1.2) quality:1.4), a heart", "((best:1.2) quality:1.4), a heart"),
        ("a heart <lora:flat:0.8>", "a heart <lora:flat:0.8>"),
        ("a cat, :3", "a cat, :3"),
        ("a cat:2", r"a cat\:2"),
        ("a cat : 2:0.5", r"a cat \: 2\:0.5"),
        ("[cat:dog:0.5]", "[cat:dog:0.5]"),
        ("a [cow|horse] in a field", "a [cow,horse] in a field"),
        ("ratio 16:9 poster", "ratio 16:9 poster"),
    ],
)
def test_prompts_are_read_as_they_are_written_there(visits: Studio, prompt: str, read: str) -> None:
    wish = wished(visits, {"prompt": prompt})
    assert wish.values["prompt"] == read
    assert len(parse_prompts(read)) == 1, "one part, of weight 1"
    assert parse_prompts(read)[0].weight == 1


def test_a_larger_picture_is_upscaled_from_what_the_model_draws(api: Served, visits: Studio) -> None:
    (job,), answer = drawn(api, visits, "txt2img", {"prompt": "a heart", "width": 320, "height": 256})
    assert (job.params["width"], job.params["height"], job.params["upscale"]) == (64, 64, 4)
    assert png(answer["images"][0]).size == (320, 256)
    hires = {"prompt": "a heart", "width": 512, "height": 384, "enable_hr": True, "hr_scale": 2, **STABLE}
    (job,), answer = drawn(api, visits, "txt2img", {**hires, "hr_upscaler": "swinir-l"})
    assert job.params["upscale"] == 4 and job.params["upscaler"] == "swinir-l" and job.params["width"] < 800
    assert png(answer["images"][0]).size == (1024, 768)


def test_a_picture_is_drawn_from_another_and_only_where_the_mask_is_white(api: Served, visits: Studio) -> None:
    start = {"prompt": "a heart", "init_images": ["data:image/jpeg;base64," + b64("JPEG")]}
    (job,), answer = drawn(api, visits, "img2img", {**start, "denoising_strength": 0.4})
    assert job.params["init_image"].startswith("uploads/") and job.params["strength"] == 0.4
    assert answer["parameters"]["init_images"] is None
    assert "Denoising strength: 0.4" in json.loads(answer["info"])["infotexts"][0]
    (job,), answer = drawn(api, visits, "img2img", {**start, "include_init_images": True})
    assert job.params["strength"] == 0.6, "the studio's own where nothing is said"
    assert answer["parameters"]["init_images"] == start["init_images"]
    half = Image.new("L", (48, 32), 0)
    half.paste(255, (0, 0, 10, 32))
    out = io.BytesIO()
    half.save(out, "PNG")
    masked = {**start, **STABLE, "mask": base64.b64encode(out.getvalue()).decode(), "inpainting_mask_invert": 1}
    (job,), _ = drawn(api, visits, "img2img", masked)
    kept = Image.open(io.BytesIO(visits.store.get(job.params["mask_image"]))).convert("L")
    assert kept.getpixel((5, 5)) == 0 and kept.getpixel((40, 5)) == 255
    (job,), _ = drawn(api, visits, "img2img", {**start, **VQGAN, "denoising_strength": 0.25})
    assert job.params["init"] == "image" and job.params["init_weight"] == 1.5


def test_pictures_that_are_not_wanted_are_not_sent(api: Served, visits: Studio) -> None:
    _, answer = drawn(api, visits, "txt2img", {"prompt": "a heart", "send_images": False, "save_images": True})
    assert answer["images"] == [] and json.loads(answer["info"])["infotexts"]


ERRORS: tuple[tuple[str, Any, int, str], ...] = (
    ("txt2img", {"prompt": "x", "sampler_name": "Heun"}, 404, "Sampler not found: 'Heun'. Choose one of: DPM++ 2M"),
    ("txt2img", {"prompt": "x", "sampler_name": "PLMS"}, 404, "Sampler not found"),
    ("txt2img", {"prompt": "x", "override_settings": {"sd_model_checkpoint": "v1-5"}}, 404, "mini-latent-diffus"),
    ("txt2img", {"prompt": "x", "override_settings": {"sd_model_checkpoint": [1]}}, 422, "title of a model"),
    ("txt2img", {"prompt": "x", "batch_size": 3, "n_iter": 3}, 422, "9 pictures; 1 to 8 are allowed"),
    ("txt2img", {"prompt": ""}, 422, "The prompt is empty"),
    ("txt2img", {"prompt": "x", "width": 4}, 422, "16 to 2048 px"),
    ("txt2img", {"prompt": "x", "width": 9e9}, 422, "width"),
    ("txt2img", {"prompt": "x", "steps": 10**6, **STABLE}, 422, "steps"),
    ("txt2img", {"prompt": "x", "studio_params": {"colour": 1}}, 422, "Unknown setting 'colour'"),
    ("txt2img", {"prompt": "x", "script_name": "X/Y/Z plot"}, 422, "not found"),
    ("txt2img", {"prompt": "x", "alwayson_scripts": {"ControlNet": {"args": [{"image": ""}]}}}, 422, "ControlNet"),
    ("img2img", {"prompt": "x"}, 404, "Init image not found"),
    ("img2img", {"prompt": "x", "init_images": ["!"]}, 422, "base64"),
    ("img2img", {"prompt": "x", "init_images": ["aGVsbG8="]}, 422, "not a picture"),
    ("img2img", {"prompt": "x", "init_images": [b64(), b64()]}, 422, "one is allowed"),
    (
        "img2img",
        {"prompt": "x", "init_images": [b64()], "override_settings": {"sd_model_checkpoint": "biggan-clip"}},
        422,
        "biggan-clip cannot start from a picture",
    ),
    ("options", {"sd_model_checkpoint": "v1-5"}, 404, "Unknown model 'v1-5'"),
    ("extra-single-image", {"image": b64(), "upscaler_1": "R-ESRGAN 4x+"}, 404, "mini-upscaler"),
    ("extra-single-image", {"image": "", "upscaler_1": "Lanczos"}, 422, "empty"),
    ("extra-single-image", {"image": b64(), "upscaler_1": "Lanczos", "upscaling_resize": 99}, 422, "resize"),
    ("extra-batch-images", {"imageList": []}, 422, "imageList"),
    ("interrogate", {"image": b64()}, 404, "nothing at this address"),
)


def test_errors_are_told_in_the_words_of_the_dialect(api: Served, visits: Studio) -> None:
    for path, body, status, says in ERRORS:
        answer = api.post(f"/sdapi/v1/{path}", body)
        assert answer.status_code == status and says in answer.json()["detail"], (path, body, answer.text)
        assert {"error", "detail", "body", "errors"} == answer.json().keys()
    assert not queue.list_jobs(visits.db)


HOSTILE = (
    '{"prompt": "\\u0000"}',
    '{"prompt": "\\ud800"}',
    '{"prompt": "x", "negative_prompt": "\\u0000"}',
    '{"prompt": "x", "override_settings": {"\\ud800": NaN, "sd_model_checkpoint": "\\ud800"}}',
    '{"prompt": "x", "alwayson_scripts": {"\\ud800": {"args": [1]}}}',
    '{"prompt": "x", "studio_params": {"\\ud800": NaN}}',
    '{"prompt": "x", "studio_params": {"cfg_scale": NaN}}',
    '{"prompt": "x", "cfg_scale": NaN}',
    '{"prompt": "x", "cfg_scale": 1e999}',
    '{"prompt": "x", "seed": 1' + "0" * 400 + "}",
    '{"prompt": "x", "denoising_strength": "much"}',
    '{"prompt": "x", "styles": ["\\ud800"]}',
    '{"prompt": "x", "sampler_name": "\\ud800"}',
    '{"prompt": "' + ":" * 200_000 + '"}',
    '{"prompt": "' + "(" * 9_000 + ':1"}',
    '{"prompt": ' + "[" * 50_000 + "}",
    "[]",
    "null",
    "{",
)


def test_no_input_is_a_fault_of_the_server(api: Served, visits: Studio) -> None:
    for raw in HOSTILE:
        for path in ("txt2img", "img2img"):
            answer = api.client.post(
                f"/sdapi/v1/{path}", content=raw.encode(), headers={"content-type": "application/json"}
            )
            assert 400 <= answer.status_code < 500 and answer.json()["detail"], (raw[:80], answer.text)
    assert not queue.list_jobs(visits.db)


def test_what_the_host_says_holds_here_too(serve: Serve, visits: Studio, key: Any) -> None:
    api = serve(max_queued_per_submitter=1)
    assert api.post("/sdapi/v1/txt2img", {"prompt": "x", "batch_size": 2}).status_code == 429
    host_rules.change(visits.db, refused_words=["heart"])
    refused = api.post("/sdapi/v1/txt2img", {"prompt": "a heart"})
    assert refused.status_code == 422 and "heart" in refused.json()["detail"]
    assert api.post("/sdapi/v1/txt2img", {"prompt": "x"}, headers=key("read")).status_code == 403
    assert api.post("/sdapi/v1/interrupt", headers=key("read")).status_code == 403


def test_a_key_is_the_password_of_basic_authentication(serve: Serve, key: Any) -> None:
    api = serve(api="keys")
    assert api.get("/sdapi/v1/options").status_code == 401
    password = key("submit")["authorization"].removeprefix("Bearer ")
    assert api.client.get("/sdapi/v1/options", auth=("anybody", password)).status_code == 200
