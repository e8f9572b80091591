"""What VQGAN + CLIP promises beyond tests/contract/test_engines.py: its starts, its losses, what it spares."""

import copy

import pytest
import torch

from generator.engines.base import NotFinite, generate
from generator.guidance.clip_loss import compare
from generator.params import BadParams, validate
from generator.params.vqgan_clip import TRIAL
from tests import tiny_engines
from tests.small_diffusion import SmallClip
from tests.tiny_engines import last
from tests.tiny_engines import vqgan_settings as settings


@pytest.fixture(scope="module")
def models():
    return tiny_engines.seeded(lambda: (tiny_engines.vqgan(4, 512, [4]), SmallClip()))


@pytest.fixture
def engine(models):
    return tiny_engines.vqgan_clip(models[0], [models[1]])


def counted(monkeypatch, model, name):
    """A list that grows by one with every call of a model's method."""
    calls, method = [], getattr(model, name)
    monkeypatch.setattr(model, name, lambda *given: calls.append(given) or method(*given))
    return calls


def test_no_steps_at_all_gives_the_start(engine):
    (only,) = generate(engine, settings(steps=0))
    assert only.done and only.index == 0
    assert torch.equal(only.image, next(generate(engine, settings(steps=9))).image)


def test_optimising_brings_the_picture_nearer_to_the_prompt(engine):
    steps = list(generate(engine, settings(steps=30, augment=False, noise=0.0)))
    assert steps[-1].score > steps[0].score + 0.03


def composed(**changed):
    return settings(**{"init": "components", "width": 64, "height": 64, "learning_rate": 0.3, **changed})


def test_amounts_of_components_are_optimised_towards_the_prompt(engine):
    steps = list(generate(engine, composed(steps=30, augment=False, noise=0.0, candidates=1)))
    assert steps[0].image.shape == (3, 64, 64) and steps[-1].score > steps[0].score + 0.01
    slot = engine.open(composed())
    assert slot.z.shape == (4, 20) and slot.z.abs().max() < 1
    assert validate("vqgan-clip", {"prompt": "a heart", "init": "components"}).init_weight > 0


def test_of_several_random_starts_the_one_that_clip_finds_nearest_goes_on(engine):
    slot = engine.open(composed(steps=TRIAL + 5, candidates=3))
    starts, pictures = slot.start.clone(), []
    while not slot.done:
        pictures.append(len(slot.z))
        tried = slot.z.detach().clone()
        (step,) = engine.advance([slot])
        if step.index == TRIAL:
            shown = engine._decode(tried)
            far = compare(shown, engine.clips, slot.targets, "spherical", engine.precision)[0]
            assert torch.equal(slot.start[0], starts[far.argmin()])
            assert torch.allclose(step.image, shown[far.argmin()].clamp(0, 1), atol=1e-5)
    assert pictures == [3] * (TRIAL + 1) + [1] * 5


@pytest.mark.parametrize("steps", [0, TRIAL // 2])
def test_a_picture_that_ends_early_shows_the_nearest_of_its_starts(engine, steps):
    for seed in range(4):
        slot = engine.open(composed(steps=steps, candidates=3, seed=seed, cutn=1))
        while not slot.done:
            (step,) = engine.advance([slot])
        shown = engine._decode(slot.z.detach())
        far = compare(shown, engine.clips, slot.targets, "spherical", engine.precision)[0]
        assert torch.allclose(step.image, shown[far.argmin()].clamp(0, 1), atol=1e-5)


def test_a_step_that_breaks_off_at_the_choice_can_be_taken_again(engine, monkeypatch):
    settled = composed(steps=TRIAL + 3, candidates=3)
    alone = last(engine, settled)
    slot = engine.open(settled)
    for _ in range(TRIAL):
        engine.advance([slot])
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(type(slot.optimiser), "step", _out_of_memory)
        engine.advance([slot])
    while not slot.done:
        (step,) = engine.advance([slot])
    assert torch.equal(step.image, alone.image)


def _out_of_memory(*_given):
    raise MemoryError


def test_pictures_with_several_starts_go_on_from_where_they_were_saved(engine):
    tried = composed(steps=TRIAL + 4, candidates=3, ema=0.5)
    alone = list(generate(engine, tried))
    slot = engine.open(tried)
    for saved in range(len(alone)):
        slot = engine.resume(slot.params, slot.state_dict())
        (step,) = engine.advance([slot])
        assert torch.equal(step.image, alone[saved].image)


def test_amounts_of_components_resume_exactly_beside_codes_of_the_same_size(engine):
    alone = last(engine, composed())
    slot, other = engine.open(composed()), engine.open(settings(width=64, height=64))
    for _ in range(3):
        engine.advance([slot, other])
    slot = engine.resume(slot.params, slot.state_dict())
    while not slot.done:
        (step,) = engine.advance([slot])
    assert torch.equal(step.image, alone.image)


@pytest.mark.parametrize("wrong", [{"width": 128}, {"checkpoint": "imagenet-f16-1024", "clip": ("ViT-B/32",)}])
def test_components_are_those_of_the_mini_models_pictures(wrong):
    with pytest.raises(ValueError, match="init=components needs the mini checkpoint at 64 x 64 px"):
        composed(**wrong)


def test_a_negative_prompt_pushes_away(engine):
    def similarity(prompt):
        slot = engine.open(settings(prompt=prompt, steps=25, augment=False, noise=0.0))
        while not slot.done:
            (step,) = engine.advance([slot])
        text = engine.clips[0].encode_text(["dull colours"])
        return float(engine.clips[0].encode_image(step.image[None]) @ text.T)

    assert similarity("a red heart | dull colours:-1") < similarity("a red heart") - 0.05


def test_slots_join_leave_and_may_be_of_different_sizes(engine):
    first, wide = engine.open(settings(steps=4)), engine.open(settings(steps=2, width=24, seed=5))
    engine.advance([first])
    late = engine.open(settings(steps=1, seed=6))
    steps = engine.advance([first, wide, late])
    assert [s.index for s in steps] == [1, 0, 0] and [tuple(s.image.shape) for s in steps][1] == (3, 16, 24)
    steps = engine.advance([late, first])
    assert steps[0].done and not steps[1].done
    with pytest.raises(ValueError, match="done"):
        engine.advance([late])
    assert engine.advance([]) == []


def test_where_passes_are_shared_the_picture_is_decoded_once_per_step_for_the_whole_batch(engine, monkeypatch):
    engine.exact = False
    slots = [engine.open(settings(seed=seed)) for seed in range(3)]
    decoded = counted(monkeypatch, engine.vqgan, "decode")
    passes = counted(monkeypatch, engine.clips[0], "encode_image")
    engine.advance(slots)
    assert len(decoded) == len(passes) == 1


def test_decoding_twice_to_save_memory_changes_nothing(engine):
    usual, frugal = (last(engine, settings(checkpoint_activations=on)).image for on in (False, True))
    assert torch.equal(usual, frugal)


def test_a_picture_that_cannot_go_on_raises_what_stopped_it(engine, monkeypatch):
    slot = engine.open(settings())
    slot.z.data.fill_(torch.inf)
    monkeypatch.setattr(engine, "open", lambda params: slot)
    with pytest.raises(NotFinite):
        list(generate(engine, settings()))


def test_z_stays_within_the_range_of_the_codebook(engine):
    slot = engine.open(settings(learning_rate=5.0, steps=5))
    while not slot.done:
        engine.advance([slot])
    codebook = engine.vqgan.codebook
    low, high = codebook.amin(0).view(1, -1, 1, 1), codebook.amax(0).view(1, -1, 1, 1)
    assert (slot.z >= low).all() and (slot.z <= high).all()


def test_starting_from_a_picture_shows_that_picture_and_strength_mixes_in_random_codes(engine):
    def codes(strength):
        slot = engine.open(settings(init="image", init_image="red.png", init_strength=strength))
        return engine.vqgan.quantise(slot.z)[1]

    whole, half, none = codes(1.0), codes(0.5), codes(0.0)
    encoded = engine.vqgan.encode(torch.tensor([200, 10, 10]).view(1, 3, 1, 1).expand(1, 3, 16, 16) / 255)
    assert torch.equal(whole, engine.vqgan.quantise(encoded)[1])
    share = (half == whole).float().mean()
    assert 0.2 < share < 0.9 and (none == whole).float().mean() < 0.2


def test_a_random_start_is_made_of_codebook_rows(engine):
    slot = engine.open(settings())
    rows = slot.z.detach().movedim(1, -1).flatten(0, 2)
    assert torch.cdist(rows, engine.vqgan.codebook).amin(1).max() < 0.01


def test_of_the_priors_drafts_the_one_nearest_to_the_prompt_is_taken(engine):
    def start_score(candidates):
        size = {"width": 64, "height": 64}
        params = settings(init="prior", candidates=candidates, steps=0, augment=False, noise=0.0, **size)
        return last(engine, params).score

    assert start_score(16) >= start_score(1)


def test_a_picture_larger_than_the_priors_drafts_starts_from_one_scaled_up(engine):
    step = next(generate(engine, settings(init="prior", width=80, height=68)))
    assert step.image.shape == (3, 68, 80)


def test_the_pull_keeps_z_near_its_start_and_fades_with_its_decay(engine):
    def moved(**values):
        slot = engine.open(settings(steps=15, **values))
        while not slot.done:
            engine.advance([slot])
        return float((slot.z - slot.start).detach().square().mean())

    free, held, fading = moved(), moved(init_weight=100.0), moved(init_weight=100.0, init_weight_decay=0.5)
    assert held < 0.5 * free and held < fading


def test_total_variation_makes_the_picture_smoother(engine):
    def roughness(weight):
        image = last(engine, settings(tv_weight=weight, steps=20)).image
        return float((image[:, 1:] - image[:, :-1]).abs().mean())

    assert roughness(100.0) < roughness(0.0)


def test_a_prompt_with_a_generous_stop_leaves_the_picture_alone(engine):
    start, end = (last(engine, settings(prompt="a red heart:1:5", steps=n)).image for n in (0, 5))
    assert torch.equal(start, end)


def test_a_coarse_beginning_draws_at_half_the_size_and_ends_at_the_whole(engine, monkeypatch):
    decoded = counted(monkeypatch, engine.vqgan, "decode")
    steps = list(generate(engine, settings(steps=6, coarse=0.5, width=24, height=16, ema=0.9, augment=False)))
    sides = [tuple(4 * side for side in z.shape[:1:-1]) for (z,) in decoded]
    assert set(sides[:6]) == {(12, 8)} and set(sides[6:]) == {(24, 16)}, "six looks and six averages before it grows"
    assert {tuple(step.image.shape) for step in steps} == {(3, 16, 24)}, "a film of one size"
    assert steps[-1].done and steps[-1].index == 6
    odd = list(generate(engine, settings(steps=3, coarse=0.4, width=20, height=20)))
    assert tuple(odd[-1].image.shape) == (3, 20, 20), "half of five codes are three"
    assert engine.open(settings(steps=1, coarse=0.9)).coarse is False, "the last step is never a coarse one"


def test_patience_does_not_end_a_picture_while_it_is_coarse(engine):
    params = settings(prompt="a red heart:1:5", patience=3, steps=50, coarse=0.5, augment=False, noise=0.0)
    assert 25 < list(generate(engine, params))[-1].index < 50


@pytest.mark.parametrize("begun", [{"init": "prior"}, {"init": "image", "init_image": "red.png"}])
def test_a_coarse_beginning_is_for_pictures_that_begin_with_nothing(begun):
    with pytest.raises(BadParams, match="random or gradient"):
        validate("vqgan-clip", {"prompt": "a heart", "coarse": 0.5, **begun})


def test_patience_ends_a_picture_whose_score_no_longer_rises(engine):
    params = settings(prompt="a red heart:1:5", patience=3, steps=50, augment=False, noise=0.0)
    steps = list(generate(engine, params))
    assert steps[-1].done and steps[-1].index < 50 and steps[-1].image is not None


def test_the_moving_average_is_shown_and_changes_more_slowly(engine):
    plain, slow = (last(engine, settings(ema=ema, steps=4)).image for ema in (0.0, 0.99))
    start = last(engine, settings(steps=0)).image
    assert (slow - start).abs().mean() <= (plain - start).abs().mean()


def test_a_picture_can_be_the_prompt(engine):
    steps = list(generate(engine, settings(prompt="", image_prompts="red.png", steps=30, augment=False, noise=0.0)))
    assert steps[-1].score > steps[0].score


def test_several_clips_guide_together_and_each_sees_its_own_size(models, monkeypatch):
    torch.manual_seed(1)
    other = SmallClip(resolution=12)
    passes = counted(monkeypatch, other, "encode_image")
    engine = tiny_engines.vqgan_clip(models[0], [models[1], other])
    steps = list(generate(engine, settings(steps=30, augment=False, noise=0.0)))
    assert len(passes) == 31 and {images.shape[2:] for (images,) in passes} == {(12, 12)}
    assert steps[-1].score > steps[0].score


def test_the_devices_own_precision_stays_close_to_full_precision(models):
    start = [
        last(tiny_engines.vqgan_clip(*copy.deepcopy((models[0], [models[1]])), precision=precision), settings(steps=0))
        for precision in (None, torch.float32)
    ]
    torch.testing.assert_close(start[0].image, start[1].image, atol=0.05, rtol=0)
    assert start[0].score == pytest.approx(start[1].score, abs=0.05)
