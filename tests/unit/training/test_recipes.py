"""The recipes run on a tiny set: they learn, and go on exactly where they were interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.models.biggan import load_mini
from generator.models.drafts import Drafter
from generator.models.layout import Layout
from generator.models.restyle import Restyler
from generator.models.vqgan import VQModel
from generator.training import (
    biggan,
    codes,
    dataset,
    latent_diffusion,
    layout,
    patches,
    pixel_diffusion,
    prior,
    reconstruction,
    text,
    upscaler,
    vqgan,
    zero_shot,
)
from generator.training import clip as clip_recipe
from generator.training.captions import distillation_texts
from generator.training.run import Budget, schedule
from generator.training.text_encoder import TextEncoder


def test_the_rate_warms_up_then_falls_to_its_floor() -> None:
    rates = [schedule(progress / 100) for progress in range(101)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1, abs=0.01) and rates[-1] == pytest.approx(0.02)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_vqgan_learns_and_resumes_exactly(
    pictures: dataset.Pictures, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    def go(folder: str, steps: int, stop: int | None = None):
        recipe = vqgan.Recipe(budget=Budget(steps=steps, stop_after=stop), batch=2)
        return vqgan.run(recipe, pictures, coder, folder=tmp_path / folder)

    whole, short = go("whole", 6), go("parts", 6, stop=1)
    assert same(go("parts", 6), whole)
    wanted = dataset.composite(torch.from_numpy(pictures.rgba[:6]), torch.ones(6, 3))
    with torch.no_grad():
        made = [model.decode(model.codes_to_z(coder.codes(wanted))) for model in (short, whole)]
    assert reconstruction.psnr(made[1], wanted) > reconstruction.psnr(made[0], wanted) + 0.5


def test_the_upscaler_starts_bilinear_learns_and_resumes_exactly(
    folder: Path, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    tiny = upscaler.Recipe(embed_dim=8, depths=(2,), num_heads=(2,), batch=4, crop=24, rate=4e-3)
    model = VQModel(vqgan.configuration(vqgan.Recipe(), len(coder.codebook), coder.codebook.shape[1])).eval()
    model.codebook.data.copy_(coder.codebook)
    pairs = upscaler.load_or_prepare(folder, tmp_path, coder, model, seen=6)
    assert pairs.high.shape == (6, 256, 256, 3) and pairs.low.shape == (6, 4, 64, 64, 3)
    given, wanted = upscaler.draw_batch(pairs, np.arange(6), 8, 24, torch.Generator().manual_seed(0))
    assert given.shape == (8, 3, 24, 24) and wanted.shape == (8, 3, 96, 96)

    plain = torch.from_numpy(pairs.high[:2, 64:160, 64:160].copy()).permute(0, 3, 1, 2).float() / 255
    small = upscaler.shrink(plain)
    bilinear = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        first = upscaler.network(tiny).eval()(small)
    assert (first - bilinear)[:, :, 8:-8, 8:-8].abs().max() < 1e-4

    pairs.low = np.repeat(pairs.low[:, :1], 4, axis=1)  # that VQGAN is not trained

    def go(name: str, steps: int, stop: int | None = None) -> torch.nn.Module:
        recipe = replace(tiny, budget=Budget(steps=steps, stop_after=stop))
        return upscaler.run(recipe, pairs, folder=tmp_path / name)

    go("parts", 6, stop=2)
    assert same(go("parts", 6), go("whole", 6))
    longer = go("longer", 60)
    with torch.no_grad():
        made = longer(small).clamp(0, 1)
    assert reconstruction.psnr(made, plain) > reconstruction.psnr(first.clamp(0, 1), plain) + 0.5


@pytest.fixture(scope="module")
def material(pictures: dataset.Pictures, coder: patches.PatchCoder) -> codes.Material:
    def encode(texts: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in texts]
        return torch.nn.functional.normalize(torch.stack(rows) if rows else torch.empty(0, 16), dim=1)

    seen = codes.prepare(pictures, coder, encode, each=1)[0]
    return codes.Material(coder=coder, seen=seen, unseen=None, prompts=encode([]))


LAYOUT = layout.Recipe(budget=Budget(steps=80), width=64, content=16, components=12, batch=64)


@pytest.fixture(scope="module")
def trained_layout(material: codes.Material, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return layout.run(LAYOUT, material, folder=tmp_path_factory.mktemp("layout"))


def test_layout_learns_and_resumes_exactly(
    material: codes.Material, trained_layout: Layout, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    def go(folder: str, steps: int, stop: int | None = None) -> Layout:
        recipe = replace(LAYOUT, budget=Budget(steps=steps, stop_after=stop))
        return layout.run(recipe, material, folder=tmp_path / folder)

    short = go("parts", 80, stop=1)
    assert same(go("parts", 80), trained_layout)
    wanted, text, style, _ = codes.draw_batch(material.seen, 64, 7, torch.Generator().manual_seed(5))
    right = [
        float((layout.likeliest(model, coder.codebook, text, style) == wanted).float().mean())
        for model in (short, trained_layout)
    ]
    assert right[1] > right[0] + 0.05


def test_prior_corrects_the_layout_and_resumes_exactly(
    material: codes.Material, trained_layout: Layout, tmp_path: Path
) -> None:
    seen = material.seen
    assert seen.codes.shape[1:] == (16, 16) and "a red circle" in seen.texts

    def go(folder: str, steps: int, stop: int | None = None):
        small = {"width": 32, "layers": 1, "heads": 2, "code_width": 16, "batch": 8}
        recipe = prior.Recipe(budget=Budget(steps=steps, stop_after=stop), **small)
        return prior.run(recipe, material, trained_layout, folder=tmp_path / folder)

    whole, short = go("whole", 50), go("parts", 50, stop=1)
    assert same(go("parts", 50), whole)
    losses = []
    for model in (short, whole):
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            losses.append(float(prior.masked_loss(model, codes.draw_batch(seen, 16, 7, draw), draw)[0]))
    assert losses[1] < losses[0] - 0.05


def test_latent_diffusion_learns_and_resumes_exactly(
    material: codes.Material, trained_layout: Layout, tmp_path: Path
) -> None:
    book = material.coder.codebook
    restyler = Restyler(
        {"z_channels": book.shape[1], "styles": trained_layout.styles, "width": 16, "deep": 16, "blocks": 1, "told": 8}
    )
    drafter = Drafter(trained_layout, restyler.requires_grad_(False))

    def go(folder: str, steps: int, stop: int | None = None):
        small = {"block_out_channels": (16, 32), "cross_width": 32, "batch": 8}
        recipe = latent_diffusion.Recipe(budget=Budget(steps=steps, stop_after=stop), **small)
        return latent_diffusion.run(recipe, material, drafter, folder=tmp_path / folder)

    whole, short = go("whole", 16), go("parts", 16, stop=1)
    assert same(go("parts", 16), whole)
    losses = []
    for model in (short, whole):
        draw = torch.Generator().manual_seed(5)
        batch = codes.draw_batch(material.seen, 24, 7, draw)
        signal = latent_diffusion.alphas()
        with torch.no_grad():
            losses.append(float(latent_diffusion.v_loss(model, drafter, book, batch, signal, draw)))
    assert losses[1] < losses[0] - 0.05


def test_text_tower_learns_and_resumes_exactly(pictures: dataset.Pictures, tmp_path: Path) -> None:
    texts = distillation_texts(pictures.concepts, None, 300)
    words = {
        word: torch.randn(24, generator=torch.Generator().manual_seed(sum(map(ord, word))))
        for line in texts
        for word in line.split()
    }
    vectors = torch.nn.functional.normalize(torch.stack([sum(words[w] for w in line.split()) for line in texts]), dim=1)

    def go(folder: str, steps: int, stop: int | None = None):
        recipe = text.Recipe(budget=Budget(steps=steps, stop_after=stop), batch=16)
        return text.run(recipe, texts, vectors, folder=tmp_path / folder)[0]

    whole = go("whole", 8)
    go("parts", 8, stop=1)
    first = TextEncoder(tmp_path / "parts").cosine
    assert same(go("parts", 8), whole)
    assert TextEncoder(tmp_path / "whole").cosine > first
    made = TextEncoder(tmp_path / "whole")(["a red circle", "a red circle and a very long blue square next to it"])
    alone = TextEncoder(tmp_path / "whole")(["a red circle"])
    assert torch.allclose(made[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("role", ["clip", "judge"])
def test_clip_and_its_judge_learn_and_resume_exactly(role: str, pictures: dataset.Pictures, tmp_path: Path) -> None:
    small = {"resolution": 32, "batch": 24, "rate": 3e-3, "frozen": 0, "style_steps": 20}
    names = zero_shot.texts_of(pictures)
    words = {word for name in names for word in name.split()}
    basis = {word: torch.randn(32, generator=torch.Generator().manual_seed(sum(map(ord, word)))) for word in words}
    vectors = {name: torch.nn.functional.normalize(sum(basis[word] for word in name.split()), dim=0) for name in names}

    def go(folder: str, steps: int, stop: int | None = None):
        recipe = clip_recipe.Recipe(budget=Budget(steps=steps, stop_after=stop), role=role, **small)
        return clip_recipe.run(recipe, pictures, vectors, folder=tmp_path / folder)

    whole, short = go("whole", 12), go("parts", 12, stop=1)
    assert same(go("parts", 12), whole)
    texts = zero_shot.Texts(pictures, vectors)
    images = dataset.composite(torch.from_numpy(pictures.rgba), torch.ones(len(pictures.rgba), 3))
    own, style = torch.from_numpy(pictures.concept), torch.from_numpy(pictures.style)
    with torch.no_grad():
        losses = [
            zero_shot.name_loss(model(images), texts, own, style, model, torch.Generator().manual_seed(1))
            for model in (short, whole)
        ]
    assert sum(losses[1]) < sum(losses[0]) - 0.1


def test_pixel_diffusion_learns_and_resumes_exactly(pictures: dataset.Pictures, tmp_path: Path) -> None:
    small = replace(pictures, rgba=pictures.rgba[:, ::4, ::4])

    def go(folder: str, steps: int, stop: int | None = None):
        budget = Budget(steps=steps, stop_after=stop)
        recipe = pixel_diffusion.Recipe(budget=budget, channels=(32, 32), head_width=16, batch=8)
        return pixel_diffusion.run(recipe, small, folder=tmp_path / folder)

    whole, short = go("whole", 20), go("parts", 20, stop=1)
    assert same(go("parts", 20), whole)
    draw = torch.Generator().manual_seed(5)
    weight = pixel_diffusion.chances(small, small.train)
    x0, style = pixel_diffusion.draw_batch(small, weight, 32, list(codes.STYLE_WEIGHTS), draw)
    assert x0.min() >= -1 and x0.max() <= 1 and set(style.tolist()) <= set(range(8))
    losses = []
    for model in (short, whole):
        with torch.no_grad():
            loss = pixel_diffusion.v_loss(model, x0, style, torch.Generator().manual_seed(6))
        losses.append(float(loss.mean()))
    assert losses[1] < losses[0] - 0.1
    made = pixel_diffusion.sample(whole, torch.tensor([0, 7]), 16, 4, seed=0)
    assert made.shape == (2, 3, 16, 16) and made.min() >= 0 and made.max() <= 1


def test_biggan_learns_resumes_exactly_and_hears_texts(pictures: dataset.Pictures, tmp_path: Path) -> None:
    def encode(texts: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in texts]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)

    shown = biggan.prepare(pictures, encode, {42: "food-fruit"})
    assert shown.groups == ["food-fruit"] and shown.classes.shape == (len(shown.images), 1 + len(shown.styles))
    assert float(shown.weight.sum()) == pytest.approx(1)
    tiny = biggan.Recipe(z_dim=8, channel_width=4, batch=8, rate=2e-3, text_hidden=128, text_batch=32)
    config = biggan.configuration(tiny, shown)

    def go(folder: str, steps: int, stop: int | None = None):
        recipe = replace(tiny, budget=Budget(steps=steps, stop_after=stop))
        return biggan.train_generator(recipe, shown, config, folder=tmp_path / folder)

    whole, z = go("whole", 20)
    short, first = go("parts", 20, stop=1)
    parts, same_z = go("parts", 20)
    assert same(parts, whole) and torch.equal(z, same_z)
    wanted = shown.images.float() / 255
    made = biggan.draw(whole, z, shown.classes)
    before = biggan.draw(short, first, shown.classes)
    assert reconstruction.psnr(made, wanted) > reconstruction.psnr(before, wanted) + 2

    unit = biggan.fold_whitening(whole, z, shown.weight)
    second = (unit * shown.weight[:, None]).T @ unit
    assert torch.allclose(second, torch.eye(8), atol=0.05)
    assert (biggan.draw(whole, unit, shown.classes) - made).abs().max() < 0.05

    names = [f"a {concept['label']}" for concept in pictures.concepts]
    recipe = replace(tiny, text_budget=Budget(steps=250))
    biggan.train_start(recipe, whole, shown, z=unit, folder=tmp_path / "whole")
    with torch.no_grad():
        predicted, _ = whole.start(encode(names), torch.zeros(12, dtype=torch.long))
    own = unit[:12]  # the first style's pictures, concept by concept
    matters = biggan.sensitivity(whole, own, shown.classes[:12])
    assert (matters * (predicted - own).square()).mean() < 0.7 * (matters * own.square()).mean()
    biggan.export(whole, config, tmp_path / "weights", {})
    stored = load_mini(folder=tmp_path / "weights")
    assert (biggan.draw(stored, unit, shown.classes) - made).abs().max() < 0.1
