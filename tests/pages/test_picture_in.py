"""A picture that is pasted or dropped on the first page: what is to be done with it is asked, and done."""

from __future__ import annotations

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from generator.output.metadata import encode_png
from generator.params import validate
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import jobs, write
from tests.pages.test_given_pictures import drawn, engine
from tests.pages.visits import Studio, everything_shown, picture_bytes


def come(app: AppTest, data: bytes, name: str = "photo.png") -> AppTest:
    inlet = next(one for one in app.file_uploader if one.key.startswith("came_"))
    return inlet.set_value((name, data, "image/png")).run()


def asked(app: AppTest) -> set[str]:
    return {button.key.removeprefix("came_") for button in app.button if (button.key or "").startswith("came_")}


@pytest.mark.parametrize(("wish", "setting"), [("start", "init_image"), ("resemble", "image_prompts")])
def test_it_is_used_as_its_giver_says(studio: Studio, open_page: OpenPage, wish: str, setting: str) -> None:
    app = come(write(open_page(), "a red heart"), picture_bytes("PNG"))
    assert asked(app) == {"start", "paint", "extend", "resemble"}
    app = app.button(key=f"came_{wish}").click().run()
    assert asked(app) == set() and "photo.png" in everything_shown(app)
    params = drawn(studio, app)
    assert {name for name in ("init_image", "mask_image", "image_prompts") if params[name]} == {setting}
    app = come(app, picture_bytes("PNG"), "next.png")
    assert "start" in asked(app), "and the next one is asked about as well"


def test_it_can_be_painted_on_at_once(studio: Studio, open_page: OpenPage) -> None:
    app = come(write(open_page(), "a red heart"), picture_bytes("PNG"))
    app = app.button(key="came_paint").click().run()
    assert "Use this mask" in everything_shown(app) and "photo.png" in everything_shown(app)


@pytest.mark.parametrize(("name", "size"), [("vqgan-clip", (124, 64)), ("latent-diffusion", (64, 64))])
def test_it_is_drawn_on_beyond_its_edge(studio: Studio, open_page: OpenPage, name: str, size: tuple[int, int]) -> None:
    app = come(engine(write(open_page(), "a red heart"), name), picture_bytes("PNG"))  # 48 x 32 px
    app = app.button(key="came_extend").click().run()
    app.slider(key="extend_share").set_value(30).run()
    app = app.button(key="extend_it").click().run()
    assert "goes with the picture" in everything_shown(app)
    params = drawn(studio, app)
    assert params["init_image"] and params["mask_image"] and (params["width"], params["height"]) == size


def test_one_of_ours_brings_its_settings(studio: Studio, open_page: OpenPage) -> None:
    made = validate("guided-diffusion", {"prompt": "a blue car", "seed": 77, "steps": 33, "style": "fluent"})
    app = come(open_page(), encode_png(Image.new("RGB", (64, 64)), "guided-diffusion", made))
    app = app.button(key="came_settings").click().run()
    params = drawn(studio, app)
    assert jobs(studio)[0].engine == "guided-diffusion"
    assert (params["prompt"], params["seed"], params["steps"], params["style"]) == ("a blue car", 77, 33, "fluent")
    assert params["init_image"] is None, "the settings, not the picture"


def test_what_is_no_picture_is_said_and_nothing_is_asked(studio: Studio, open_page: OpenPage) -> None:
    app = come(open_page(), b"no picture", "notes.png")
    assert asked(app) == set() and "This is not a picture" in everything_shown(app)


def test_an_engine_that_starts_from_no_picture_keeps_it_for_others(studio: Studio, open_page: OpenPage) -> None:
    app = come(engine(open_page(), "biggan-clip"), picture_bytes("PNG"))
    assert asked(app) == {"start", "resemble"}
    app = app.button(key="came_start").click().run()
    assert "BigGAN + CLIP does not start from a picture; it is kept" in everything_shown(app)
