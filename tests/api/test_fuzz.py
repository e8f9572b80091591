"""Whatever is asked for, the answer is one that the document describes: every address asked as described, every fifth
one otherwise as well, always the same. All of them in every way, thousands of times: scripts/fuzz_api.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from db.rules import keys
from scripts.fuzz_api import begin, fuzz
from tests.api.serving import Served
from tests.pages.visits import Studio


# schemathesis and hypothesis warn about their own use of each other.
@pytest.mark.filterwarnings("default")
def test_no_request_brings_an_undocumented_answer(serve: Callable[..., Served], visits: Studio, tmp_path: Path) -> None:
    api = serve(api="keys", downloads=True, exports_dir=tmp_path / "exports", checkpoints_dir=tmp_path / "checkpoints")
    secret, key = keys.make(visits.db, "fuzzing", "host")
    headers = {"authorization": f"Bearer {secret}"}
    for n in range(3):
        visits.draw(f"heart {n}", key.submitter)
    begin(api.address, headers)
    found = fuzz(api.address, headers, per_endpoint=2, wrongly=5)
    assert found.wrong == [] and found.endpoints > 50 and found.statuses[200] > 10 and found.statuses[422] > 5
