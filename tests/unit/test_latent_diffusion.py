"""What latent diffusion promises beyond tests/contract/test_engines.py: its starts, its styles, what it refuses."""

from pathlib import Path

import pytest
import torch

from generator.device import Host
from generator.engines import loading
from generator.engines.base import generate
from generator.guidance.clip_loss import compare
from generator.images.convert import no_picture
from generator.models.contracts import UnknownStyle
from generator.params import BadParams, validate
from tests import tiny_engines
from tests.tiny_engines import last
from tests.tiny_engines import latent_settings as settings


@pytest.fixture(scope="module")
def engine():
    return tiny_engines.latent_diffusion()


@pytest.fixture(scope="module")
def embedded():
    """Before the finisher."""
    host = Host("cpu", Path(), no_picture)
    return loading.load("latent-diffusion", "mini-latent-diffusion", ("mini",), host).engine


def test_a_picture_to_start_from_leaves_only_the_last_part_of_the_way(engine):
    params = settings(init_image="red.png", strength=0.5, steps=8)
    steps = list(generate(engine, params))
    assert len(steps) == params.total_steps == 4
    assert not torch.equal(steps[-1].image, last(engine, settings(steps=8)).image)


def test_the_picture_is_nearer_to_its_prompt_than_the_noise_it_started_from(embedded):
    """CLIP's score of noise is about 0, and of the wrong picture not much more."""
    for prompt, other in (("a red heart", "a blue car"), ("a blue car", "a red heart")):
        params = validate("latent-diffusion", {"prompt": prompt, "seed": 1, "steps": 2, "candidates": 1})
        slot = embedded.open(params)
        start = compare(embedded._decode(slot.z), embedded.clips, slot.targets, "spherical", embedded.precision)[1]
        drawn = last(embedded, params)
        asked = embedded.open(params.model_copy(update={"prompt": other})).targets
        confused = compare(drawn.image[None], embedded.clips, asked, "spherical", embedded.precision)[1]
        assert drawn.score > max(start.item(), confused.item()) + 0.2


def test_clip_pulls_the_picture_towards_the_prompt(embedded):
    for prompt in ("a blue car", "a small house"):
        values = {"prompt": prompt, "seed": 1, "steps": 6, "candidates": 1}
        unguided, guided = (
            last(embedded, validate("latent-diffusion", {**values, "clip_guidance_scale": scale}))
            for scale in (0, 1000)
        )
        assert guided.losses["prompts"] < unguided.losses["prompts"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"width": 128, "height": 128}, "64 x 64 px only"),
        ({"style": "crayon"}, "noto"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"sampler": "heun"}, "ddim"),
        ({"sampler": "pndm"}, "Stable Diffusion"),
        ({"mask_image": "b.png"}, "mask_image needs an init_image"),
        ({"eta": 0.5}, "sampler=ddim"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused_in_a_sentence(values, says):
    with pytest.raises(BadParams, match=says):
        validate("latent-diffusion", {"prompt": "a red heart", **values})


def test_a_style_the_model_does_not_know_is_answered_with_those_it_knows(engine):
    with pytest.raises(UnknownStyle, match="silhouette"):
        engine.drafter.layout.style_index("crayon")
