"""The recipes that teach the embedded CLIP to guide and finish what was drawn."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.models import clip
from generator.models.finisher import Finisher, load_finisher
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import (
    aesthetic,
    dataset,
    degradation,
    finish,
    finish_examples,
    patches,
    robust,
    style_head,
    zero_shot,
)
from generator.training.codes import STYLE_WEIGHTS
from generator.training.image_tower import ImageTower
from generator.training.run import Budget

SMALL = {"width": 16, "deep": 16, "blocks": 1, "told": 8}


def whites(pictures: dataset.Pictures) -> torch.Tensor:
    return dataset.composite(torch.from_numpy(pictures.rgba), torch.ones(len(pictures.rgba), 3))


def test_misleading_pictures_are_within_reach_and_mislead() -> None:
    draw = torch.Generator().manual_seed(1)
    images, reach = 0.25 + 0.5 * torch.rand(3, 3, 8, 8, generator=draw), torch.tensor([0.1, 0.5, 0.0])
    wanted = torch.rand(3, 3, 8, 8, generator=draw)

    def loss(seen: torch.Tensor) -> torch.Tensor:
        return (seen - wanted).square().sum()

    misled = robust.misleading(images, loss, reach, draw)
    away = (misled - images).flatten(1).norm(dim=1)
    assert (away <= reach + 1e-5).all() and away[1] > 0.4 and not misled.requires_grad
    assert loss(misled) > loss(images) and torch.equal(misled[2], images[2])


def test_a_clip_is_misled_less_once_it_was_taught_and_its_teaching_resumes_exactly(
    pictures: dataset.Pictures, tmp_path: Path
) -> None:
    names = zero_shot.texts_of(pictures)
    rows = [torch.randn(32, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in names]
    vectors = dict(zip(names, torch.nn.functional.normalize(torch.stack(rows), dim=1), strict=True))

    def go(folder: str, steps: int, stop: int | None = None) -> ImageTower:
        torch.manual_seed(5)
        tower = ImageTower("lite0", 32, 32)
        recipe = robust.Recipe(budget=Budget(steps=steps, stop_after=stop), batch=24, rate=3e-3)
        return robust.run(recipe, pictures, vectors, tower=tower, folder=tmp_path / folder)

    whole, short = go("whole", 12), go("parts", 12, stop=1)
    for one, other in zip(go("parts", 12).parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    texts, images = zero_shot.Texts(pictures, vectors), whites(pictures)
    own, style = torch.from_numpy(pictures.concept), torch.from_numpy(pictures.style)

    def misled(tower: ImageTower) -> float:
        def loss(seen: torch.Tensor) -> torch.Tensor:
            return zero_shot.name_loss(tower(seen), texts, own, style, tower, torch.Generator().manual_seed(1))[0]

        tower.requires_grad_(False)
        near = robust.misleading(images, loss, torch.full((len(images),), 2.0), torch.Generator().manual_seed(2))
        return float(loss(near))

    assert misled(whole) < misled(short)


def test_the_guide_learns_to_tell_styles_apart_and_is_otherwise_as_it_was(
    pictures: dataset.Pictures, tmp_path: Path
) -> None:
    noto, fluent = (pictures.styles.index(style) for style in ("noto", "fluent"))
    rows = np.flatnonzero((pictures.style == noto) | (pictures.style == fluent))
    columns = ("rgba", "concept", "style", "train", "unseen_concept", "unseen_style")
    both = replace(pictures, **{name: getattr(pictures, name)[rows] for name in columns})
    draw = np.random.default_rng(0)  # grain, as real pictures have
    both.rgba[...] = np.where(draw.random(both.rgba.shape) < 0.2, draw.integers(256, size=both.rgba.shape), both.rgba)
    both.rgba[both.style == fluent, ::4, :, :3] = 0  # one of the styles draws stripes
    before = clip.load_robust()
    for ending in ("safetensors", "json"):
        shutil.copy(clip.WEIGHTS / f"mini-clip.{ending}", tmp_path)
    style_head.run(style_head.Recipe(steps=60), both, before, output=tmp_path)
    after = clip.load_robust(folder=tmp_path)
    assert after.styles == tuple(pictures.styles)
    images = torch.nn.functional.interpolate(whites(both), (after.resolution,) * 2, mode="bilinear", antialias=True)
    assert torch.equal(after.encode_image(images), before.encode_image(images))
    assert (after.style_scores(images).argmax(dim=1).numpy() == both.style).mean() > 0.9


def test_the_guide_learns_what_is_better_made_and_is_otherwise_as_it_was(
    pictures: dataset.Pictures, tmp_path: Path
) -> None:
    before, vqgan, finisher = clip.load_robust(), load_vqgan(), load_finisher()
    for ending in ("safetensors", "json"):
        shutil.copy(clip.WEIGHTS / f"mini-clip.{ending}", tmp_path)
    recipe = aesthetic.Recipe(pictures=8, steps=60)
    aesthetic.run(recipe, pictures, before, vqgan=vqgan, finisher=finisher, output=tmp_path)
    after, art = clip.load_robust(folder=tmp_path), whites(pictures)[:8]
    assert torch.equal(after.encode_image(art), before.encode_image(art)) and after.styles == before.styles
    styles = [pictures.styles[style] for style in pictures.style[:8]]
    levels = aesthetic.worsened(art, styles, vqgan, finisher, torch.Generator().manual_seed(1))
    scores = torch.stack([after.aesthetic_scores(level).mean() for level in levels])
    assert torch.equal(levels[0], art) and scores[0] > scores[2] > scores[4]


def test_what_clip_leaves_of_the_art_is_kept_and_gone_on_with_as_if_it_had_not_stopped(
    pictures: dataset.Pictures, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    vqgan, clips = load_vqgan(), [clip.load_mini()]

    def drawn(name: str, count: int) -> dict[str, torch.Tensor]:
        recipe = finish_examples.Recipe(pictures=count, steps=1, cutn=1, keep_every=2)
        finish_examples.draw_examples(recipe, pictures, coder, vqgan=vqgan, clips=clips, output=tmp_path / name)
        return torch.load(tmp_path / name, weights_only=True)

    whole = drawn("whole.pt", 5)
    drawn("parts.pt", 2)
    parts = drawn("parts.pt", 5)
    assert whole["images"].shape == (5, 3, 64, 64) and whole["images"].dtype == torch.uint8
    assert torch.equal(parts["rows"], whole["rows"]) and pictures.train[whole["rows"].numpy()].all()
    assert (parts["images"].float() - whole["images"].float()).abs().mean() < 1


def test_the_finisher_gives_spoiled_art_back_and_resumes_exactly(
    pictures: dataset.Pictures, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    guide, vqgan, near = clip.load_mini(), load_vqgan(), degradation.neighbours_of(coder.codebook)
    wanted, draw = whites(pictures), torch.Generator().manual_seed(3)
    spoiled = degradation.spoil(wanted, vqgan, coder, near, draw)
    examples = {"images": (spoiled * 255).byte(), "rows": torch.arange(len(wanted))}

    def go(folder: str, steps: int, stop: int | None = None) -> Finisher:
        (tmp_path / folder).mkdir(exist_ok=True)
        torch.save(examples, tmp_path / folder / "finish-examples.pt")
        budget = Budget(steps=steps, stop_after=stop)
        recipe = finish.Recipe(budget=budget, width=16, deep=16, blocks=1, cond_width=8, rate=1e-2)
        return finish.run(recipe, pictures, coder, clip=guide, vqgan=vqgan, folder=tmp_path / folder)

    whole = go("whole", 20)
    go("parts", 20, stop=5)
    for one, other in zip(go("parts", 20).parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    style = torch.tensor([whole.style_index(pictures.styles[number]) for number in pictures.style])
    with torch.no_grad():
        made = whole(spoiled, style)
    assert (made - wanted).abs().mean() < (spoiled - wanted).abs().mean()


@pytest.mark.parametrize("asked", ["noto", None])
def test_a_picture_that_nothing_was_learnt_for_is_left_as_it_is(asked: str | None) -> None:
    finisher = Finisher({"styles": list(STYLE_WEIGHTS), **SMALL})
    images = torch.rand(2, 3, 64, 32)
    style = torch.full((2,), finisher.style_index(asked))
    assert torch.equal(finisher(images, style), images)
