"""Engines begin with a scene that was put together of its things, and look at each of them by itself."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor

from generator.guidance.cutouts import draw
from generator.guidance.targets import Aim, Targets, guide, guide_aimed
from generator.params import Cutouts
from generator.wording.scenes import Scene, read_scene
from tests import tiny_engines


def red_disc() -> Tensor:
    """A red disc on white paper, (3, 64, 64)."""
    at = torch.arange(64).float() - 31.5
    inside = (at[:, None].square() + at[None].square()).sqrt() < 20
    return torch.where(inside[None], torch.tensor([0.85, 0.2, 0.2])[:, None, None], torch.ones(3, 64, 64))


def drawn_red(text: Any, style: str, targets: Targets) -> Tensor:
    """A stand-in for the prior: a red disc for whatever is asked."""
    return red_disc()[None]


def compose(prompt: str, seed: int = 5, style: str | None = "noto", size: tuple[int, int] = (64, 64)) -> Any:
    scene = read_scene(prompt)
    assert scene is not None
    composer = tiny_engines.composer([tiny_engines.seeded(tiny_engines.SmallClip)])
    with torch.no_grad():
        wanted = composer.wanted(scene)
        return composer.compose(scene, wanted, drawn_red, size, style, torch.Generator().manual_seed(seed))


def test_a_scene_is_composed_alike_from_one_seed_at_any_size() -> None:
    first, again, wide = (compose("a cat next to a dog at night", size=size) for size in ((64, 64), (64, 64), (96, 48)))
    assert torch.equal(first.pictures, again.pictures)
    assert wide.pictures.shape == (1, 3, 48, 96)
    assert len(first.boxes[0]) == 2


def test_the_background_is_kept_and_the_things_may_be_drawn_anew() -> None:
    made = compose("a cat on a box at night")
    free = made.kept.mask[0] > 0
    assert 0.1 < float(free.float().mean()) < 0.9
    assert torch.allclose(made.pictures[0][:, ~free], made.kept.image[:, ~free], atol=1 / 255)


def test_a_colour_is_given_to_the_thing_it_was_asked_of() -> None:
    made = compose("a blue ball next to a green ball")
    (left, top, wide, high), other = made.boxes[0]
    for (left, top, wide, high), channel in zip((made.boxes[0][0], other), (2, 1), strict=True):
        x, y = round((left + wide / 2) * 64), round((top + high / 2) * 64)
        assert int(made.pictures[0][:, y, x].argmax()) == channel


def test_each_thing_is_looked_at_by_itself_and_towards_its_own_caption() -> None:
    boxes = [(0.0, 0.0, 0.4, 0.4), (0.6, 0.6, 0.4, 0.4)]
    vectors = torch.eye(4)
    aims = tuple(Aim(box, [vectors[number]]) for number, box in enumerate(boxes, 1))
    targets = Targets([vectors[:1]], torch.ones(1), torch.tensor([-torch.inf]), aims)
    plan = draw(Cutouts(cutn=6), 64, 64, 16, torch.Generator().manual_seed(0), targets.looked_at)
    assert plan.aim.tolist() == [1, 2, 1, 2, 1, 2]
    middle = plan.geometry[:, :2, 2]
    assert (middle[::2] < 32).all() and (middle[1::2] > 32).all()
    beside = Targets([vectors[:2]], torch.tensor([1.0, -1.0]), torch.full((2,), -torch.inf), aims)
    assert [number for number, _ in beside.looked_at] == [0, 1, 2], "what is avoided is looked for in the whole"
    losses, scores = guide_aimed(vectors[:3], torch.tensor([0, 1, 2]), targets, 0, "spherical")
    assert losses.abs().max() < 1e-3 and torch.allclose(scores, torch.ones(3))
    assert guide(vectors[:3], targets, 0, "spherical")[0][1] > 1, "to the whole caption they would be strangers"
    back = Targets.from_state(targets.state_dict(), torch.device("cpu"))
    assert back.aims[1].box == boxes[1] and torch.equal(back.aims[1].embeddings[0], vectors[2])


def test_an_engine_begins_with_the_scene_and_goes_on_with_it_after_an_interruption() -> None:
    engine = tiny_engines.vqgan_clip()
    settings = {"init": "prior", "width": 64, "height": 64, "steps": 2, "candidates": 1}
    assert not engine.open(tiny_engines.vqgan_settings(prompt="a cat", **settings)).targets.aims
    params = tiny_engines.vqgan_settings(prompt="a cat and a dog", **settings)
    whole, slot = tiny_engines.last(engine, params), engine.open(params)
    assert len(slot.targets.aims) == 2 and slot.kept is not None and slot.draft is not None
    engine.advance([slot])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    file.seek(0)
    resumed = engine.resume(params, torch.load(file, weights_only=True))
    while not resumed.done:
        (step,) = engine.advance([resumed])
    assert step.image is not None and whole.image is not None and torch.equal(step.image, whole.image)


def test_what_a_mask_is_painted_for_stands_in_it_whole_and_clip_looks_there() -> None:
    engine = tiny_engines.vqgan_clip()
    settings = {"init": "prior", "width": 64, "height": 64, "init_image": "red.png", "mask_image": "mask.png"}
    for prompt, things in (("a cat", 1), ("a cat and a dog", 2), ("fireworks:3|a cat:-1", 1)):
        slot = engine.open(tiny_engines.vqgan_settings(prompt=prompt, **settings))
        assert len(slot.targets.aims) == things and slot.draft is None
        assert all(aim.box[0] >= 0.5 and aim.box[0] + aim.box[2] <= 1 for aim in slot.targets.aims)
        assert (slot.kept.mask[..., :32] == 0).all() and slot.kept.mask.any()
    told = slot.targets.embeddings[0]
    assert torch.equal(slot.targets.aims[0].embeddings[0], told[0]), "what weighs most is aimed at"


def test_latent_diffusion_redraws_a_scene() -> None:
    engine = tiny_engines.latent_diffusion()
    slot = engine.open(tiny_engines.latent_settings(prompt="two cats under a tree"))
    assert len(slot.targets.aims) == 2 and slot.kept is not None and len(slot.z) == 2
    assert isinstance(read_scene("two cats under a tree"), Scene)
    while not slot.done:
        (step,) = engine.advance([slot])
    assert step.image is not None and bool(step.image.isfinite().all())
