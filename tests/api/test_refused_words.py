"""The host's words are refused on every road to the queue, in disguise too; invisible text is none."""

from __future__ import annotations

from typing import Any

import pytest

from db import queue
from db.rules import host_rules, visitors
from tests.api.serving import Served
from tests.api.test_dalle_flow import GENERATE
from tests.api.test_mcp import refusal, run, shown
from tests.pages.visits import Studio

V1 = "/api/v1"
LAYOUT = {"engine": "vqgan-clip", "checkpoint": "mini"}
DISGUISES = ("🅶🅾Ꭱе", "\u202eerog\u202c")


def asked(api: Served, text: str) -> list[tuple[str, str]]:
    """(road, what it answered) of a prompt with this text on each road to the queue."""
    prompt = f"a picture of {text}"
    flow = {**GENERATE, "data": [{**GENERATE["data"][0], "text": prompt}]}
    calls: list[tuple[str, Any]] = [
        (f"{V1}/jobs", {"engine": "vqgan-clip", "params": {"prompt": prompt}}),
        (f"{V1}/jobs", {"engine": "vqgan-clip", "params": {"prompt": prompt}, "pictures": 2}),
        (f"{V1}/comparisons", {"rows": {"name": "prompt", "values": ["a heart", prompt]}}),
        (f"{V1}/comparisons", {"rows": {"name": "seed", "values": ["1", "2"]}, "params": {"prompt": prompt}}),
        (f"{V1}/refinements", {"prompt": prompt, **LAYOUT}),
        ("/v1/images/generations", {"prompt": prompt}),
        ("/sdapi/v1/txt2img", {"prompt": prompt}),
        ("/sdapi/v1/txt2img", {"prompt": "a heart", "negative_prompt": text}),
        ("/predict/stable_diffusion", {"text_prompts": prompt}),
        ("/predict/disco_diffusion_clip_rn50", {"text_prompts": "a heart", "artist": text}),
        ("/post", flow),
    ]
    answers = []
    for path, body in calls:
        answer = api.post(path, body)
        answers.append((path, f"{answer.status_code} {answer.text}"))
    return answers


@pytest.mark.parametrize("text", DISGUISES)
def test_a_refused_word_is_refused_on_every_road(api: Served, visits: Studio, text: str) -> None:
    host_rules.change(visits.db, refused_words=["gore"])
    for path, answer in asked(api, text):
        assert "does not allow" in answer and "gore" in answer, (path, answer)

    async def by_mcp() -> None:
        async with shown(api, {}) as agent:
            wish = {"prompt": text, "engine": "vqgan-clip", "wait_s": 0}
            assert "does not allow" in refusal(await agent.call_tool("draw", wish))

    run(by_mcp())
    renamed = api.client.patch(f"{V1}/me", json={"name": text})
    assert renamed.status_code == 422 and "of your name" in renamed.json()["detail"]
    assert queue.list_jobs(visits.db) == []


@pytest.mark.parametrize("text", ["(go)(re)", "[go][re] moon", "a cat | (go)(re):0.5"])
def test_brackets_back_to_back_hide_no_word(api: Served, visits: Studio, text: str) -> None:
    host_rules.change(visits.db, refused_words=["gore"])
    for path, answer in asked(api, text):
        if "disco_diffusion" not in path:  # an artist is no prompt: brackets are drawn
            assert "does not allow 'gore'" in answer, (path, answer)
    assert queue.list_jobs(visits.db) == []


def test_what_turns_letters_round_is_not_kept(api: Served, visits: Studio) -> None:
    made = api.post(f"{V1}/jobs", {"engine": "vqgan-clip", "params": {"prompt": "\u202ea red\u202c \u2067חתול\u2069"}})
    assert made.status_code == 201, made.text
    (job,) = queue.list_jobs(visits.db)
    assert job.prompt == job.params["prompt"] == "a red חתול"
    assert api.client.patch(f"{V1}/me", json={"name": "\u202eadA"}).json()["name"] == "adA"


def test_invisible_text_counts_as_none(api: Served, visits: Studio) -> None:
    blank = "\u202e\u200b\u3164\u2800\ufe0f\u202c"
    for path, body in (
        (f"{V1}/jobs", {"engine": "vqgan-clip", "params": {"prompt": blank}}),
        (f"{V1}/refinements", {"prompt": blank, **LAYOUT}),
        (f"{V1}/comparisons", {"rows": {"name": "prompt", "values": ["a heart", blank]}}),
        ("/v1/images/generations", {"prompt": blank}),
    ):
        answer = api.post(path, body)
        assert 400 <= answer.status_code < 500 and ("empty" in answer.text or "no prompt" in answer.text), answer.text
    assert api.client.patch(f"{V1}/me", json={"name": blank}).json()["name"] is None
    assert queue.list_jobs(visits.db) == [] and visitors.names(visits.db, ["local"]) == {}


def test_half_a_character_is_said_to_be_one(api: Served, visits: Studio) -> None:
    for path, raw in (
        (f"{V1}/jobs", '{"engine": "vqgan-clip", "params": {"prompt": "\\ud800 heart"}}'),
        (f"{V1}/comparisons", '{"rows": {"name": "prompt", "values": ["\\ud800", "b"]}}'),
        (f"{V1}/refinements", '{"prompt": "\\ud800", "engine": "vqgan-clip", "checkpoint": "mini"}'),
    ):
        answer = api.client.post(path, content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (path, answer.status_code, answer.text)
    answer = api.client.patch(f"{V1}/me", content='{"name": "\\ud800"}', headers={"content-type": "application/json"})
    assert answer.status_code == 422 and queue.list_jobs(visits.db) == []
