"""Agents use the studio: the SDK's own client, over HTTP as it is today and as it was, and over stdio."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from db import queue, votes
from db.jobs import State
from tests.api.serving import Served, awaited, until
from tests.chain_studio import DRAFT
from tests.pages.visits import Studio

Serve = Callable[..., Served]
Keys = Callable[..., dict[str, str]]
ROOT = Path(__file__).resolve().parents[2]
ERAS = ["auto", "legacy"]  # without sessions, and with them
TOOLS = {"draw", "wait", "vary", "upscale", "compare", "rank", "engines", "parameters", "ratings", "queue", "search"}
TOOLS |= {"keep", "kept"}


def pictures(result: Any) -> list[Image.Image]:
    assert not result.is_error, result.content[0].text
    images = [part for part in result.content if part.type == "image"]
    return [Image.open(io.BytesIO(base64.b64decode(one.data))) for one in images]


def jobs(result: Any) -> list[dict[str, Any]]:
    assert not result.is_error, result.content[0].text
    found: list[dict[str, Any]] = result.structured_content["jobs"]
    return found


def refusal(result: Any) -> str:
    assert result.is_error
    text: str = result.content[0].text
    return text


@asynccontextmanager
async def shown(api: Served, headers: dict[str, str], mode: str = "auto") -> Any:
    """A client that shows this key."""
    http = httpx2.AsyncClient(headers=headers, timeout=60)
    transport = streamable_http_client(f"{api.address}/mcp", http_client=http)
    async with http, Client(transport, mode=mode) as agent:
        yield agent


def run(steps: Coroutine[Any, Any, None]) -> None:
    awaited(asyncio.wait_for(steps, 120))


async def whole_chain(agent: Client) -> None:
    """From a prompt to variations, a ranking, and the best one larger."""
    assert {tool.name for tool in (await agent.list_tools()).tools} == TOOLS
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    wish = {"prompt": "a red heart", "pictures": 2, "settings": {"seed": 1, **DRAFT}, "wait_s": 100}
    drawn = await agent.call_tool("draw", wish, progress_callback=progress)
    assert [image.size for image in pictures(drawn)] == [(64, 64)] * 2
    assert [job["seed"] for job in jobs(drawn)] == [1, 2] and drawn.structured_content["unfinished"] == []
    assert told == sorted(told) and len({done for done, _, _ in told}) == len(told) and told[-1][2] == "2 of 2 done"
    best = (await agent.call_tool("wait", {"job_ids": [job["job_id"] for job in jobs(drawn)]})).structured_content
    ids = [job["job_id"] for job in best["jobs"]]
    ranked = jobs(await agent.call_tool("rank", {"prompt": "a red heart", "job_ids": ids, "wait_s": 100}))
    order = [place["job_id"] for place in ranked[0]["ranking"]]
    assert sorted(order) == sorted(ids) and ranked[0]["ranking"][0]["score"] >= ranked[0]["ranking"][1]["score"]
    larger = await agent.call_tool("upscale", {"job_id": order[0], "wait_s": 100})
    assert [image.size for image in pictures(larger)] == [(256, 256)]
    varied = await agent.call_tool("vary", {"job_id": order[0], "count": 2, "wait_s": 100})
    assert len(pictures(varied)) == 2 and varied.structured_content["sheet_id"]
    assert len({job["seed"] for job in jobs(varied)}) == 2


def test_an_agent_draws_varies_ranks_and_upscales_over_http(real_studio: str) -> None:
    async def steps() -> None:
        async with Client(f"{real_studio}/mcp") as agent:
            await whole_chain(agent)
            (one,) = jobs(await agent.call_tool("draw", {"prompt": "a red heart", "settings": DRAFT, "wait_s": 100}))
            assert one["picture_url"].startswith(real_studio)
            assert httpx.get(one["picture_url"]).content[1:4] == b"PNG"
            assert httpx.get(one["film_url"]).content[:3] == b"GIF"

    run(steps())


def test_a_comparison_is_one_labelled_sheet(real_studio: str) -> None:
    async def steps() -> None:
        async with Client(f"{real_studio}/mcp", mode="legacy") as agent:
            axis = {"name": "style", "values": ["noto", "twemoji"]}
            wish = {"prompt": "a red heart", "rows": axis, "settings": {**DRAFT, "seed": 4}, "wait_s": 100}
            found = await agent.call_tool("compare", wish)
            (sheet,) = pictures(found)
            assert [job["seed"] for job in jobs(found)] == [4, 4] and min(sheet.size) > 100

    run(steps())


def test_an_agent_on_the_studios_machine_needs_no_server(
    real_studio: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = next(tmp_path_factory.getbasetemp().glob("studio*/jobs.db")).parent
    places = {"T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db", "T2I_STORE_URL": f"file://{folder}/artefacts"}
    environment = {**os.environ, **places}
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "api.mcp", "--address", real_studio], env=environment, cwd=ROOT
    )

    async def steps() -> None:
        async with Client(command) as agent:
            wish = {"prompt": "a red heart", "settings": DRAFT, "engine": "latent-diffusion", "wait_s": 100}
            found = await agent.call_tool("draw", wish)
            assert [image.size for image in pictures(found)] == [(64, 64)]
            url = jobs(found)[0]["picture_url"]
            assert httpx.get(url).content[1:4] == b"PNG"
            assert not httpx.get(f"{real_studio}/api/v1/jobs/{jobs(found)[0]['job_id']}").json()["mine"]

    run(steps())


@pytest.mark.parametrize("end", ["closed", signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_agent_that_started_it(tmp_path: Path, end: Any) -> None:
    places = {"T2I_DATABASE_URL": f"sqlite:///{tmp_path}/jobs.db", "T2I_STORE_URL": f"file://{tmp_path}/artefacts"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    wish = {"name": "draw", "arguments": {"prompt": "a heart", "engine": "vqgan-clip", "wait_s": 600}}
    command = [sys.executable, "-m", "api.mcp"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **places}, text=True, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        for number, (method, params) in enumerate((("initialize", hello), ("tools/call", wish))):
            said = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(said) + "\n")
            process.stdin.flush()
            if method == "initialize":
                assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "text-to-image-studio"
        if end == "closed":
            process.stdin.close()
        else:
            process.send_signal(end)
        assert process.wait(30) == (0 if end == "closed" else -end) and process.stderr.read() == ""


@pytest.mark.parametrize("era", ERAS)
def test_what_takes_longer_is_waited_for_again(api: Served, visits: Studio, era: Any) -> None:
    async def steps() -> None:
        async with Client(f"{api.address}/mcp", mode=era) as agent:
            wish = {"prompt": "a red heart", "engine": "vqgan-clip", "wait_s": 0}
            found = await agent.call_tool("draw", wish)
            ids = found.structured_content["unfinished"]
            assert jobs(found)[0]["state"] == "queued" and pictures(found) == []
            mine = (await agent.call_tool("queue", {})).structured_content
            assert mine["waiting"] == 1 and [job["job_id"] for job in mine["mine"]] == ids
            await asyncio.to_thread(lambda: visits.finish(visits.run()))
            assert len(pictures(await agent.call_tool("wait", {"job_ids": ids}))) == 1

    run(steps())


@pytest.mark.parametrize("era", ERAS)
def test_a_call_that_is_cancelled_leaves_nothing_waiting_and_the_job_stays(
    api: Served, visits: Studio, era: Any
) -> None:
    async def steps() -> None:
        async with Client(f"{api.address}/mcp", mode=era) as agent:
            wish = {"prompt": "a red heart", "engine": "vqgan-clip", "wait_s": 600}
            calling = asyncio.create_task(agent.call_tool("draw", wish))
            await asyncio.to_thread(until, lambda: api.api.watch.followers)
            calling.cancel()
            await asyncio.to_thread(until, lambda: not api.api.watch.followers)
            (job,) = queue.list_jobs(visits.db)
            assert job.state == State.QUEUED
            assert jobs(await agent.call_tool("wait", {"job_ids": [job.id], "wait_s": 0}))[0]["position"] == 1

    run(steps())


@pytest.mark.parametrize("era", ERAS)
def test_a_client_that_vanishes_leaves_nothing_waiting(api: Served, visits: Studio, era: str) -> None:
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    params: dict[str, Any] = {"name": "draw", "arguments": {"prompt": "a heart", "engine": "vqgan-clip", "wait_s": 600}}

    async def steps() -> None:
        async with httpx.AsyncClient(base_url=api.address, headers=headers, timeout=20) as http:
            if era == "legacy":
                hello = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {},
                    "clientInfo": {"name": "x", "version": "1"},
                }
                asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
                http.headers["mcp-session-id"] = (await http.post("/mcp", json=asked)).headers["mcp-session-id"]
                await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
            else:
                http.headers.update(
                    {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "draw"}
                )
                who = {
                    "protocolVersion": "2026-07-28",
                    "clientInfo": {"name": "x", "version": "1"},
                    "clientCapabilities": {},
                }
                params["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in who.items()}
            body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
            calling = asyncio.create_task(http.post("/mcp", json=body))
            await asyncio.to_thread(until, lambda: api.api.watch.followers or calling.done())
            assert not calling.done(), calling.result().text
            calling.cancel()
        await asyncio.to_thread(until, lambda: not api.api.watch.followers)
        assert queue.list_jobs(visits.db)[0].state == State.QUEUED

    run(steps())


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("draw", {"prompt": ""}, "The prompt is empty"),
        ("draw", {"prompt": "x", "engine": "oil"}, "vqgan-clip, guided-diffusion"),
        ("draw", {"prompt": "x", "settings": {"colour": 1}}, "Unknown setting 'colour'"),
        ("draw", {"prompt": "x", "pictures": 99}, "pictures: input should be less than or equal to 8."),
        ("draw", {"prompt": "x", "colour": 1}, "colour: extra inputs are not permitted."),
        ("draw", {"prompt": "x\0", "settings": {"\0": "\0"}}, "setting"),
        ("draw", {"settings": {}}, "prompt: field required."),
        ("wait", {"job_ids": ["none"]}, "There is no job"),
        ("vary", {"job_id": "0" * 26}, "There is no job"),
        ("parameters", {"engine": "oil"}, "vqgan-clip"),
        ("compare", {"prompt": "x", "rows": {"name": "steps", "values": ["a lot"]}}, "steps a lot"),
        ("compare", {"prompt": "x", "rows": {"name": "seed", "values": ["1", " 1 "]}}, "is there twice"),
        ("compare", {"prompt": "x", "rows": {"name": "seed", "values": ["1", " "]}}, "none of them empty"),
        ("compare", {"prompt": "x", "engine": "upscale", "rows": {"name": "seed", "values": ["1"]}}, "vqgan-clip"),
        ("paint", {}, "There is no tool 'paint'"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(api: Served, tool: str, arguments: Any, says: str) -> None:
    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            assert says in refusal(await agent.call_tool(tool, arguments))

    run(steps())


def test_engines_are_compared_by_one_seed_for_all(api: Served, visits: Studio) -> None:
    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            engines = {"name": "engine", "values": ["vqgan-clip", "latent-diffusion"]}
            await agent.call_tool("compare", {"prompt": "a red heart", "rows": engines, "wait_s": 0})

    run(steps())
    made = queue.list_jobs(visits.db)
    assert {job.engine for job in made} == {"vqgan-clip", "latent-diffusion"}
    assert len({job.params["seed"] for job in made}) == 1


def test_a_picture_that_failed_or_is_not_finished_is_not_gone_on_from(api: Served, visits: Studio) -> None:
    job = visits.enqueue("a red heart")

    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            assert "no finished picture: it is queued" in refusal(await agent.call_tool("vary", {"job_id": job.id}))

    run(steps())


def test_lists_and_objects_may_come_as_text(api: Served) -> None:
    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            wish = {"prompt": "x", "engine": "vqgan-clip", "settings": '{"seed": 9}', "wait_s": 0}
            (job,) = jobs(await agent.call_tool("draw", wish))
            assert job["seed"] == 9
            again = await agent.call_tool("wait", {"job_ids": f'["{job["job_id"]}"]', "wait_s": 0})
            assert jobs(again)[0]["job_id"] == job["job_id"]

    run(steps())


@pytest.mark.parametrize("era", ERAS)
def test_keys_and_their_scopes_hold_for_agents(serve: Serve, visits: Studio, key: Keys, era: str) -> None:
    api = serve(api="keys")

    async def steps() -> None:
        async with shown(api, key("read"), era) as agent:
            assert not (await agent.call_tool("engines", {})).is_error
            assert "scope 'read'" in refusal(await agent.call_tool("draw", {"prompt": "x"}))
        submitters = []
        for header in (key(), key(max_queued=1)):
            async with shown(api, header, era) as agent:
                await agent.call_tool("draw", {"prompt": "x", "engine": "vqgan-clip", "wait_s": 0})
                submitters.append(queue.list_jobs(visits.db)[0].submitter)
        assert len(set(submitters)) == 2, "each is a submitter of its own in the fair order"
        async with shown(api, header, era) as agent:
            many = await agent.call_tool("draw", {"prompt": "x", "engine": "vqgan-clip", "wait_s": 0})
            assert "1" in refusal(many)

    run(steps())
    refused = httpx.post(f"{api.address}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert refused.status_code == 401 and "key" in refused.json()["error"]["message"]


def test_a_wrong_key_is_told_to_the_agent(serve: Serve) -> None:
    api = serve(api="keys")

    async def steps() -> None:
        async with shown(api, {"authorization": "Bearer t2i_wrong"}):
            pass

    with pytest.raises((MCPError, ExceptionGroup)) as refused:
        run(steps())
    assert "not known here" in str(refused.value) or "not known here" in repr(refused.value)


def test_a_session_belongs_to_who_opened_it(serve: Serve, key: Keys) -> None:
    api = serve(api="keys")
    accepts = {"accept": "application/json, text/event-stream"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    mine, theirs = key() | accepts, key() | accepts
    session = {"mcp-session-id": api.post("/mcp", asked, headers=mine).headers["mcp-session-id"]}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert api.post("/mcp", ping, headers=mine | session).status_code == 200
    assert api.post("/mcp", ping, headers=theirs | session).status_code == 404


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_a_strangers_name_or_page_comes_no_further(api: Served, headers: dict[str, str]) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    refused = api.post("/mcp", asked, headers={"accept": "application/json, text/event-stream", **headers})
    assert refused.status_code in (401, 403) and refused.json()["error"]["code"] == -32000


def test_the_server_stops_while_agents_listen(serve: Serve, visits: Studio) -> None:
    api = serve()

    async def steps() -> None:
        async with Client(f"{api.address}/mcp", mode="legacy") as agent:
            calling = asyncio.create_task(
                agent.call_tool("draw", {"prompt": "x", "engine": "vqgan-clip", "wait_s": 600}, read_timeout_seconds=30)
            )
            await asyncio.to_thread(until, lambda: api.api.watch.followers)
            api.stop()
            await asyncio.wait({calling}, timeout=30)
            assert calling.done()
            calling.cancelled() or calling.exception()

    try:
        run(steps())
    except* (MCPError, httpx2.HTTPError):
        pass  # the session cannot be ended any more: nobody is there
    assert queue.list_jobs(visits.db)[0].state == State.QUEUED, "the job goes on at the next start"


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b'"\\ud800"', b"[" * 5000, b"\xff"])
@pytest.mark.parametrize("version", [{}, {"mcp-protocol-version": "2026-07-28"}, {"mcp-protocol-version": "tomorrow"}])
def test_what_is_no_call_is_refused(api: Served, body: bytes, version: dict[str, str]) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", **version}
    assert 400 <= api.client.post("/mcp", content=body, headers=headers).status_code < 500
    assert api.client.put("/mcp", content=body, headers=headers).status_code in (400, 405)


def test_what_people_voted_for(api: Served, visits: Studio) -> None:
    better, worse = (visits.draw(f"picture {n}") for n in range(2))
    for n in range(3):
        votes.cast(visits.db, voter=f"voter-{n}", left_id=better.id, right_id=worse.id, choice="left")

    async def steps() -> None:
        async with Client(f"{api.address}/mcp") as agent:
            found = (await agent.call_tool("ratings", {})).structured_content
            assert found["votes"] == 3 and found["best"][0]["name"] == better.id
            assert found.keys() >= {"engines", "checkpoints"}, "called as the native API calls them"
            queue.set_hidden(visits.db, better.id)
            found = (await agent.call_tool("ratings", {})).structured_content
            assert [one["name"] for one in found["best"]] == [worse.id], "hidden since the votes were counted"

    run(steps())
