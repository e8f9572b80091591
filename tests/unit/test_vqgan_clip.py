"""The VQGAN + CLIP engine: reproducible, independent of its batch, resumable, and honest about failure."""

import copy
import io

import pytest
import torch
from PIL import Image

from generator.clip import ClipModel, openai_clip
from generator.engine import NotFinite, generate
from generator.params import VqganClipParams
from generator.vqgan import VQGAN
from generator.vqgan_clip import VqganClip

SMALL = {
    "embed_dim": 4,
    "n_embed": 512,
    "ddconfig": {
        "double_z": False,
        "z_channels": 4,
        "resolution": 16,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [4],
        "dropout": 0.0,
    },
}


class SmallVqgan(VQGAN):
    """A VQGAN with codes of 4 x 4 px that counts how often it decodes."""

    def __init__(self):
        super().__init__(SMALL)
        self.decoded = 0

    def decode(self, z_q):
        self.decoded += 1
        return super().decode(z_q)


class SmallClip(ClipModel):
    """A CLIP of one layer that counts its passes, and runs out of memory when it is given more than `most`."""

    def __init__(self, resolution=16):
        network = openai_clip("model").CLIP(16, resolution, 1, 64, 4, 77, 49408, 64, 1, 1)
        super().__init__(network, "small")
        self.passes, self.most = 0, 10_000

    def encode_image(self, images):
        self.passes += 1
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert images.shape[1:] == (3, self.resolution, self.resolution)
        return super().encode_image(images)


@pytest.fixture(scope="module")
def models():
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallVqgan(), SmallClip()


def codes_of(text, style, seeds, distance):
    return torch.stack(
        [torch.randint(512, (4, 4), generator=torch.Generator().manual_seed(seed % 2**32)) for seed in seeds]
    )


@pytest.fixture
def engine(models):
    red = Image.new("RGB", (30, 20), (200, 10, 10))
    return VqganClip(
        models[0], [models[1]], draft_codes=codes_of, read_image={"red.png": red}.__getitem__, precision=torch.float32
    )


def settings(**values):
    base = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 6, "cutn": 4, "init": "random"}
    return VqganClipParams(**{**base, "learning_rate": 0.1, "init_weight": 0.0, **values})


def last(engine, params):
    return list(generate(engine, params))[-1]


def test_the_first_step_shows_the_start_and_the_last_is_done(engine):
    steps = list(generate(engine, settings(steps=3)))
    assert [(s.index, s.total, s.done) for s in steps] == [(0, 3, False), (1, 3, False), (2, 3, False), (3, 3, True)]
    for step in steps:
        assert step.image.shape == (3, 16, 16) and step.image.dtype == torch.float32
        assert step.image.min() >= 0 and step.image.max() <= 1 and -1 <= step.score <= 1


def test_no_steps_at_all_gives_the_start(engine):
    (only,) = generate(engine, settings(steps=0))
    assert only.done and only.index == 0
    assert torch.equal(only.image, next(generate(engine, settings(steps=9))).image)


@pytest.mark.parametrize("init", ["random", "prior", "gradient"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(engine, init):
    one, two, other = (last(engine, settings(init=init, seed=seed)).image for seed in (7, 7, 8))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_what_else_was_drawn_before_does_not_matter(engine):
    torch.manual_seed(1)
    one = last(engine, settings()).image
    torch.manual_seed(2)
    assert torch.equal(one, last(engine, settings()).image)


def test_optimising_brings_the_picture_nearer_to_the_prompt(engine):
    steps = list(generate(engine, settings(steps=30, augment=False, noise=0.0)))
    assert steps[-1].score > steps[0].score + 0.03


def test_a_negative_prompt_pushes_away(engine):
    def similarity(prompt):
        slot = engine.open(settings(prompt=prompt, steps=25, augment=False, noise=0.0))
        while not slot.done:
            (step,) = engine.advance([slot])
        text = engine.clips[0].encode_text(["dull colours"])
        return float(engine.clips[0].encode_image(step.image[None]) @ text.T)

    assert similarity("a red heart | dull colours:-1") < similarity("a red heart") - 0.05


def test_a_slot_alone_equals_the_slot_in_a_batch_of_different_settings(engine):
    kinds = [
        settings(seed=1),
        settings(seed=2, cutn=7, prompt="a cat | fog:-0.5", learning_rate=0.05),
        settings(seed=3, augment=False, loss="cosine", optimiser="AdamW", tv_weight=0.1, ema=0.5),
    ]
    together = [engine.open(params) for params in kinds]
    while not all(slot.done for slot in together):
        steps = engine.advance(together)
    for params, step in zip(kinds, steps, strict=True):
        alone = last(engine, params)
        torch.testing.assert_close(step.image, alone.image, atol=1e-3, rtol=0)
        assert step.score == pytest.approx(alone.score, abs=1e-3)


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


@pytest.mark.parametrize("optimiser", ["Adam", "RAdam", "NAdam", "Adamax", "RMSprop", "SGD", "AdamW"])
def test_an_interrupted_picture_goes_on_exactly_where_it_was(engine, optimiser):
    params = settings(optimiser=optimiser, ema=0.9, init_weight=0.5, patience=5, steps=6)
    whole = last(engine, params)
    slot = engine.open(params)
    for _ in range(3):
        engine.advance([slot])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    engine.advance([slot])
    file.seek(0)
    resumed = engine.resume(params, torch.load(file, weights_only=True))
    assert resumed.index == 3
    while not resumed.done:
        (step,) = engine.advance([resumed])
    assert torch.equal(step.image, whole.image) and step.score == whole.score


def test_a_state_of_another_version_is_refused(engine):
    state = engine.open(settings()).state_dict()
    with pytest.raises(ValueError, match="version 99"):
        engine.resume(settings(), {**state, "version": 99})


def test_the_picture_is_decoded_once_per_step_for_the_whole_batch(engine):
    slots = [engine.open(settings(seed=seed)) for seed in range(3)]
    before = engine.vqgan.decoded, engine.clips[0].passes
    engine.advance(slots)
    assert (engine.vqgan.decoded, engine.clips[0].passes) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_a_few_cutouts_at_a_time_give_the_same_picture_as_all_at_once(engine, micro_batch):
    kinds = [settings(seed=1, cutn=4), settings(seed=2, cutn=3, tv_weight=0.5)]

    def run():
        slots = [engine.open(params) for params in kinds]
        while not all(slot.done for slot in slots):
            steps = engine.advance(slots)
        return steps

    whole = run()
    engine.micro_batch = micro_batch
    for one, other in zip(whole, run(), strict=True):
        torch.testing.assert_close(one.image, other.image, atol=1e-3, rtol=0)
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_a_step_that_ran_out_of_memory_can_be_taken_again_in_smaller_parts(engine):
    whole = last(engine, settings(tv_weight=0.5))
    slot = engine.open(settings(tv_weight=0.5))
    engine.advance([slot])
    engine.clips[0].most, engine.micro_batch = 2, None
    try:
        with pytest.raises(torch.OutOfMemoryError):
            engine.advance([slot])
        engine.micro_batch = 2
        while not slot.done:
            (step,) = engine.advance([slot])
    finally:
        engine.clips[0].most = 10_000
    torch.testing.assert_close(step.image, whole.image, atol=1e-3, rtol=0)


def test_decoding_twice_to_save_memory_changes_nothing(engine):
    usual, frugal = (last(engine, settings(checkpoint_activations=on)).image for on in (False, True))
    assert torch.equal(usual, frugal)


def test_numbers_that_are_not_finite_stop_that_picture_and_leave_the_others(engine):
    good, bad = engine.open(settings(seed=1)), engine.open(settings(seed=2))
    engine.advance([good, bad])
    with torch.no_grad():
        bad.z[0, 0, 0, 0] = torch.nan
    first, _ = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and first.image is None and first.done and bad.done
    assert "learning_rate 0.1" in str(first.error)
    while not good.done:
        (step,) = engine.advance([good])
    torch.testing.assert_close(step.image, last(engine, settings(seed=1)).image, atol=1e-3, rtol=0)
    with pytest.raises(NotFinite):
        broken = settings(seed=2)
        slot = engine.open(broken)
        slot.z.data.fill_(torch.inf)
        engine.open = lambda params: slot
        list(generate(engine, broken))


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
        params = settings(init="prior", candidates=candidates, steps=0, augment=False, noise=0.0)
        return last(engine, params).score

    assert start_score(16) >= start_score(1)


def test_a_picture_larger_than_the_priors_drafts_starts_from_one_enlarged(engine):
    step = next(generate(engine, settings(init="prior", width=40, height=32)))
    assert step.image.shape == (3, 32, 40)


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


def test_patience_ends_a_picture_whose_score_no_longer_rises(engine):
    params = settings(prompt="a red heart:1:5", patience=3, steps=50, augment=False, noise=0.0)
    steps = list(generate(engine, params))
    assert steps[-1].done and steps[-1].index < 50 and steps[-1].image is not None


def test_frames_are_due_every_so_many_steps_and_at_the_end(engine):
    steps = list(generate(engine, settings(steps=5, save_every=2)))
    assert [step.image is not None for step in steps] == [True, False, True, False, True, True]


def test_the_moving_average_is_shown_and_changes_more_slowly(engine):
    plain, slow = (last(engine, settings(ema=ema, steps=4)).image for ema in (0.0, 0.99))
    start = last(engine, settings(steps=0)).image
    assert (slow - start).abs().mean() <= (plain - start).abs().mean()


def test_a_picture_can_be_the_prompt(engine):
    steps = list(generate(engine, settings(prompt="", image_prompts="red.png", steps=30, augment=False, noise=0.0)))
    assert steps[-1].score > steps[0].score


def test_several_clips_guide_together_and_each_sees_its_own_size(models):
    torch.manual_seed(1)
    other = SmallClip(resolution=12)
    engine = VqganClip(models[0], [models[1], other], precision=torch.float32)
    steps = list(generate(engine, settings(steps=30, augment=False, noise=0.0)))
    assert other.passes == 31 and steps[-1].score > steps[0].score


def test_the_devices_own_precision_stays_close_to_full_precision(models):
    start = [
        last(VqganClip(*copy.deepcopy((models[0], [models[1]])), precision=precision), settings(steps=0))
        for precision in (None, torch.float32)
    ]
    torch.testing.assert_close(start[0].image, start[1].image, atol=0.05, rtol=0)
    assert start[0].score == pytest.approx(start[1].score, abs=0.05)
