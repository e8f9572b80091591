"""Prompts are read the same whoever passes them on: text stays text, choices are drawn, what is too long is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db import queue
from tests.api.conftest import Serve
from tests.api.serving import Served
from tests.pages.visits import Studio

LONG = "word " * 75 + "pear"
SAYS = "The prompt has 76 tokens, 75 fit; these words fall off its end: “pear”"


@pytest.mark.parametrize("prompt", ["John 3:16", "Re:Zero", "map scale 1:25000", "http://example.com:8080/x", "(a cat"])
def test_text_stays_text(api: Served, prompt: str) -> None:
    answer = api.post("/api/v1/jobs", {"params": {"prompt": prompt}})
    assert answer.status_code == 201 and answer.json()["jobs"][0]["prompt"] == prompt


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/jobs", {"params": {"prompt": LONG}}, 422),
        ("/v1/images/generations", {"prompt": LONG}, 400),
        ("/sdapi/v1/txt2img", {"prompt": LONG}, 422),
        ("/api/v1/comparisons", {"params": {"prompt": LONG}, "rows": {"name": "cutn", "values": ["2", "4"]}}, 422),
    ],
)
def test_what_is_too_long_is_refused_by_every_dialect(
    api: Served, visits: Studio, path: str, body: dict[str, Any], status: int
) -> None:
    answer = api.post(path, body)
    assert answer.status_code == status and SAYS in str(answer.json())
    assert not queue.list_jobs(visits.db)


def test_choices_are_drawn_once_for_each_picture(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "animal.txt").write_text("cat\ndog\nfox\nowl\nbat\nant\n")
    api = serve(wildcards_dir=tmp_path)
    asked = {"params": {"prompt": "a {red|blue} __animal__", "seed": 5}, "pictures": 4}
    jobs = api.post("/api/v1/jobs", asked).json()["jobs"]
    assert len({job["prompt"] for job in jobs}) > 1
    assert all(job["params"]["wording"]["prompt"]["became"] == job["prompt"] for job in jobs)
    again = api.post("/api/v1/jobs", {"params": jobs[0]["params"]}).json()["jobs"][0]
    assert again["params"] == jobs[0]["params"]
    wrong = api.post("/api/v1/jobs", {"params": {"prompt": "a __anmal__"}})
    assert wrong.status_code == 422 and "There are: animal" in str(wrong.json())
