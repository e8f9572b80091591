"""python scripts/evaluate_captions.py: whether a model of one's own draws what its captions say, for a judge."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from captioned_pictures import COLOURS, picture
from PIL import Image

from scripts.evaluate_captions import main
from tests.brought_models import caption_model


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Runs the command on a model that has learnt nothing, and gives what it prints."""
    (tmp_path / "caption-diffusion" / "discs").mkdir(parents=True)
    caption_model(tmp_path / "caption-diffusion" / "discs" / "discs.safetensors", caption_tokens=16)
    monkeypatch.setenv("T2I_WILDCARDS_DIR", str(tmp_path))

    def run(model: str, data: Path, *more: str) -> str:
        words = [model, str(data), "--checkpoints-dir", str(tmp_path), "--steps", "2", "--validation-share", "0", *more]
        monkeypatch.setattr("sys.argv", ["evaluate_captions.py", *words])
        main()
        return capsys.readouterr().out

    return run


def folder(where: Path, captions: list[str]) -> Path:
    where.mkdir()
    rows = []
    for number, caption in enumerate(captions):
        (where / f"{number}.png").write_bytes(picture(COLOURS[number]))
        rows.append(json.dumps({"file_name": f"{number}.png", "text": caption}))
    (where / "metadata.jsonl").write_text("\n".join(rows))
    return where


def test_the_judge_names_what_was_drawn_and_the_pictures_themselves(said: object, tmp_path: Path) -> None:
    assert callable(said)
    captions = [*(f"a {name} one" for name in COLOURS[:6]), "word " * 30]
    sheet = tmp_path / "there" / "sheet.png"
    told = said("caption-diffusion/discs", folder(tmp_path / "data", captions), "--sheet", str(sheet))
    assert "1 captions are longer than the model reads" in told, "the others are judged all the same"
    assert re.search(r"drawn: R-precision@1 [01]\.\d\d, @5 [01]\.\d\d among 6", told)
    assert re.search(r"the data: R-precision@1 0\.[3-9]\d, @5 [01]\.\d\d among 6|the data: R-precision@1 1\.00", told)
    with Image.open(sheet) as picture:
        assert picture.size == (3 * (32 + 2) + 2, 2 * (16 + 2) + 2), "each picture beside what was drawn"


def test_what_cannot_be_judged_is_a_sentence(said: object, tmp_path: Path) -> None:
    assert callable(said)
    data = folder(tmp_path / "data", [f"a {name} one" for name in COLOURS[:5]])
    for model, where, sentence in (
        ("caption-diffusion/none", data, "There is no"),
        ("mini-diffusion", data, "no model of one's own"),
        ("caption-diffusion/discs", tmp_path / "nowhere", "There is nothing at"),
    ):
        with pytest.raises(SystemExit, match=sentence):
            said(model, where)
