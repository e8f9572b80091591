"""Files that are taken home are called by what is in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from db.artefacts import Artefact
from db.jobs import Job
from studio.file_names import file_name


def called(prompt: str, seed: int | None = 1, key: str = "jobs/x/picture.png") -> str:
    job = SimpleNamespace(prompt=prompt, engine="vqgan-clip", params={"seed": seed})
    return file_name(cast(Job, job), cast(Artefact, SimpleNamespace(key=key)))


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red heart", "a-red-heart_vqgan-clip_seed1.png"),
        ("A Red, RED  heart!", "a-red-red-heart_vqgan-clip_seed1.png"),
        ("../../etc/passwd", "etc-passwd_vqgan-clip_seed1.png"),
        ('"<|>:*?', "picture_vqgan-clip_seed1.png"),
        ("ein Käse · 赤いハート", "ein-käse-赤いハート_vqgan-clip_seed1.png"),
        ("हिन्दी में", "हिन्दी-में_vqgan-clip_seed1.png"),
        ("\u202egnp.exe", "gnp-exe_vqgan-clip_seed1.png"),
    ],
)
def test_a_file_is_called_by_its_prompt_engine_and_seed(prompt: str, name: str) -> None:
    assert called(prompt) == name


def test_no_name_is_longer_than_a_disk_takes() -> None:
    for prompt in ("word " * 200, "w" * 500, "𝔴" * 500, "心" * 500):
        assert len(called(prompt, 2**32 - 1).encode()) < 200
    assert called("a film", None, "jobs/x/gif.gif") == "a-film_vqgan-clip.gif"
