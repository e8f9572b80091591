"""What a mask promises with every engine that starts from a picture: black stays, white is drawn anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from generator.engines.base import generate
from generator.engines.finishing import Finished
from generator.images.convert import to_tensor
from generator.models.finisher import load_finisher
from generator.params import BadParams, validate
from generator.starts.masks import Kept, keep_in_upscaled, read_kept
from tests import tiny_engines
from tests.tiny_engines import last, read_image

RED = torch.tensor([200, 10, 10]).view(3, 1, 1) / 255
MASKED = {"init_image": "red.png", "mask_image": "mask.png"}
WAYS = [
    ("vqgan_clip", "vqgan_settings", {"init": "random"}),
    ("vqgan_clip", "vqgan_settings", {"init": "prior", "init_weight": 2.0}),
    ("vqgan_clip", "vqgan_settings", {"init": "image", "init_strength": 0.0, "ema": 0.5}),
    ("vqgan_clip", "vqgan_settings", {"init": "gradient", "optimiser": "AdamW", "tv_weight": 1.0}),
    ("guided_diffusion", "guided_settings", {"init": "noise"}),
    ("guided_diffusion", "guided_settings", {"init": "image", "skip_steps": 1, "sampler": "dpm-solver-2m"}),
    ("guided_diffusion", "guided_settings", {"init": "perlin", "eta": 0.5, "grad_through": "x_in", "skip_steps": 0}),
    ("latent_diffusion", "latent_settings", {}),
    ("latent_diffusion", "latent_settings", {"sampler": "ddim", "eta": 0.5, "clip_guidance_scale": 500.0}),
]


def white(left: int, side: int = 32) -> Image.Image:
    """A mask that is white right of `left` px."""
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).rectangle((left, 0, side, side), fill=255)
    return mask


@pytest.mark.parametrize(("engine", "settings", "values"), WAYS)
def test_black_is_the_given_picture_to_the_last_byte_and_white_is_drawn_anew(
    engine: str, settings: str, values: dict[str, Any]
) -> None:
    built, wanted = getattr(tiny_engines, engine)(), getattr(tiny_engines, settings)
    steps = [step.image for step in generate(built, wanted(**MASKED, **values)) if step.image is not None]
    half = steps[0].shape[2] // 2
    for image in steps:  # those on the way as well
        assert torch.equal((image[:, :, :half] * 255).round(), (RED * 255).round().expand(3, image.shape[1], half))
    assert (steps[-1][:, :, half:] - RED).abs().mean() > 0.03
    again, other = (last(built, wanted(**MASKED, **values, seed=seed)).image for seed in (wanted().seed, 77))
    assert torch.equal(again, steps[-1]) and not torch.equal(other, steps[-1])


def test_the_codes_and_the_noisy_picture_are_held_where_nothing_is_drawn_anew() -> None:
    vqgan = tiny_engines.vqgan_clip()
    slot = vqgan.open(tiny_engines.vqgan_settings(**MASKED, optimiser="AdamW"))
    vqgan.advance([slot])
    assert torch.equal(slot.z[..., :2], slot.start[..., :2]) and not torch.equal(slot.z[..., 2:], slot.start[..., 2:])
    diffusion = tiny_engines.guided_diffusion()
    noisy = diffusion.open(tiny_engines.guided_settings(**MASKED, init="noise", steps=2))
    for alpha, sigma in (diffusion._levels[-1], diffusion._levels[diffusion._times(noisy.params)[1]]):
        assert noisy.noise is not None
        known = alpha * (RED * 2 - 1) + sigma * noisy.noise[0]
        assert torch.allclose(noisy.x[0, :, :, :8], known[:, :, :8], atol=1e-5)
        diffusion.advance([noisy])


def test_the_finishing_touch_leaves_what_is_kept_alone() -> None:
    engine = Finished(tiny_engines.vqgan_clip(), load_finisher("cpu"))
    image = last(engine, tiny_engines.vqgan_settings(**MASKED, finish=1.0)).image
    assert torch.allclose(image[:, :, :8], RED.expand(3, 16, 8), atol=1e-6)


def test_grey_mixes_and_what_is_around_goes_on_behind_what_is_drawn_anew() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[:, 2:6, 2:6] = 255
    bands = torch.tensor([250, 10]).repeat_interleave(4)[:, None].expand(8, 8).clone()  # light above, dark below
    bands[3:5, 3:5] = 100  # and something that is to go
    kept = Kept(bands.expand(3, 8, 8).byte(), mask)
    filled = kept.filled[0] * 255
    assert torch.equal(filled[mask[0] == 0].round(), bands[mask[0] == 0].float()), "around it is the picture"
    assert (filled[2, 2:6] > 150).all() and (filled[5, 2:6] < 110).all() and (filled[2:6, 2:6].diff(dim=0) < 0).all()
    assert (Kept(kept.picture, torch.full_like(mask, 255)).filled == 1).all(), "white where nothing stays"
    mask[:] = 255
    mask[:, 1:7, 3:8] = 0  # drawn anew is what goes around a corner: its left part has most room
    assert Kept(kept.picture, mask).room == (0, 0, 8, 3)
    grey = Kept(torch.zeros_like(kept.picture), torch.full_like(mask, 51))
    assert torch.allclose(grey.over(torch.ones(3, 8, 8)), torch.full((3, 8, 8), 0.2))


def test_what_is_kept_is_as_sharp_as_it_was_given_when_the_drawing_is_upscaled() -> None:
    given = Image.effect_noise((128, 128), 80).convert("RGB")
    pictures = {"given": given, "small": given.resize((16, 16)), "mask": white(64, 128)}
    values = {"prompt": "x", "mask_image": "mask", "width": 32, "height": 32, "upscale": 4}
    upscaled = Image.new("RGB", (128, 128), "green")
    made = keep_in_upscaled(upscaled, validate("vqgan-clip", {**values, "init_image": "given"}), pictures.__getitem__)
    assert torch.equal(to_tensor(made)[:, :, :64], to_tensor(given)[:, :, :64])
    assert made.getpixel((100, 5)) == upscaled.getpixel((100, 5))
    small = validate("vqgan-clip", {**values, "init_image": "small"})
    assert keep_in_upscaled(upscaled, small, pictures.__getitem__) is upscaled, "there is nothing sharper to take"


def test_a_mask_without_white_is_refused_in_a_sentence() -> None:
    params = tiny_engines.vqgan_settings(**MASKED)
    with pytest.raises(ValueError, match="black everywhere, so nothing is to be drawn anew; paint that part white"):
        read_kept(params, lambda name: Image.new("L", (9, 9)) if name == "mask.png" else read_image(name))


@pytest.mark.parametrize(
    ("engine", "values", "says"),
    [
        ("vqgan-clip", {}, "mask_image needs an init_image, the picture whose white parts are drawn anew"),
        ("guided-diffusion", {}, "mask_image needs an init_image"),
        ("vqgan-clip", {"init_image": "a", "init": "components"}, "use prior, random, gradient or image with mask_im"),
        ("biggan-clip", {}, "'mask_image'. It is one of vqgan-clip, guided-diffusion, latent-diffusion."),
    ],
)
def test_where_nothing_can_be_kept_it_is_said_what_can_be_done(engine: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        validate(engine, {"prompt": "x", "mask_image": "m", **values})


def test_what_is_drawn_anew_begins_as_it_would_without_a_picture() -> None:
    for engine in ("vqgan-clip", "guided-diffusion"):
        plain = validate(engine, {"prompt": "x"}).model_dump()
        masked = validate(engine, {"prompt": "x", "init_image": "a", "mask_image": "m"}).model_dump()
        assert masked["init"] == plain["init"] == "prior"
        assert validate(engine, {"prompt": "x", "init_image": "a"}).model_dump()["init"] == "image"
