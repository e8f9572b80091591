"""Pictures of the embedded models are pulled towards the style that was asked for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from generator.device import Host
from generator.engines import loading
from generator.engines.base import Engine, generate
from generator.guidance.style import StyleGuide, _resized
from generator.images.convert import no_picture
from generator.models import clip
from generator.params import BadParams, validate
from generator.precision import Precision

FEW: dict[str, dict[str, Any]] = {
    "vqgan-clip": {"steps": 6, "cutn": 2},
    "biggan-clip": {"steps": 6, "cutn": 2},
    "guided-diffusion": {"steps": 8, "cutn": 2},
    "latent-diffusion": {"steps": 4},
}


@functools.cache
def embedded(name: str) -> Engine:
    checkpoint = settings(name).checkpoint
    return loading.load(name, checkpoint, ("mini",), Host("cpu", Path(), no_picture))


def settings(name: str, **changed: Any) -> Any:
    return validate(name, {"prompt": "an umbrella", "style": "fluent", "seed": 3, "finish": 0, **FEW[name], **changed})


@functools.cache
def guide() -> StyleGuide:
    return StyleGuide(clip.load_robust(), Precision(torch.device("cpu"), torch.float32))


def off_style(picture: torch.Tensor, style: str) -> float:
    """How far from the style the guide finds it, cross-entropy."""
    seen = F.interpolate(picture[None], (guide().clip.resolution,) * 2, mode="bilinear")
    return float(F.cross_entropy(guide().clip.style_scores(seen), torch.tensor([guide().clip.styles.index(style)])))


@pytest.mark.parametrize("name", FEW)
def test_the_style_asked_for_pulls_at_the_picture_of_every_engine(name: str) -> None:
    with_it, without = (
        list(generate(embedded(name), settings(name, style_weight=weight)))[-1].image for weight in (3.0, 0.0)
    )
    assert with_it is not None and without is not None
    assert off_style(with_it, "fluent") < off_style(without, "fluent")


def test_how_far_the_picture_is_from_its_style_is_told_beside_the_other_losses() -> None:
    step = next(iter(generate(embedded("vqgan-clip"), settings("vqgan-clip", style="blob", style_weight=8.0))))
    assert step.image is not None and step.losses["style"] > 0.1
    assert step.losses["style"] == pytest.approx(8 * off_style(step.image, "blob"), rel=0.2)
    for changed in ({"style_weight": 0.0}, {"style": None}):
        step = list(generate(embedded("vqgan-clip"), settings("vqgan-clip", **changed)))[-1]
        assert step.losses["style"] == 0


def test_each_picture_is_pulled_towards_its_own_style_whatever_is_drawn_beside_it() -> None:
    class Seen:
        def __init__(self, **params: Any) -> None:
            self.params = settings("vqgan-clip", **params)

    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    slots: list[Any] = [Seen(style="noto", style_weight=1.0), Seen(style="blob", style_weight=2.0), Seen(style=None)]

    def graded(chosen: list[int], moving: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        seen = pictures[chosen].requires_grad_()
        terms = guide().style_loss(seen, [slots[b] for b in chosen], [moving] * len(chosen))
        return terms, torch.zeros_like(seen) if seen.grad is None else seen.grad

    terms, gradient = graded([0, 1, 2])
    for b in range(3):
        alone, own = graded([b])
        assert torch.allclose(alone[0], terms[b], atol=1e-4) and torch.allclose(own[0], gradient[b], atol=1e-5)
    assert terms[2] == 0 and not gradient[2].any() and gradient[:2].flatten(1).norm(dim=1).min() > 0
    still, nothing = graded([0], moving=False)
    assert torch.allclose(still[0], terms[0], atol=1e-4) and not nothing.any()


@pytest.mark.parametrize("size", [(64, 64), (48, 128), (256, 256)])
def test_the_guide_sees_the_whole_picture_as_any_resampling_shows_it(size: tuple[int, int]) -> None:
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    wanted = F.interpolate(pictures, (96, 96), mode="bilinear", antialias=True)
    assert torch.allclose(_resized(pictures, 96), wanted, atol=1e-5)


def test_only_a_clip_that_tells_styles_apart_can_guide_to_one() -> None:
    with pytest.raises(ValueError, match="'mini' was not taught to tell styles apart"):
        StyleGuide(clip.load_mini(), Precision(torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(
    ("engine", "init"),
    [("vqgan-clip", "components"), ("vqgan-clip", "random"), ("vqgan-clip", "gradient"), ("guided-diffusion", "noise")],
)
def test_where_nothing_is_to_be_seen_yet_a_picture_is_pulled_towards_a_style_only_if_asked(
    engine: str, init: str
) -> None:
    assert validate(engine, {"prompt": "a heart", "init": init}).style_weight == 0
    assert validate(engine, {"prompt": "a heart", "init": init, "style_weight": 0.3}).style_weight == 0.3
    assert validate(engine, {"prompt": "a heart"}).style_weight > 0


def test_only_the_mini_models_are_pulled_towards_a_style() -> None:
    assert validate("vqgan-clip", {"prompt": "a heart"}).style_weight > 0
    assert validate("vqgan-clip", {"prompt": "a heart", "checkpoint": "imagenet-f16-1024"}).style_weight == 0
    with pytest.raises(BadParams, match="style_weight applies to the mini models only"):
        validate("vqgan-clip", {"prompt": "a heart", "checkpoint": "imagenet-f16-1024", "style_weight": 0.5})
    with pytest.raises(BadParams, match=r"style_weight = .-1.: input should be greater"):
        validate("vqgan-clip", {"prompt": "a heart", "style_weight": -1})
