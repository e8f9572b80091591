"""Pictures of the embedded models are finished in the hand of the style."""

from __future__ import annotations

import pytest
import torch

from generator import registry
from generator.engines.base import generate
from generator.engines.finishing import Finished, on_white_paper
from generator.images.debris import debris, without_debris
from generator.images.flatten import FLATNESS, flattened
from generator.models.finisher import Finisher
from generator.params import BadParams, validate
from tests import tiny_engines

STYLES = list(tiny_engines.STYLES)


def finisher() -> Finisher:
    def build() -> Finisher:
        made = Finisher({"styles": STYLES, "width": 16, "deep": 16, "blocks": 1, "told": 8})
        for part in (made.conv_out, made.first[0].conv_2):
            torch.nn.init.normal_(part.weight, std=0.3)
        return made

    return tiny_engines.seeded(build)


@pytest.fixture(scope="module")
def engine() -> Finished:
    return Finished(tiny_engines.vqgan_clip(), finisher())


def settings(**changed: object) -> object:
    return tiny_engines.vqgan_settings(**{"finish": 1.0, "style": "noto", **changed})


def drawn(engine: object, params: object) -> torch.Tensor:
    return tiny_engines.last(engine, params).image


def test_the_style_asked_for_and_how_much_of_it_decide_what_a_picture_is_finished_as(engine: Finished) -> None:
    raw = drawn(engine.engine, settings())
    whole, half, none = (drawn(engine, settings(finish=amount)) for amount in (1.0, 0.5, 0.0))
    assert torch.equal(none, raw) and not torch.equal(whole, raw)
    inside = (whole > 0) & (whole < 1)
    assert torch.allclose(half[inside], ((raw + whole) / 2)[inside], atol=1e-5)
    assert not torch.equal(drawn(engine, settings(style="fluent")), whole)
    for picture in (whole, half):
        assert picture.shape == raw.shape and picture.min() >= 0 and picture.max() <= 1


def test_a_picture_that_is_finished_does_not_depend_on_what_is_drawn_beside_it(engine: Finished) -> None:
    alone = drawn(engine, settings())
    slots = [engine.open(settings()), engine.open(settings(seed=2, style="blob"))]
    while not slots[0].done:
        steps = engine.advance(slots)
    assert torch.allclose(steps[0].image, alone, atol=1e-3)


def test_every_frame_of_the_film_is_finished_and_the_search_is_as_without(engine: Finished) -> None:
    plain, finished = list(generate(engine.engine, settings())), list(generate(engine, settings()))
    assert [step.score for step in plain] == [step.score for step in finished]
    assert all(not torch.equal(a.image, b.image) for a, b in zip(plain, finished, strict=True))


def test_a_finished_engine_goes_on_where_it_was_and_hands_on_what_memory_allows(engine: Finished) -> None:
    whole, slot = drawn(engine, settings()), engine.open(settings())
    engine.advance([slot])
    state, params = slot.state_dict(), settings()
    engine.micro_batch = 2
    assert engine.engine.micro_batch == 2
    engine.micro_batch = None
    slot = engine.resume(params, state)
    while not slot.done:
        step = engine.advance([slot])[0]
    assert torch.equal(step.image, whole)


def test_what_has_colours_after_all_is_not_finished_as_a_silhouette() -> None:
    model, grey = finisher(), torch.rand(1, 16, 16).expand(3, 16, 16)
    red = grey * torch.tensor([1.0, 0.2, 0.2]).view(3, 1, 1)
    assert model.style_of(grey, "silhouette") == "silhouette" and model.style_of(red, "silhouette") is None
    assert model.style_of(red, "noto") == "noto" and model.style_of(red, None) is None
    assert model.style_index("noto") == STYLES.index("noto") and model.style_index(None) == len(STYLES)


def test_flattening_takes_the_mottle_off_plain_areas_and_leaves_their_edges() -> None:
    plain = torch.ones(3, 40, 32)
    plain[:, 12:28, 8:24] = torch.tensor([0.9, 0.2, 0.1]).view(3, 1, 1)
    mottled = (plain + 0.04 * torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    made = flattened(mottled, FLATNESS["twemoji"])
    assert made.shape == plain.shape and made.min() >= 0 and made.max() <= 1
    inside, before = made[:, 14:26, 10:22], mottled[:, 14:26, 10:22]
    assert inside.std(dim=(1, 2)).max() < 0.2 * before.std(dim=(1, 2)).min()
    assert (made - plain).abs().max() < 0.1  # the edge is where it was, and as sharp
    assert torch.equal(flattened(mottled, 0.0), mottled)
    assert torch.allclose(flattened(plain, 0.008), plain, atol=1e-3)


def test_what_was_meant_to_be_white_paper_is_white_and_other_grounds_stay() -> None:
    cream = torch.tensor([0.995, 0.985, 0.965]).view(3, 1, 1).expand(3, 16, 16).clone()
    cream[:, 4:12, 4:12] = 0.5
    made = on_white_paper(cream)
    assert (made[:, :2] == 1).all() and (made[:, 4:12, 4:12] - 0.5).abs().max() < 0.03
    blue = cream * torch.tensor([0.8, 0.9, 1.0]).view(3, 1, 1)
    assert torch.equal(on_white_paper(blue), blue)


def test_the_flat_styles_are_flattened_most_and_shaded_3d_not_at_all() -> None:
    assert set(FLATNESS) == set(registry.STYLES)
    assert FLATNESS["3d"] == 0 < FLATNESS["noto"] < FLATNESS["fluent"]


def test_only_the_mini_models_are_finished() -> None:
    assert validate("vqgan-clip", {"prompt": "a heart"}).finish == 1
    assert validate("vqgan-clip", {"prompt": "a heart", "checkpoint": "imagenet-f16-1024"}).finish == 0
    with pytest.raises(BadParams, match="finish applies to the mini models only"):
        validate("vqgan-clip", {"prompt": "a heart", "checkpoint": "imagenet-f16-1024", "finish": 0.5})
    with pytest.raises(BadParams, match=r"finish = .2.: input should be less"):
        validate("vqgan-clip", {"prompt": "a heart", "finish": 2})


def dotted(*dots: tuple[int, int, int, tuple[float, float, float]]) -> torch.Tensor:
    """A red square on white, and squares of that top, left, side and colour."""
    image = torch.ones(3, 64, 64)
    for top, left, side, colour in ((20, 20, 24, (0.9, 0.1, 0.1)), *dots):
        image[:, top : top + side, left : left + side] = torch.tensor(colour).view(3, 1, 1)
    return image


PALE, STRONG = (0.7, 0.8, 1.0), (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("dots", "gone"),
    [
        ([(4, 4, 2, PALE)], 1),
        ([(4, 4, 2, PALE), (50, 55, 3, (0.8, 1.0, 0.8))], 2),
        ([(4, 4, 2, STRONG)], 0),  # as dark as what is drawn: an eye, a full stop
        ([(4, 4, 9, PALE)], 0),  # a cloud
        ([(30, 45, 2, PALE)], 0),  # beside the figure: a highlight on its edge
        ([(4, left, 2, PALE) for left in (4, 12, 20, 28, 36)], 0),  # rain
        ([(28, 28, 2, PALE)], 0),  # on the figure
    ],
)
def test_specks_on_the_paper_are_taken_away_and_what_belongs_there_is_not(
    dots: list[tuple[int, int, int, tuple[float, float, float]]], gone: int
) -> None:
    image = dotted(*dots)
    assert debris(image)[1] == gone
    assert torch.equal(without_debris(image), dotted() if gone else image)


def test_an_empty_picture_has_no_debris() -> None:
    for image in (torch.ones(3, 16, 16), torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))):
        assert torch.equal(without_debris(image), image)
