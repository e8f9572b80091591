"""What guided diffusion promises beyond tests/contract/test_engines.py: its guidance, its starts, its samplers."""

import math
from pathlib import Path

import pytest
import torch

from generator.device import Host
from generator.engines import loading
from generator.images.convert import no_picture
from generator.params import BadParams, validate
from generator.sampling.samplers import ddim, dpm_solver_2m, timesteps_between
from tests import tiny_engines
from tests.tiny_engines import guided_settings as settings
from tests.tiny_engines import last


@pytest.fixture(scope="module")
def engine():
    return tiny_engines.guided_diffusion()


def test_a_style_is_another_picture_and_an_unknown_one_is_refused(engine):
    noto, twemoji = (last(engine, settings(style=style)).image for style in ("noto", "twemoji"))
    assert not torch.equal(noto, twemoji)
    with pytest.raises(ValueError, match="no style 'fluent'; permitted: any, noto, twemoji"):
        engine.open(settings(style="fluent"))


@pytest.mark.parametrize("through", ["unet", "x0"])
def test_guidance_brings_the_picture_nearer_to_the_prompt_than_chance(engine, through):
    calm = {"augment": False, "noise": 0.0, "steps": 12, "grad_through": through, "clamp_max": 1.0}
    unguided, guided = (last(engine, settings(clip_guidance_scale=scale, **calm)).score for scale in (0.0, 1000.0))
    assert guided > unguided + 0.05


def test_a_start_picture_is_kept_the_more_steps_are_skipped(engine):
    picture = torch.tensor([200, 10, 10]).view(3, 1, 1) / 255

    def gap(skip):
        params = settings(init_image="red.png", skip_steps=skip, steps=20, clip_guidance_scale=0.0)
        return float((last(engine, params).image - picture).abs().mean())

    assert gap(19) < gap(10) < gap(0)


def test_smoothness_can_be_asked_for(engine):
    def roughness(scale):
        image = last(engine, settings(tv_scale=scale, clip_guidance_scale=0.0, clamp_max=10.0, steps=10)).image
        return float((image[:, 1:] - image[:, :-1]).abs().mean())

    assert roughness(1e4) < roughness(0.0)


def test_a_picture_can_be_the_prompt(engine):
    step = last(engine, settings(prompt="", image_prompts="red.png"))
    assert step.done and -1 <= step.score <= 1


def test_timesteps_fall_evenly_from_the_first_to_just_above_none():
    assert timesteps_between(999, 4) == [999, 749, 499, 249]
    assert timesteps_between(99, 100) == list(range(99, -1, -1))


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver-2m"])
def test_a_sampler_follows_a_known_distribution_to_its_end(sampler):
    """Of normal data with deviation s the best x0 is known: x0 = alpha s^2 x / (alpha^2 s^2 + sigma^2)."""
    spread, x = 0.5, torch.linspace(-2, 2, 9)
    levels = [(math.cos(angle), math.sin(angle)) for angle in torch.linspace(1.56, 0.02, 60).tolist()]
    now, before = x.clone(), None
    for level, following in zip(levels, [*levels[1:], (1.0, 0.0)], strict=True):
        alpha, sigma = level
        x0 = alpha * spread**2 * now / (alpha**2 * spread**2 + sigma**2)
        if sampler == "ddim":
            now = ddim(now, x0, level, following, 0.0, None)
        else:
            now, before = dpm_solver_2m(now, x0, level, following, before), (x0, level)
    torch.testing.assert_close(now, x * spread, atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"steps": 0}, "steps = '0'.*greater than or equal to 1"),
        ({"width": 512}, "too large for mini-diffusion: at most 128"),
        ({"checkpoint": "mini"}, "Unknown checkpoint 'mini'.*mini-diffusion"),
        ({"init": "image"}, "needs an init_image"),
        ({"init_image": "a.png", "skip_steps": 40}, "skip_steps = 40 leaves none of 40 steps; at most 39"),
        ({"eta": 0.5, "sampler": "dpm-solver-2m"}, "eta = 0.5 needs sampler=ddim"),
        ({"sampler": "magic"}, "sampler = 'magic'.*ddim"),
        ({"clip_guidance_scale": -1}, "clip_guidance_scale"),
        ({"image_prompts": "|"}, "The image_prompts has an empty part"),
        ({"learning_rate": 0.1}, "Unknown setting 'learning_rate'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_that_names_them(values, says):
    with pytest.raises(BadParams, match=says):
        validate("guided-diffusion", {"prompt": "a red heart", **values})


def test_a_diffusion_checkpoint_is_refused_where_a_vqgan_belongs():
    with pytest.raises(BadParams, match="Unknown checkpoint 'mini-diffusion'"):
        validate("vqgan-clip", {"prompt": "a red heart", "checkpoint": "mini-diffusion"})


def test_sizes_are_floored_to_eight_px_and_share_a_batch():
    one, other = (validate("guided-diffusion", {"prompt": "a", "width": width}) for width in (64, 71))
    assert one.actual_size == other.actual_size == (64, 64) and one.batch_key == other.batch_key


@pytest.fixture(scope="module")
def embedded():
    torch.set_num_threads(1)
    return loading.load("guided-diffusion", "mini-diffusion", ("mini",), Host("cpu", Path("none"), no_picture))


def test_a_draft_of_the_prompt_is_nearer_to_it_than_noise_and_the_same_from_the_same_seed(embedded):
    few = {"prompt": "a red heart", "seed": 3, "steps": 6, "candidates": 1}
    values = [few, few, {**few, "init": "noise"}]
    drafted, again, from_noise = (last(embedded, validate("guided-diffusion", v)) for v in values)
    assert torch.equal(drafted.image, again.image)
    assert drafted.score > from_noise.score + 0.1


def test_a_draft_fills_a_larger_picture(embedded):
    params = validate("guided-diffusion", {"prompt": "a red heart", "steps": 3, "width": 96, "height": 64})
    assert params.skipped == 1 and params.total_steps == 2
    assert last(embedded, params).image.shape == (3, 64, 96)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"init": "prior", "prompt": "", "image_prompts": "a.png"}, "the prompt is empty"),
        ({"init": "prior", "checkpoint": "guided-diffusion-256"}, "needs the checkpoint mini-diffusion"),
        ({"candidates": 2, "checkpoint": "guided-diffusion-256"}, "candidates means nothing to guided-diffusion-256"),
    ],
)
def test_a_draft_is_refused_where_none_can_be_drawn(values, says):
    with pytest.raises(BadParams, match=says):
        validate("guided-diffusion", {"prompt": "a red heart", **values})


def test_without_a_text_the_start_is_noise():
    params = validate("guided-diffusion", {"prompt": "", "image_prompts": "a.png"})
    assert params.init == "noise" and params.total_steps == params.steps
