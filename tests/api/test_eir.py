"""EIR's serving: the tutorial's own request is answered with raw float32 pictures of a model that was trained here."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.models import trained
from generator.prompts import parse_prompts
from tests.api.conftest import Serve
from tests.api.executing import executing
from tests.api.serving import Served
from tests.pages.visits import Studio

CAPTION = "Claude Monet / Water Lilies / Impressionism / landscape (pond): 1906"


def placeholder() -> str:
    """What the tutorial sends as the picture, which is not looked at."""
    file = BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def train(visits: Studio, name: str, **recipe: Any) -> None:
    """A model as a finished run leaves it."""
    card = {"licence": "CC0", "recipe": recipe}
    about = {"key": f"models/{name}", "sha256": "0" * 64, "size": 1, "licence": "CC0", "submitter": "a"}
    trained.add(visits.db, name=f"caption-diffusion/{name}", job_id=None, card=card, **about)


def body(*captions: str) -> list[dict[str, str]]:
    return [{"image": placeholder(), "caption": caption} for caption in captions]


def test_the_tutorials_request_is_answered_with_raw_floats_in_order(api: Served, visits: Studio) -> None:
    train(visits, "art", size=16, sample_steps=20, sampler="ddim", eta=0.2, cfg_scale=2.0)
    shape = {"image": {"type": "image", "shape": [3, 16, 16]}}
    assert api.get("/info").json() == {"inputs": shape, "outputs": shape}
    with executing(visits) as done:
        answer = api.post("/predict", body(CAPTION, "a red heart"))
    assert answer.status_code == 200, answer.text
    assert [set(one) for one in answer.json()["result"]] == [{"image"}, {"image"}]
    for one in answer.json()["result"]:
        pixels = np.frombuffer(base64.b64decode(one["image"]), dtype=np.float32).reshape(3, 16, 16)
        assert pixels.min() >= 0 and pixels.max() <= 1
    first, second = sorted(done, key=lambda job: job.id)
    assert first.params["checkpoint"] == "caption-diffusion/art" and first.params["width"] == 16
    assert (first.params["steps"], first.params["sampler"], first.params["eta"]) == (20, "ddim", 0.2)
    assert second.params["prompt"] == "a red heart"


def test_what_a_foreign_card_says_is_taken_only_where_it_can_be_drawn_with(api: Served, visits: Studio) -> None:
    train(visits, "art", size=10**9, sample_steps=10**9, sampler=["ddim"], eta={"a": 1}, cfg_scale=2.0)
    (side,) = {*api.get("/info").json()["outputs"]["image"]["shape"][1:]}
    assert side <= 512
    with executing(visits) as done:
        answer = api.post("/predict", body("a red heart"))
    assert answer.status_code == 200, answer.text
    assert (done[0].params["width"], done[0].params["cfg_scale"]) == (side, 2.0)


def test_no_sign_in_a_caption_has_a_meaning_of_its_own(api: Served, visits: Studio) -> None:
    train(visits, "art", size=32)
    with executing(visits) as done:
        assert api.post("/predict", body("a | b:2 {red|blue} (sky:1.3) __animal__ \\ end")).status_code == 200
    (job,) = done
    assert [one.text for one in parse_prompts(job.params["prompt"])] == [
        "a | b:2 {red|blue} (sky:1.3) __animal__ \\ end"
    ]


def test_the_model_is_the_last_one_or_the_one_that_is_named(serve: Serve, visits: Studio) -> None:
    train(visits, "first", size=32)
    train(visits, "second", size=64)
    assert serve().get("/info").json()["outputs"]["image"]["shape"] == [3, 64, 64]
    named = serve(eir_model="caption-diffusion/first")
    assert named.get("/info").json()["outputs"]["image"]["shape"] == [3, 32, 32]
    gone = serve(eir_model="caption-diffusion/third").get("/info")
    assert gone.status_code == 404 and "caption-diffusion/third" in gone.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ([{"caption": "a heart"}], 422, "image"),
        ([{"image": "no base64!", "caption": "a heart"}], 422, "image of item 0"),
        ({"image": "", "caption": "a heart"}, 422, "list"),
        ([{"image": "", "caption": "x" * 2000}], 422, "1000"),
        ([{"image": "", "caption": "a heart"}] * 65, 422, "64"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(
    api: Served, visits: Studio, sent: Any, status: int, said: str
) -> None:
    train(visits, "art", size=32)
    answer = api.post("/predict", sent)
    assert answer.status_code == status and said in answer.json()["detail"]


def test_an_empty_list_and_a_studio_without_models(api: Served) -> None:
    assert api.post("/predict", []).json() == {"result": []}
    answer = api.post("/predict", body("a heart"))
    assert answer.status_code == 404 and "train one" in answer.json()["detail"]
