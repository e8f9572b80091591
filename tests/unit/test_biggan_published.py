"""BigGAN-deep as published: it loads strictly, draws what its own package draws and is steered as Big Sleep does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_pretrained_biggan.config import BigGANConfig as PublishedConfig
from pytorch_pretrained_biggan.model import BigGAN as Published

from generator import registry
from generator.checkpoints.errors import CheckpointDamaged
from generator.engines.base import generate
from generator.engines.biggan_clip import BigganClip, class_loss, class_shares, latent_loss
from generator.guidance.cutouts import draw
from generator.models.biggan import BigGAN
from generator.models.clip import ClipModel
from generator.params import BadParams, BigganClipParams, validate
from generator.registry import PUBLISHED
from generator.registry.class_names import UnknownClass, class_index, imagenet_classes
from generator.tokens import openai_clip
from tests.real_formats import biggan_config, load_named, random_biggan, save_biggan

NAME, WIDTH = "biggan-deep-128", 4


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, torch.nn.Module]]:
    """A folder with a narrow BigGAN-deep 128 in the published files, and the package's model they were saved from."""
    torch.set_num_threads(1)
    folder, config = tmp_path_factory.mktemp("checkpoints"), biggan_config(128, WIDTH)
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patched:
        torch.manual_seed(0)
        model = random_biggan(config)
        save_biggan(folder, 128, config, model)
        row = PUBLISHED[NAME]
        shapes = {"embeddings.weight": (128, 1000), "generator.gen_z.weight_orig": (256 * WIDTH, 256)}
        patched.setitem(PUBLISHED, NAME, dataclasses.replace(row, shapes=shapes))
        yield folder, model


@pytest.fixture(scope="module")
def model(published: tuple[Path, torch.nn.Module]) -> BigGAN:
    return load_named(NAME, published[0])


@pytest.fixture
def engine(model: BigGAN) -> BigganClip:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = ClipModel(openai_clip("model").CLIP(16, 16, 1, 64, 4, 77, 49408, 64, 1, 1), "small")
    return BigganClip(model, [clip], precision=torch.float32)


def settings(**values: Any) -> BigganClipParams:
    given = {"prompt": "a castle", "checkpoint": NAME, "seed": 1, "steps": 2, "cutn": 4, **values}
    params = validate("biggan-clip", given)
    assert isinstance(params, BigganClipParams)
    return params


def test_the_published_files_draw_what_the_package_draws(
    published: tuple[Path, torch.nn.Module], model: BigGAN
) -> None:
    z, classes = 0.4 * torch.randn(2, 128), torch.rand(2, 1000).softmax(dim=1)
    for truncation in (0.4, 1.0):
        with torch.no_grad():
            wanted = (published[1](z, classes, truncation) + 1) / 2
        made = model.generate(z, classes, truncation)
        assert wanted.std() > 0.02
        torch.testing.assert_close(made, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("side", "layers"), [(128, 11), (256, 13), (512, 15)])
def test_the_real_configurations_have_the_shapes_the_table_expects(side: int, layers: int) -> None:
    with torch.device("meta"):
        made = BigGAN(biggan_config(side))
    keys, name = made.network.state_dict(), f"biggan-deep-{side}"
    shapes = {"embeddings.weight": (128, 1000), "generator.gen_z.weight_orig": (32768, 256)}
    assert made.layers == layers and made.resolution == registry.CHECKPOINTS[name].only_side == side
    assert all(tuple(keys[key].shape) == shape for key, shape in shapes.items())
    stored = sum(value.numel() * 4 for value in keys.values())
    assert stored == pytest.approx(PUBLISHED[name].about, rel=0.02)


@pytest.mark.parametrize("side", [128, 256, 512])
def test_the_network_has_every_key_of_the_package_in_the_same_order_and_shape(side: int) -> None:
    config = biggan_config(side)
    with torch.device("meta"):
        ours, package = BigGAN(config).network, Published(PublishedConfig.from_dict(config))
    wanted = [(key, value.shape, value.dtype) for key, value in package.state_dict().items()]
    assert [(key, value.shape, value.dtype) for key, value in ours.state_dict().items()] == wanted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"output_dim": 256}, "output_dim is 256 where 128 belongs"),
        ({"channel_width": 10**9}, "channel_width is '1000000000'; it must be a whole number from 1 to 256"),
        ({"layers": "many"}, "layers must be at most 32"),
        ({"n_stats": 50}, "shape"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(
    published: tuple[Path, torch.nn.Module], tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    for path in published[0].glob("*.bin"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / f"{NAME}-config.json").write_text(json.dumps(biggan_config(128, WIDTH) | change))
    with pytest.raises(CheckpointDamaged, match=says):
        load_named(NAME, tmp_path)


def test_weights_must_match_to_the_last_key(published: tuple[Path, torch.nn.Module], tmp_path: Path) -> None:
    weights = published[1].state_dict()
    del weights["generator.layers.3.bn_1.running_means"]
    (tmp_path / f"{NAME}-config.json").write_text(json.dumps(biggan_config(128, WIDTH)))
    torch.save(weights, tmp_path / f"{NAME}-pytorch_model.bin")
    with pytest.raises(CheckpointDamaged, match=r"generator\.layers\.3\.bn_1\.running_means"):
        load_named(NAME, tmp_path)


def test_the_defaults_are_big_sleeps_and_start_where_it_starts(engine: BigganClip) -> None:
    params = settings()
    assert (params.width, params.learning_rate, params.ema, params.truncation) == (128, 0.07, 0.99, 1.0)
    assert params.clip == ("ViT-B/32",) and not params.augment and params.latents == "per-layer"
    assert validate("biggan-clip", {"prompt": "a castle", "checkpoint": NAME}).cutouts_per_step == 128
    slot = engine.open(params)
    z, logits = slot.z.detach().split([128, 1000], dim=2)
    assert z.shape == (1, 11, 128) and logits.shape == (1, 11, 1000)
    assert float(z.std()) == pytest.approx(1, abs=0.05) and float(z.mean()) == pytest.approx(0, abs=0.1)
    assert float(logits.mean()) == pytest.approx(-3.9, abs=0.01) and float(logits.std()) == pytest.approx(0.3, abs=0.01)


def test_two_steps_move_the_picture_and_the_average_follows(engine: BigganClip) -> None:
    first, *_, last = generate(engine, settings(steps=2))
    assert first.image is not None and last.image is not None and last.done
    assert last.image.shape == (3, 128, 128) and not torch.equal(first.image, last.image)
    assert last.losses["latent"] > 0 and last.losses["classes"] > 0


def test_text_to_avoid_pushes_the_picture_away_from_it(engine: BigganClip) -> None:
    plain = {"steps": 3, "ema": 0.0, "latent_weight": 0.0, "class_weight": 0.0, "candidates": 1}
    image = {}
    for weight in ("1", "-1"):
        slot = engine.open(settings(prompt=f"a castle:0.01 | fog:{weight}", **plain))
        while not slot.done:
            (step,) = engine.advance([slot])
        image[weight] = step.image
    clip = engine.clips[0]
    small = torch.nn.functional.interpolate(torch.stack([image["1"], image["-1"]]), (16, 16), mode="area")
    near, far = (clip.encode_image(small) @ clip.encode_text(["fog"]).T).flatten().tolist()
    assert near > far


def test_a_picture_starts_from_a_class_of_imagenet(engine: BigganClip) -> None:
    castle = imagenet_classes().index("castle")
    for values in ({}, {"max_classes": 3}):
        params = settings(init="class", init_class="Castle", **values)
        logits = engine.open(params).z[0, 0, 128:].detach()
        shares = class_shares(logits, params.max_classes, [1000], params.class_topk, params.class_temperature)
        assert int(shares.argmax()) == castle and shares[castle] > 0.9
        assert shares.sum() < 1.1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"init": "text"}, "init=text needs the embedded BigGAN"),
        ({"init": "class", "init_class": "golden retriver"}, "near are .*golden retriever"),
        ({"width": 512, "height": 512}, "biggan-deep-128 draws 128 x 128 px only"),
    ],
)
def test_what_these_weights_cannot_do_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        settings(**values)


def test_classes_are_found_by_what_people_call_them() -> None:
    names = imagenet_classes()
    assert len(names) == 1000 and (names[0], names[1], names[999]) == ("tench", "goldfish", "toilet tissue")
    assert class_index(" Great-White_shark ", names) == 2 and class_index("151", names) == 151
    with pytest.raises(UnknownClass, match=r"near are .*tiger shark"):
        class_index("shark", names)


def test_the_successive_top_k_takes_one_class_after_the_other() -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0, 0.0, 3.0]], requires_grad=True)
    wanted, left = torch.zeros(1, 5), logits.detach() / 2
    for _ in range(2):
        value, place = left.softmax(dim=1).max(dim=1)
        wanted[0, place] = value
        left = left.index_fill(1, place, -torch.inf)
    shares = class_shares(logits, 2, [5], "successive", 2.0)
    torch.testing.assert_close(shares, wanted)
    shares[0, 4].backward()
    assert logits.grad is not None and logits.grad[0, 4] > 0 > logits.grad[0, 2]


def test_the_terms_that_hold_z_and_classes_are_big_sleeps() -> None:
    z = torch.randn(3, 128, generator=torch.Generator().manual_seed(0)) * 1.5 + 0.2
    wanted = (1 - z.std(dim=1)).abs().mean() + z.mean(dim=1).abs().mean() + 4 * max(float(z.square().mean()), 1.0)
    for row in z:
        scores = (row - row.mean()) / (row - row.mean()).square().mean().sqrt()
        wanted += ((scores**4).mean() - 3).abs() / 3 + (scores**3).mean().abs() / 3
    torch.testing.assert_close(latent_loss(z[None]), wanted)
    shares = torch.tensor([[[0.1, 0.9, 0.3], [0.2, 0.0, 0.1]]])
    torch.testing.assert_close(class_loss(shares), 2500 * torch.tensor([0.01, 0.09, 0.0, 0.01]).mean())


def test_big_sleeps_cutouts_cover_half_to_nearly_all_of_the_picture() -> None:
    plan = draw(settings(cutn=400), 128, 128, 224, torch.Generator().manual_seed(0))
    sides = plan.geometry[:, 0, 0].abs() * 2
    assert sides.min() == 64 and sides.max() == 121
    assert 0.1 < float((sides == 64).float().mean()) < 0.22 and 0.25 < float((sides == 121).float().mean()) < 0.37
