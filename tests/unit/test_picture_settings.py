"""Settings written in a picture, ours or A1111's, are offered as far as they can be drawn with here."""

from __future__ import annotations

import io

from PIL import Image, PngImagePlugin

from generator.output.metadata import encode_png
from generator.params import validate
from studio.picture_settings import written_in
from tests.pages.visits import Studio, picture_bytes

ENGINE, CHECKPOINT = "latent-diffusion", "mini-latent-diffusion"
THEIRS = (
    "a castle, highly detailed\nNegative prompt: fog, blur\n"
    "Steps: 30, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 99, Size: 512x768, Model hash: abc, Clip skip: 2"
)


def png(text: str) -> bytes:
    chunks, out = PngImagePlugin.PngInfo(), io.BytesIO()
    chunks.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=chunks)
    return out.getvalue()


def ours(engine: str, **values: object) -> bytes:
    return encode_png(Image.new("RGB", (256, 256)), engine, validate(engine, {"seed": 7, **values}))


def test_one_of_ours_brings_all_of_its_settings_and_its_engine(visits: Studio) -> None:
    data = ours("vqgan-clip", prompt="a red heart", steps=40, style="fluent")
    found = written_in(visits.opened(), data, ENGINE, CHECKPOINT)
    assert found is not None and found.whole and not found.left_out
    assert (found.engine, found.checkpoint, found.prompt) == ("vqgan-clip", "mini", "a red heart")
    assert (found.values["seed"], found.values["steps"], found.values["style"]) == (7, 40, "fluent")


def test_pictures_it_was_made_from_are_left_out(visits: Studio) -> None:
    data = ours("vqgan-clip", prompt="a red heart", init_image="uploads/x.png", image_prompts="uploads/y.png")
    found = written_in(visits.opened(), data, ENGINE, CHECKPOINT)
    assert found is not None and found.left_out
    assert not {"init_image", "mask_image", "image_prompts", "init"} & found.values.keys()


def test_of_a1111s_what_the_chosen_model_has_is_taken(visits: Studio) -> None:
    found = written_in(visits.opened(), png(THEIRS), ENGINE, CHECKPOINT)
    assert found is not None and not found.whole and found.prompt == "a castle, highly detailed"
    assert found.values == {
        "steps": 30,
        "sampler": "dpm-solver-2m",
        "cfg_scale": 7.5,
        "seed": 99,
        "negative_prompt": "fog, blur",
    }, "this model draws no 512 x 768 px"
    large = written_in(visits.opened(), png(THEIRS), ENGINE, "stable-diffusion-1-5")
    assert large is not None and (large.values["width"], large.values["height"]) == (512, 768)
    other = written_in(visits.opened(), png(THEIRS.replace("Steps: 30", "Steps: 99999999")), "vqgan-clip", "mini")
    assert other is not None and other.values == {"seed": 99}


def test_what_says_nothing_offers_nothing(visits: Studio) -> None:
    studio = visits.opened()
    for data in (picture_bytes("PNG"), b"no picture", png("a walk in the park"), png("Steps: 3"), png("x" * 200_000)):
        assert written_in(studio, data, ENGINE, CHECKPOINT) is None
