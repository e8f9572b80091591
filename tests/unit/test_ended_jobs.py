"""An executor that has ended a job holds nothing of it any more."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

from db.jobs import State
from executor.context import Context
from executor.job import Work
from executor.loop import Executor
from settings import Settings
from tests import small_engine
from tests.executor_studio import Studio


def test_a_job_that_ended_leaves_no_pictures_in_memory_until_garbage_is_collected(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    settings = Settings(default_engine=small_engine.NAME, search_clip="")
    context = Context("here", studio.db, studio.store, settings, tmp_path / "work", logging.getLogger("ended"))

    def draw(*prompts: str) -> None:
        asked = [studio.add(prompt) for prompt in prompts]
        assert Executor(context, "cpu", 2, [small_engine.NAME], True).run() == 0
        assert {studio.job(job.id).state for job in asked} == {State.SUCCEEDED}

    draw("what PyTorch imports with its first picture keeps the frames of who asked for it")
    gc.collect()
    gc.disable()
    try:
        draw("a heart", "a star", "a house")
        left = [one for one in gc.get_objects() if type(one) is Work]
    finally:
        gc.enable()
    assert left == []
