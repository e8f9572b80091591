"""What other tools read in a picture of ours: by two public readers, and by our own."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import ExifTags, Image
from sd_parsers import ParserManager
from unstable_reader.image_data_reader import ImageDataReader

from generator.output.infotext import SAMPLERS, in_exif, infotext, pairs_line, words_of
from generator.output.infotext_read import parsed
from generator.output.metadata import encode_png
from generator.output.sources import Sources
from generator.params import Params, validate
from tests.picture_files import encoded

HASH = "ab" * 32


def params(engine: str = "latent-diffusion", **values: Any) -> Params:
    return validate(engine, {"prompt": "a red heart", "seed": 7, **values})


def read_by_all(engine: str, wanted: Params) -> list[dict[str, str]]:
    """What each reader finds: prompt, negative, seed, steps, size, sampler."""
    data = encode_png(Image.new("RGB", (64, 64)), engine, wanted)
    with Image.open(io.BytesIO(data)) as image:
        text = image.info["parameters"]
    found = ParserManager().parse(io.BytesIO(data))
    assert found is not None
    (sampler,) = found.samplers
    first = {
        "prompt": ", ".join(one.value for one in sampler.prompts),
        "negative": ", ".join(one.value for one in sampler.negative_prompts),
        "seed": sampler.parameters["seed"],
        "steps": sampler.parameters["steps"],
        "size": found.metadata["Size"],
        "sampler": sampler.name,
    }
    reader = ImageDataReader(io.BytesIO(data))._parser
    reader.parse()
    second = {
        "prompt": reader.positive,
        "negative": reader.negative,
        "seed": reader.parameter["seed"],
        "steps": reader.parameter["steps"],
        "size": f"{reader.width}x{reader.height}",
        "sampler": reader.parameter["sampler"],
    }
    ours = parsed(text)
    third = {
        "prompt": ours["Prompt"],
        "negative": ours["Negative prompt"],
        "seed": ours["Seed"],
        "steps": ours["Steps"],
        "size": f"{ours['Size-1']}x{ours['Size-2']}",
        "sampler": ours["Sampler"],
    }
    return [first, second, third]


@pytest.mark.parametrize(
    ("engine", "values", "negative", "sampler"),
    [
        ("latent-diffusion", {"negative_prompt": "fog, grey: dark"}, "fog, grey: dark", "DPM++ 2M"),
        ("latent-diffusion", {"sampler": "euler-ancestral", "cfg_scale": 5.5}, "", "Euler a"),
        ("latent-diffusion", {"prompt": "ein Herz, ♥: rot"}, "", "DPM++ 2M"),
        ("guided-diffusion", {"prompt": "a red heart | fog:-1 | rain:-1"}, "fog, rain", "DDIM"),
        ("vqgan-clip", {"prompt": "a red heart | blurry:-1"}, "blurry", "Adam"),
    ],
)
def test_two_public_readers_and_ours_find_the_same(
    engine: str, values: dict[str, Any], negative: str, sampler: str
) -> None:
    wanted = params(engine, steps=9, **values)
    expected = {
        "prompt": wanted.prompt.partition(" | ")[0],
        "negative": negative,
        "seed": "7",
        "steps": "9",
        "size": "64x64",
        "sampler": getattr(wanted, "optimiser", sampler),
    }
    assert read_by_all(engine, wanted) == [expected] * 3


def test_the_text_is_written_as_a1111_writes_it() -> None:
    wanted = params(
        negative_prompt="fog",
        steps=9,
        sampler="ddim",
        cfg_scale=2,
        init_image="a, b.png",
        strength=0.4,
        candidates=2,
        eta=0.5,
    )
    text = infotext("latent-diffusion", wanted, (64, 48), factor=4, sources=Sources({"a, b.png": HASH}))
    prompt, negative, line = text.split("\n")
    assert (prompt, negative) == ("a red heart", "Negative prompt: fog")
    begins = "Steps: 9, Sampler: DDIM, Schedule type: Automatic, CFG scale: 2, Seed: 7, Size: 64x48, "
    begins += f"Model: mini-latent-diffusion, Denoising strength: 0.4, Init image hash: {HASH}, "
    begins += "Engine: latent-diffusion, Style: noto, Hires upscale: 4, Hires upscaler: mini-upscaler, "
    assert line.startswith(begins)
    assert ', Init image: "a, b.png"' in line and "Candidates: 2" in line and "Eta DDIM: 0.5" in line
    keys = [pair.partition(":")[0] for pair in line.replace('"a, b.png"', "x").split(", ")]
    assert len(keys) == len({*keys}), "each is said once"
    read = parsed(text)
    assert read["Init image"] == "a, b.png" and read["Denoising strength"] == "0.4" and read["CFG scale"] == "2"


def test_without_a_negative_prompt_there_is_no_line_of_it() -> None:
    text = infotext("latent-diffusion", params(), (64, 64))
    assert text.count("\n") == 1 and "Negative" not in text


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red heart", ("a red heart", "")),
        ("a red heart | fog:-1", ("a red heart", "fog")),
        ("a red heart:2 | fog:-1", ("a red heart:2 | fog:-1", "")),
        ("a red heart | fog:-0.5", ("a red heart | fog:-0.5", "")),
        ("a red heart | a dog", ("a red heart | a dog", "")),
        ("0: a castle | fog:-1 | 10: a ruin", ("0: a castle | fog:-1 | 10: a ruin", "")),
    ],
)
def test_only_what_means_the_same_becomes_a_negative_prompt(prompt: str, expected: tuple[str, str]) -> None:
    assert words_of(params("guided-diffusion", prompt=prompt)) == expected


def test_values_with_commas_colons_and_lines_are_quoted_and_come_back() -> None:
    values = {"Steps": 1, "Seed": 2, "Odd one": 'x, y: "z"\nw', "Path": "a\\b", "None": None}
    line = pairs_line(values)
    assert '"x, y: \\"z\\"\\nw"' in line and "None" not in line
    found = parsed(f"a line\nand another\nNegative prompt: fog\nand rain\n{line}")
    assert found["Odd one"] == values["Odd one"] and found["Path"] == "a\\b"
    assert found["Prompt"] == "a line\nand another" and found["Negative prompt"] == "fog\nand rain"


def test_words_of_a_prompt_are_no_line_of_their_own() -> None:
    text = infotext("latent-diffusion", params(prompt="a sign: Negative prompt: none, Steps: 3"), (64, 64))
    assert parsed(text)["Prompt"] == "a sign: Negative prompt: none, Steps: 3" and parsed(text)["Steps"] != "3"


def test_every_sampler_has_the_name_a1111_gives_it() -> None:
    from generator.params.latent_diffusion import Sampler

    assert {*SAMPLERS} == {*Sampler.__args__}  # type: ignore[attr-defined]


def test_the_text_is_found_in_a_jpeg_or_webp_as_a1111_writes_them() -> None:
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    text = "ein Herz ♥\nSteps: 3, Sampler: Euler, Seed: 1, Size: 8x8"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: b"UNICODE\0" + text.encode("utf-16-be")}
    for kind in ("JPEG", "WEBP", "AVIF"):
        with Image.open(io.BytesIO(encoded(image, kind, exif=exif))) as opened:
            assert in_exif(opened) == text
    assert in_exif(image.copy()) == ""
    assert parsed(text)["Sampler"] == "Euler"
