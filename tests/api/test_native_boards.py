"""Favourites and boards for programs and agents: as on the pages, each one's own, and lists narrowed to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from mcp import Client

from api.client import Studio as Client_
from api.client_boards import Keeper
from db import boards, queue
from db.search import embeddings, searches
from generator.checkpoints.clip_space import clip_space
from studio.search import digest_of_words
from tests.api.serving import Served, awaited
from tests.pages.visits import ME, Studio

Serve = Callable[..., Served]
Keys = Callable[..., dict[str, str]]
ROOT = "/api/v1"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def test_a_picture_is_kept_listed_and_let_go(api: Served, visits: Studio) -> None:
    visits.start_executor()
    first, second = visits.draw("a red heart"), visits.draw("a blue car")
    for _ in range(2):  # keeping it twice is keeping it
        kept = api.client.put(f"{ROOT}/jobs/{first.id}/favourite")
        assert kept.json() == {"job_id": first.id, "favourite": True, "boards": []}
    both = {"name": " for  the poster ", "job_ids": [first.id, second.id]}
    made = api.post(f"{ROOT}/boards", both)
    assert (made.status_code, made.json()) == (201, {"name": "for the poster", "pictures": 2})
    on = {"name": "a/b & c"}
    assert api.client.put(f"{ROOT}/jobs/{second.id}/boards", params=on).json()["boards"] == [
        "a/b & c",
        "for the poster",
    ]
    told = {"a/b & c": 1, "for the poster": 2}
    assert api.get(f"{ROOT}/boards").json() == {
        "favourites": 1,
        "boards": [{"name": name, "pictures": count} for name, count in told.items()],
    }
    assert ids(api.get(f"{ROOT}/jobs", params={"favourite": True})) == [first.id]
    page = api.get(f"{ROOT}/jobs", params={"board": "for the poster", "limit": 1})
    assert ids(page) == [second.id]
    rest = {"board": "for the poster", "cursor": page.json()["next_cursor"]}
    assert ids(api.get(f"{ROOT}/jobs", params=rest)) == [first.id]
    assert api.client.delete(f"{ROOT}/jobs/{second.id}/boards", params=on).json()["boards"] == ["for the poster"]
    assert api.client.delete(f"{ROOT}/jobs/{first.id}/favourite").json()["favourite"] is False
    new = api.client.patch(f"{ROOT}/boards", params={"name": "for the poster"}, json={"name": "poster"})
    assert new.json() == {"name": "poster", "pictures": 2}
    assert ids(api.get(f"{ROOT}/jobs", params={"board": "for the poster"})) == []
    assert api.client.delete(f"{ROOT}/boards", params={"name": "poster"}).json()["pictures"] == 2
    assert api.get(f"{ROOT}/boards").json() == {"favourites": 0, "boards": []}
    assert api.get(f"{ROOT}/jobs/{first.id}/boards").json()["boards"] == [] and len(ids(api.get(f"{ROOT}/jobs"))) == 2


def test_what_cannot_be_kept_is_told_why(api: Served, visits: Studio) -> None:
    visits.start_executor()
    done, other = visits.draw("a red heart"), visits.draw("a blue car")
    waiting = visits.enqueue("a house")
    hidden = visits.enqueue("a rocket")
    queue.set_hidden(visits.db, hidden.id, True)
    for name, job in (("one", done), ("two", other)):
        api.post(f"{ROOT}/boards", {"name": name, "job_ids": [job.id]})

    def put(job_id: str, **params: str) -> Any:
        return api.client.put(f"{ROOT}/jobs/{job_id}/{'boards' if params else 'favourite'}", params=params)

    rename = api.client.patch(f"{ROOT}/boards", params={"name": "one"}, json={"name": "two"})
    for answer, status, kind, said in (
        (put(waiting.id), 422, "bad_params", "no finished picture"),
        (put(hidden.id), 404, "unknown_job", hidden.id),
        (put("none"), 404, "unknown_job", "none"),
        (put(done.id, name="x" * 41), 422, "bad_value", "1 to 40"),
        (put(done.id, name="  "), 422, "bad_wish", "A board has a name"),
        (put(done.id, name="a\x00b"), 422, "bad_value", "name of the board"),
        (api.post(f"{ROOT}/boards", {"name": "x", "job_ids": []}), 422, "bad_request", "job_ids"),
        (api.post(f"{ROOT}/boards", {"name": "x", "job_ids": [done.id, waiting.id]}), 422, "bad_params", waiting.id),
        (rename, 409, "board_taken", "'two'"),
        (api.client.patch(f"{ROOT}/boards", params={"name": "3"}, json={"name": "4"}), 404, "unknown_board", "'3'"),
        (api.client.delete(f"{ROOT}/boards", params={"name": "3"}), 404, "unknown_board", "'3'"),
        (api.get(f"{ROOT}/jobs", params={"board": "one", "favourite": True}), 422, "bad_wish", "not for both"),
    ):
        assert (answer.status_code, answer.json()["kind"]) == (status, kind), answer.text
        assert said in answer.json()["detail"]
    told = [board["name"] for board in api.get(f"{ROOT}/boards").json()["boards"]]
    assert told == ["one", "two"], "all of them or none"


def test_what_a_program_keeps_is_its_own(serve: Serve, key: Keys, visits: Studio) -> None:
    visits.start_executor()
    job = visits.draw("a red heart")
    boards.put(visits.db, ME, [job.id], "a visitor's")
    api = serve(api="open")
    one, other = key(), key("host")
    assert api.client.put(f"{ROOT}/jobs/{job.id}/boards", params={"name": "mine"}, headers=one).status_code == 200
    for headers in (other, key("read")):
        assert api.get(f"{ROOT}/boards", headers=headers).json() == {"favourites": 0, "boards": []}
        assert ids(api.get(f"{ROOT}/jobs", params={"board": "mine"}, headers=headers)) == []
    for answer in (
        api.get(f"{ROOT}/boards"),
        api.client.put(f"{ROOT}/jobs/{job.id}/favourite"),
        api.get(f"{ROOT}/jobs", params={"favourite": True}),
    ):
        assert (answer.status_code, answer.json()["kind"]) == (403, "needs_key"), "others at the address are not them"
    looking = api.client.put(f"{ROOT}/jobs/{job.id}/favourite", headers=key("read"))
    assert (looking.status_code, looking.json()["kind"]) == (403, "wrong_scope")
    assert boards.of_submitter(visits.db, ME) == {"a visitor's": 1}


def test_search_by_meaning_looks_among_what_is_kept(api: Served, visits: Studio) -> None:
    visits.start_executor()
    jobs, space = [visits.draw(f"heart {n}") for n in range(3)], clip_space("mini")
    seen = {job.id: np.array([np.cos(n), np.sin(n)], np.float16).tobytes() for n, job in enumerate(jobs)}
    embeddings.save(visits.db, space, seen)
    digest = digest_of_words("heart", "mini")
    searches.ask(visits.db, space, digest, words="heart")
    searches.answer(visits.db, space, digest, vector=np.array([1, 0], np.float16).tobytes())
    for job in jobs[1:]:
        api.client.put(f"{ROOT}/jobs/{job.id}/favourite")
    api.client.put(f"{ROOT}/jobs/{jobs[2].id}/boards", params={"name": "far"})
    found = {"words": "heart"}
    assert ids(api.get(f"{ROOT}/search", params=found)) == [job.id for job in jobs]
    assert ids(api.get(f"{ROOT}/search", params={**found, "favourite": True})) == [job.id for job in jobs[1:]]
    assert ids(api.get(f"{ROOT}/search", params={**found, "board": "far"})) == [jobs[2].id]


def test_python_and_agents_keep_pictures(api: Served, visits: Studio) -> None:
    visits.start_executor()
    first, second = visits.draw("a red heart"), visits.draw("a blue car")
    with Keeper(api.address) as studio:
        studio.keep([studio.job(first.id), second.id])
        studio.keep([second.id], "cars / red")
        assert [job.id for job in studio.jobs(favourite=True)] == [second.id, first.id]
        studio.let_go([first])
        studio.rename_board("cars / red", "cars")
        assert studio.boards() == {"": 1, "cars": 1}
        with Client_(api.address) as plain:
            assert [job.id for job in plain.jobs(board="cars")] == [second.id]
        studio.drop_board("cars")
        assert studio.boards() == {"": 1}

    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            told = await agent.call_tool("keep", {"job_ids": [first.id], "board": "hearts"})
            assert told.structured_content == {"favourites": 1, "boards": {"hearts": 1}}, told.content
            seen = await agent.call_tool("kept", {"board": "hearts"})
            assert [job["job_id"] for job in seen.structured_content["jobs"]] == [first.id]
            assert [part.type for part in seen.content] == ["text", "image"]
            favourites = await agent.call_tool("kept", {})
            assert [job["job_id"] for job in favourites.structured_content["jobs"]] == [second.id]
            gone = await agent.call_tool("keep", {"job_ids": [first.id], "board": "hearts", "off": True})
            assert gone.structured_content["boards"] == {}
            refused = await agent.call_tool("keep", {"job_ids": ["none"]})
            assert refused.is_error and "no job with the id" in refused.content[0].text

    awaited(asyncio.wait_for(steps(), 120))
