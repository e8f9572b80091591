"""From a finished picture on, in the client's words: variations, the same larger, the best of several."""

from __future__ import annotations

import pytest

from api.client import AsyncStudio, BadRequest, Studio
from tests.api.serving import awaited
from tests.chain_studio import DRAFT


def test_the_best_of_several_is_varied_and_upscaled(real_studio: str) -> None:
    with Studio(real_studio) as studio:
        ranked = studio.rank(studio.submit("a red heart", pictures=3, seed=1, **DRAFT), "a red heart")
        scores = [score for _, score in ranked]
        assert scores == sorted(scores, reverse=True) and len({job.id for job, _ in ranked}) == 3
        best = ranked[0][0]
        varied = best.vary(2, skip_rate=0.5)
        assert [job.result().size for job in varied] == [(64, 64)] * 2
        assert {job.parent_id for job in varied} == {best.id} and len({job.sheet_id for job in varied}) == 1
        assert best.upscale().result().size == (256, 256)


def test_the_same_awaited(real_studio: str) -> None:
    async def chain() -> None:
        async with AsyncStudio(real_studio) as studio:
            jobs = await studio.submit("a red heart", pictures=2, seed=5, **DRAFT)
            (best, _), *_ = await studio.rank(jobs, "a red heart")
            larger = await best.upscale("mini-upscaler")
            assert (await larger.result()).size == (256, 256)
            (varied,) = await best.vary(1)
            assert (await varied.result()).size == (64, 64)

    awaited(chain())


def test_what_cannot_be_ranked_or_varied_is_told(real_studio: str) -> None:
    with Studio(real_studio) as studio:
        job = studio.submit("a red heart", **DRAFT)
        with pytest.raises(BadRequest, match="at least 2"):
            studio.rank([job], "a red heart")
        with pytest.raises(BadRequest):
            job.vary(99)
