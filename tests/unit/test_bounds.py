"""What a schema permits works, to its very ends; what does not work is refused before anything is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.engines.base import generate
from generator.guidance.targets import Targets
from generator.models.latent_unet import alphas
from generator.models.pixel_diffusion import alphas_cumprod
from generator.params import BadParams, JobParams, params_class, validate_job
from generator.sampling.noise_schedule import SPACINGS, Schedule, TooManySteps
from generator.sampling.samplers import ddim, dpm_solver_2m, timesteps_between
from generator.starts.drafts import Begun
from tests import schema_bounds, tiny_engines
from tests.tiny_diffusers import SCHEDULER


def _grey(params: Any, _prompts: str, targets: Targets, *_: Any) -> Begun:
    """In place of the embedded prior's drafts."""
    width, height = params.actual_size
    return Begun(torch.full((3, height, width), 0.5), None, targets)


# The engine of each kind, the tiny one, and the settings in which it draws a picture in milliseconds.
KINDS: dict[str, tuple[str, Callable[[Path], Any], dict[str, Any]]] = {
    "vqgan-clip": (
        "vqgan-clip",
        lambda _: tiny_engines.vqgan_clip(),
        {"width": 16, "height": 16, "steps": 2, "cutn": 2, "init": "random", "style_weight": 0},
    ),
    "biggan-clip": ("biggan-clip", lambda _: tiny_engines.biggan_clip(), {"steps": 2, "cutn": 2, "candidates": 2}),
    "guided-diffusion": (
        "guided-diffusion",
        lambda _: tiny_engines.guided_diffusion(drafts=_grey),
        {"width": 16, "height": 16, "steps": 3, "cutn": 2, "init": "noise", "style_weight": 0},
    ),
    "latent-diffusion": ("latent-diffusion", lambda _: tiny_engines.latent_diffusion(), {"steps": 2, "candidates": 1}),
    "stable-diffusion": (
        "latent-diffusion",
        tiny_engines.stable_diffusion,
        {"checkpoint": "diffusers/tiny", "clip": ("mini",), "width": 16, "height": 16, "steps": 2},
    ),
}
STEPS = 4  # of a long way, see first_and_last
ENDS = [
    (kind, what, values)
    for kind, row in KINDS.items()
    for what, values in schema_bounds.ends(params_class(row[0]))
    if what not in schema_bounds.SLOW
]
CALLED = {"width": "size", "height": "size", "style_weight": "style"}  # what a refusal calls it
LEVELS = {
    "cosine, clamped": alphas_cumprod("cosine", 1000),
    "cosine of 100": alphas_cumprod("cosine", 100),
    "linear": alphas_cumprod("linear", 1000),
    "latent": alphas(),
}


def told(kind: str, values: dict[str, Any]) -> JobParams:
    """Raises BadParams."""
    engine, _, small = KINDS[kind]
    base = {"prompt": "a red heart", "seed": 1, **small}
    if "init_image" in values and "init" not in values:
        base.pop("init", None)
    return validate_job(engine, {**base, **values})


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {kind: build(tmp_path_factory.mktemp("checkpoints")) for kind, (_, build, _) in KINDS.items()}


@pytest.mark.parametrize(("kind", "what", "values"), ENDS, ids=[f"{kind} {what}" for kind, what, _ in ENDS])
def test_every_end_of_the_schema_is_drawn_or_refused_by_its_name(
    engines: dict[str, Any], kind: str, what: str, values: dict[str, Any]
) -> None:
    name = what.partition("=")[0]
    try:
        params = told(kind, values)
    except BadParams as error:
        assert CALLED.get(name, name) in str(error), "what is wrong has to be named"
        return
    assert schema_bounds.trouble(schema_bounds.first_and_last(engines[kind], params, STEPS), params) is None


@pytest.mark.parametrize("engine", ["vqgan-clip", "biggan-clip", "guided-diffusion", "latent-diffusion", "upscale"])
def test_a_number_beyond_its_bounds_and_what_is_no_number_are_refused_by_name(engine: str) -> None:
    given = {"upscale": {"picture": "a.png", "width": 8, "height": 8}}.get(engine, {"prompt": "a red heart"})
    for name, value in schema_bounds.beyond(params_class(engine)):
        with pytest.raises(BadParams, match=rf"(?m)^{name} = "):
            validate_job(engine, {**given, name: value})


def test_more_steps_than_latent_diffusion_has_noise_levels_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(BadParams, match=r"steps = '1001'.* 1000"):
        told("latent-diffusion", {"steps": 1001})
    with pytest.raises(BadParams, match=r"steps = 501: at most 500"):
        told("stable-diffusion", {"steps": 501})


def test_a_picture_too_large_to_be_upscaled_is_refused_before_it_is_drawn() -> None:
    sides = {"checkpoint": "stable-diffusion-1-5", "clip": ("mini",), "width": 2048, "height": 2048}
    assert told("latent-diffusion", sides).actual_size == (2048, 2048), "as it is, it may be as large"
    with pytest.raises(
        BadParams, match=r"size 2048 x 2048 px is too large to be upscaled 4 times: at most 2000 x 2000"
    ):
        told("latent-diffusion", {**sides, "upscale": 4})


@pytest.mark.parametrize("kind", ["latent-diffusion", "stable-diffusion"])
def test_a_prompt_alone_is_drawn_whatever_its_weight(engines: dict[str, Any], kind: str) -> None:
    drawn = []
    for prompt in ("a red heart", "a red heart:100", "a red heart:1e-300"):
        params = told(kind, {"prompt": prompt, "steps": 1, "clip_guidance_scale": 0})
        steps = list(generate(engines[kind], params))
        assert schema_bounds.trouble(steps, params) is None
        drawn.append(str(steps[-1].image))
    assert kind != "stable-diffusion" or len(set(drawn)) == 1


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver-2m"])
def test_the_greatest_scales_without_any_limit_do_not_overflow(engines: dict[str, Any], sampler: str) -> None:
    scales = {"clip_guidance_scale": 1e6, "range_scale": 1e6, "tv_scale": 1e6, "sat_scale": 1e6}
    free = {"clamp_grad": False, "clip_denoised": False, "sampler": sampler, "steps": 12, "cutn": 1}
    params = told("guided-diffusion", {**free, **scales})
    assert schema_bounds.trouble(list(generate(engines["guided-diffusion"], params)), params) is None


def way(levels: list[tuple[float, float]], sampler: str, eta: float) -> list[float]:
    """One number taken along the levels towards 0.5 by a denoiser that is a little off, each step's value."""
    x, before, found = torch.tensor([1.3]), None, []
    generator = torch.Generator().manual_seed(0)
    for number, (level, following) in enumerate(itertools.pairwise(levels)):
        noise = torch.randn(1, generator=generator)
        x0 = torch.tensor([0.5 + 0.2 * (-1) ** number])
        if sampler == "ddim":
            x = ddim(x, x0, level, following, eta, noise)
        else:
            x, before = dpm_solver_2m(x, x0, level, following, before), (x0, level)
        found.append(float(x))
    return found


@pytest.mark.parametrize("schedule", LEVELS)
@pytest.mark.parametrize(("sampler", "eta"), [("dpm-solver-2m", 0.0), ("ddim", 0.0), ("ddim", 1.0)])
def test_every_number_of_steps_leads_from_noise_to_a_picture(schedule: str, sampler: str, eta: float) -> None:
    """Among them those that ask for one noise level twice: where a schedule's noise has an upper bound, and where there
    are more steps than levels."""
    squared = LEVELS[schedule].double()
    every = list(zip(squared.sqrt().tolist(), (1 - squared).sqrt().tolist(), strict=True))
    for steps in (1, 2, 3, 25, 101, 143, 200, 333, 500, 999, 1000):
        times = timesteps_between(len(every) - 1, steps)
        found = way([*(every[t] for t in times), (1.0, 0.0)], sampler, eta)
        assert len(found) == steps and all(abs(value) < 10 for value in found), steps
        assert abs(found[-1]) < 1.5, steps


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sampler", ["dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm"])
def test_stable_diffusions_levels_are_permitted_ones_for_every_number_of_steps(spacing: str, sampler: str) -> None:
    schedule = Schedule({**SCHEDULER, "timestep_spacing": spacing, "rescale_betas_zero_snr": True})
    for steps in (1, 2, 3, 25, 143, 333, 499, 500):
        path = schedule.path(sampler, steps, steps)
        assert len(path.times) == steps and all(0 <= time <= 999 for time in path.times)
        assert all(alpha > 0 for alpha, _ in path.levels) and all(sigma > 0 for _, sigma in path.levels[:-1])
        kind = "ddim" if sampler != "dpm-solver-2m" else sampler
        assert all(abs(value) < 10 for value in way(list(path.levels), kind, float(sampler == "euler-ancestral")))


@pytest.mark.parametrize("betas", [[0.0] * 20, [1.0] * 20, [0.0, 0.5, 0.0, 0.0, 1.0, 0.1] * 4])
def test_noise_that_stays_the_same_for_a_while_is_no_division_by_zero(betas: list[float]) -> None:
    schedule = Schedule({"trained_betas": betas})
    for steps in (1, 2, 7, 19):
        found = way(list(schedule.path("dpm-solver-2m", steps, steps).levels), "dpm-solver-2m", 0.0)
        assert all(abs(value) < 10 for value in found)


def test_a_model_trained_on_few_noise_levels_says_how_many_steps_it_takes() -> None:
    schedule = Schedule({**SCHEDULER, "num_train_timesteps": 50})
    assert len(schedule.path("ddim", 50, 50).times) == 50
    with pytest.raises(TooManySteps, match=r"steps = 60: .* 50 noise levels; with ddim at most 50"):
        schedule.path("ddim", 60, 60)
    with pytest.raises(TooManySteps, match="at most 49"):
        schedule.path("dpm-solver-2m", 50, 50)
