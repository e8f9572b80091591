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
from generator.models.vqgan import VQGAN
from generator.training import (
    biggan,
    codes,
    data,
    latent_diffusion,
    layout,
    patches,
    pixel_diffusion,
    prior,
    text,
    upscaler,
    vqgan,
)
from generator.training import clip as clip_recipe
from generator.training.captions import distillation_texts
from generator.training.run import Budget, schedule


def test_the_rate_warms_up_then_falls_to_its_floor() -> None:
    rates = [schedule(progress / 100) for progress in range(101)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1, abs=0.01) and rates[-1] == pytest.approx(0.02)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_vqgan_learns_and_resumes_exactly(pictures: data.Pictures, coder: patches.PatchCoder, tmp_path: Path) -> None:
    def go(folder: str, steps: int, stop: int | None = None):
        return vqgan.run(pictures, coder, tmp_path / folder, Budget(steps=steps), batch=2, stop_after=stop)

    whole, short = go("whole", 6), go("parts", 6, stop=1)
    assert same(go("parts", 6), whole)
    wanted = data.composite(torch.from_numpy(pictures.rgba[:6]), torch.ones(6, 3))
    with torch.no_grad():
        made = [model.decode(model.codes_to_z(coder.codes(wanted))) for model in (short, whole)]
    assert vqgan.psnr(made[1], wanted) > vqgan.psnr(made[0], wanted) + 0.5


def test_the_upscaler_starts_bilinear_learns_and_resumes_exactly(
    folder: Path, coder: patches.PatchCoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"embed_dim": 8, "depths": [2], "num_heads": [2], "batch": 4, "crop": 24, "rate": 4e-3}
    monkeypatch.setitem(upscaler.SCALES, "cpu", tiny)
    model = VQGAN(vqgan.configuration("cpu", len(coder.codebook), coder.codebook.shape[1])).eval()
    model.codebook.data.copy_(coder.codebook)
    pairs = upscaler.load_or_prepare(folder, tmp_path, coder, model, seen=6)
    assert pairs.high.shape == (6, 256, 256, 3) and pairs.low.shape == (6, 4, 64, 64, 3)
    given, wanted = upscaler.draw_batch(pairs, np.arange(6), 8, 24, torch.Generator().manual_seed(0))
    assert given.shape == (8, 3, 24, 24) and wanted.shape == (8, 3, 96, 96)

    plain = torch.from_numpy(pairs.high[:2, 64:160, 64:160].copy()).permute(0, 3, 1, 2).float() / 255
    small = upscaler.shrink(plain)
    bilinear = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        first = upscaler.network().eval()(small)
    assert (first - bilinear)[:, :, 8:-8, 8:-8].abs().max() < 1e-4

    pairs.low = np.repeat(pairs.low[:, :1], 4, axis=1)  # that VQGAN is not trained

    def go(name: str, steps: int, stop: int | None = None) -> torch.nn.Module:
        return upscaler.run(pairs, tmp_path / name, Budget(steps=steps), stop_after=stop)

    go("parts", 6, stop=2)
    assert same(go("parts", 6), go("whole", 6))
    longer = go("longer", 60)
    with torch.no_grad():
        made = longer(small).clamp(0, 1)
    assert vqgan.psnr(made, plain) > vqgan.psnr(first.clamp(0, 1), plain) + 0.5


@pytest.fixture(scope="module")
def seen(pictures: data.Pictures, coder: patches.PatchCoder) -> codes.Examples:
    def read(texts: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in texts]
        return torch.nn.functional.normalize(torch.stack(rows) if rows else torch.empty(0, 16), dim=1)

    return codes.prepare(pictures, coder, read, each=1)[0]


LAYOUT = {"z_channels": 16, "grid": 16, "text_width": 16, "styles": list(codes.STYLE_WEIGHTS)}
LAYOUT |= {"width": 64, "content": 16, "components": 12}


@pytest.fixture(scope="module")
def trained_layout(seen: codes.Examples, coder: patches.PatchCoder, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    to = tmp_path_factory.mktemp("layout")
    return layout.run(seen, None, coder.codebook, LAYOUT, to, Budget(steps=80), batch=64)


def test_layout_learns_and_resumes_exactly(
    seen: codes.Examples, trained_layout: Layout, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    def go(folder: str, steps: int, stop: int | None = None) -> Layout:
        to, budget = tmp_path / folder, Budget(steps=steps)
        return layout.run(seen, None, coder.codebook, LAYOUT, to, budget, batch=64, stop_after=stop)

    short = go("parts", 80, stop=1)
    assert same(go("parts", 80), trained_layout)
    wanted, told, style, _ = codes.draw_batch(seen, 64, 7, torch.Generator().manual_seed(5))
    right = [
        float((layout.guesses(model, coder.codebook, told, style) == wanted).float().mean())
        for model in (short, trained_layout)
    ]
    assert right[1] > right[0] + 0.05


def test_prior_corrects_the_layout_and_resumes_exactly(
    seen: codes.Examples, trained_layout: Layout, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    assert seen.codes.shape[1:] == (16, 16) and "a red circle" in seen.texts
    config = {"width": 32, "layers": 1, "heads": 2, "code_width": 16}

    def go(folder: str, steps: int, stop: int | None = None):
        book, to = coder.codebook, tmp_path / folder
        return prior.run(seen, None, trained_layout, book, config, to, Budget(steps=steps), batch=8, stop_after=stop)

    whole, short = go("whole", 50), go("parts", 50, stop=1)
    assert same(go("parts", 50), whole)
    losses = []
    for model in (short, whole):
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            losses.append(float(prior.masked_loss(model, codes.draw_batch(seen, 16, 7, draw), draw)[0]))
    assert losses[1] < losses[0] - 0.05


def test_latent_diffusion_learns_and_resumes_exactly(
    seen: codes.Examples, trained_layout: Layout, coder: patches.PatchCoder, tmp_path: Path
) -> None:
    config = {"z_channels": coder.codebook.shape[1], "grid": 16, "text_width": 16, "styles": 7}
    config |= {"block_out_channels": [16, 32], "cross_width": 32}
    book = coder.codebook
    restyler = Restyler(
        {"z_channels": book.shape[1], "styles": trained_layout.styles, "width": 16, "deep": 16, "blocks": 1, "told": 8}
    )
    drafter = Drafter(trained_layout, restyler.requires_grad_(False))

    def go(folder: str, steps: int, stop: int | None = None):
        to, budget = tmp_path / folder, Budget(steps=steps)
        return latent_diffusion.run(seen, drafter, book, config, to, budget, batch=8, stop_after=stop)

    whole, short = go("whole", 16), go("parts", 16, stop=1)
    assert same(go("parts", 16), whole)
    losses = []
    for model in (short, whole):
        draw = torch.Generator().manual_seed(5)
        batch = codes.draw_batch(seen, 24, 7, draw)
        signal = latent_diffusion.alphas()
        with torch.no_grad():
            losses.append(float(latent_diffusion.v_loss(model, drafter, book, batch, signal, draw)))
    assert losses[1] < losses[0] - 0.05


def test_text_tower_learns_and_resumes_exactly(pictures: data.Pictures, tmp_path: Path) -> None:
    texts = distillation_texts(pictures.concepts, None, 300)
    words = {
        word: torch.randn(24, generator=torch.Generator().manual_seed(sum(map(ord, word))))
        for line in texts
        for word in line.split()
    }
    vectors = torch.nn.functional.normalize(torch.stack([sum(words[w] for w in line.split()) for line in texts]), dim=1)

    def go(folder: str, steps: int, stop: int | None = None):
        return text.run(texts, vectors, tmp_path / folder, Budget(steps=steps), batch=16, stop_after=stop)[0]

    whole = go("whole", 8)
    go("parts", 8, stop=1)
    first = text.Reader(tmp_path / "parts").cosine
    assert same(go("parts", 8), whole)
    assert text.Reader(tmp_path / "whole").cosine > first
    made = text.Reader(tmp_path / "whole")(["a red circle", "a red circle and a very long blue square next to it"])
    alone = text.Reader(tmp_path / "whole")(["a red circle"])
    assert torch.allclose(made[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("role", ["clip", "judge"])
def test_clip_and_its_judge_learn_and_resume_exactly(
    role: str, pictures: data.Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clip_recipe.SCALES, "cpu", {"resolution": 32, "batch": 24, "rate": 3e-3, "frozen": 0})
    monkeypatch.setattr(clip_recipe, "STYLE_STEPS", 20)
    names = clip_recipe.texts_of(pictures)
    words = {word for name in names for word in name.split()}
    basis = {word: torch.randn(32, generator=torch.Generator().manual_seed(sum(map(ord, word)))) for word in words}
    vectors = {name: torch.nn.functional.normalize(sum(basis[word] for word in name.split()), dim=0) for name in names}

    def go(folder: str, steps: int, stop: int | None = None):
        to, budget = tmp_path / folder, Budget(steps=steps)
        return clip_recipe.run(pictures, vectors, to, budget, role, stop_after=stop)

    whole, short = go("whole", 12), go("parts", 12, stop=1)
    assert same(go("parts", 12), whole)
    texts = clip_recipe.Texts(pictures, vectors)
    images = data.composite(torch.from_numpy(pictures.rgba), torch.ones(len(pictures.rgba), 3))
    own, style = torch.from_numpy(pictures.concept), torch.from_numpy(pictures.style)
    with torch.no_grad():
        losses = [
            clip_recipe.name_loss(model(images), texts, own, style, model, torch.Generator().manual_seed(1))
            for model in (short, whole)
        ]
    assert sum(losses[1]) < sum(losses[0]) - 0.1


def test_pixel_diffusion_learns_and_resumes_exactly(pictures: data.Pictures, tmp_path: Path) -> None:
    small = replace(pictures, rgba=pictures.rgba[:, ::4, ::4])
    config = {
        **pixel_diffusion.configuration("cpu", list(codes.STYLE_WEIGHTS)),
        "channels": [32, 32],
        "head_width": 16,
    }

    def go(folder: str, steps: int, stop: int | None = None):
        return pixel_diffusion.run(small, config, tmp_path / folder, Budget(steps=steps), batch=8, stop_after=stop)

    whole, short = go("whole", 20), go("parts", 20, stop=1)
    assert same(go("parts", 20), whole)
    draw = torch.Generator().manual_seed(5)
    weight = pixel_diffusion.chances(small, small.train)
    x0, style = pixel_diffusion.draw_batch(small, weight, 32, config["styles"], draw)
    assert x0.min() >= -1 and x0.max() <= 1 and set(style.tolist()) <= set(range(8))
    losses = []
    for model in (short, whole):
        with torch.no_grad():
            loss = pixel_diffusion.v_loss(model, x0, style, torch.Generator().manual_seed(6))
        losses.append(float(loss.mean()))
    assert losses[1] < losses[0] - 0.1
    made = pixel_diffusion.sample(whole, torch.tensor([0, 7]), 16, 4, seed=0)
    assert made.shape == (2, 3, 16, 16) and made.min() >= 0 and made.max() <= 1


def test_biggan_learns_resumes_exactly_and_hears_texts(pictures: data.Pictures, tmp_path: Path) -> None:
    def read(texts: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in texts]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)

    shown = biggan.prepare(pictures, read, {42: "food-fruit"})
    assert shown.groups == ["food-fruit"] and shown.classes.shape == (len(shown.images), 1 + len(shown.styles))
    assert float(shown.weight.sum()) == pytest.approx(1)
    config = biggan.configuration(shown, channel_width=4, z_dim=8, hidden=128)

    def go(folder: str, steps: int, stop: int | None = None):
        return biggan.train_generator(shown, config, tmp_path / folder, Budget(steps=steps), 8, 2e-3, stop_after=stop)

    whole, z = go("whole", 20)
    short, first = go("parts", 20, stop=1)
    parts, same_z = go("parts", 20)
    assert same(parts, whole) and torch.equal(z, same_z)
    wanted = shown.images.float() / 255
    made = biggan.draw(whole, z, shown.classes)
    before = biggan.draw(short, first, shown.classes)
    assert vqgan.psnr(made, wanted) > vqgan.psnr(before, wanted) + 2

    unit = biggan.fold_whitening(whole, z, shown.weight)
    second = (unit * shown.weight[:, None]).T @ unit
    assert torch.allclose(second, torch.eye(8), atol=0.05)
    assert (biggan.draw(whole, unit, shown.classes) - made).abs().max() < 0.05

    names = [f"a {concept['label']}" for concept in pictures.concepts]
    biggan.train_start(whole, shown, unit, tmp_path / "whole", Budget(steps=250), batch=32)
    with torch.no_grad():
        guess, _ = whole.start(read(names), torch.zeros(12, dtype=torch.long))
    own = unit[:12]  # the first style's pictures, concept by concept
    matters = biggan.sensitivity(whole, own, shown.classes[:12])
    assert (matters * (guess - own).square()).mean() < 0.7 * (matters * own.square()).mean()
    biggan.export(whole, config, tmp_path / "weights", {})
    stored = load_mini(folder=tmp_path / "weights")
    assert (biggan.draw(stored, unit, shown.classes) - made).abs().max() < 0.1
