"""With the embedded models a draft can be seen while a picture is still being begun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from generator.device import Host
from generator.engines import loading
from generator.engines.base import generate
from generator.images.convert import no_picture
from generator.params import validate

FEW = {
    "vqgan-clip": {"steps": 1, "cutn": 2, "width": 96},
    "guided-diffusion": {"steps": 2, "cutn": 2, "width": 96},
    "latent-diffusion": {"steps": 2, "width": 64},
}


@pytest.mark.parametrize("prompt", ["a red heart", "an owl wearing a hat"])
@pytest.mark.parametrize("name", FEW)
def test_a_draft_is_seen_before_the_first_step_and_changes_nothing(name: str, prompt: str) -> None:
    params = validate(name, {"prompt": prompt, "height": 64, "seed": 3, "finish": 0, **FEW[name]})
    quiet = Host("cpu", Path(), no_picture)
    seen: list[torch.Tensor] = []
    hosts = quiet, replace(quiet, show=seen.append)
    engines = [loading.load(name, params.checkpoint, ("mini",), host) for host in hosts]
    slot = engines[1].open(params)
    assert [picture.shape for picture in seen] == [(3, 64, FEW[name]["width"])]
    assert 0 <= seen[0].min() < seen[0].max() <= 1 and slot.index == 0
    last = [list(generate(engine, params))[-1].image for engine in engines]
    assert torch.equal(*last)


def test_a_picture_that_starts_from_a_given_one_shows_no_draft_of_its_words() -> None:
    seen: list[torch.Tensor] = []
    host = Host("cpu", Path(), lambda _: Image.new("RGB", (64, 64), "red"), show=seen.append)
    params = validate("latent-diffusion", {"prompt": "a red heart", "init_image": "given", "seed": 3, "steps": 4})
    loading.load("latent-diffusion", params.checkpoint, ("mini",), host).open(params)
    assert not seen
