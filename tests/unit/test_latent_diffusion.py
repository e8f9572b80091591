"""The latent diffusion engine: reproducible, independent of its batch, resumable, and honest about failure."""

import io

import pytest
import torch
from PIL import Image

from generator.clip import ClipModel, openai_clip
from generator.engine import NotFinite, generate
from generator.latent_diffusion import LatentDiffusion
from generator.latent_unet import LatentDiffusionModel
from generator.layout import Layout, UnknownStyle
from generator.params import BadParams, LatentDiffusionParams, validate
from generator.vqgan import VQGAN

STYLES = ["noto", "twemoji", "fluent", "3d", "silhouette", "blob", "fx"]
VQGAN_CONFIG = {
    "embed_dim": 4,
    "n_embed": 64,
    "ddconfig": {
        "double_z": False,
        "z_channels": 32,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}


@pytest.fixture(scope="module")
def engine():
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"text_width": 16, "styles": STYLES}
        layout = Layout({"z_channels": 4, "grid": 16, "width": 16, "content": 8, "components": 20, **shape})
        torch.nn.init.normal_(layout.components, std=0.2)
        unet = {"z_channels": 4, "grid": 16, "text_width": 16, "styles": 7}
        model = LatentDiffusionModel({**unet, "block_out_channels": [16, 32], "cross_width": 16})
        clip = ClipModel(openai_clip("model").CLIP(16, 32, 1, 64, 16, 77, 49408, 64, 1, 1), "mini")
        clip.source_projection = torch.randn(64, 16)
        red = {"red.png": Image.new("RGB", (30, 20), (200, 10, 10))}
        vqgan = VQGAN(VQGAN_CONFIG)
        return LatentDiffusion(model, layout, vqgan, clip, [clip], read_image=red.__getitem__, precision=torch.float32)


def settings(**changed):
    return LatentDiffusionParams(**{"prompt": "a red heart", "seed": 3, "steps": 4, "candidates": 2, **changed})


def last(engine, params):
    return list(generate(engine, params))[-1]


def test_a_finished_picture_has_its_size_its_score_and_its_last_step(engine):
    steps = list(generate(engine, settings()))
    assert [step.index for step in steps] == [1, 2, 3, 4] and steps[-1].done
    picture = steps[-1].image
    assert picture.shape == (3, 64, 64) and picture.min() >= 0 and picture.max() <= 1
    assert -1 <= steps[-1].score <= 1


@pytest.mark.parametrize("sampler", ["dpm-solver-2m", "ddim"])
def test_the_same_seed_makes_the_same_picture_and_another_seed_another(engine, sampler):
    chance = {"sampler": sampler, "eta": 0.5 if sampler == "ddim" else 0.0}
    params = settings(**chance)
    one, again = last(engine, params), last(engine, params)
    other = last(engine, settings(**chance, seed=4))
    assert torch.equal(one.image, again.image) and not torch.equal(one.image, other.image)


def test_what_a_picture_becomes_does_not_depend_on_its_neighbours(engine):
    alone = last(engine, settings())
    slots = [engine.open(settings(seed=9, cfg_scale=4.0)), engine.open(settings())]
    engine.advance(slots[:1])
    while not slots[1].done:
        steps = engine.advance([slot for slot in slots if not slot.done])
    assert torch.allclose(steps[-1].image, alone.image, atol=1e-3)


@pytest.mark.parametrize("sampler", ["dpm-solver-2m", "ddim"])
def test_a_picture_that_is_resumed_becomes_what_it_would_have_become(engine, sampler):
    params = settings(sampler=sampler, eta=0.7 if sampler == "ddim" else 0.0, prompt="a heart | a car:-1")
    whole = last(engine, params)
    slot = engine.open(params)
    engine.advance([slot])
    saved = io.BytesIO()
    torch.save(slot.state_dict(), saved)
    slot = engine.resume(params, torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    while not slot.done:
        (step,) = engine.advance([slot])
    assert step.index == 4 and torch.equal(step.image, whole.image)
    with pytest.raises(ValueError, match="version"):
        engine.resume(params, {"version": 99})
    with pytest.raises(ValueError, match="done"):
        engine.advance([slot])


def test_fewer_candidates_at_a_time_make_the_same_picture(engine):
    whole = last(engine, settings(candidates=3))
    engine.micro_batch = 1
    try:
        assert torch.allclose(last(engine, settings(candidates=3)).image, whole.image, atol=1e-3)
    finally:
        engine.micro_batch = None


def test_a_step_that_ran_out_of_memory_can_be_taken_again(engine, monkeypatch):
    whole = last(engine, settings())
    slots = [engine.open(settings()), engine.open(settings(seed=8))]
    decode, calls = engine.vqgan.decode, []

    def too_much(z_q):
        calls.append(z_q)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(z_q)

    monkeypatch.setattr(engine.vqgan, "decode", too_much)
    with pytest.raises(torch.OutOfMemoryError):
        engine.advance(slots)
    assert [slot.index for slot in slots] == [0, 0]
    while not slots[0].done:
        step = engine.advance(slots)[0]
    assert torch.allclose(step.image, whole.image, atol=1e-3)


def test_a_picture_to_start_from_leaves_only_the_last_part_of_the_way(engine):
    params = settings(init_image="red.png", strength=0.5, steps=8)
    steps = list(generate(engine, params))
    assert len(steps) == params.total_steps == 4
    assert not torch.equal(steps[-1].image, last(engine, settings(steps=8)).image)


def test_numbers_that_stop_being_finite_end_one_picture_and_not_its_neighbours(engine):
    bad, good = engine.open(settings()), engine.open(settings())
    bad.z[0, 0, 0, 0] = float("nan")
    first, second = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and bad.done and first.image is None
    assert second.error is None and not good.done


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"width": 128, "height": 128}, "64 x 64 px only"),
        ({"style": "crayon"}, "noto"),
        ({"steps": 0}, "at least 1"),
        ({"sampler": "heun"}, "ddim"),
        ({"sampler": "pndm"}, "Stable Diffusion"),
        ({"init_image": "a.png", "mask_image": "b.png"}, "mask_image means nothing to mini"),
        ({"eta": 0.5}, "sampler=ddim"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused_in_a_sentence(values, says):
    with pytest.raises(BadParams, match=says):
        validate("latent-diffusion", {"prompt": "a red heart", **values})


def test_a_style_the_model_does_not_know_is_answered_with_those_it_knows(engine):
    with pytest.raises(UnknownStyle, match="silhouette"):
        engine.layout.style_index("crayon")
