"""The recipes run on a tiny set made here: data from package folders, one step each, and exact resumption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generator.training import clip as clip_recipe
from generator.training import codes, data, layout, patches, prior, text, vqgan
from generator.training.captions import captions_of, distillation_texts, with_article
from generator.training.run import Budget, schedule

SHAPES = {
    "circle": '<circle cx="16" cy="16" r="14" fill="{}"/>',
    "square": '<rect x="3" y="3" width="26" height="26" fill="{}"/>',
    "drop": '<path d="M16 1 L28 22 A12 10 0 0 1 4 22 Z" fill="{}"/>',
}
COLOURS = {"red": "#d22", "green": "#2a2", "blue": "#24d", "yellow": "#ec2"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package folders as npm leaves them, holding twelve simple pictures, a flag and a skin tone."""
    output = tmp_path_factory.mktemp("training")
    entries, bodies, chars = [], {}, {}
    for number, (colour, shape) in enumerate((c, s) for c in COLOURS for s in SHAPES):
        code = f"1F{900 + number}"
        entries.append({"label": f"{colour} {shape}", "hexcode": code, "tags": [shape], "group": 4, "subgroup": 42})
        bodies[f"{colour}-{shape}"] = {"body": SHAPES[shape].format(COLOURS[colour])}
        chars[code.lower()] = f"{colour}-{shape}"
    entries.append({"label": "flag: Nowhere", "hexcode": "1F1E6-1F1E7", "tags": [], "group": 9, "subgroup": 98})
    entries.append({"label": "hand: dark", "hexcode": "1F44B-1F3FF", "tags": [], "group": 1, "subgroup": 15})
    for name in (data.LABELS, *(source[1] for source in data.SOURCES)):
        package = output / "packages" / name.strip("@").replace("/", "-") / "package"
        package.mkdir(parents=True)
        (package / "package.json").write_text("{}")
        icons = {"prefix": name.split("/")[-1], "icons": bodies, "width": 32, "height": 32}
        if icons["prefix"] == "fxemoji":
            icons["icons"] = {key.replace("-", ""): value for key, value in bodies.items()}
        (package / "icons.json").write_text(json.dumps(icons))
        (package / "chars.json").write_text(json.dumps(chars))
        if name == data.LABELS:
            (package / "en" / "shortcodes").mkdir(parents=True)
            (package / "en" / "data.json").write_text(json.dumps(entries))
            (package / "en" / "shortcodes" / "github.json").write_text(json.dumps({"1F900": "red_ball"}))
        if name.endswith("-3d"):
            (package / "assets").mkdir()
            Image.new("RGBA", (256, 256), (200, 30, 30, 255)).save(package / "assets" / "1f900.webp")
    data.make(output, resolution=64)
    return output


@pytest.fixture(scope="module")
def pictures(folder: Path) -> data.Pictures:
    return data.load(folder)


@pytest.fixture(scope="module")
def coder(pictures: data.Pictures, folder: Path) -> patches.PatchCoder:
    return patches.load_or_fit(pictures, folder / "patches.pt", n_embed=64)


def test_every_set_is_rendered_and_flags_and_skin_tones_are_left_out(pictures: data.Pictures) -> None:
    assert [concept["label"] for concept in pictures.concepts][:2] == ["red circle", "red square"]
    assert len(pictures.concepts) == 12
    assert pictures.rgba.shape == (12 * 6 + 1, 64, 64, 4) and pictures.rgba.dtype == np.uint8
    assert pictures.styles == list(data.STYLES)
    assert not (pictures.train & (pictures.unseen_concept | pictures.unseen_style)).any()


def test_training_without_data_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(data.DataMissing, match=r"generator\.training\.data"):
        data.load(tmp_path)


def test_a_picture_lies_on_the_background_asked_for(pictures: data.Pictures) -> None:
    row = int(np.flatnonzero((pictures.concept == 0) & (pictures.style == 0))[0])
    image = data.composite(torch.from_numpy(pictures.rgba[[row]]), torch.tensor([[0.2, 0.4, 0.6]]))[0]
    assert torch.allclose(image[:, 0, 0], torch.tensor([0.2, 0.4, 0.6]), atol=1e-6)
    assert torch.allclose(image[:, 32, 32] * 255, torch.tensor([221.0, 34.0, 34.0]), atol=1)


def test_placement_is_drawn_from_its_generator_only(pictures: data.Pictures) -> None:
    rgba, white = torch.from_numpy(pictures.rgba[:4]), torch.ones(4, 3)
    made = [
        data.composite(rgba, white, torch.Generator().manual_seed(seed), (0.8, 1.1), 0.1, True, 0.3)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_captions_name_the_thing_and_their_weights_sum_to_one(pictures: data.Pictures) -> None:
    pairs = dict(captions_of(pictures.concepts[0]))
    assert {"red circle", "a red circle", "a photo of a red circle", "red ball", "circle"} <= set(pairs)
    assert sum(pairs.values()) == pytest.approx(1)
    assert max(pairs, key=pairs.__getitem__) == "a red circle"
    assert with_article("orange") == "an orange" and with_article("grapes") == "grapes"


def test_texts_to_distil_on_are_distinct_and_reproducible(pictures: data.Pictures) -> None:
    texts = distillation_texts(pictures.concepts, None, 900)
    assert len(set(texts)) == len(texts) >= 900
    assert texts == distillation_texts(pictures.concepts, None, 900)


def test_the_rate_warms_up_then_falls_to_its_floor() -> None:
    rates = [schedule(progress / 100) for progress in range(101)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1, abs=0.01) and rates[-1] == pytest.approx(0.02)


def test_patch_codes_alone_show_the_picture(pictures: data.Pictures, coder: patches.PatchCoder) -> None:
    wanted = data.composite(torch.from_numpy(pictures.rgba[:12]), torch.ones(12, 3))
    assert vqgan.psnr(coder.pictures(coder.codes(wanted)), wanted) > 22


def test_a_hue_is_found_and_turned() -> None:
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0], red[..., 3] = 220, 255
    assert codes.own_hue(red) == pytest.approx(0, abs=2)
    assert codes.own_hue(codes.rotate_hue(red, 120)) == pytest.approx(120, abs=3)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_vqgan_learns_and_resumes_exactly(pictures: data.Pictures, coder: patches.PatchCoder, tmp_path: Path) -> None:
    def go(folder: str, steps: int, stop: int | None = None):
        return vqgan.run(pictures, coder, tmp_path / folder, Budget(steps=steps), batch=2, stop_after=stop)

    whole = go("whole", 8)
    go("parts", 8, stop=3)
    assert same(go("parts", 8), whole)
    short = go("one", 1)
    wanted = data.composite(torch.from_numpy(pictures.rgba[:6]), torch.ones(6, 3))
    with torch.no_grad():
        made = [model.decode(model.codes_to_z(coder.codes(wanted))) for model in (short, whole)]
    assert vqgan.psnr(made[1], wanted) > vqgan.psnr(made[0], wanted) + 0.5


@pytest.fixture(scope="module")
def seen(pictures: data.Pictures, coder: patches.PatchCoder) -> codes.Examples:
    def read(texts: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, name)))) for name in texts]
        return torch.nn.functional.normalize(torch.stack(rows) if rows else torch.empty(0, 16), dim=1)

    return codes.prepare(pictures, coder, read, each=1)[0]


def test_layout_learns_and_resumes_exactly(seen: codes.Examples, tmp_path: Path) -> None:
    def go(folder: str, steps: int, stop: int | None = None):
        return layout.run(seen, 64, 3, tmp_path / folder, Budget(steps=steps), stop_after=stop)[0]

    whole = go("whole", 30)
    go("parts", 30, stop=11)
    assert same(go("parts", 30), whole)
    short = go("one", 1)
    wanted, told, style, _ = prior.draw_batch(seen, 16, 3, torch.Generator().manual_seed(5))
    with torch.no_grad():
        losses = [
            float(torch.nn.functional.cross_entropy(model(told, style).flatten(0, 1), wanted.flatten()))
            for model in (short, whole)
        ]
    assert losses[1] < losses[0] - 1


def test_prior_learns_and_resumes_exactly(seen: codes.Examples, tmp_path: Path) -> None:
    assert seen.codes.shape[1:] == (2, 16, 16) and "a red circle" in seen.texts
    config = {
        "n_embed": 64,
        "grid": 16,
        "text_width": 16,
        "styles": list(codes.STYLE_WEIGHTS),
        "width": 32,
        "layers": 1,
        "heads": 2,
        "code_width": 16,
    }

    def go(folder: str, steps: int, stop: int | None = None):
        return prior.run(seen, None, config, tmp_path / folder, Budget(steps=steps), batch=8, stop_after=stop)

    whole = go("whole", 30)
    go("parts", 30, stop=11)
    assert same(go("parts", 30), whole)
    losses = []
    short = go("one", 1)
    for model in (short, whole):
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            losses.append(float(prior.masked_loss(model, prior.draw_batch(seen, 16, 3, draw), draw)[0]))
    assert losses[1] < losses[0] - 0.5


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

    whole = go("whole", 12)
    go("parts", 12, stop=5)
    assert same(go("parts", 12), whole)
    go("one", 1)
    assert text.Reader(tmp_path / "whole").cosine > text.Reader(tmp_path / "one").cosine
    made = text.Reader(tmp_path / "whole")(["a red circle", "a red circle and a very long blue square next to it"])
    alone = text.Reader(tmp_path / "whole")(["a red circle"])
    assert torch.allclose(made[0], alone[0], atol=1e-5)


def test_clip_learns_and_resumes_exactly(pictures: data.Pictures, tmp_path: Path) -> None:
    names = sorted({name for concept in pictures.concepts for name, _ in captions_of(concept)})
    basis = {
        word: torch.randn(32, generator=torch.Generator().manual_seed(sum(map(ord, word))))
        for name in names
        for word in name.split()
    }
    vectors = {name: torch.nn.functional.normalize(sum(basis[word] for word in name.split()), dim=0) for name in names}

    def go(folder: str, steps: int, stop: int | None = None):
        return clip_recipe.run(pictures, vectors, tmp_path / folder, Budget(steps=steps), batch=24, stop_after=stop)

    whole = go("whole", 14)
    go("parts", 14, stop=5)
    assert same(go("parts", 14), whole)
    texts = clip_recipe.Texts(pictures, vectors)
    images = data.composite(torch.from_numpy(pictures.rgba[:12]), torch.ones(12, 3))
    wanted = texts.labels[pictures.concept[:12]]
    short = go("one", 1)
    with torch.no_grad():
        cosines = [float((model(images) * wanted).sum(dim=1).mean()) for model in (short, whole)]
    assert cosines[1] > cosines[0] + 0.1
