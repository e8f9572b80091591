"""Cutouts: what CLIP is shown of a picture."""

import pytest
import torch
from torch.nn import functional as F

from generator.guidance.cutouts import cut, draw, scatter_exactly
from generator.params import VqganClipParams


def settings(**values):
    return VqganClipParams(**{"prompt": "a red heart", "seed": 1, "noise": 0.0, "cutn": 6, **values})


def plan(width, height, side, seed=1, **values):
    return draw(settings(**values), width, height, side, torch.Generator().manual_seed(seed))


def test_cutouts_have_the_side_clip_wants_and_stay_near_the_range_of_a_picture():
    images = torch.rand(2, 3, 48, 80)
    plans = [plan(80, 48, 32, seed=1, cutn=6, noise=0.1), plan(80, 48, 32, seed=2, cutn=3, noise=0.1)]
    cutouts = cut(images, plans, 32)
    assert cutouts.shape == (9, 3, 32, 32)
    assert cutouts.isfinite().all() and cutouts.min() > -1 and cutouts.max() < 2


def test_without_augmentation_a_crop_of_clips_own_size_is_the_picture_itself():
    image = torch.rand(1, 3, 32, 32)
    cutouts = cut(image, [plan(32, 32, 32, augment=False)], 32)
    torch.testing.assert_close(cutouts, image.expand(6, -1, -1, -1), atol=1e-5, rtol=0)


def test_strength_zero_is_the_same_as_augmentation_off():
    image = torch.rand(1, 3, 40, 40)
    off, zero = (cut(image, [plan(40, 40, 32, **v)], 32) for v in ({"augment": False}, {"augment_strength": 0.0}))
    assert torch.equal(off, zero)


def test_augmented_cutouts_differ_from_each_other():
    cutouts = cut(torch.rand(1, 3, 32, 32), [plan(32, 32, 32)], 32)
    assert min((cutouts[0] - other).abs().mean() for other in cutouts[1:]) > 0.01


def test_white_stays_white_under_every_turn_since_the_edge_of_the_picture_goes_on():
    cutouts = cut(torch.ones(1, 3, 200, 150), [plan(150, 200, 24, augment_strength=2.0, cutn=64)], 24)
    brightness = cutouts.mean((1, 2, 3))
    assert (cutouts - brightness[:, None, None, None]).abs().max() < 1e-4


def test_crop_sides_run_from_clips_size_to_the_whole_picture_and_a_power_favours_small_ones():
    def sides(power):
        return 2 * plan(128, 128, 32, augment=False, cutn=512, cut_pow=power).geometry[:, 0, 0]

    even, small = sides(1.0), sides(3.0)
    assert even.min() >= 32 and even.max() <= 128
    assert small.mean() < even.mean() - 10


def test_shrinking_a_large_crop_does_not_alias():
    columns = torch.arange(128) % 2
    stripes = columns.float().expand(1, 3, 128, 128)
    whole = plan(128, 128, 16, augment=False, cut_pow=0.0001)
    assert int(whole.level.max()) == 3
    assert (cut(stripes, [whole], 16) - 0.5).abs().max() < 0.05


def test_a_picture_keeps_its_cutouts_whoever_shares_its_batch():
    images = torch.rand(3, 3, 96, 64)
    plans = [plan(64, 96, 32, seed=s, cutn=n, noise=0.2) for s, n in ((1, 4), (2, 7), (3, 2))]
    together = cut(images, plans, 32)
    alone = [cut(images[b : b + 1], plans[b : b + 1], 32) for b in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_any_range_of_cutouts_equals_that_part_of_all():
    images = torch.rand(3, 3, 64, 64)
    plans = [plan(64, 64, 32, seed=s, cutn=n, noise=0.2) for s, n in ((1, 4), (2, 3), (3, 2))]
    every = cut(images, plans, 32)
    for start, stop in ((0, 5), (2, 8), (5, 6), (6, 9)):
        torch.testing.assert_close(cut(images, plans, 32, start, stop), every[start:stop], atol=1e-5, rtol=0)


def test_the_gradient_reaches_every_pixel_of_the_picture():
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    cut(image, [plan(64, 64, 64, cutn=16)], 64).sum().backward()
    assert (image.grad.abs() > 0).all()


def test_the_gradient_is_that_of_the_numbers_shown():
    image = torch.rand(1, 3, 20, 16, dtype=torch.float32, requires_grad=True)
    plans = [plan(16, 20, 8, cutn=2, cut_pow=0.01)]
    weights = torch.randn(2, 3, 8, 8)
    (cut(image, plans, 8) * weights).sum().backward()
    direction = torch.randn_like(image)
    with torch.no_grad():
        up, down = ((cut(image + e * direction, plans, 8) * weights).sum() for e in (1e-2, -1e-2))
    assert float((image.grad * direction).sum()) == pytest.approx(float(up - down) / 2e-2, rel=1e-2)


def test_the_integer_gradient_for_gpus_equals_the_ordinary_one_and_keeps_a_bad_picture_apart():
    image = torch.rand(2, 3, 12, 9, requires_grad=True)
    grid = (torch.rand(2, 30, 8, 2) * 2 - 1) * 0.88
    grad = torch.randn(2, 3, 30, 8)
    F.grid_sample(image, grid, align_corners=False).backward(grad)
    torch.testing.assert_close(scatter_exactly(grad, grid, 12, 9), image.grad, atol=1e-5, rtol=1e-5)
    grad[0, 0, 0, 0] = torch.nan
    broken = scatter_exactly(grad, grid, 12, 9)
    assert broken[0].isnan().all() and torch.allclose(broken[1], image.grad[1], atol=1e-5)
