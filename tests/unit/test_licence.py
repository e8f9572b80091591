"""The host's licence is in every new picture, where other programs look for it, and hurts nothing that reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from executor.outputs import Files
from generator.engines.base import Step
from generator.images.encode import png_with, texts_in
from generator.output.film import still
from generator.output.inherited import with_settings
from generator.output.licence import licence_in, xmp
from generator.output.metadata import encode_png, read_licence, read_metadata
from generator.output.sources import NONE
from generator.params import Params, validate
from settings import Settings
from studio.picture_settings import written_in
from tests.pages.visits import Studio

HEART = validate("vqgan-clip", {"prompt": "a red heart", "seed": 7})
PICTURE = Image.new("RGB", HEART.actual_size, "red")
HOSTILE = 'CC BY 4.0 <b> & "é" https://example.org/?a=1&b=2'


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def rights(packet: bytes) -> tuple[str, str | None]:
    """The words of an XMP packet about rights, and the address of their statement."""
    (described,) = ElementTree.fromstring(packet.decode().split("?>", 1)[1].rsplit("<?", 1)[0]).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    terms = described.find(".//{http://ns.adobe.com/xap/1.0/rights/}UsageTerms")
    assert terms is not None
    return "".join(terms.itertext()), described.get("{http://ns.adobe.com/xap/1.0/rights/}WebStatement")


@pytest.mark.parametrize("licence", ["CC BY 4.0", HOSTILE])
def test_every_file_of_a_picture_says_it_where_other_programs_look(licence: str) -> None:
    files = still(PICTURE, "vqgan-clip", HEART, licence=licence)
    png = opened(files["png"])
    assert png.info["Copyright"] == licence == read_licence(files["png"]) == licence_in(files["json"])
    for packet in (png.info["xmp"], opened(files["thumbnail"]).info["xmp"]):
        assert rights(packet) == (licence, "https://example.org/?a=1&b=2" if licence == HOSTILE else None)


@pytest.mark.parametrize("text", ["CC BY 4.0 (%s)", "See %s.", "%s", "<%s>, or ask"])
def test_the_address_ends_where_a_reader_would_end_it(text: str) -> None:
    for address in ("https://creativecommons.org/licenses/by/4.0/", "https://example.org/l?a=1&b=2"):
        assert rights(xmp(text % address)) == (text % address, address)


def test_it_stands_in_the_way_of_nothing_that_reads_the_settings(visits: Studio) -> None:
    plain, under = (encode_png(PICTURE, "vqgan-clip", HEART, licence=licence) for licence in ("", HOSTILE))
    assert read_metadata(under) == read_metadata(plain) == ("vqgan-clip", HEART)
    assert opened(under).info["parameters"] == opened(plain).info["parameters"]
    assert written_in(visits.opened(), under, "x", "x") == written_in(visits.opened(), plain, "x", "x")


def test_without_one_the_files_are_as_they_always_were() -> None:
    files = still(PICTURE, "vqgan-clip", HEART)
    assert set(texts_in(opened(files["png"]))) == {"text2image", "parameters"}
    assert "licence" not in json.loads(files["json"]) and "xmp" not in opened(files["thumbnail"]).info
    assert read_licence(files["png"]) == "" and licence_in(files["json"]) is licence_in(None) is None


def test_an_upscaled_picture_stays_under_the_licence_it_was_under() -> None:
    large = PICTURE.resize((256, 256))
    for before, after in (("CC0", "CC0"), ("", "CC BY 4.0")):
        ours = encode_png(PICTURE, "vqgan-clip", HEART, licence=before)
        assert read_licence(with_settings(large, ours, True, "CC BY 4.0")) == after
    theirs = with_settings(large, png_with(PICTURE, {"Copyright": "somebody"}), True, "CC BY 4.0")
    assert texts_in(opened(theirs)) == {"Copyright": "somebody"}, "the host has no say in what somebody else made"


@pytest.mark.parametrize("told", [7, ["x"], "two\nlines", "x" * 201, ""])
def test_a_picture_that_says_nonsense_of_it_is_under_none(told: object) -> None:
    settings = {"engine": "vqgan-clip", "params": HEART.model_dump(mode="json"), "licence": told}
    data = png_with(PICTURE, {"text2image": json.dumps(settings)})
    assert read_licence(data) == "" and licence_in(json.dumps(settings).encode()) is None
    assert licence_in(b"[" * 9999) is licence_in(b"7") is None


def test_an_executor_writes_what_the_host_has_set(tmp_path: Path) -> None:
    files = Files("vqgan-clip", small := _small(), NONE, tmp_path, lambda key: b"", "CC BY 4.0")
    step = Step(index=1, total=1, image=torch.zeros(3, 16, 16), score=0.0, losses={}, done=True)
    files.on_step(step)
    for made in (files.finished(0.0, None, lambda event, error: None), files.unfinished(0.0)):
        png = next(made)
        assert png.kind == "picture" and read_licence(png.data) == "CC BY 4.0"
    files.frame(1, step.image, lambda event, error: None)
    (png,) = (one for one in files.finished(0.0, None, lambda event, error: None) if one.kind == "picture")
    assert read_licence(png.data) == "CC BY 4.0" and read_metadata(png.data)[1] == small


def _small() -> Params:
    return validate("vqgan-clip", {"prompt": "x", "steps": 1, "width": 16, "height": 16, "upscale": 1})


def test_the_hosts_setting_is_one_line() -> None:
    assert Settings().picture_licence == "" and Settings(picture_licence=" CC BY 4.0 ").picture_licence == "CC BY 4.0"
    for wrong in ("two\nlines", "x" * 201):
        with pytest.raises(ValidationError):
            Settings(picture_licence=wrong)
