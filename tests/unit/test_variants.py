"""The pictures of a sheet differ: in their drafts, and in how they stand; each is the same whoever draws it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from generator.engines.base import generate, generate_all
from generator.starts.variants import Variant
from tests import tiny_engines

ENGINES: list[tuple[Any, Any]] = [
    (tiny_engines.vqgan_clip, tiny_engines.vqgan_settings),
    (tiny_engines.latent_diffusion, tiny_engines.latent_settings),
]


def variant(number: int, text: str = "a cat") -> Variant:
    engine = tiny_engines.vqgan_clip()
    return Variant(number, 1, text, engine.vqgan, engine.clips[0], engine.precision)


@pytest.mark.parametrize(("build", "settings"), ENGINES)
def test_a_picture_of_a_sheet_is_the_same_alone_and_among_the_others(build: Any, settings: Any) -> None:
    engine = build()
    sheet = [settings(seed=5 + number, variant=number) for number in range(3)]
    together = dict(generate_all(engine, sheet, 3))
    for number, one in enumerate(sheet):
        alone = list(generate(engine, one))[-1].image
        assert alone is not None and torch.equal(together[number], alone)
    assert not torch.equal(together[1], together[2])


def test_each_picture_takes_the_draft_that_is_farthest_from_those_before_it() -> None:
    angles = torch.tensor([0.0, 0.1, 1.5, 0.8, 3.0])
    seen, far = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([0.5, 0.52, 0.55, 0.6, 0.9])
    chosen = [variant(number).choose(far, seen) for number in range(5)]
    assert chosen == [0, 2, 3, 1, 4], "the last is too far from the text to be taken before the others"


def test_a_pose_keeps_the_paper_and_mirrors_nothing_that_is_to_be_read() -> None:
    draft = torch.full((1, 3, 64, 64), 0.9)
    draft[:, 1:, 20:44, 10:30] = 0.1
    for number in range(1, 4):
        posed = variant(number).posed(draft)
        assert torch.allclose(posed[:, :, 0], torch.tensor(0.9), atol=1e-3) and not torch.allclose(posed, draft)
        centre = (posed[0, 1] < 0.5).nonzero().float().mean(dim=0)[1]
        assert (centre > 32) == (number % 2 == 1), "every second one is mirrored"
        for text in ("a left arrow", "the letter B", "a clock at 3"):
            assert (variant(number, text).posed(draft)[0, 1] < 0.5).nonzero().float().mean(dim=0)[1] < 32
