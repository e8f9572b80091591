"""`a (red:1.3) car`: what the words between brackets do to what engines read."""

from __future__ import annotations

import pytest
import torch

from generator.models import clip
from generator.models.emphasis import read_prompts
from generator.prompts import parse_prompts


@pytest.fixture(scope="module")
def mini() -> clip.ClipModel:
    return clip.load_mini()


def read(model: clip.ClipModel, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        return read_prompts(model.text_features, parse_prompts(prompt))


def test_words_of_weight_one_are_as_without_brackets_to_the_last_bit(mini: clip.ClipModel) -> None:
    assert torch.equal(read(mini, "a (red:1) car | (fog:1.0)"), read(mini, "a red car | fog"))
    assert torch.equal(read(mini, "a red car"), mini.text_features(["a red car"]))


def test_words_of_weight_nought_are_as_if_they_were_not_there(mini: clip.ClipModel) -> None:
    assert torch.allclose(read(mini, "a (red:0) car"), read(mini, "a car"), atol=1e-6)


def test_the_more_words_weigh_the_nearer_is_the_text_to_them(mini: clip.ClipModel) -> None:
    (red,) = mini.text_features(["red"])
    texts = ["a [[red]] car", "a [red] car", "a red car", "a (red) car", "a (red:1.5) car", "a (red:2) car"]
    near = [float(read(mini, text)[0] @ red) for text in texts]
    assert near == sorted(near) and near[-1] - near[0] > 0.01
    assert all(float(read(mini, text).norm()) == pytest.approx(1, abs=1e-5) for text in texts)


def test_a_text_all_of_which_is_weighed_is_the_text(mini: clip.ClipModel) -> None:
    assert torch.equal(read(mini, "(a red car:1.5)"), read(mini, "a red car"))
