"""The settings of Disco Diffusion: schedules, cuts, prompts by step, style and artist, Perlin starts, symmetry."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generator.engines.base import Step, generate
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.guidance.cutouts import cut, draw_scheduled
from generator.models.pixel_diffusion import PixelDiffusion
from generator.output.film import Recorder
from generator.params import BadParams, GuidedDiffusionParams, validate
from generator.params.scheduled_cuts import Cuts
from generator.params.schedules import parse_schedule
from generator.starts.perlin import perlin_picture
from tests.small_diffusion import SMALL, SmallClip

REAL = "guided-diffusion-512"
DISCO: dict[str, Any] = {
    "cut_overview": "[3]*400+[1]*600",
    "cut_innercut": "[0]*400+[3]*600",
    "cutn_batches": 2,
    "grad_through": "x_in",
    "eta": 0.8,
    "clip_denoised": False,
}


@pytest.fixture(scope="module")
def engine() -> GuidedDiffusion:
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GuidedDiffusion(PixelDiffusion(SMALL), [SmallClip()], precision=torch.float32)


def settings(**values: Any) -> GuidedDiffusionParams:
    base = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 5, "cutn": 3}
    start = {"init": "image" if values.get("init_image") else "noise"}
    params = validate("guided-diffusion", {**base, **start, **values})
    assert isinstance(params, GuidedDiffusionParams)
    return params


def last(engine: GuidedDiffusion, **values: Any) -> Step:
    return list(generate(engine, settings(**values)))[-1]


def drawn(engine: GuidedDiffusion, **values: Any) -> torch.Tensor:
    image = last(engine, **values).image
    assert image is not None
    return image


def test_a_schedule_holds_for_the_whole_way_however_many_steps_there_are() -> None:
    schedule = parse_schedule(" [12]*400 + [4]*600", minimum=0, maximum=99)
    assert [schedule.at(done, 1000) for done in (0, 399, 400, 999)] == [12, 12, 4, 4]
    assert [schedule.at(done, 10) for done in (0, 3, 4, 9)] == [12, 12, 4, 4]
    assert parse_schedule("2.5", minimum=0, maximum=9).at(7, 10) == 2.5
    assert [parse_schedule("[1,2]*2", minimum=0, maximum=9).at(i, 4) for i in range(4)] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"cut_overview": "[12]*400+[4*600"}, r"cut_overview = .*after '\[12\]\*400\+\[4' should come a comma or \]"),
        ({"cut_innercut": "12x"}, r"cut_innercut = '12x' cannot be read: after '12' should come the end.*'x'"),
        ({"cut_overview": "__import__('os')"}, r"at the start should come \[.*Write a number, or lists such as"),
        ({"cut_overview": "[12]*"}, r"after '\[12\]\*' should come a number, but it ends"),
        ({"cut_overview": "[1]*999999"}, "a whole number of times from 1 to 10000"),
        ({"cut_overview": "[1.5]*9"}, "1.5 is not a whole number from 0 to 256"),
        ({"cut_icgray_p": "2"}, "cut_icgray_p = '2': 2 is not a number from 0 to 1"),
        ({"cut_ic_pow": ""}, "cut_ic_pow is empty"),
        ({"cut_overview": "[4]*500+[0]*500"}, "leave no cutout at 50% of the way"),
        ({"prompt": "0: a castle | 100: a ruin"}, "a stage at step 100, which 40 steps never reach; at most 39"),
        ({"prompt": "0: a castle | 9: a ruin | 5: dust"}, "'5: dust' begins at step 5, which does not come after"),
        ({"prompt": "0: a castle | 9: fog:-1"}, "from step 9 on has no part with a weight above 0"),
        ({"artist": "Monet"}, "artist applies to real checkpoints only"),
        ({"style": "oil"}, "Unknown style 'oil'"),
        ({"checkpoint": REAL, "prompt": "", "image_prompts": "a.png", "style": "oil"}, "Write one"),
        ({"transformation_percent": 1}, "transformation_percent"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_that_shows_where(values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        validate("guided-diffusion", {"prompt": "a red heart", **values})


def test_style_and_artist_are_added_to_the_prompt_of_every_stage() -> None:
    params = settings(checkpoint=REAL, width=64, height=64, style="oil painting", artist="Monet")
    assert params.stages[0].prompts == "a red heart,oil painting,Monet,trending on artstation"
    params = settings(
        checkpoint=REAL, width=64, height=64, style="oil", prompt="0: a tree.:2 | fog:-1 | 3: 2001: a space odyssey"
    )
    assert [(s.step, s.prompts) for s in params.stages] == [
        (0, "a tree,oil:2 | fog:-1"),
        (3, "2001: a space odyssey,oil"),
    ]
    assert settings(style="noto").stages[0].prompts == "a red heart", "a mini model is given the style itself"
    assert settings(prompt="2001: a space odyssey").stages[0].prompts == "2001: a space odyssey"


def test_overview_cuts_see_all_of_the_picture_and_inner_cuts_a_part() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 64), indexing="ij")
    picture = torch.stack([x, y, 1 - x])[None]
    params = settings(augment=False, noise=0.0)

    def seen(overview: int, inner: int, power: float = 1.0, grey: float = 0.0) -> torch.Tensor:
        cuts = Cuts(overview, inner, power, grey)
        plan = draw_scheduled(params, cuts, 64, 32, 16, torch.Generator().manual_seed(0))
        return cut(picture, [plan], 16)

    whole = seen(4, 0)
    assert float(whole[0, 0].amin()) < 0.1 and float(whole[0, 0].amax()) > 0.9
    torch.testing.assert_close(whole[2], whole[0].flip(2), atol=1e-5, rtol=0)
    for grey in (whole[1], whole[3]):
        torch.testing.assert_close(grey[0], grey[2], atol=1e-5, rtol=0)
    parts = seen(0, 40, power=8.0)
    widths = parts[:, 0].amax((1, 2)) - parts[:, 0].amin((1, 2))
    assert float(widths.max()) < 0.6 and float(widths.median()) < 0.3, "a high power favours small cuts"
    colour = (seen(5, 10, grey=0.2)[:, 0] - seen(5, 10, grey=0.2)[:, 2]).abs().amax((1, 2))
    assert (colour < 1e-5).tolist() == [False] * 5 + [True] * 2 + [False] * 8


def test_the_number_of_cuts_follows_the_noise(engine: GuidedDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, counts = engine.clips[0], []
    encode = clip.encode_image
    monkeypatch.setattr(clip, "encode_image", lambda images: (counts.append(len(images)), encode(images))[1])
    last(engine, cut_overview="[3]*400+[1]*600", cut_innercut="[0]*400+[4]*600")
    assert counts == [3, 3, 5, 5, 5, 5]


def test_a_run_with_all_settings_is_the_same_alone_in_a_batch_and_resumed(engine: GuidedDiffusion) -> None:
    kinds = [
        settings(seed=1, **DISCO, prompt="0: a castle | fog:-1 | 3: a ruin", use_horizontal_symmetry=True),
        settings(seed=2, **DISCO | {"cut_overview": "5"}, init="perlin", skip_steps=1, init_scale=5.0, init_loss="mse"),
        settings(seed=3, sampler="dpm-solver-2m", use_vertical_symmetry=True, transformation_percent=0.5),
        settings(seed=4, grad_through="x0", clamp_grad=False, tv_scale=1.0, sat_scale=1.0),
    ]
    together, made = [engine.open(params) for params in kinds], {}
    while live := [slot for slot in together if not slot.done]:
        for slot, step in zip(live, engine.advance(live), strict=True):
            made[slot.params.seed] = step
    for params in kinds:
        *_, alone = generate(engine, params)
        assert alone.image is not None
        torch.testing.assert_close(made[params.seed].image, alone.image, atol=2e-3, rtol=0)
        slot = engine.open(params)
        for _ in range(2):
            engine.advance([slot])
        file = io.BytesIO()
        torch.save(slot.state_dict(), file)
        file.seek(0)
        slot = engine.resume(params, torch.load(file, weights_only=True))
        while not slot.done:
            (step,) = engine.advance([slot])
        assert step.image is not None and torch.equal(step.image, alone.image) and step.score == alone.score


def test_a_prompt_of_a_later_step_changes_only_what_comes_after(engine: GuidedDiffusion) -> None:
    one = list(generate(engine, settings(prompt="0: a castle", clamp_max=5.0)))
    two = list(generate(engine, settings(prompt="0: a castle | 3: a banana", clamp_max=5.0)))
    same = [torch.equal(a.image, b.image) for a, b in zip(one, two, strict=True) if a.image is not None]  # type: ignore[arg-type]
    assert same == [True, True, True, True, False, False], "the picture of step 3 is made before it is bent"
    assert [a.score == b.score for a, b in zip(one, two, strict=True)][:4] == [True, True, True, False]


def test_a_picture_can_be_mirrored_during_the_run(engine: GuidedDiffusion) -> None:
    def gap(**values: Any) -> float:
        slot = engine.open(settings(steps=4, transformation_percent=0.5, **values))
        for _ in range(2):
            engine.advance([slot])
        return float((slot.x - slot.x.flip(3)).abs().mean())

    assert gap(use_horizontal_symmetry=True) == 0 and gap(use_vertical_symmetry=True) > 0.1
    begun = engine.open(settings(use_vertical_symmetry=True, transformation_percent=0))
    assert torch.equal(begun.x, begun.x.flip(2))


def test_perlin_clouds_are_smooth_repeatable_and_of_the_colours_asked_for(engine: GuidedDiffusion) -> None:
    def clouds(mode: str, seed: int = 0) -> torch.Tensor:
        return perlin_picture(48, 32, mode, torch.Generator().manual_seed(seed))

    picture = clouds("mixed")
    assert picture.shape == (3, 32, 48) and picture.min() >= 0 and picture.max() <= 1
    assert torch.equal(picture, clouds("mixed")) and not torch.equal(picture, clouds("mixed", 1))
    assert torch.equal(*clouds("gray")[:2]) and not torch.equal(*clouds("color")[:2])
    assert float((picture[:, :, 1:] - picture[:, :, :-1]).abs().mean()) < 0.5 * float(picture.std()), (
        "clouds, not noise"
    )
    noise, begun = (engine.open(settings(init=init, skip_steps=4)).x for init in ("noise", "perlin"))
    assert not torch.equal(noise, begun)
    assert settings(init="perlin", checkpoint=REAL, width=64, height=64, steps=250).skipped == 10


def test_a_gradient_without_a_value_leaves_the_step_unguided(
    engine: GuidedDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    unguided = drawn(engine, clip_guidance_scale=0.0, range_scale=0.0)
    cond_fn = engine._cond_fn
    monkeypatch.setattr(engine, "_cond_fn", lambda *args: (*cond_fn(*args)[:2], cond_fn(*args)[2] * torch.nan))
    step = last(engine, range_scale=0.0)
    assert step.error is None and step.image is not None and torch.equal(step.image, unguided)


def test_the_gradient_is_limited_unless_told_otherwise(engine: GuidedDiffusion) -> None:
    calm, wild = (drawn(engine, clamp_grad=clamp, clip_guidance_scale=1e5, clamp_max=0.01) for clamp in (True, False))
    unguided = drawn(engine, clip_guidance_scale=0.0)
    assert float((calm - unguided).abs().mean()) < 0.3 * float((wild - unguided).abs().mean())


def test_mixing_noise_into_what_clip_sees_still_brings_the_picture_nearer(engine: GuidedDiffusion) -> None:
    calm = {"augment": False, "noise": 0.0, "steps": 12, "clamp_max": 1.0, "grad_through": "x_in"}
    unguided, guided = (last(engine, clip_guidance_scale=scale, **calm).score for scale in (0.0, 1000.0))
    assert guided > unguided + 0.05


def test_the_pictures_on_the_way_are_kept_as_a_sprite_sheet_where_asked_for(tmp_path: Path) -> None:
    def kept(**values: Any) -> dict[str, bytes]:
        recorder = Recorder(tmp_path / str(len(values)), settings(**values), "guided-diffusion")
        for step in range(8):
            recorder.add(step, torch.full((3, 16, 24), step / 7))
        return recorder.finish(mp4=False, webp=False, gif=False)

    assert "sheet" not in kept()
    with Image.open(io.BytesIO(kept(sprite_sheet=True)["sheet"])) as sheet:
        assert sheet.format == "WEBP" and sheet.size == (3 * 24, 3 * 16)
        cells = [sheet.convert("RGB").getpixel((24 * (i % 3) + 12, 16 * (i // 3) + 8)) for i in range(9)]
    shades = [cell[0] for cell in cells]  # type: ignore[index]
    assert shades[:8] == sorted(shades[:8]) and shades[0] < 10 and shades[7] > 245 and shades[8] < 10
