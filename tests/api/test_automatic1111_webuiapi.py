"""webuiapi 0.9.17, unmodified, draws on a real executor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import webuiapi
from PIL import Image

from tests.api.serving import until
from tests.api.waiting_calls import png

FEW_STEPS = 2  # so that a picture takes a second


@pytest.fixture
def client(real_studio: str) -> Iterator[Any]:
    """webuiapi 0.9.17 as its README says, with few steps."""
    address = urlsplit(real_studio)
    made = webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="Euler a", steps=FEW_STEPS)
    yield made
    made.session.close()


def test_webuiapi_draws_and_knows_what_was_drawn(client: Any) -> None:
    wish = {"prompt": "a red heart", "negative_prompt": "ugly, out of frame", "cfg_scale": 5}
    result = client.txt2img(**wish, seed=1003, styles=["noto"], width=96, height=64)
    assert result.image.size == (96, 64) and len(result.images) == 1
    assert result.info["seed"] == 1003 and result.info["all_seeds"] == [1003]
    assert result.info["sampler_name"] == "Euler a" and result.info["steps"] == FEW_STEPS
    assert result.parameters["prompt"] == "a red heart"
    assert result.image.info["parameters"] == result.info["infotexts"][0]

    told = client.png_info(result.image)
    assert told.info == result.info["infotexts"][0]
    assert told.parameters["Seed"] == "1003" and told.parameters["Negative prompt"] == "ugly, out of frame"

    varied = client.img2img(images=[result.image], prompt="a blue heart", seed=1003, denoising_strength=0.6)
    assert varied.image.size == (512, 512), "as webuiapi asks where nothing is said"
    assert varied.info["denoising_strength"] == 0.6

    larger = client.extra_single_image(
        result.image.crop((0, 0, 32, 32)), upscaler_1="mini-upscaler", upscaling_resize=3
    )
    assert larger.image.size == (96, 96) and "mini-upscaler" in larger.info
    both = client.extra_batch_images(
        images=[result.image, varied.image], upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5
    )
    assert [image.size for image in both.images] == [(144, 96), (768, 768)]


def test_webuiapi_reads_every_list_and_sets_options(client: Any) -> None:
    assert client.util_get_current_model() == "latent-diffusion/mini-latent-diffusion"
    assert "latent-diffusion/stable-diffusion-xl" in client.util_get_model_names()
    try:
        client.util_set_model("guided-diffusion/mini-diffusion")
        assert client.util_get_current_model() == "guided-diffusion/mini-diffusion"
        assert client.util_get_sampler_names() == ["DDIM", "DPM++ 2M"]
    finally:
        client.set_options({"sd_model_checkpoint": "latent-diffusion/mini-latent-diffusion"})
    assert client.util_get_sampler_names() == ["DDIM", "DPM++ 2M", "Euler", "Euler a"]
    assert "automatic" in client.util_get_scheduler_names()
    assert {one["name"] for one in client.get_upscalers()} == {
        "None",
        "Lanczos",
        "Nearest",
        "mini-upscaler",
        "swinir-l",
    }
    empty = "sd_vae latent_upscale_modes loras hypernetworks face_restorers realesrgan_models"
    assert all(getattr(client, f"get_{name}")() == [] for name in empty.split())
    assert client.get_scripts() == {"txt2img": [], "img2img": []} and not client.has_controlnet
    assert client.get_prompt_styles() and client.get_embeddings()["loaded"] == {}
    assert client.get_memory()["ram"]["total"] and client.get_cmd_flags()["api"]
    assert client.refresh_checkpoints() is None
    client.util_wait_for_ready(check_interval=0.1)
    with pytest.raises(RuntimeError, match="nothing at this address"):
        client.interrogate(Image.new("RGB", (8, 8)))
    assert client.session.get(f"{client.baseurl.removesuffix('/sdapi/v1')}/controlnet/version").status_code == 404
    client.set_auth("anybody", "no key")  # as a studio that needs none lets clients that cannot do without
    assert client.get_options()["sd_model_checkpoint"]


def test_webuiapi_watches_a_call_and_ends_it(client: Any) -> None:
    found: list[Any] = []
    drawing = threading.Thread(
        target=lambda: found.append(client.txt2img(prompt="a red heart", steps=400, batch_size=2, seed=1))
    )
    drawing.start()
    seen = until(client.get_progress, lambda told: told["current_image"] and told["progress"] > 0)
    assert seen["progress"] < 1 and seen["state"]["job_count"] == 2 and seen["state"]["sampling_steps"] == 400
    assert png(seen["current_image"]).width >= 64
    assert client.interrupt() == {}
    drawing.join()
    (result,) = found
    assert 1 <= len(result.images) <= 2 and result.image.size == (512, 512)
    assert result.info["all_seeds"] == [1, 2][: len(result.images)]
    client.util_wait_for_ready(check_interval=0.1)
