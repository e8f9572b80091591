"""What BigGAN + CLIP promises beyond tests/contract/test_engines.py: its starts, its classes and its weights."""

import pytest
import torch
from pytorch_pretrained_biggan.config import BigGANConfig
from pytorch_pretrained_biggan.model import BigGAN as Published
from pytorch_pretrained_biggan.model import BigGANBatchNorm

from generator.engines.base import generate
from generator.engines.biggan_clip import class_shares, truncated_normal
from generator.models.biggan import UnknownClass, from_published
from generator.params import BadParams, validate
from tests import tiny_engines
from tests.tiny_engines import biggan_settings as settings
from tests.tiny_engines import last


@pytest.fixture(scope="module")
def engine():
    return tiny_engines.biggan_clip()


@pytest.mark.parametrize(
    "kind",
    [
        {"init": "text"},
        {"init": "random", "latents": "per-layer", "max_classes": 0},
        {"init": "class", "init_class": "food-fruit", "truncation": 0.5},
    ],
    ids=lambda kind: kind["init"],
)
def test_optimising_brings_the_picture_nearer_to_the_prompt(engine, kind):
    steps = list(generate(engine, settings(steps=30, candidates=1, augment=False, noise=0.0, **kind)))
    assert steps[-1].score > steps[0].score + 0.01


def test_no_steps_at_all_gives_the_start(engine):
    (only,) = generate(engine, settings(steps=0))
    assert only.done and torch.equal(only.image, next(generate(engine, settings(steps=3))).image)


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
    config = {**tiny_engines.BIGGAN_NETWORK, "attention_layer_position": 2, "n_stats": 51}
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
