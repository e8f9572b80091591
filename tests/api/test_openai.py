"""The newest client of OpenAI, unmodified, against the studio."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from api.openai import wishes
from api.openai.shapes import ImageRequest
from db import queue
from db.jobs import State
from generator.output.metadata import encode_png, read_metadata
from generator.params import BadParams, validate
from studio.uploads import Upload
from tests.api.serving import Served, awaited, until
from tests.chain_studio import DRAFT
from tests.pages.visits import Studio
from tests.picture_files import encoded

NO_UPSCALING = {"steps": 2, "candidates": 1, "style": "noto"}


@pytest.fixture
def client(real_studio: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{real_studio}/v1", api_key="none") as made:
        yield made


@pytest.fixture
def near(api: Served) -> Iterator[OpenAI]:
    """A client of the server in this process, whose jobs nobody draws unless the test does."""
    with OpenAI(base_url=f"{api.address}/v1", api_key="none") as made:
        yield made


def picture(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


def png(mode: str = "RGB", side: int = 64, colour: Any = "red") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side), colour).save(out, "PNG")
    return out.getvalue()


def test_a_picture_in_three_lines(client: OpenAI) -> None:
    made = client.images.generate(model="latent-diffusion", prompt="a red heart", extra_body=DRAFT)
    assert made.data and made.created > 1_700_000_000
    image = picture(made.data[0].b64_json)
    assert image.size == (64, 64) and made.size == "64x64"
    engine, params = read_metadata(base64.b64decode(made.data[0].b64_json or ""))
    assert engine == "latent-diffusion" and params.prompt == "a red heart" and params.steps == 2


def test_as_many_pictures_as_asked_for_at_the_size_asked_for(client: OpenAI) -> None:
    made = client.images.generate(prompt="a red heart", n=2, size="320x256", extra_body={**NO_UPSCALING, "seed": 5})
    assert made.data and [picture(one.b64_json).size for one in made.data] == [(320, 256)] * 2
    assert made.size == "320x256" and [one.seed for one in made.data] == [5, 6]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("form", "name"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("gif", "GIF")])
def test_formats(client: OpenAI, form: Any, name: str) -> None:
    made = client.images.generate(
        prompt="a red heart", output_format=form, response_format="b64_json", extra_body=DRAFT
    )
    assert made.data and made.data[0].url is None and picture(made.data[0].b64_json).format == name
    assert made.output_format == form


def test_the_url_gives_the_picture_without_a_key(client: OpenAI) -> None:
    made = client.images.generate(prompt="a red heart", response_format="url", size="128x128", extra_body=DRAFT)
    assert made.data and made.data[0].b64_json is None and made.data[0].url
    assert Image.open(io.BytesIO(httpx.get(made.data[0].url).content)).size == (128, 128)


def test_a_picture_is_shown_while_it_forms(client: OpenAI) -> None:
    stream = client.images.generate(
        prompt="a red heart",
        stream=True,
        partial_images=2,
        size="128x128",
        extra_body={"steps": 30, "candidates": 1, "upscale": 1},
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [getattr(event, "partial_image_index", None) for event in events] == [0, 1, None]
    assert all(picture(event.b64_json).size == (128, 128) and event.size == "128x128" for event in events)


def test_the_asynchronous_client_waits_for_several_at_once(real_studio: str) -> None:
    async def both() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{real_studio}/v1", api_key="none") as client:
            calls = [client.images.generate(prompt=f"a {what}", extra_body=DRAFT) for what in ("heart", "car")]
            return await asyncio.gather(*calls)

    assert [made.data[0].revised_prompt for made in awaited(both())] == ["a heart", "a car"]


def test_edits_go_on_from_the_picture_that_was_sent(client: OpenAI, real_studio: str) -> None:
    made = client.images.edit(image=png(), prompt="a red heart", input_fidelity="high", extra_body=DRAFT)
    assert made.data and picture(made.data[0].b64_json).size == (64, 64)
    job = httpx.get(f"{real_studio}/api/v1/jobs/{made.data[0].job_id}").json()  # type: ignore[attr-defined]
    assert job["params"]["init_image"].startswith("uploads/") and job["params"]["strength"] == 0.3
    streamed = list(client.images.edit(image=png(), prompt="a red heart", stream=True, extra_body=DRAFT))
    assert streamed[-1].type == "image_edit.completed"


def test_a_mask_is_transparent_where_the_picture_is_drawn_anew(near: OpenAI, visits: Studio) -> None:
    with pytest.raises(openai.BadRequestError, match="biggan-clip cannot go on from a picture"):
        near.images.edit(image=png(), mask=png("RGBA", colour=(0, 0, 0, 0)), prompt="a heart", model="biggan-clip")
    with pytest.raises(openai.BadRequestError, match="no transparent part"):
        near.images.edit(image=png(), mask=png(), prompt="a heart", model="latent-diffusion")
    models = ("latent-diffusion/stable-diffusion-1-5", "vqgan-clip", "guided-diffusion", "latent-diffusion")
    for number, model in enumerate(models):
        asking = threading.Thread(target=_quietly(near, image=png(), mask=_half(), prompt="a heart", model=model, n=1))
        asking.start()
        until(lambda number=number: len(queue.list_jobs(visits.db)) > number)
        (job, *_) = queue.list_jobs(visits.db)
        with Image.open(io.BytesIO(visits.store.get(job.params["mask_image"]))) as mask:
            assert mask.convert("L").getpixel((5, 5)) == 255 and mask.convert("L").getpixel((60, 5)) == 0
        queue.request_cancel(visits.db, job.id)
        asking.join(20)


def _half() -> bytes:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    out = io.BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()


def _quietly(client: OpenAI, **asked: Any) -> Callable[[], None]:
    def call() -> None:
        with pytest.raises(openai.APIError):
            client.images.edit(**asked)

    return call


def _first(visits: Studio) -> Any:
    return until(lambda: queue.list_jobs(visits.db))[0]


@pytest.mark.filterwarnings("ignore:deprecated")  # OpenAI has retired it; the client still has it
def test_variations_of_ones_own_picture_and_of_a_strangers(client: OpenAI, real_studio: str) -> None:
    drawn = client.images.generate(prompt="a red heart", response_format="b64_json", extra_body=DRAFT)
    assert drawn.data
    own = base64.b64decode(drawn.data[0].b64_json or "")
    made = client.images.create_variation(image=own, n=2)
    assert made.data and len(made.data) == 2 and made.data[0].revised_prompt == "a red heart"
    strange = client.images.create_variation(image=png(colour="blue"), extra_body={"steps": 2, "cutn": 2})
    assert strange.data
    job = httpx.get(f"{real_studio}/api/v1/jobs/{strange.data[0].job_id}").json()  # type: ignore[attr-defined]
    assert job["engine"] == "vqgan-clip" and job["params"]["image_prompts"] and job["params"]["init"] == "image"


def test_a_variation_says_what_its_picture_was_made_from_and_is_not_here(visits: Studio) -> None:
    values = {"prompt": "a heart", "seed": 1, "image_prompts": "b.png"}
    made = encode_png(Image.new("RGB", (64, 64)), "guided-diffusion", validate("guided-diffusion", values))
    given = wishes.Given((Upload("own.png", made),))
    with pytest.raises(
        BadParams, match=r"b\.png is not there any more; give it with image_prompts=.*an empty one does"
    ):
        wishes.variation(visits.opened(), ImageRequest(prompt="a heart"), given)
    without = ImageRequest.model_validate({"prompt": "a heart", "image_prompts": ""})
    assert wishes.variation(visits.opened(), without, given).values["image_prompts"] == ""


def test_a_mask_is_taken_in_any_format_that_has_transparency(visits: Studio) -> None:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    for kind in ("PNG", "WEBP", "TIFF", "AVIF"):
        made = wishes._repainted(visits.opened(), Upload("mask", encoded(mask, kind)))
        with Image.open(io.BytesIO(made.data)) as white:
            assert (white.getpixel((5, 5)), white.getpixel((60, 5))) == (255, 0)


def test_models_are_listed_and_found_by_name(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "latent-diffusion" and "vqgan-clip/mini" in names
    assert client.models.retrieve("vqgan-clip/mini").id == "vqgan-clip/mini"
    assert client.models.retrieve("gpt-image-2").id == "gpt-image-2", "clients are fixed to such names"
    with pytest.raises(openai.NotFoundError, match="vqgan-clip/mini"):
        client.models.retrieve("oil")


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        ({"model": "oil"}, openai.NotFoundError, "latent-diffusion"),
        ({"prompt": ""}, openai.BadRequestError, "The prompt is empty"),
        ({"size": "big"}, openai.BadRequestError, "WIDTHxHEIGHT"),
        ({"size": "9000x9000"}, openai.BadRequestError, "16 to 2048 px"),
        ({"n": 9}, openai.BadRequestError, "n: "),
        ({"output_format": "svg"}, openai.BadRequestError, "png, jpeg, webp or gif"),
        ({"background": "transparent"}, openai.BadRequestError, "opaque"),
        ({"extra_body": {"colour": 1}}, openai.BadRequestError, "Unknown setting 'colour'"),
        ({"extra_body": {"steps": "many"}}, openai.BadRequestError, "steps = 'many'"),
    ],
)
def test_bad_requests_are_told_once_and_queue_nothing(
    near: OpenAI, visits: Studio, asked: Any, kind: Any, says: str
) -> None:
    with pytest.raises(kind, match=says) as refused:
        near.images.generate(**{"prompt": "a red heart", **asked})
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert isinstance(refused.value.body, dict) and refused.value.body["message"]
    assert not queue.list_jobs(visits.db)


def test_a_job_that_fails_is_told_and_not_asked_for_again(near: OpenAI, visits: Studio) -> None:
    visits.start_executor()

    def fail() -> None:
        _first(visits)
        job = visits.run()
        queue.fail(visits.db, worker_id="executor-1", job_id=job.id, kind="out_of_memory", message="Too large.")

    failing = threading.Thread(target=fail)
    failing.start()
    with pytest.raises(openai.InternalServerError, match="Too large"):
        near.images.generate(prompt="a red heart", model="vqgan-clip")
    failing.join()
    assert len(queue.list_jobs(visits.db)) == 1


def test_who_goes_away_leaves_no_job_behind(api: Served, near: OpenAI, visits: Studio) -> None:
    with api.left_alone("/v1/images/generations", {"prompt": "a red heart", "model": "vqgan-clip"}):
        _first(visits)
    with near.images.generate(prompt="a blue car", model="vqgan-clip", stream=True) as stream:
        _first(visits)
        stream.close()
    cancelled = [State.CANCELLED] * 2
    until(lambda: [job.state for job in queue.list_jobs(visits.db)], lambda states: states == cancelled)


def test_a_wrong_key_and_a_limit(serve: Callable[..., Served]) -> None:
    api = serve(api="keys", max_queued_per_submitter=1)
    with OpenAI(base_url=f"{api.address}/v1", api_key="t2i_wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    opened = serve(api="open", max_queued_per_submitter=1)
    with OpenAI(base_url=f"{opened.address}/v1", api_key="none") as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(prompt="a red heart", model="vqgan-clip", n=2)
        assert int(refused.value.response.headers["retry-after"]) > 0


def test_what_open_webui_sends_is_drawn_and_read_as_it_reads(real_studio: str) -> None:
    body = {"model": "dall-e-2", "prompt": "a red heart", "n": 1, "size": "512x512", "response_format": "b64_json"}
    answer = httpx.post(f"{real_studio}/v1/images/generations", json={**body, **DRAFT}, timeout=60).json()
    assert [picture(one["b64_json"]).size for one in answer["data"]] == [(512, 512)]
    files = [("image[]", ("image.png", png(), "image/png")), ("image", ("image.png", png(), "image/png"))]
    for name, file in files:
        fields = {
            "model": "gpt-image-1",
            "prompt": "a red heart",
            "n": "1",
            "response_format": "b64_json",
            "steps": "2",
        }
        answer = httpx.post(f"{real_studio}/v1/images/edits", data=fields, files={name: file}, timeout=60)
        assert answer.status_code == 200 and picture(answer.json()["data"][0]["b64_json"]), answer.text


def test_what_librechat_sends_is_drawn_and_read_as_it_reads(real_studio: str) -> None:
    unset = {"background": "auto", "quality": "auto", "size": "auto", "output_format": "png", "output_compression": 100}
    body = {"model": "gpt-image-1", "prompt": "a red heart", "n": 1, "user": "64f1c0ffee", **unset}
    answer = httpx.post(f"{real_studio}/v1/images/generations", json={**body, **DRAFT}, timeout=60).json()
    assert picture(answer["data"][0]["b64_json"]).format == "PNG"
    older = {"model": "dall-e-3", "prompt": "a red heart", "quality": "standard", "style": "vivid", "size": "1024x1024"}
    steps = {"steps": 2, "candidates": 1}
    answer = httpx.post(f"{real_studio}/v1/images/generations", json={**older, "n": 1, **steps}, timeout=60).json()
    assert Image.open(io.BytesIO(httpx.get(answer["data"][0]["url"]).content)).size == (1024, 1024)
