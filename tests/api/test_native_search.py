"""Pictures are found by what they show: by words, by a picture, by a job; over HTTP and by agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from mcp import Client

from db.search import searches
from generator.checkpoints.clip_space import clip_space
from tests.api.serving import Served, awaited, until
from tests.chain_studio import DRAFT
from tests.pages.visits import SOMEBODY, Studio, picture_bytes

Serve = Callable[..., Served]
ROOT = "/api/v1"


def test_what_was_drawn_is_found_by_what_it_shows(real_studio: str) -> None:
    with httpx.Client(base_url=f"{real_studio}{ROOT}", timeout=120) as client:
        ids = {}
        for prompt in ("a red heart", "a dog face"):
            wish = {"engine": "latent-diffusion", "params": {**DRAFT, "prompt": prompt, "seed": 1}}
            ids[prompt] = client.post("/jobs", json=wish).json()["jobs"][0]["id"]
        for job_id in ids.values():
            assert client.get(f"/jobs/{job_id}/wait", params={"timeout_s": 120}).json()["state"] == "succeeded"

        def best(path: str, **params: str | int) -> list[str]:
            answer = client.get(path, params={**params, "timeout_s": 60})
            assert answer.status_code == 200, answer.text
            return [job["prompt"] for job in answer.json()["jobs"]]

        until(lambda: client.get("/search", params={"words": "heart", "timeout_s": 60}).json()["unseen"] == 0)
        assert best("/search", words="corazón", limit=1) == ["a red heart"]
        assert best("/search", words="🐶", limit=1) == ["a dog face"]
        alike = client.get(f"/jobs/{ids['a dog face']}/alike").json()["jobs"]
        assert ids["a dog face"] not in [job["id"] for job in alike]
        files = client.get(f"/jobs/{ids['a dog face']}").json()["files"]
        picture = next(one["url"] for one in files if one["kind"] == "picture")
        found = client.post("/search", content=httpx.get(f"{real_studio}{picture}").content, params={"limit": 1}).json()
        assert found["jobs"][0]["id"] == ids["a dog face"] and found["scores"][0] > 0.9 and found["next_cursor"]

    async def steps() -> None:
        async with Client(f"{real_studio}/mcp") as agent:
            told = await agent.call_tool("search", {"words": "a dog", "limit": 1})
            assert not told.is_error, told.content[0].text
            assert told.structured_content["jobs"][0]["job_id"] == ids["a dog face"]
            assert [part.type for part in told.content] == ["text", "image"]
            assert told.structured_content["notices"] == []
            refused = await agent.call_tool("search", {})
            assert refused.is_error and "one of them" in refused.content[0].text

    awaited(asyncio.wait_for(steps(), 120))


def test_a_search_that_nobody_can_read_yet_is_told_so(visits: Studio, api: Served) -> None:
    answer = api.get(f"{ROOT}/search", params={"words": "a red heart"})
    assert (answer.status_code, answer.json()["waits"], answer.json()["jobs"]) == (202, "no_executor", [])
    assert "No executor is running" in answer.json()["notices"][0] and answer.headers["retry-after"] == "2"
    visits.start_executor()
    answer = api.get(f"{ROOT}/search", params={"words": "a red heart", "timeout_s": 0.1})
    assert (answer.status_code, answer.json()["waits"]) == (202, "reading")
    (asked,) = searches.asked(visits.db, clip_space("mini"))
    assert asked.words == "a red heart"


def test_what_cannot_be_searched_for_is_refused(visits: Studio, api: Served, serve: Serve) -> None:
    for answer, said in (
        (api.get(f"{ROOT}/search", params={"words": "x" * 301}), "at most 300"),
        (api.get(f"{ROOT}/search"), "words"),
        (api.client.post(f"{ROOT}/search", content=b"nonsense"), "not a picture"),
        (api.client.post(f"{ROOT}/search", content=b",[{" * 30_000), "not a picture"),
    ):
        assert answer.status_code == 422 and said in answer.json()["detail"], answer.text
    hidden = visits.draw("a red heart", SOMEBODY)
    assert api.get(f"{ROOT}/jobs/{hidden.id[:-1]}x/alike").status_code == 404
    off = serve(search_clip="")
    assert off.client.post(f"{ROOT}/search", content=picture_bytes("PNG")).status_code == 403
    assert "T2I_SEARCH_CLIP" in off.get(f"{ROOT}/search", params={"words": "x"}).json()["detail"]
