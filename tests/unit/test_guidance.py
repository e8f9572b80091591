"""Guidance: what a picture is to come near to, and what it is not."""

import math

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from generator.guidance.targets import Targets, guide, prompt_targets, spherical_distance, total_variation
from generator.precision import Precision


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def targets(prompts, weights, stops=None):
    stops = stops or [-math.inf] * len(weights)
    return Targets([prompts], torch.tensor(weights), torch.tensor(stops))


class Colours:
    """A CLIP that knows words and pictures by one colour each."""

    name, resolution = "colours", 8
    words = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0)}  # noqa: RUF012

    def encode_text(self, texts):
        return torch.tensor([self.words[text] for text in texts])

    def encode_image(self, images):
        return F.normalize(images.mean((2, 3)), dim=-1)


def test_the_distance_is_half_the_squared_angle():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    expected = torch.tensor([[(math.pi / 2) ** 2 / 2, 0.0, math.pi**2 / 2]])
    torch.testing.assert_close(spherical_distance(a, b), expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize("loss", ["spherical", "cosine"])
def test_a_positive_prompt_pulls_and_a_negative_one_pushes(loss):
    prompt = unit(1, 16, seed=1)
    for weight, sign in ((1.0, 1), (-1.0, -1)):
        images = unit(4, 16, seed=2).requires_grad_()
        value, _ = guide(images, targets(prompt, [weight]), 0, loss)
        value.sum().backward()
        moved = F.normalize(images - 0.1 * images.grad, dim=-1)
        assert (sign * ((moved - images) @ prompt.T) > 0).all()


def test_the_gradient_stays_finite_for_equal_and_for_opposite_embeddings():
    prompt = unit(1, 16)
    for images in (prompt.clone(), -prompt):
        images.requires_grad_()
        guide(images, targets(prompt, [1.0]), 0, "spherical")[0].sum().backward()
        assert images.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["spherical", "cosine"])
def test_a_prompt_that_has_come_as_near_as_its_stop_lets_go_but_still_counts(loss):
    prompts, images = unit(1, 16, seed=1), unit(3, 16, seed=2)
    distance = float(spherical_distance(images, prompts).max())
    for stop, guides in ((distance + 0.1, False), (0.01, True)):
        seen = images.clone().requires_grad_()
        value, _ = guide(seen, targets(prompts, [1.0], [stop]), 0, loss)
        value.sum().backward()
        assert bool(seen.grad.abs().sum() > 0) is guides
        assert (value > 0).all()


def test_weights_scale_the_loss_and_the_score_stays_a_cosine():
    prompts, images = unit(2, 16, seed=1), unit(5, 16, seed=2)
    single, score = guide(images, targets(prompts, [1.0, -0.5]), 0, "spherical")
    triple, same = guide(images, targets(prompts, [3.0, -1.5]), 0, "spherical")
    torch.testing.assert_close(triple, 3 * single)
    torch.testing.assert_close(same, score)
    assert (score.abs() <= 1).all()


def test_texts_and_pictures_become_targets_with_their_weights_and_stops():
    reds = {"a.png": Image.new("RGB", (40, 20), (255, 0, 0))}
    found = prompt_targets(
        "red:2 | green:-1:0.5",
        "a.png:0.5",
        [Colours()],
        reds.__getitem__,
        Precision(torch.device("cpu"), torch.float32),
    )
    torch.testing.assert_close(found.embeddings[0], torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]]))
    assert found.weights.tolist() == [2, -1, 0.5] and found.stops.tolist() == [-math.inf, 0.5, -math.inf]


def test_a_picture_can_be_avoided_as_long_as_there_is_something_to_draw():
    picture = Image.new("RGB", (8, 8), (0, 255, 0))
    found = prompt_targets(
        "red", "a.png:-1", [Colours()], lambda reference: picture, Precision(torch.device("cpu"), torch.float32)
    )
    assert found.weights.tolist() == [1, -1]


def test_total_variation_is_zero_for_a_flat_picture_and_grows_with_edges():
    flat = torch.full((3, 8, 8), 0.3)
    assert total_variation(flat) == 0
    assert total_variation((torch.arange(8) % 2).float().expand(3, 8, 8)) == 1
