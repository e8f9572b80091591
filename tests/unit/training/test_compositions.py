"""Scenes are composed beside the data, and the second family draws from them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.training import compositions, data, dataset, pairs, scenes
from generator.training.opposites import opposite
from generator.wording.scenes import read_scene

COUNT = 24


@pytest.fixture(scope="module")
def art(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny set with its twelve pictures called by names of things that scenes tell of."""
    made = tmp_path_factory.mktemp("art")
    shutil.copy(folder / "pictures.npy", made)
    index = json.loads((folder / "index.json").read_text())
    names = ["cat", "dog", "frog", "pig", "red apple", "banana", "lemon", "carrot", "key", "bell", "package", "rose"]
    for concept, name in zip(index["concepts"], names, strict=True):
        concept |= {"label": name, "shortcodes": ["apple"] if name == "red apple" else []}
    (made / "index.json").write_text(json.dumps(index))
    return made


@pytest.fixture(scope="module")
def composed(art: Path) -> Path:
    assert compositions.make(art, COUNT) == COUNT
    return art


def captions_in(folder: Path) -> list[list[str]]:
    captions: list[list[str]] = json.loads((folder / "scenes.json").read_text())["captions"]
    return captions


def test_a_number_is_the_same_scene_with_one_process_or_two_and_when_it_is_gone_on_with(
    composed: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(composed, again, ignore=shutil.ignore_patterns("scenes.*"))
    assert compositions.make(again, 7, workers=2) == 7
    assert compositions.make(again, COUNT, workers=2) == COUNT
    assert np.array_equal(np.load(composed / "scenes.npy"), np.load(again / "scenes.npy"))
    assert (composed / "scenes.json").read_text() == (again / "scenes.json").read_text()
    assert compositions.make(again, 5) == COUNT, "there are enough already"


def test_what_there_is_when_the_time_is_over_is_whole(composed: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    shutil.copytree(composed, short, ignore=shutil.ignore_patterns("scenes.*"))
    made = compositions.make(short, 4000, seconds=3)
    assert sorted(file.name for file in short.iterdir() if file.name.startswith("scenes")) == (
        ["scenes.json", "scenes.npy"] if made else []
    )
    if made:
        known = min(made, COUNT)
        assert len(np.load(short / "scenes.npy")) == len(captions_in(short)) == made
        assert np.array_equal(np.load(short / "scenes.npy")[:known], np.load(composed / "scenes.npy")[:known])


def test_captions_are_true_several_and_never_of_what_is_held_out(composed: Path) -> None:
    captions = captions_in(composed)
    for number, (plain, *others) in enumerate(captions):
        told = read_scene(plain)
        assert told is not None and not scenes.is_held_out(told)
        assert others and all(read_scene(other.partition(", ")[0]) == told for other in others), number
    assert any(len(texts) == 3 for texts in captions)


def test_scenes_without_a_place_stand_on_grounds_that_vary(composed: Path) -> None:
    alpha = np.load(composed / "scenes.npy")[..., 3]
    for texts, own in zip(captions_in(composed), alpha, strict=True):
        told = read_scene(texts[0])
        assert told is not None and bool((own == 255).all()) == bool(told.place or told.weather)


def test_half_of_what_the_family_draws_are_scenes_and_equal_captions_are_one_label(composed: Path) -> None:
    shown = pairs.load(composed, "cpu")
    scene = torch.arange(len(shown.rgba)) >= len(shown.rgba) - COUNT
    drawn = torch.multinomial(shown.weight, 4000, replacement=True, generator=torch.Generator().manual_seed(0))
    assert float(scene[drawn].float().mean()) == pytest.approx(pairs.SCENES, abs=0.03)
    assert torch.equal(shown.rgba[scene], torch.from_numpy(np.load(composed / "scenes.npy")))
    by_label: dict[int, set[str]] = {}
    for label, texts in zip(shown.label[scene].tolist(), captions_in(composed), strict=True):
        by_label.setdefault(label, set()).add(texts[0])
    assert all(len(texts) == 1 for texts in by_label.values())
    assert not set(by_label) & set(shown.label[~scene].tolist())


def test_the_opposite_of_a_scene_is_another_scene_in_the_same_words_and_never_one_that_is_held_out() -> None:
    draw, without = random.Random(0), 0
    for number in range(400):
        made = scenes.scene(number)
        for said in scenes.captions(made, "noto", draw)[:-1]:
            wrong = opposite(said, draw)
            if wrong is None:
                without += 1
                continue
            told = read_scene(wrong)
            assert told != made and (told is None or not scenes.is_held_out(told)), (said, wrong)
    assert without < 200, "what is next to what, without colours, is true either way"


def test_pictures_that_are_rendered_anew_take_scenes_of_the_former_ones_away(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    (again / "packages").symlink_to(folder / "packages")
    (again / "scenes.npy").touch()
    (again / "scenes.json").write_text("{}")
    data.make(again, resolution=32)
    assert sorted(file.name for file in again.iterdir()) == ["index.json", "packages", "pictures.npy"]


def test_art_that_shows_nothing_known_makes_no_scenes(folder: Path, tmp_path: Path) -> None:
    for name in ("index.json", "pictures.npy"):
        shutil.copy(folder / name, tmp_path)
    with pytest.raises(ValueError, match="12 concepts are too few"):
        compositions.make(tmp_path, 3)
    with pytest.raises(dataset.DataMissing):
        compositions.make(tmp_path / "nowhere", 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", "pictures.npy"]
