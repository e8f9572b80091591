"""Stable Diffusion through diffusers' networks: reproducible, independent of its batch, resumable; tiny models."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from executor.engines import EngineKey, Engines, too_large
from generator.checkpoints import load_stable_diffusion
from generator.clip import ClipModel, PromptTooLong, openai_clip
from generator.engine import NotFinite, Step, generate
from generator.params import BadParams, LatentDiffusionParams, validate
from generator.registry import estimate_memory
from generator.stable_diffusion import StableDiffusion
from tests.tiny_diffusers import save_stable_diffusion

SAMPLERS = ["dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm"]

RED = torch.tensor([200, 10, 10]).view(3, 1, 1) / 255


def half_white() -> Image.Image:
    """A mask: the right half is redrawn."""
    mask = Image.new("L", (32, 32), 0)
    ImageDraw.Draw(mask).rectangle((16, 0, 31, 31), fill=255)
    return mask


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    save_stable_diffusion(root / "diffusers" / "tiny")
    return root


@pytest.fixture(scope="module")
def engine(checkpoints: Path) -> Iterator[StableDiffusion]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    models = load_stable_diffusion("diffusers/tiny", checkpoints)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = ClipModel(openai_clip("model").CLIP(16, 32, 1, 64, 16, 77, 49408, 64, 1, 1), "mini")
    pictures = {"red.png": Image.new("RGB", (70, 64), (200, 10, 10)), "mask.png": half_white()}
    yield StableDiffusion.from_models(models, [clip], read_image=pictures.__getitem__, precision=torch.float32)
    torch.set_num_threads(threads)


MEMORY = ("auto", "full", "low")


def settings(**changed: Any) -> LatentDiffusionParams:
    small = {"prompt": "a red heart", "seed": 3, "steps": 4, "width": 32, "height": 32, "clip": ("mini",)}
    return LatentDiffusionParams(**{"checkpoint": "diffusers/tiny", **small, **changed})


def last(engine: StableDiffusion, params: LatentDiffusionParams) -> torch.Tensor:
    image = list(generate(engine, params))[-1].image
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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_makes_the_same_picture_and_another_seed_another(engine: StableDiffusion, sampler: str) -> None:
    eta = 0.5 if sampler == "ddim" else 0.0
    one, again = (last(engine, settings(sampler=sampler, eta=eta, seed=0)) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, last(engine, settings(sampler=sampler, eta=eta, seed=1)))


def test_what_a_picture_becomes_does_not_depend_on_its_neighbours(engine: StableDiffusion) -> None:
    alone = last(engine, settings(sampler="pndm"))
    slots = [engine.open(settings(seed=9, cfg_scale=1.0, candidates=2)), engine.open(settings(sampler="pndm"))]
    engine.advance(slots[:1])
    steps: list[Step] = []
    while not slots[1].done:
        steps = engine.advance([slot for slot in slots if not slot.done])
    assert steps[-1].image is not None and torch.allclose(steps[-1].image, alone, atol=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        *({"sampler": sampler} for sampler in SAMPLERS),
        {"init_image": "red.png", "mask_image": "mask.png", "sampler": "euler-ancestral"},
        {"clip_guidance_scale": 500.0, "prompt": "a heart | a car:-1"},
    ],
)
def test_a_picture_that_is_resumed_becomes_what_it_would_have_become(
    engine: StableDiffusion, changed: dict[str, Any]
) -> None:
    params = settings(**changed)
    whole = last(engine, params)
    slot = engine.open(params)
    engine.advance([slot])
    engine.advance([slot])
    saved = io.BytesIO()
    torch.save(slot.state_dict(), saved)
    slot = engine.resume(params, torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    assert slot.index == 2
    while not slot.done:
        (step,) = engine.advance([slot])
    assert step.index == params.total_steps and step.image is not None and torch.equal(step.image, whole)


def test_a_saved_state_of_another_version_and_a_finished_picture_are_refused(engine: StableDiffusion) -> None:
    with pytest.raises(ValueError, match="version"):
        engine.resume(settings(), {"version": 99})
    slot = engine.open(settings(steps=1))
    engine.advance([slot])
    with pytest.raises(ValueError, match="done"):
        engine.advance([slot])


def test_of_several_candidates_the_one_clip_likes_best_is_shown(engine: StableDiffusion) -> None:
    steps = list(generate(engine, settings(candidates=3)))
    alone = [step for step in generate(engine, settings(candidates=1))]
    assert steps[-1].score >= alone[-1].score - 1e-3, "the first candidate is the picture made alone"


def test_fewer_candidates_at_a_time_make_the_same_picture(engine: StableDiffusion) -> None:
    whole = last(engine, settings(candidates=3))
    engine.micro_batch = 1
    try:
        assert torch.allclose(last(engine, settings(candidates=3)), whole, atol=1e-3)
    finally:
        engine.micro_batch = None


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
        monkeypatch.setattr("generator.stable_diffusion.free_memory", lambda device, free=free: free)
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

    def too_much(z: torch.Tensor) -> torch.Tensor:
        if not engine._low:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(z)

    monkeypatch.setattr(engine, "spares", True)
    monkeypatch.setattr(engine.models, "decode", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        last(engine, settings(memory="full"))
    assert torch.allclose(last(engine, settings()), whole, atol=1e-4)
    monkeypatch.setattr(engine, "_ran_out", False)


def test_the_queue_takes_a_job_that_fits_with_memory_spared() -> None:
    engines = Engines("cpu", Path(), lambda _: None)  # type: ignore[arg-type, return-value]
    needed = {m: engines.room_for(EngineKey.of("x", settings(memory=m)), settings(memory=m), 0)[0] for m in MEMORY}
    assert needed["auto"] == needed["low"] < needed["full"]


def test_a_job_that_does_not_fit_is_told_what_to_lower() -> None:
    assert "candidates, or set memory to low." in str(too_large(settings(memory="full"), 9 << 30, 4 << 30, "cuda:0"))
    for memory in ("auto", "low"):
        assert "or set memory" not in str(too_large(settings(memory=memory), 9 << 30, 4 << 30, "cuda:0"))


def test_in_bfloat16_the_picture_is_nearly_the_same(engine: StableDiffusion, checkpoints: Path) -> None:
    models = load_stable_diffusion("diffusers/tiny", checkpoints)
    narrow = StableDiffusion.from_models(models, engine.clips, precision=torch.bfloat16)
    assert (last(narrow, settings()) - last(engine, settings())).abs().mean() < 0.02


def test_a_step_that_ran_out_of_memory_can_be_taken_again(
    engine: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = settings(sampler="euler-ancestral", save_every=1)
    whole = last(engine, params)
    slots = [engine.open(params), engine.open(settings(seed=8))]
    decode, calls = engine.models.decode, []

    def too_much(z: torch.Tensor) -> torch.Tensor:
        calls.append(z)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(z)

    monkeypatch.setattr(engine.models, "decode", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        engine.advance(slots)
    assert [slot.index for slot in slots] == [0, 0]
    while not slots[0].done:
        step = engine.advance(slots)[0]
    assert step.image is not None and torch.allclose(step.image, whole, atol=1e-3)


def test_what_is_to_be_avoided_changes_the_picture_either_way_it_is_said(engine: StableDiffusion) -> None:
    plain = last(engine, settings())
    avoided = last(engine, settings(negative_prompt="a blue car"))
    assert not torch.allclose(plain, avoided, atol=1e-4)
    assert torch.allclose(avoided, last(engine, settings(prompt="a red heart | a blue car:-1")), atol=1e-4)


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
    free = list(generate(engine, settings(steps=8)))[-1]
    pulled = list(generate(engine, settings(steps=8, clip_guidance_scale=1e4)))[-1]
    assert pulled.losses["prompts"] < free.losses["prompts"]


def test_a_prompt_that_is_too_long_is_refused_with_the_words_that_fall_off(engine: StableDiffusion) -> None:
    words = " ".join(["word"] * 75)
    with pytest.raises(PromptTooLong, match="75 fit; these words fall off its end: “extra long”"):
        engine.open(settings(prompt=f"{words} extra long"))


def test_numbers_that_stop_being_finite_end_one_picture_and_not_its_neighbours(engine: StableDiffusion) -> None:
    bad, good = engine.open(settings()), engine.open(settings())
    bad.z[0, 0, 0, 0] = float("nan")
    first, second = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and bad.done and first.image is None
    assert second.error is None and not good.done


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
