"""Programs are told how long something takes before they ask, and refused in their own words what costs too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db import queue
from db.rules import keys
from tests.api.serving import Served
from tests.pages.visits import Studio

Serve = Callable[..., Served]
V1 = "/api/v1"
LONG = {"prompt": "a red heart", "steps": 5000}


def test_a_program_is_told_how_long_it_takes_before_it_asks(api: Served, visits: Studio) -> None:
    visits.start_executor()
    asked = {"engine": "vqgan-clip", "params": {"prompt": "a red heart", "steps": 100}}
    unknown = api.post(f"{V1}/jobs/estimate", asked).json()
    assert unknown == {"takes_s": None, "cost_s": None, "sure": False, "budget_s": 1800, "refused": None}
    visits.took(3.0, steps=40)
    told = api.post(f"{V1}/jobs/estimate", asked).json()
    assert (told["takes_s"], told["cost_s"], told["sure"], told["refused"]) == (300, 300, True, None)
    together = api.post(f"{V1}/jobs/estimate", {**asked, "pictures": 4}).json()
    assert 300 < together["takes_s"] <= 1200 and together["cost_s"] == 300
    much = api.post(f"{V1}/jobs/estimate", {**asked, "params": LONG}).json()
    assert "ask for 600 steps or fewer" in much["refused"] and not queue.queued_jobs(visits.db)
    assert api.post(f"{V1}/jobs/estimate", {"engine": "oil", "params": {}}).status_code == 404
    (job,) = api.post(f"{V1}/jobs", asked).json()["jobs"]
    assert (job["cost_s"], job["budget_s"], job["spent_s"]) == (300, 1800, None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{V1}/jobs", {"engine": "vqgan-clip", "params": LONG}),
        (f"{V1}/jobs", {"engine": "vqgan-clip", "params": LONG, "pictures": 4}),
        ("/v1/images/generations", {"prompt": "a red heart", "model": "vqgan-clip", "steps": 5000}),
        ("/post", {"data": [{"text": "a red heart"}], "execEndpoint": "/", "targetExecutor": "dalle"}),
        (
            "/sdapi/v1/txt2img",
            {"prompt": "a red heart", "steps": 900, "override_settings": {"sd_model_checkpoint": "vqgan-clip/mini"}},
        ),
    ],
)
def test_what_costs_too_much_is_refused_through_every_door(
    serve: Serve, visits: Studio, path: str, body: dict[str, Any]
) -> None:
    api = serve(max_job_s=1.0, default_engine="vqgan-clip", default_checkpoint="mini")
    visits.start_executor()
    for side in (64, 128, 256):
        visits.took(3.0, steps=40, width=side, height=side)
    answer = api.post(path, body)
    assert answer.status_code in (200 if path == "/post" else 400, 422), (
        answer.text
    )  # Jina's gateway tells all with 200
    assert "the host allows one job 1 s" in answer.text, answer.text
    assert not queue.queued_jobs(visits.db)


def test_the_hosts_own_key_is_not_held_to_what_a_job_may_cost(serve: Serve, visits: Studio) -> None:
    api = serve(max_job_s=1.0)
    visits.start_executor()
    visits.took(3.0, steps=40)
    secrets = {scope: keys.make(visits.db, scope, scope)[0] for scope in ("submit", "host")}
    for scope, status in (("submit", 422), ("host", 201)):
        headers = {"Authorization": f"Bearer {secrets[scope]}"}
        asked = {"engine": "vqgan-clip", "params": LONG}
        answer = api.post(f"{V1}/jobs", asked, headers=headers)
        assert answer.status_code == status, answer.text
    assert [job.budget_s for job in queue.queued_jobs(visits.db)] == [None]
