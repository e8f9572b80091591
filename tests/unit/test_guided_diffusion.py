"""CLIP-guided diffusion: reproducible, independent of its batch, resumable, and nearer to the prompt than chance."""

import io
import math

import pytest
import torch
from PIL import Image

from generator.engine import NotFinite, generate
from generator.guided_diffusion import GuidedDiffusion
from generator.params import BadParams, GuidedDiffusionParams, validate
from generator.pixel_diffusion import PixelDiffusion
from generator.samplers import ddim, dpm_solver_2m, timesteps_between
from tests.small_diffusion import SMALL, SmallClip


@pytest.fixture(scope="module")
def models():
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PixelDiffusion(SMALL), SmallClip()


@pytest.fixture
def engine(models):
    red = Image.new("RGB", (30, 20), (200, 10, 10))
    read = {"red.png": red}.__getitem__
    return GuidedDiffusion(models[0], [models[1]], read_image=read, precision=torch.float32)


def settings(**values):
    base = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 5, "cutn": 3}
    return GuidedDiffusionParams(**{**base, **values})


def last(engine, params):
    return list(generate(engine, params))[-1]


def test_the_first_step_shows_a_guess_and_the_last_is_done(engine):
    steps = list(generate(engine, settings(steps=3)))
    assert [(s.index, s.total, s.done) for s in steps] == [(0, 3, False), (1, 3, False), (2, 3, False), (3, 3, True)]
    for step in steps:
        assert step.image.shape == (3, 16, 16) and step.image.dtype == torch.float32
        assert step.image.min() >= 0 and step.image.max() <= 1 and -1 <= step.score <= 1


@pytest.mark.parametrize("values", [{}, {"eta": 0.8}, {"sampler": "dpm-solver-2m"}, {"grad_through": "x0"}])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(engine, values):
    one, two, other = (last(engine, settings(seed=seed, **values)).image for seed in (7, 7, 8))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_style_is_another_picture_and_an_unknown_one_is_refused(engine):
    noto, twemoji = (last(engine, settings(style=style)).image for style in ("noto", "twemoji"))
    assert not torch.equal(noto, twemoji)
    with pytest.raises(ValueError, match="no style 'fluent'; permitted: any, noto, twemoji"):
        engine.open(settings(style="fluent"))


@pytest.mark.parametrize("through", ["unet", "x0"])
def test_guidance_brings_the_picture_nearer_to_the_prompt_than_chance(engine, through):
    calm = {"augment": False, "noise": 0.0, "steps": 12, "grad_through": through, "clamp_max": 1.0}
    free, guided = (last(engine, settings(clip_guidance_scale=scale, **calm)).score for scale in (0.0, 1000.0))
    assert guided > free + 0.05


def test_a_slot_alone_equals_the_slot_in_a_batch_of_different_settings(engine):
    kinds = [
        settings(seed=1),
        settings(seed=2, cutn=5, prompt="a cat | fog:-0.5", eta=0.5, cutn_batches=2, steps=7),
        settings(seed=3, augment=False, loss="cosine", sampler="dpm-solver-2m", style=None, grad_through="x0"),
        settings(seed=4, clip_guidance_scale=0.0, tv_scale=10.0, sat_scale=1.0),
        settings(seed=5, init_image="red.png", skip_steps=2, init_scale=10.0),
    ]
    together = [engine.open(params) for params in kinds]
    made = {}
    while live := [slot for slot in together if not slot.done]:
        for slot, step in zip(live, engine.advance(live), strict=True):
            made[slot.params.seed] = step
    for params in kinds:
        alone = last(engine, params)
        torch.testing.assert_close(made[params.seed].image, alone.image, atol=2e-3, rtol=0)
        assert made[params.seed].score == pytest.approx(alone.score, abs=1e-3)


def test_slots_join_leave_and_may_be_of_different_sizes(engine):
    first, wide = engine.open(settings(steps=4)), engine.open(settings(steps=2, width=24, seed=5))
    engine.advance([first])
    steps = engine.advance([first, wide])
    assert [s.index for s in steps] == [1, 0] and [tuple(s.image.shape) for s in steps][1] == (3, 16, 24)
    while not first.done:
        engine.advance([first])
    with pytest.raises(ValueError, match="done"):
        engine.advance([first])
    assert engine.advance([]) == []


@pytest.mark.parametrize("values", [{"eta": 0.8}, {"sampler": "dpm-solver-2m"}, {"init_image": "red.png"}])
def test_an_interrupted_picture_goes_on_exactly_where_it_was(engine, values):
    params = settings(steps=6, skip_steps=1, init_scale=5.0, **values)
    whole = last(engine, params)
    slot = engine.open(params)
    for _ in range(3):
        engine.advance([slot])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    engine.advance([slot])
    file.seek(0)
    resumed = engine.resume(params, torch.load(file, weights_only=True))
    assert resumed.index == 3
    while not resumed.done:
        (step,) = engine.advance([resumed])
    assert torch.equal(step.image, whole.image) and step.score == whole.score


def test_a_state_of_another_version_is_refused(engine):
    state = engine.open(settings()).state_dict()
    with pytest.raises(ValueError, match="version 99"):
        engine.resume(settings(), {**state, "version": 99})


def test_a_step_that_ran_out_of_memory_can_be_taken_again_in_smaller_parts(engine):
    whole = last(engine, settings(eta=0.5))
    slot = engine.open(settings(eta=0.5))
    engine.advance([slot])
    engine.clips[0].most = 2
    try:
        with pytest.raises(torch.OutOfMemoryError):
            engine.advance([slot])
        engine.micro_batch = 2
        while not slot.done:
            (step,) = engine.advance([slot])
    finally:
        engine.clips[0].most = 10_000
    torch.testing.assert_close(step.image, whole.image, atol=2e-3, rtol=0)


def test_numbers_that_are_not_finite_stop_that_picture_and_leave_the_others(engine):
    good, bad = engine.open(settings(seed=1)), engine.open(settings(seed=2))
    engine.advance([good, bad])
    bad.x[0, 0, 0, 0] = torch.nan
    first, _ = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and first.image is None and first.done and bad.done
    assert "clip_guidance_scale" in str(first.error)
    while not good.done:
        (step,) = engine.advance([good])
    torch.testing.assert_close(step.image, last(engine, settings(seed=1)).image, atol=2e-3, rtol=0)


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


def test_frames_are_due_every_so_many_steps_and_at_the_end(engine):
    steps = list(generate(engine, settings(steps=5, save_every=2)))
    assert [step.image is not None for step in steps] == [True, False, True, False, True, True]


def test_a_picture_can_be_the_prompt(engine):
    step = last(engine, settings(prompt="", image_prompts="red.png"))
    assert step.done and -1 <= step.score <= 1


def test_timesteps_fall_evenly_from_the_first_to_just_above_none():
    assert timesteps_between(999, 4) == [999, 749, 499, 249]
    assert timesteps_between(99, 100) == list(range(99, -1, -1))


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver-2m"])
def test_a_sampler_follows_a_known_distribution_to_its_end(sampler):
    """Of normal data with deviation s the best guess is known: x0 = alpha s^2 x / (alpha^2 s^2 + sigma^2)."""
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
