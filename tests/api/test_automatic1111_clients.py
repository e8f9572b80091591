"""The exact requests of three chat front ends, as their source has them, read as they read the answers."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import httpx
from PIL import Image

from tests.api.serving import Served
from tests.api.waiting_calls import drawn, png
from tests.pages.visits import Studio


def test_open_webui(api: Served, visits: Studio) -> None:
    """backend/open_webui/routers/images.py: get_models, set_image_model, image_generations; without api auth set."""
    headers = {"authorization": ""}
    models = [
        {"id": model["title"], "name": model["model_name"]}
        for model in api.get("/sdapi/v1/sd-models", headers=headers).json()
    ]
    assert all(isinstance(one["id"], str) and isinstance(one["name"], str) for one in models)
    options = api.get("/sdapi/v1/options", headers=headers).json()
    before, other = options["sd_model_checkpoint"], models[1]["id"]
    for model in (other, before):  # all options are sent back, with another model
        answer = api.post("/sdapi/v1/options", {**options, "sd_model_checkpoint": model}, headers=headers)
        answer.raise_for_status()
        assert api.get("/sdapi/v1/options", headers=headers).json()["sd_model_checkpoint"] == model
    data = {"prompt": "a red heart", "batch_size": 2, "width": 512, "height": 512, "steps": 50}
    data |= {"negative_prompt": "fog"}
    data |= {"cfg_scale": 7.0, "sampler_name": "DPM++ 2M", "scheduler": "Karras"}  # AUTOMATIC1111_PARAMS
    jobs, answer = drawn(api, visits, "txt2img", data, 2, headers=headers)
    assert (jobs[0].params["steps"], jobs[0].params["cfg_scale"]) == (50, 7)
    for image in answer["images"]:
        content = base64.b64decode(image)  # get_image_data: no comma, so image/png
        assert "," not in image and Image.open(io.BytesIO(content)).format == "PNG"
    assert len(answer["images"]) == 2 and json.dumps({**data, "info": answer["info"]})


def test_librechat(api: Served, visits: Studio) -> None:
    """api/app/clients/tools/structured/StableDiffusion.js: _call."""
    payload = {
        "prompt": "a red heart, simple, flat, clean, bright, centred, emoji",
        "negative_prompt": "semi-realistic, cgi, 3d, render, sketch, cartoon, drawing",
        "cfg_scale": 4.5,
        "steps": 22,
        "width": 1024,
        "height": 1024,
    }
    _, data = drawn(api, visits, "txt2img", payload)
    image, info = data["images"][0], json.loads(data["info"])
    assert (info["height"], info["width"]) == (1024, 1024) == png(image.split(",", 1)[0]).size
    line = info["infotexts"][0].split("\n").pop()
    assert re.match(r"Steps: 22, Sampler: .*CFG scale: 4\.5, Seed: \d+, Size: 1024x1024", line)
    assert isinstance(info["seed"], int) and f"Seed: {info['seed']}," in line


def test_silly_tavern(api: Served, visits: Studio) -> None:
    """src/endpoints/stable-diffusion.js and public/scripts/extensions/stable-diffusion/index.js, without auth set."""
    headers = {"Authorization": "Basic"}

    def get(path: str) -> httpx.Response:
        return api.get(f"/sdapi/v1/{path}", headers=headers)

    assert get("options").is_success, "/ping"
    names = {path: [one["name"] for one in get(path).json()] for path in ("upscalers", "latent-upscale-modes")}
    upscalers = names["upscalers"][:1] + names["latent-upscale-modes"] + names["upscalers"][1:]
    assert upscalers[0] == "None" and "mini-upscaler" in upscalers
    assert [one["model_name"] for one in get("sd-vae").json()] == [] and get("sd-modules").status_code == 404
    samplers = [one["name"] for one in get("samplers").json()]
    schedulers = [one["name"] for one in get("schedulers").json()]
    titles = [one["title"] for one in get("sd-models").json()]
    assert get("options").json()["sd_model_checkpoint"] in titles
    chosen = api.post("/sdapi/v1/options", {"sd_model_checkpoint": titles[0]}, headers=headers)
    assert chosen.is_success
    progress = get("progress").json()
    assert progress["progress"] == 0.0 and progress["state"]["job_count"] == 0
    assert "forge_preset" not in get("options").json()
    body: dict[str, Any] = {
        "url": "http://localhost:7860",
        "auth": "",
        "prompt": "best quality, absurdres, (a red heart:1.2)",
        "negative_prompt": "lowres, bad anatomy, bad hands, text, error, cropped, worst quality, low quality",
        "sampler_name": samplers[0],
        "scheduler": schedulers[0],
        "steps": 20,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 2,
        "hr_additional_modules": [],
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "override_settings_restore_afterwards": True,
        "clip_skip": 1,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }
    _, answer = drawn(api, visits, "txt2img", body, headers=headers)
    assert png(answer["images"][0]).size == (512, 512)
    assert api.post("/sdapi/v1/interrupt", headers=headers).is_success, "as it asks where its user stops waiting"
