"""The BigGAN + CLIP engine: reproducible, independent of its batch, resumable, and honest about failure."""

import io

import pytest
import torch
from PIL import Image
from pytorch_pretrained_biggan.config import BigGANConfig
from pytorch_pretrained_biggan.model import BigGAN as Published
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from generator.biggan import MiniBigGAN, UnknownClass, from_published
from generator.biggan_clip import BigganClip, class_shares, truncated_normal
from generator.clip import ClipModel, openai_clip
from generator.engine import NotFinite, generate
from generator.params import BadParams, BigganClipParams, validate

NETWORK = {
    "output_dim": 16,
    "z_dim": 8,
    "class_embed_dim": 8,
    "channel_width": 4,
    "num_classes": 5,
    "layers": [[True, 16, 8], [True, 8, 4], [False, 4, 2], [False, 2, 1]],
    "attention_layer_position": -1,
    "eps": 1e-4,
    "n_stats": 2,
}
CONFIG = {
    "biggan": NETWORK,
    "groups": ["animal-bird", "food-fruit", "sky"],
    "styles": ["noto", "fluent"],
    "text_width": 16,
    "text_hidden": 16,
}


def network():
    """A MiniBigGAN of random weights whose pictures differ visibly with z and classes."""
    model = MiniBigGAN(CONFIG)
    for part in model.network.modules():
        if isinstance(part, BigGANBatchNorm):
            if part.conditional:
                torch.nn.init.normal_(part.offset.weight, std=0.2)
            else:
                torch.nn.init.ones_(part.weight)
                torch.nn.init.zeros_(part.bias)
    torch.nn.init.normal_(model.network.generator.conv_to_rgb.weight, std=0.5)
    model.measure(torch.randn(64, 8), torch.rand(64, 5))
    return model


@pytest.fixture(scope="module")
def models():
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = ClipModel(openai_clip("model").CLIP(16, 16, 1, 64, 4, 77, 49408, 64, 1, 1), "small")
        clip.source_projection = torch.randn(64, 16)
        return network(), clip


@pytest.fixture
def engine(models):
    red = Image.new("RGB", (30, 20), (200, 10, 10))
    return BigganClip(
        models[0], [models[1]], reader=models[1], read_image={"red.png": red}.__getitem__, precision=torch.float32
    )


def settings(**values):
    base = {"prompt": "a red heart", "seed": 1, "steps": 6, "cutn": 4, "init_weight": 0.0, "candidates": 2}
    return BigganClipParams(**{**base, "learning_rate": 0.1, **values})


def last(engine, params):
    return list(generate(engine, params))[-1]


KINDS = [
    {"init": "text"},
    {"init": "random", "latents": "per-layer", "max_classes": 0},
    {"init": "class", "init_class": "food-fruit", "truncation": 0.5},
]


def test_the_first_step_shows_the_start_and_the_last_is_done(engine):
    steps = list(generate(engine, settings(steps=3)))
    assert [(s.index, s.total, s.done) for s in steps] == [(0, 3, False), (1, 3, False), (2, 3, False), (3, 3, True)]
    for step in steps:
        assert step.image.shape == (3, 16, 16) and step.image.dtype == torch.float32
        assert step.image.min() >= 0 and step.image.max() <= 1 and -1 <= step.score <= 1
    (only,) = generate(engine, settings(steps=0))
    assert only.done and torch.equal(only.image, steps[0].image)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["init"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(engine, kind):
    one, two, other = (last(engine, settings(seed=seed, **kind)).image for seed in (7, 7, 8))
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["init"])
def test_optimising_brings_the_picture_nearer_to_the_prompt(engine, kind):
    steps = list(generate(engine, settings(steps=30, candidates=1, augment=False, noise=0.0, **kind)))
    assert steps[-1].score > steps[0].score + 0.01


def test_a_slot_alone_equals_the_slot_in_a_batch_of_different_settings(engine):
    kinds = [
        settings(seed=1, cutn=7, prompt="a cat | fog:-0.5"),
        settings(seed=2, init="random", latents="per-layer", max_classes=0, class_weight=0.1),
        settings(seed=3, truncation=0.4, loss="cosine", optimiser="AdamW", ema=0.5, latent_weight=0.1, init_weight=1.0),
        settings(seed=4, init="random", truncation=0.8),
    ]
    together = [engine.open(params) for params in kinds]
    while not all(slot.done for slot in together):
        steps = engine.advance(together)
    for params, step in zip(kinds, steps, strict=True):
        alone = last(engine, params)
        torch.testing.assert_close(step.image, alone.image, atol=1e-3, rtol=0)
        assert step.score == pytest.approx(alone.score, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["init"])
def test_an_interrupted_picture_goes_on_exactly_where_it_was(engine, kind):
    params = settings(ema=0.9, patience=5, **{**kind, "init_weight": 0.5})
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


def test_a_few_cutouts_at_a_time_give_the_same_picture_as_all_at_once(engine):
    whole = last(engine, settings())
    engine.micro_batch = 3
    torch.testing.assert_close(last(engine, settings()).image, whole.image, atol=1e-3, rtol=0)


def test_numbers_that_are_not_finite_stop_that_picture_and_leave_the_others(engine):
    good, bad = engine.open(settings(seed=1)), engine.open(settings(seed=2))
    with torch.no_grad():
        bad.z[0, 0, 0] = torch.nan
    first, second = engine.advance([bad, good])
    assert isinstance(first.error, NotFinite) and first.image is None and bad.done
    assert second.error is None and second.image is not None


def test_of_the_starts_drawn_the_one_nearest_to_the_prompt_is_taken(engine):
    def score(candidates):
        params = settings(init="random", candidates=candidates, steps=0, augment=False, noise=0.0)
        return last(engine, params).score

    assert score(32) > score(1)


def test_a_picture_starts_in_the_class_and_style_asked_for_and_keeps_its_style(engine):
    slot = engine.open(settings(init="class", init_class="sky", style="fluent", steps=8, max_classes=1))
    shares = class_shares(slot.z[..., 8:], 1, [3, 2])
    assert shares.flatten().tolist() == [0, 0, 1, 0, 1]
    style = slot.z[..., -2:].detach().clone()
    while not slot.done:
        engine.advance([slot])
    assert torch.equal(slot.z[..., -2:], style)
    with pytest.raises(UnknownClass, match="animal-bird"):
        engine.open(settings(init="class", init_class="spaceship"))


def test_at_most_so_many_classes_share_a_picture_and_their_logits_have_a_gradient():
    logits = torch.tensor([[2.0, 1.0, -1.0, 0.0, 3.0]], requires_grad=True)
    shares = class_shares(logits, 2, [3, 2])
    assert shares[0, 2] == 0 and shares[0, :3].sum().item() == shares[0, 3:].sum().item() == pytest.approx(1)
    shares[0, 0].backward()
    assert logits.grad[0, 0] > 0 and logits.grad[0, 1] < 0 and logits.grad[0, 2] == 0
    torch.testing.assert_close(class_shares(logits, 0, [3, 2]), logits.sigmoid())


def test_a_pull_to_one_class_leaves_less_of_a_mixture(engine):
    def mixture(weight):
        slot = engine.open(settings(init="random", max_classes=0, class_weight=weight, steps=20))
        while not slot.done:
            engine.advance([slot])
        shares = slot.z[..., 8:11].detach().sigmoid()
        return float(1 - (shares / shares.sum()).square().sum())

    assert mixture(100.0) < mixture(0.0)


def test_z_is_drawn_within_two_deviations():
    z = truncated_normal((4000,), torch.Generator().manual_seed(0))
    assert z.abs().max() <= 2 and float(z.std()) == pytest.approx(0.88, abs=0.03) and abs(float(z.mean())) < 0.05


def test_published_weights_make_the_pictures_the_package_makes():
    config = {**NETWORK, "attention_layer_position": 2, "n_stats": 51}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        published = Published(BigGANConfig.from_dict(config))
        for part in published.modules():
            if isinstance(part, BigGANBatchNorm):
                part.running_means.normal_(std=0.1)
                part.running_vars.uniform_(0.5, 1.5)
                if not part.conditional:
                    torch.nn.init.normal_(part.weight)
                    torch.nn.init.normal_(part.bias)
        torch.nn.init.ones_(published.generator.layers[2].gamma)
        z, classes = torch.randn(3, 8), torch.rand(3, 5)
        for _ in range(5):
            published(z, classes, 1.0)
    published.eval()
    model = from_published(config, published.state_dict())
    with torch.no_grad():
        for truncation in (0.5, 1.0):
            wanted = (published(z, classes, truncation) + 1) / 2
            torch.testing.assert_close(model.generate(z, classes, truncation), wanted, atol=1e-4, rtol=0)
    assert model.layers == 5
    apart = model.generate(z[:, None].expand(-1, 5, -1), classes[:, None].expand(-1, 5, -1))
    torch.testing.assert_close(apart, model.generate(z, classes))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"width": 128, "height": 128}, "draws 64 x 64 px only"),
        ({"width": 48}, "draws 64 x 64 px only"),
        ({"init": "class"}, "needs an init_class"),
        ({"prompt": ""}, "init=text starts from the prompt"),
        ({"prompt": "", "init": "random"}, "The prompt is empty"),
        ({"checkpoint": "mini"}, "Unknown checkpoint 'mini'. Choose one of: mini-biggan"),
        ({"truncation": 0}, "truncation"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_that_names_them(values, says):
    with pytest.raises(BadParams, match=says):
        validate("biggan-clip", {"prompt": "a red heart", **values})
