"""What the recipes learn from: pictures, their captions and their codes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.learning.stream.opening import open_stream
from generator.training import codes, dataset, emoji_folder, emoji_sets, patches, reconstruction
from generator.training.captions import captions_of, distillation_texts, with_article


def test_every_set_is_rendered_and_flags_and_skin_tones_are_left_out(pictures: dataset.Pictures) -> None:
    assert [concept["label"] for concept in pictures.concepts][:2] == ["red circle", "red square"]
    assert len(pictures.concepts) == 12
    assert pictures.rgba.shape == (12 * 6 + 1, 64, 64, 4) and pictures.rgba.dtype == np.uint8
    assert pictures.styles == list(emoji_sets.STYLES)
    assert not (pictures.train & (pictures.unseen_concept | pictures.unseen_style)).any()


def test_training_without_data_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(dataset.DataMissing, match=r"generator\.training\.data"):
        dataset.load(tmp_path)


def test_a_picture_lies_on_the_background_asked_for(pictures: dataset.Pictures) -> None:
    row = int(np.flatnonzero((pictures.concept == 0) & (pictures.style == 0))[0])
    image = dataset.composite(torch.from_numpy(pictures.rgba[[row]]), torch.tensor([[0.2, 0.4, 0.6]]))[0]
    assert torch.allclose(image[:, 0, 0], torch.tensor([0.2, 0.4, 0.6]), atol=1e-6)
    assert torch.allclose(image[:, 32, 32] * 255, torch.tensor([221.0, 34.0, 34.0]), atol=1)


def test_placement_is_drawn_from_its_generator_only(pictures: dataset.Pictures) -> None:
    rgba, white = torch.from_numpy(pictures.rgba[:4]), torch.ones(4, 3)
    made = [
        dataset.composite(rgba, white, torch.Generator().manual_seed(seed), (0.8, 1.1), 0.1, True, 0.3)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_captions_name_the_thing_and_their_weights_sum_to_one(pictures: dataset.Pictures) -> None:
    pairs = dict(captions_of(pictures.concepts[0]))
    assert {"red circle", "a red circle", "a photo of a red circle", "red ball", "circle"} <= set(pairs)
    assert sum(pairs.values()) == pytest.approx(1)
    assert max(pairs, key=pairs.__getitem__) == "a red circle"
    assert with_article("orange") == "an orange" and with_article("grapes") == "grapes"


def test_texts_to_distil_on_are_distinct_and_reproducible(pictures: dataset.Pictures) -> None:
    texts = distillation_texts(pictures.concepts, None, 900)
    assert len(set(texts)) == len(texts) >= 900
    assert texts == distillation_texts(pictures.concepts, None, 900)


def test_patch_codes_alone_show_the_picture(pictures: dataset.Pictures, coder: patches.PatchCoder) -> None:
    wanted = dataset.composite(torch.from_numpy(pictures.rgba[:12]), torch.ones(12, 3))
    assert reconstruction.psnr(coder.pictures(coder.codes(wanted)), wanted) > 22


def test_a_hue_is_found_and_turned() -> None:
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0], red[..., 3] = 220, 255
    assert codes.own_hue(red) == pytest.approx(0, abs=2)
    assert codes.own_hue(codes.rotate_hue(red, 120)) == pytest.approx(120, abs=3)


def test_a_set_becomes_a_folder_that_a_model_of_ones_own_is_trained_from(folder: Path, tmp_path: Path) -> None:
    count = emoji_folder.make(tmp_path / "emoji", "noto", ["food-drink"], 32, folder / "packages")
    stream = open_stream(tmp_path / "emoji", validation_share=0.0)
    samples = list(itertools.islice(stream.samples("train"), count))
    assert {"red circle", "red square"} <= {sample.caption for sample in samples}
    assert len({sample.id for sample in samples}) == count == stream.length
    assert emoji_folder.make(tmp_path / "others", "noto", ["objects", "symbols"], 32, folder / "packages") == 0


def test_a_set_that_cannot_be_fetched_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    assert emoji_folder.main([str(tmp_path / "emoji"), "--packages", str(tmp_path / "packages")]) == 1
    assert "npm" in capsys.readouterr().err and not (tmp_path / "emoji").exists()
    with pytest.raises(SystemExit):
        emoji_folder.main([str(tmp_path / "emoji"), "--resolution", "0"])
    assert "from 16 to 1024 px" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        emoji_folder.main([str(tmp_path / "emoji"), "--groups", "food-drink", "flags"])
    assert "animals-nature" in capsys.readouterr().err
