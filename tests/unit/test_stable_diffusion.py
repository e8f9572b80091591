"""What Stable Diffusion promises beyond tests/contract/test_engines.py: frames, candidates, masks, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from executor.engines import EngineKey, Engines
from executor.memory import too_large
from generator.checkpoints.memory import estimate_memory
from generator.device import Host
from generator.engines.base import generate
from generator.engines.stable_diffusion import StableDiffusion
from generator.images.convert import no_picture
from generator.params import BadParams, LatentDiffusionParams, validate
from generator.prompts import parse_prompts
from generator.tokens import PromptTooLong, encode
from tests import tiny_engines
from tests.real_formats import load_named
from tests.tiny_engines import stable_settings as settings

SAMPLERS = ["dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm"]

RED = torch.tensor([200, 10, 10]).view(3, 1, 1) / 255


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def engine(checkpoints: Path) -> StableDiffusion:
    return tiny_engines.stable_diffusion(checkpoints)


MEMORY = ("auto", "full", "low")


def last(engine: StableDiffusion, params: LatentDiffusionParams) -> torch.Tensor:
    image = tiny_engines.last(engine, params).image
    assert image is not None
    return image


def test_a_finished_picture_has_its_size_its_score_and_its_frames(engine: StableDiffusion) -> None:
    steps = list(generate(engine, settings(steps=7, save_every=3, width=32, height=40)))
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6, 7] and steps[-1].done
    assert [step.index for step in steps if step.image is not None] == [1, 3, 6, 7]
    image = steps[-1].image
    assert image is not None and image.shape == (3, 40, 32) and image.min() >= 0 and image.max() <= 1
    assert all(-1 <= step.score <= 1 for step in steps)
    assert steps[1].score == steps[0].score, "between two frames the score is that of the frame before"


def test_of_several_candidates_the_one_clip_likes_best_is_shown(engine: StableDiffusion) -> None:
    steps = list(generate(engine, settings(candidates=3)))
    alone = [step for step in generate(engine, settings(candidates=1))]
    assert steps[-1].score >= alone[-1].score - 1e-3, "the first candidate is the picture made alone"


def test_a_small_gpu_gets_the_same_picture_and_keeps_less_in_memory(engine: StableDiffusion) -> None:
    whole, spared = last(engine, settings()), last(engine, settings(memory="low"))
    assert torch.allclose(whole, spared, atol=1e-4)
    assert torch.allclose(last(engine, settings()), whole, atol=1e-4), "and it can be left again"
    assert estimate_memory(settings()) == estimate_memory(settings(memory="full"))
    assert estimate_memory(settings(memory="low")) < estimate_memory(settings())
    assert estimate_memory(settings(clip_guidance_scale=1.0)) > estimate_memory(settings())


def test_memory_is_spared_by_itself_where_the_gpu_has_too_little_free(
    engine: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    networks = engine.models.unet.register_forward_pre_hook(lambda *_: held.append(engine._low))
    monkeypatch.setattr(engine, "spares", True)
    whole = last(engine, settings())
    for free, low in ((1 << 50, False), (1 << 20, True)):
        monkeypatch.setattr("generator.engines.stable_diffusion.free_memory", lambda device, free=free: free)
        held.clear()
        assert torch.allclose(last(engine, settings()), whole, atol=1e-4)
        assert set(held) == {low}
        assert torch.allclose(last(engine, settings(memory="full")), whole, atol=1e-4) and held[-1] is False
    networks.remove()
    last(engine, settings(memory="full"))


def test_a_step_that_ran_out_of_memory_is_taken_again_with_less_of_it(
    engine: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, decode = last(engine, settings()), engine.models.decode

    def too_much(z: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        if not engine._low:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(z, size)

    monkeypatch.setattr(engine, "spares", True)
    monkeypatch.setattr(engine.models, "decode", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        last(engine, settings(memory="full"))
    assert torch.allclose(last(engine, settings()), whole, atol=1e-4)
    monkeypatch.setattr(engine, "_ran_out", False)


def test_a_network_that_ran_out_of_memory_leaves_the_gpu_where_memory_is_spared(
    engine: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(z: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    moves: list[torch.device | str] = []
    monkeypatch.setattr(engine.models.vae, "to", moves.append)
    monkeypatch.setattr(engine.models, "decode", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        last(engine, settings(memory="low"))
    assert moves[-2:] == [engine.device, "cpu"]


def test_the_queue_takes_a_job_that_fits_with_memory_spared() -> None:
    engines = Engines(Host("cpu", Path(), no_picture))
    needed = {m: engines.room_for(EngineKey.of("x", settings(memory=m)), settings(memory=m), 0)[0] for m in MEMORY}
    assert needed["auto"] == needed["low"] < needed["full"]


def test_a_job_that_does_not_fit_is_told_what_to_lower() -> None:
    assert "candidates, or set memory to low." in str(too_large(settings(memory="full"), 9 << 30, 4 << 30, "cuda:0"))
    for memory in ("auto", "low"):
        assert "or set memory" not in str(too_large(settings(memory=memory), 9 << 30, 4 << 30, "cuda:0"))


def test_in_bfloat16_the_picture_is_nearly_the_same(engine: StableDiffusion, checkpoints: Path) -> None:
    models = load_named("diffusers/tiny", checkpoints)
    narrow = StableDiffusion(models, engine.clips, precision=torch.bfloat16)
    assert (last(narrow, settings()) - last(engine, settings())).abs().mean() < 0.02


def test_what_is_to_be_avoided_changes_the_picture_either_way_it_is_said(engine: StableDiffusion) -> None:
    plain = last(engine, settings())
    negative = last(engine, settings(negative_prompt="a blue car"))
    assert not torch.allclose(plain, negative, atol=1e-4)
    assert torch.allclose(negative, last(engine, settings(prompt="a red heart | a blue car:-1")), atol=1e-4)


def test_the_weaker_a_start_picture_is_redone_the_more_of_it_stays(engine: StableDiffusion) -> None:
    params = settings(init_image="red.png", steps=10, strength=0.2)
    assert len(list(generate(engine, params))) == params.total_steps == 2
    with torch.no_grad():
        red_z = engine.models.encode(RED.expand(1, 3, 32, 32))
    far = []
    for strength in (0.1, 0.4, 0.8):
        slot = engine.open(settings(init_image="red.png", steps=10, strength=strength, cfg_scale=1.0))
        while not slot.done:
            engine.advance([slot])
        far.append(float((slot.z - red_z).square().mean()))
    assert far[0] < far[1] < far[2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_mask_leaves_its_black_part_as_it_was_and_draws_the_white_part_anew(
    engine: StableDiffusion, sampler: str
) -> None:
    params = settings(init_image="red.png", mask_image="mask.png", sampler=sampler)
    assert params.strength == 1.0, "what is masked is drawn from pure noise unless something else is said"
    image = last(engine, params)
    assert torch.allclose(image[:, :, :16], RED.expand(3, 32, 16), atol=1e-6)
    assert (image[:, :, 16:] - RED).abs().mean() > 0.05
    other = last(engine, settings(init_image="red.png", mask_image="mask.png", sampler=sampler, seed=4))
    assert not torch.equal(image[:, :, 16:], other[:, :, 16:])


def test_clip_pulls_the_picture_towards_the_prompt(engine: StableDiffusion) -> None:
    unguided = list(generate(engine, settings(steps=8)))[-1]
    guided = list(generate(engine, settings(steps=8, clip_guidance_scale=1e4)))[-1]
    assert guided.losses["prompts"] < unguided.losses["prompts"]


def test_a_prompt_that_is_too_long_is_refused_with_the_words_that_fall_off(engine: StableDiffusion) -> None:
    words = " ".join(["word"] * 75)
    with pytest.raises(
        ValueError, match="The prompt has 77 tokens, 75 fit; these words fall off its end: “extra long”"
    ):
        settings(prompt=f"{words} extra long")
    told = settings().model_copy(update={"prompt": f"{words} extra long"})  # a job of a time when none was counted
    with pytest.raises(PromptTooLong, match="75 fit; these words fall off its end: “extra long”"):
        engine.open(told)


@torch.no_grad()
def test_stable_diffusion_scales_the_words_and_keeps_the_mean(engine: StableDiffusion) -> None:
    encoders = engine.models.texts
    plain, _ = encoders.encode_prompt(parse_prompts("a red car on (a hill:1)"))
    assert torch.equal(plain, encoders.encode_prompt(parse_prompts("a red car on a hill"))[0])
    weighed, _ = encoders.encode_prompt(parse_prompts("a (red:1.4) car on [a hill]"))
    factors = torch.ones(77)
    factors[2], factors[5:7] = 1.4, 1 / 1.1  # start, a, red, car, on, a, hill
    assert len(encode("a red car on a hill")) == 6
    wanted = plain * factors[:, None]
    assert torch.allclose(weighed, wanted * (plain.mean() / wanted.mean()), atol=1e-5)
    assert float(weighed.mean()) == pytest.approx(float(plain.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"width": 4096}, "too large for stable-diffusion-1-5: at most 2048"),
        ({"style": "noto"}, "mini models only"),
        ({"variety": 0.5}, "variety means nothing to stable-diffusion-1-5"),
        ({"mask_image": "a.png"}, "mask_image needs an init_image"),
        ({"sampler": "heun"}, "'euler-ancestral'"),
        ({"sampler": "euler", "eta": 0.5}, "sampler=ddim"),
        ({"steps": 501}, "at most 500"),
        ({"checkpoint": "diffusers/../../etc"}, "Unknown checkpoint"),
        ({"checkpoint": "/tmp/model"}, "Unknown checkpoint"),
        ({"memory": "none"}, "memory"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused_in_a_sentence(values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        validate("latent-diffusion", {"prompt": "a red heart", "checkpoint": "stable-diffusion-1-5", **values})


def test_stable_diffusion_starts_from_its_own_defaults() -> None:
    params = validate("latent-diffusion", {"prompt": "a red heart", "checkpoint": "stable-diffusion-1-5"})
    assert isinstance(params, LatentDiffusionParams)
    assert (params.width, params.cfg_scale, params.candidates, params.upscale) == (512, 7.5, 1, 1)
    assert params.changed() == {} and params.actual_size == (512, 512)
    assert validate("latent-diffusion", {"prompt": "x", "checkpoint": "diffusers/me/mine"}).width == 512
